// HTTP/2 of real programs: curl and Node, over TLS and in plain text, many requests at once, and a connection that is older than the daemon.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { PATHS, PROGRAMS } from '../lib/clients.js';
import { eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon, until } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const run = promisify(execFile);
const JSON_TYPE = 'content-type: application/json';
const TIMEOUT = { timeout: 120_000 };
const H2_CLIENT = join(ROOT, 'test', 'lib', 'clients', 'h2.mjs');

interface Client {
  readonly process: ChildProcess;
  round(mark: string, count: number): Promise<void>;
}

function h2Client(url: string): Client {
  const child = spawn(PROGRAMS.node, [H2_CLIENT, url], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
  });
  let said = '';
  child.stdout?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  return {
    process: child,
    async round(mark, count) {
      child.stdin?.write(`${mark} ${count}\n`);
      await until(`done ${mark}`, () => said.includes(`done ${mark}\n`), 30_000);
    },
  };
}

const promptOf = (event: SeenEvent): string => ((event.data['messages'] as { content?: string }[] | undefined)?.[0]?.content ?? '') as string;
const textOf = (event: SeenEvent): string => (event.data['choices'] as { message: { content: string } }[])[0]?.message.content ?? '';

/** The events of the requests whose prompt begins with a mark, with their answers, by number. */
function pairsOf(events: readonly SeenEvent[], mark: string): Map<number, { request: SeenEvent; response: SeenEvent | undefined }> {
  const responses = ofType(events, 'ai.response');
  const pairs = new Map<number, { request: SeenEvent; response: SeenEvent | undefined }>();
  for (const request of ofType(events, 'ai.request')) {
    const found = new RegExp(`^${mark}-(\\d+) `).exec(promptOf(request));
    if (!found) continue;
    assert.ok(!pairs.has(Number(found[1])), `two requests for ${found[0]}`);
    pairs.set(Number(found[1]), { request, response: responses.find((response) => response.data['request_id'] === request.data['request_id']) });
  }
  return pairs;
}

function checkRound(events: readonly SeenEvent[], mark: string, count: number): void {
  const pairs = pairsOf(events, mark);
  assert.equal(pairs.size, count, `${mark}: requests`);
  for (const [n, { request, response }] of pairs) {
    assert.equal(promptOf(request), `${mark}-${n} ${'x'.repeat(n * 1000)}`);
    assert.deepEqual([request.confidence.completeness, request.ext?.oisp_host?.['http_version']], ['full', '2']);
    assert.ok(response, `${mark}-${n} has no response`);
    assert.equal(response.confidence.completeness, 'full', `${mark}-${n}: ${JSON.stringify(response.confidence)}`);
    assert.equal(response.data['streaming'], n % 3 === 1);
    assert.equal(response.data['finish_reason'], 'stop');
    assert.ok(textOf(response).length > 0);
    assert.deepEqual(response.related_events, [{ event_id: request.event_id, relationship: 'parent' }]);
  }
}

describe('HTTP/2', () => {
  const mocks: Mock[] = [];
  const clients: ChildProcess[] = [];
  const serve = async (plain: boolean): Promise<Mock> => {
    const mock = await startMock({ http2: true, plain });
    mocks.push(mock);
    return mock;
  };
  const start = (url: string): Client => {
    const client = h2Client(url);
    clients.push(client.process);
    return client;
  };
  before(() => mustProbe());
  after(async () => {
    for (const client of clients) client.kill('SIGKILL');
    for (const mock of mocks) await mock.close();
  });

  it('sees forty requests at once on one connection of Node, and curl, each with its answer', TIMEOUT, async () => {
    const mock = await serve(false);
    const output = join(scratch('h2'), 'out.jsonl');
    const daemon = await startDaemon(['--output', output]);
    const client = start(mock.url);
    await client.round('first', 40);
    await client.round('second', 10);
    const body = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'curl-0 ' }] });
    const { stdout } = await run(PROGRAMS.curl, ['-sk', '--http2', '-w', '%{http_version}', `${mock.url}${PATHS.plain}`, '-H', JSON_TYPE, '-d', body]);
    assert.ok(stdout.endsWith('}2'), stdout);
    client.process.stdin?.end();
    await daemon.stop();
    const events = eventsOf(output);
    checkRound(events, 'first', 40);
    checkRound(events, 'second', 10);
    checkRound(events, 'curl', 1);
    assert.equal(ofType(events, 'ai.request').length, 51);
    const { request } = pairsOf(events, 'first').get(0) as { request: SeenEvent };
    assert.equal((request.data['provider'] as { endpoint: string }).endpoint, `${mock.url}/v1/chat/completions`);
    assert.equal((request.data['auth'] as { type: string }).type, 'api_key');
  });

  it('sees what goes over a connection that is older than the daemon, and says which headers it cannot know', TIMEOUT, async () => {
    const mock = await serve(false);
    const client = start(mock.url);
    await client.round('before', 3);
    const output = join(scratch('h2-joined'), 'out.jsonl');
    const daemon = await startDaemon(['--output', output]);
    await client.round('joined', 6);
    await client.round('later', 6);
    client.process.stdin?.end();
    await daemon.stop();
    const events = eventsOf(output);
    assert.equal(pairsOf(events, 'before').size, 0);
    for (const mark of ['joined', 'later']) {
      const pairs = pairsOf(events, mark);
      assert.equal(pairs.size, 6, mark);
      for (const [n, { request, response }] of pairs) {
        assert.equal(promptOf(request), `${mark}-${n} ${'x'.repeat(n * 1000)}`);
        assert.ok(response && textOf(response).length > 0);
        assert.deepEqual([request.confidence.completeness, request.confidence.missing], ['partial', ['request_headers']]);
        assert.equal((request.data['model'] as { id: string }).id, 'gpt-4o');
      }
    }
  });

  it('sees prior knowledge in plain text', TIMEOUT, async () => {
    const mock = await serve(true);
    const folder = scratch('h2c');
    const output = join(folder, 'out.jsonl');
    writeFileSync(join(folder, 'config.toml'), `[capture]\nplaintext_ports = [${mock.port}]\n`);
    const daemon = await startDaemon(['--config', join(folder, 'config.toml'), '--output', output]);
    const body = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'plain-0 ' }] });
    const { stdout } = await run(PROGRAMS.curl, ['-s', '--http2-prior-knowledge', `${mock.url}${PATHS.plain}`, '-H', JSON_TYPE, '-d', body]);
    const answer = JSON.parse(stdout) as { choices: { message: { content: string } }[] };
    await daemon.stop();
    const events = eventsOf(output);
    checkRound(events, 'plain', 1);
    const { response } = pairsOf(events, 'plain').get(0) ?? {};
    assert.equal(response && textOf(response), answer.choices[0]?.message.content);
  });
});
