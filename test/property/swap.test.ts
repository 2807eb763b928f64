// Properties of a hot swap: whenever a module is replaced, between any two records and however often, the events are those of one that never was.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { Chain } from '../../host/src/decode/chain.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { Completeness } from '../../host/src/gen/records.js';
import { Random } from '../fuzz/random.js';
import { Subject } from '../fuzz/subject.js';
import { type Exchange, h2Pieces } from '../lib/h2-wire.js';
import { connInfo, type Message, messagesOf, unpackAll, Wire } from '../lib/records.js';
import { ROOT } from '../lib/run.js';
import { loadVectors } from '../lib/vector.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? 4);
const http = loadDecoder(join(ROOT, 'dist', 'decoders', 'http.wasm'));
const LEDGER = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'];

describe('events do not depend on when modules are replaced', () => {
  const subject = new Subject();
  for (const vector of loadVectors(join(ROOT, 'test', 'vectors'))) {
    it(vector.path, () => {
      const whole = subject.whole(vector);
      for (let seed = 1; seed <= RUNS; seed++) {
        assert.equal(subject.swapped(vector, new Random(seed)), whole, `seed ${seed}`);
        const { traps, rejected, balanced } = subject.state();
        assert.deepEqual([traps, rejected, balanced], [0, 0, true], `seed ${seed}`);
      }
    });
  }
});

/** Messages of the http module while it is replaced by itself. @param swaps whether before that record */
function read(records: readonly Buffer[], swaps: (index: number) => boolean): { messages: Message[]; counters: Record<string, number> } {
  const lane0: Buffer[] = [];
  const chain = new Chain([http], { tap: (_, lane, bytes) => lane === 0 && void lane0.push(Buffer.from(bytes)) });
  const ignore = () => undefined;
  chain.process(connInfo('example.com', { tgid: 1, ssl: 2, generation: 3 }), ignore);
  records.forEach((record, i) => {
    if (swaps(i)) chain.swap(http, ignore);
    chain.process(record, ignore);
  });
  chain.flush(ignore);
  const stats = chain.stats()['http'];
  assert.deepEqual([stats?.traps, stats?.rejected, stats?.held], [0, 0, 0]);
  const counters = stats?.counters ?? {};
  assert.equal(
    counters['in_bytes'],
    LEDGER.reduce((sum, key) => sum + (counters[key] ?? 0), 0),
  );
  return { messages: messagesOf(unpackAll(Buffer.concat(lane0))), counters };
}

const essence = (messages: readonly Message[]) =>
  messages.map(({ head, records: _, ...rest }) => ({ ...rest, body: rest.body.toString('latin1'), head: head && { ...head, origin: head.origin.length } }));

test('an HTTP/2 connection goes from one instance to the next with its header tables', async () => {
  const exchangeArb: fc.Arbitrary<Exchange> = fc.record({
    headers: fc
      .dictionary(fc.constantFrom('x-a', 'x-b', 'x-c', 'x-d'), fc.stringMatching(/^[a-z]{0,40}$/))
      .map((more) => ({ ':method': 'POST', ':path': '/v1', ...more })),
    body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    status: fc.constantFrom(200, 404),
    answerHeaders: fc.constantFrom<Record<string, string>>({ 'x-e': 'one' }, { 'x-e': 'two', 'content-encoding': 'gzip' }),
    answer: fc.constant(gzipSync('data: {"delta":"hello"}\n\n'.repeat(20))),
    piece: fc.integer({ min: 20, max: 400 }),
    hints: fc.constant(false),
    padding: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(exchangeArb, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.integer({ min: 2, max: 30 }),
      async (exchanges, together, every) => {
        const wire = new Wire(undefined, true);
        for (const { side, bytes } of await h2Pieces(exchanges, { together, settings: { headerTableSize: 4096 } })) wire[side](bytes);
        const { records } = wire.close();
        const still = read(records, () => false);
        const moved = read(records, (i) => i % every === 0);
        assert.deepEqual(essence(moved.messages), essence(still.messages));
        for (const key of ['in_bytes', 'connections', 'heads', 'ends', 'connections_open', 'pending_bytes', 'connections_h2', 'h2_fields_unknown'])
          assert.equal(moved.counters[key], still.counters[key], key);
      },
    ),
    { numRuns: RUNS * 3 },
  );
});

test('thousands of connections go over, in whatever order their messages end', () => {
  const random = new Random(7);
  const conns = Array.from({ length: 3000 }, (_, n) => new Wire({ tgid: 1 + (n % 50), ssl: 64 * n, generation: n }));
  const lane0: Buffer[] = [];
  const chain = new Chain([http], { tap: (_, lane, bytes) => lane === 0 && void lane0.push(Buffer.from(bytes)) });
  const ignore = () => undefined;
  const give = (wire: Wire) => {
    for (const record of wire.records.splice(0)) chain.process(record, ignore);
  };
  const order = conns.map((wire) => ({ wire, at: random.below(1 << 30) })).sort((a, b) => a.at - b.at);
  for (const { wire } of order) give(wire.write('GET / HTTP/1.1\r\n\r\n'));
  order.sort((a, b) => (a.at % 1009) - (b.at % 1009));
  order.forEach(({ wire }, i) => {
    // Each instance is replaced before it has seen everything through, and one more than may see things through at a time.
    if (i % 1000 === 1) chain.swap(http, ignore);
    give(wire.read('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    if (random.once(2)) give(wire.close());
  });
  const messages = messagesOf(unpackAll(Buffer.concat(lane0)));
  assert.equal(messages.length, 6000);
  assert.deepEqual(
    messages.filter(({ end }) => end?.completeness !== Completeness.full),
    [],
  );
  assert.deepEqual([chain.stats()['http']?.traps, chain.stats()['http']?.rejected], [0, 0]);
});
