// Connections that carry no AI traffic: the kernel stops copying them, says how much it left out, and misses nothing that matters on them later.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { counterOf, type Statistics, statisticsOf } from '../lib/ledger.js';
import { eventsOf, mustProbe, ofType, oispHost, ROOT, type SeenEvent, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const ROUNDS = 3;

describe('verdict', () => {
  const folder = scratch('verdict');
  let secure: Mock;
  let plain: Mock;
  before(async () => {
    mustProbe();
    secure = await startMock();
    plain = await startMock({ plain: true });
  });
  after(async () => {
    await secure?.close();
    await plain?.close();
  });

  async function watch(name: string, url: string, settings: string, rounds = ROUNDS): Promise<{ events: SeenEvent[]; statistics: Statistics }> {
    const config = join(folder, `${name}.toml`);
    writeFileSync(config, `[capture]\n${settings}\n`);
    const output = join(folder, `${name}.jsonl`);
    const command = [PROGRAMS.node, join(ROOT, 'test', 'lib', 'clients', 'verdict.mjs'), url, String(rounds)];
    const ended = await oispHost(['run', '--json', '--config', config, '--output', output, '--', ...command], { env: { NODE_NO_WARNINGS: '1' } });
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, new RegExp(`^\\d+ ${rounds}\\n$`), 'one connection, every chat answered');
    return { events: eventsOf(output), statistics: statisticsOf(ended.stderr) };
  }

  function assertWhole(events: readonly SeenEvent[]): void {
    for (const type of ['ai.request', 'ai.response']) {
      const told = ofType(events, type);
      assert.deepEqual(
        told.map(({ data, confidence }) => [(data['model'] as { id: string }).id, confidence.completeness]),
        Array.from({ length: ROUNDS }, (_, round) => [`gpt-round-${round}`, 'full']),
        type,
      );
    }
    for (const [round, { data }] of ofType(events, 'ai.request').entries()) {
      const [message] = data['messages'] as { content: string }[];
      assert.equal(message?.content, `round ${round} ${'x'.repeat(30_000)}`);
    }
  }

  for (const [name, urlOf] of [
    ['TLS', () => secure.url],
    ['plaintext', () => plain.url],
  ] as const) {
    it(`skips the requests between, on ${name}, and tells every chat whole`, { timeout: 60_000 }, async (t) => {
      // Port 1 is nobody's: the plaintext is found by its first bytes.
      const { events, statistics } = await watch(name, urlOf(), 'plaintext_ports = [1]');
      assertWhole(events);
      const skipped = statistics.source.kernel['skipped'];
      assert.ok(skipped && skipped.bytes > 0, 'something was skipped');
      assert.ok(statistics.source.verdicts.given > 0);
      assert.equal(counterOf(statistics, 'http', 'skipped_bytes'), skipped.bytes, 'the decoder knows every skipped byte');
      assert.equal(counterOf(statistics, 'http', 'gap_bytes'), 0, 'and takes none of them for lost');
      assert.deepEqual(
        Object.values(statistics.ledger.lost),
        Object.values(statistics.ledger.lost).map(() => 0),
      );
      t.diagnostic(`${skipped.bytes} bytes in ${skipped.calls} calls skipped after ${statistics.source.verdicts.given} verdicts`);
    });
  }

  for (const [name, urlOf] of [
    ['TLS', () => secure.url],
    ['plaintext', () => plain.url],
  ] as const) {
    it(`knows the end of a connection that is skipped to its end, on ${name}`, { timeout: 60_000 }, async () => {
      const { events, statistics } = await watch(`end-${name}`, urlOf(), 'plaintext_ports = [1]', 0);
      assert.deepEqual(ofType(events, 'ai.request'), []);
      assert.ok((statistics.source.kernel['skipped']?.bytes ?? 0) > 0);
      assert.equal(counterOf(statistics, 'http', 'skipped_bytes'), statistics.source.kernel['skipped']?.bytes);
      assert.equal(counterOf(statistics, 'http', 'gap_bytes'), 0);
    });
  }

  it('leaves a tunnel alone once it is open: what goes through it is TLS that is seen where it is made', { timeout: 60_000 }, async () => {
    const tunnel = createServer().on('connect', (request: IncomingMessage, socket: Socket) => {
      const [host, port] = (request.url ?? '').split(':');
      const on = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(on).pipe(socket);
      });
      socket.on('error', () => on.destroy());
      on.on('error', () => socket.destroy());
    });
    await new Promise<void>((done) => tunnel.listen(0, '127.0.0.1', done));
    const body = JSON.stringify({ model: 'gpt-tunnel', messages: [{ role: 'user', content: 'x'.repeat(50_000) }] });
    const file = join(folder, 'tunnel.json');
    writeFileSync(file, body);
    // The first answer is slow, so that the verdict is there when the second request is written.
    const call = (slow: number) => [
      '-H',
      `x-mock: slow-${slow}`,
      '-H',
      'content-type: application/json',
      '-d',
      `@${file}`,
      `${secure.url}/v1/chat/completions`,
    ];
    const proxy = `http://127.0.0.1:${(tunnel.address() as AddressInfo).port}`;
    const options = ['-sS', '--insecure', '--http1.1', '-o', '/dev/null', '-x', proxy];
    const output = join(folder, 'tunnel.jsonl');
    const command = [PROGRAMS.curl, ...options, ...call(1000), '--next', ...options, ...call(0)];
    const ended = await oispHost(['run', '--json', '--output', output, '--', ...command]);
    tunnel.close();
    assert.equal(ended.code, 0, ended.stderr);
    const statistics = statisticsOf(ended.stderr);
    const events = eventsOf(output);
    assert.equal(ofType(events, 'ai.request').length, 2);
    assert.equal(ofType(events, 'ai.response').length, 2);
    assert.equal(counterOf(statistics, 'http', 'notes_not_ai'), 1);
    assert.ok((statistics.source.kernel['skipped']?.bytes ?? 0) > 50_000, 'the second request, encrypted, was not copied');
  });

  it('is not given when the configuration says so', { timeout: 60_000 }, async () => {
    const { events, statistics } = await watch('off', secure.url, 'verdicts = false');
    assertWhole(events);
    assert.deepEqual([statistics.source.kernel['skipped']?.bytes, statistics.source.verdicts.given], [0, 0]);
    assert.ok(counterOf(statistics, 'ai', 'notes_not_ai') > 0, 'the decoder has noted it all the same');
  });
});
