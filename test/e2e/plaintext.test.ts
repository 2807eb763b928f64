// Model servers that speak HTTP without TLS: found by their port or by their first bytes, told once from the side of the client; other bytes are skipped.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bodies, CALLS, CLIENTS, type ClientRun, PROGRAMS, startClient } from '../lib/clients.js';
import { counterOf, statisticsOf } from '../lib/ledger.js';
import { type Ended, eventsOf, mustProbe, ofType, oispHost, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { answerText } from '../mock/answers.js';
import { type Mock, startMock } from '../mock/server.js';

const OLLAMA = 11434;
const TIMEOUT = { timeout: 120_000 };
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Every call of a client is told once, whole, with what was said. */
function assertCalls(events: readonly SeenEvent[], run: Pick<ClientRun, 'marker' | 'pid'>, provider: (model: string) => string, endpoint: RegExp): void {
  for (const call of CALLS) {
    const body = bodies(run.marker)[call];
    const { model, messages } = JSON.parse(body) as { model: string; messages: { content: string }[] };
    const of = (type: string): SeenEvent => {
      const found = ofType(events, type).filter((event) => (event.data['model'] as { id?: string } | undefined)?.id === model);
      assert.equal(found.length, 1, `one ${type} for ${model}`);
      return found[0] as SeenEvent;
    };
    const request = of('ai.request');
    const response = of('ai.response');
    for (const event of [request, response]) {
      const { process, source, confidence } = event;
      assert.equal(process?.pid, run.pid, `${model} is told of its client`);
      assert.deepEqual([source?.['capture_method'], source?.['capture_point']], ['ebpf_tracepoint', 'sys_exit']);
      assert.deepEqual([confidence.completeness, confidence.content_source], ['full', 'plaintext_capture'], JSON.stringify(event));
    }
    const asked = request.data as { messages: { content: string }[]; streaming: boolean; provider: { name: string; endpoint: string } };
    assert.equal(asked.messages.at(-1)?.content, messages.at(-1)?.content);
    assert.equal(asked.streaming, call !== 'plain');
    assert.equal(asked.provider.name, provider(model));
    assert.match(asked.provider.endpoint, endpoint);
    const answered = response.data as { choices: { message: { content?: string } }[]; status_code: number };
    const facts = {
      model,
      bodyBytes: Buffer.byteLength(body),
      bodySha256: sha256(body),
      sequence: 0,
      stream: false,
      tool: false,
      thinking: false,
      includeUsage: false,
    };
    assert.deepEqual([answered.status_code, answered.choices[0]?.message.content], [200, answerText(facts)]);
  }
}

describe('plaintext', () => {
  const folder = scratch('plaintext');
  const children: ChildProcess[] = [];
  before(mustProbe);
  after(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  describe('on the port of a model server, in a network of its own', () => {
    const runs: ClientRun[] = [];
    let ended: Ended;
    let events: SeenEvent[];

    before(async () => {
      const mock = join(ROOT, 'dist', 'test', 'mock', 'main.js');
      const line = `ip link set lo up && exec ${process.execPath} ${mock} --plain --port ${OLLAMA}`;
      const server = spawn('unshare', ['--net', 'sh', '-c', line], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(server);
      await new Promise<void>((resolve, reject) => {
        server.stdout?.once('data', () => resolve());
        server.once('exit', (code) => reject(new Error(`the model server ended with ${code}`)));
      });
      const under = ['nsenter', '--target', String(server.pid), '--net', '--'];
      const begin = async (started: string) => {
        for (const client of CLIENTS) {
          const options = { url: `http://127.0.0.1:${OLLAMA}`, folder, marker: `${client}-${started}`, wait: started === 'before', under };
          runs.push(await startClient(client, options));
        }
      };
      await begin('before');
      const output = join(folder, 'port.jsonl');
      const daemon = await startDaemon(['--json', '--output', output]);
      for (const run of runs) run.go();
      await begin('after');
      await Promise.all(runs.map((run) => run.finished));
      ended = await daemon.stop();
      events = eventsOf(output);
    }, TIMEOUT);

    it('tells each exchange once, from the side of its client, though the server is captured too', () => {
      assert.equal(ended.code, 0, ended.stderr);
      // Other programs of the machine may talk to models of their own meanwhile.
      const here = events.filter(({ data }) => (data['provider'] as { endpoint?: string } | undefined)?.endpoint?.startsWith(`http://127.0.0.1:${OLLAMA}/`));
      assert.equal(ofType(here, 'ai.request').length, CLIENTS.length * 2 * CALLS.length);
      assert.equal(ofType(here, 'ai.response').length, CLIENTS.length * 2 * CALLS.length);
      for (const run of runs) assertCalls(here, run, () => 'ollama', /^http:\/\/127\.0\.0\.1:11434\/v1\//);
      const serverSide = counterOf(statisticsOf(ended.stderr), 'ai', 'server_side_requests');
      assert.ok(serverSide >= here.length / 2, 'the server was seen reading them');
    });
  });

  describe('on a port that nobody knows', () => {
    let mock: Mock;
    before(async () => {
      mock = await startMock({ plain: true });
    });
    after(() => mock?.close());

    for (const client of ['node', 'python'] as const) {
      it(`is found by its first bytes when the process is in scope: ${client}`, TIMEOUT, async () => {
        // Made by a run that nobody watches: the bodies, where the observed one finds them.
        const prepared = await startClient(client, { url: mock.url, folder, marker: `${client}-scope`, wait: false });
        await prepared.finished;
        const output = join(folder, `${client}-scope.jsonl`);
        const script = join(ROOT, 'test', 'lib', 'clients', client === 'node' ? 'chat.mjs' : 'chat.py');
        const command = [PROGRAMS[client], script, mock.url, join(folder, prepared.marker)];
        const run = await oispHost(['run', '--json', '--output', output, '--', ...command]);
        assert.equal(run.code, 0, run.stderr);
        const events = eventsOf(output);
        const pid = ofType(events, 'ai.request')[0]?.process?.pid ?? -1;
        assert.equal(ofType(events, 'ai.request').length, CALLS.length);
        assertCalls(events, { marker: prepared.marker, pid }, (model) => (model.startsWith('gpt') ? 'openai' : 'anthropic'), new RegExp(`^${mock.url}/v1/`));
        assert.equal(counterOf(statisticsOf(run.stderr), 'http', 'gap_bytes'), 0);
      });
    }
  });

  describe('what is no HTTP', () => {
    let server: Server;
    let port = 0;
    before(async () => {
      server = createServer((socket) => socket.pipe(socket));
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      port = (server.address() as { port: number }).port;
    });
    after(() => server?.close());

    const SIZE = 300_000;
    const script = `
import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as s:
    sent = bytes([0x16, 3, 1]) + bytes(${SIZE - 3})
    s.sendall(sent)
    got = 0
    while got < len(sent):
        got += len(s.recv(65536))
print(got)
`;

    it('is skipped and booked on the port of a model server', TIMEOUT, async () => {
      const config = join(folder, 'port.toml');
      writeFileSync(config, `[capture]\nplaintext_ports = [${port}]\n`);
      const run = await oispHost(['run', '--json', '--config', config, '--output', '/dev/null', '--', PROGRAMS.python, '-c', script, String(port)]);
      assert.equal(run.stdout.trim(), String(SIZE), run.stderr);
      const { source } = statisticsOf(run.stderr);
      assert.ok((source.kernel['skipped']?.bytes ?? 0) >= 2 * SIZE, 'both directions are booked');
      assert.equal(source.kernel['emitted']?.bytes, 0, 'and none of it is copied');
    });

    it('is not looked at elsewhere', TIMEOUT, async () => {
      const run = await oispHost(['run', '--json', '--output', '/dev/null', '--', PROGRAMS.python, '-c', script, String(port)]);
      const { source } = statisticsOf(run.stderr);
      assert.deepEqual([source.kernel['seen']?.bytes, source.kernel['skipped']?.bytes], [0, 0]);
      assert.ok((source.kernel['sock_other']?.calls ?? 0) > 0, 'the socket itself is counted');
    });
  });
});
