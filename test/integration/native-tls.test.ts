// The TLS probes against a program with known bytes: every byte once, in order, at its place, or counted. It uses no network.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import { Direction, Kind, ProbeFunc, TlsFlag } from '../../host/src/gen/records.js';
import { mustProbe } from '../lib/run.js';
import { Capture, compileFixture, Fixture, pattern, type SeenRecord, symbolOffsets } from './native-kit.js';

let fixture = '';
before(() => {
  mustProbe();
  fixture = compileFixture();
});

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** What the fixture has of OpenSSL. */
const FUNCTIONS = [
  'SSL_read',
  'SSL_write',
  'SSL_read_ex',
  'SSL_write_ex',
  'SSL_write_ex2',
  'SSL_read_early_data',
  'SSL_write_early_data',
  'SSL_sendfile',
  'SSL_free',
  'SSL_clear',
];

interface Run {
  capture: Capture;
  pid: number;
  records: SeenRecord[];
}

/** Runs one scenario under a sensor of its own. */
async function observe(args: (string | number)[], options: ConstructorParameters<typeof Capture>[0] = {}): Promise<Run> {
  const capture = new Capture(options);
  assert.equal(capture.attach(fixture), FUNCTIONS.length);
  capture.start();
  const program = new Fixture(fixture, ...args);
  await program.go();
  await program.end();
  const records = (await capture.stop()).filter((r) => r.fields['tgid'] === program.pid && (r.kind === Kind.tls_data || r.kind === Kind.tls_close));
  return { capture, pid: program.pid, records };
}

/** Connections in the order of their first record; the key is ssl and generation. */
function connections(records: SeenRecord[]): SeenRecord[][] {
  const found = new Map<string, SeenRecord[]>();
  for (const record of records) {
    const key = `${record.fields['ssl']}/${record.fields['generation']}`;
    found.set(key, [...(found.get(key) ?? []), record]);
  }
  return [...found.values()];
}

/** The data records of one stream, checked to be contiguous from offset 0. */
function stream(records: SeenRecord[], direction: number): { bytes: Buffer; records: SeenRecord[] } {
  const data = records.filter((r) => r.kind === Kind.tls_data && r.fields['direction'] === direction);
  let offset = 0;
  for (const record of data) {
    assert.equal(record.fields['offset'], offset, 'offsets are contiguous');
    assert.equal(record.fields['len'], record.payload.length);
    offset += record.payload.length;
  }
  return { bytes: Buffer.concat(data.map((r) => r.payload)), records: data };
}

function assertBalanced(capture: Capture): void {
  const bytes = (bucket: Parameters<Capture['ledger']>[0]) => capture.ledger(bucket).bytes;
  assert.equal(bytes('seen'), bytes('emitted') + bytes('truncated') + bytes('ring_full') + bytes('fault'), 'the kernel ledger balances');
  assert.equal(capture.stats().ring.payloadBytes, bytes('emitted'), 'what was emitted was consumed');
  assert.equal(capture.stats().batches.payloadBytes, bytes('emitted'), 'what was consumed was handed over');
  assert.equal(capture.stats().ring.malformed, 0);
}

const closes = (records: SeenRecord[]) => records.filter((r) => r.kind === Kind.tls_close);

test('payloads of every size class arrive whole, in order and on one shard', async () => {
  const { capture, records } = await observe(['sizes']);
  assert.equal(connections(records).length, 1);
  const sizes = [1, 255, 256, 257, 1024, 1025, 4096, 4097, 16383, 16384, 16385, 32768, 100090];
  const total = sizes.reduce((a, b) => a + b);
  const written = stream(records, Direction.write);
  assert.equal(sha256(written.bytes), sha256(pattern(1, total)));
  assert.equal(sha256(stream(records, Direction.read).bytes), sha256(pattern(50, total)));
  const calls = written.records.filter((r) => r.fields['flags']! & TlsFlag.first);
  assert.deepEqual(
    calls.map((r) => r.fields['call_len']),
    sizes,
  );
  assert.equal(written.records.filter((r) => r.fields['flags']! & TlsFlag.last).length, sizes.length);
  assert.deepEqual(
    records.filter((r) => (r.fields['flags'] ?? 0) & TlsFlag.opened && r.kind === Kind.tls_data),
    [records[0]],
  );
  assert.equal(new Set(records.map((r) => r.shard)).size, 1);
  assert.equal(records[0]!.comm, 'native-tls');
  const end = closes(records);
  assert.deepEqual(
    end.map((r) => [r.fields['read_bytes'], r.fields['write_bytes'], r.fields['func']]),
    [[total, total, ProbeFunc.ssl_free]],
  );
  assert.equal(records.at(-1), end[0]);
  assertBalanced(capture);
});

test('only what a call reports as moved is captured: errors and retries are not', async () => {
  const { capture, records } = await observe(['failures']);
  const written = stream(records, Direction.write);
  assert.equal(sha256(written.bytes), sha256(pattern(1, 100090)));
  assert.equal(stream(records, Direction.read).records.length, 0);
  assert.equal(capture.ledger('seen').records, 1);
  assert.equal(capture.ledger('frame_lost').records, 0);
});

test('early data is told once, though other functions move it', async () => {
  const { capture, records } = await observe(['early']);
  const written = stream(records, Direction.write);
  assert.equal(sha256(written.bytes), sha256(pattern(1, 1200)));
  assert.equal(sha256(stream(records, Direction.read).bytes), sha256(pattern(50, 500)));
  assert.equal(capture.ledger('frame_lost').records, 0);
  assertBalanced(capture);
});

test('what SSL_sendfile sends is a counted gap of its length', async () => {
  const { capture, records } = await observe(['sendfiles']);
  const data = records.filter((r) => r.kind === Kind.tls_data);
  assert.deepEqual(
    data.map((r) => [r.fields['offset'], r.fields['len']]),
    [
      [0, 100],
      [5100, 50],
    ],
  );
  assert.deepEqual(capture.ledger('no_buffer'), { records: 1, bytes: 5000 });
  assert.deepEqual(
    closes(records).map((r) => r.fields['write_bytes']),
    [5150],
  );
  assertBalanced(capture);
});

test('SSL_write_ex that calls or jumps to SSL_write_ex2 tells its bytes once', async () => {
  const { capture, records } = await observe(['chains']);
  const found = connections(records);
  assert.equal(found.length, 2);
  const total = 5 * 100 + 17000 * (1 + 2 + 3 + 4);
  for (const connection of found) {
    const written = stream(connection, Direction.write);
    assert.equal(sha256(written.bytes), sha256(pattern(1, total + 10)));
    assert.deepEqual([...new Set(written.records.map((r) => r.fields['func']))], [ProbeFunc.ssl_write_ex2], 'told by the function that moved them');
    const read = stream(connection, Direction.read);
    assert.equal(sha256(read.bytes), sha256(pattern(50, total)));
    assert.deepEqual([...new Set(read.records.map((r) => r.fields['func']))], [ProbeFunc.ssl_read_ex]);
    assert.deepEqual(
      closes(connection).map((r) => r.fields['write_bytes']),
      [total + 10],
    );
  }
  assert.equal(capture.ledger('frame_lost').records, 0);
  assertBalanced(capture);
});

test('TLS inside TLS: a write inside a write on another object is told too', async () => {
  const { capture, records } = await observe(['nested']);
  const found = connections(records);
  assert.equal(found.length, 2);
  // The inner call returns first. The two may be on different shards, whose batches come in no order, so the kernel's time decides.
  found.sort((a, b) => Number(a[0]?.fields['ts_ns']) - Number(b[0]?.fields['ts_ns']));
  assert.equal(sha256(stream(found[0]!, Direction.write).bytes), sha256(pattern(99, 20 * 1005)));
  assert.equal(sha256(stream(found[1]!, Direction.write).bytes), sha256(pattern(1, 20 * 1000)));
  assertBalanced(capture);
});

test('more nested calls than there are slots: four are told, the others are counted', async () => {
  const { capture, records } = await observe(['deep']);
  assert.equal(connections(records).length, 4);
  assert.equal(capture.ledger('frame_lost').records, 2);
});

test('calls that never return (longjmp) do not use up the slots', async () => {
  const { capture, records } = await observe(['escapes']);
  assert.equal(stream(records, Direction.read).bytes.length, 40 * 64);
  assert.equal(capture.ledger('frame_lost').records, 0);
});

test('SSL_clear ends a connection, the next call begins another, a second SSL_free says nothing', async () => {
  const { records } = await observe(['clears']);
  const found = connections(records);
  assert.deepEqual(
    found.map((c) => c.map((r) => [r.kind, r.fields['func'], r.fields['len'] ?? r.fields['write_bytes']])),
    [
      [
        [Kind.tls_data, ProbeFunc.ssl_write, 300],
        [Kind.tls_close, ProbeFunc.ssl_clear, 300],
      ],
      [
        [Kind.tls_data, ProbeFunc.ssl_write, 400],
        [Kind.tls_close, ProbeFunc.ssl_free, 400],
      ],
    ],
  );
  assert.equal(found[0]![0]!.fields['ssl'], found[1]![0]!.fields['ssl']);
  for (const connection of found) assert.ok(connection[0]!.fields['flags']! & TlsFlag.opened);
});

test('memory that cannot be read is a counted gap, and the stream goes on behind it', async () => {
  const { capture, records } = await observe(['faults']);
  const data = records.filter((r) => r.kind === Kind.tls_data);
  assert.deepEqual(
    data.map((r) => [r.fields['offset'], r.fields['len'], r.fields['call_len']]),
    [
      [0, 16384, 65536],
      [16384, 16384, 65536],
      [65536, 10, 10],
    ],
  );
  assert.deepEqual(capture.ledger('fault'), { records: 2, bytes: 32768 });
  assertBalanced(capture);
});

for (const size of [1 << 20, 1_049_146, 4 << 20, (4 << 20) + 1, 5 << 20]) {
  test(`one call of ${size} bytes`, async () => {
    const limit = 4 << 20;
    const { capture, records } = await observe(['write', size], { ringBytes: 16 << 20 });
    const { bytes, records: data } = stream(records, Direction.write);
    assert.equal(bytes.length, Math.min(size, limit));
    assert.equal(sha256(bytes), sha256(pattern(1, Math.min(size, limit))));
    assert.equal(data[0]!.fields['call_len'], size);
    assert.equal(data.at(-1)!.fields['flags'], TlsFlag.last | (size > limit ? TlsFlag.truncated : 0));
    assert.deepEqual(capture.ledger('truncated'), size > limit ? { records: 1, bytes: size - limit } : { records: 0, bytes: 0 });
    assertBalanced(capture);
  });
}

test('many threads: each connection whole', async () => {
  const { capture, records } = await observe(['threads', 8, 300, 700], { ringBytes: 16 << 20 });
  const found = connections(records);
  assert.equal(found.length, 8);
  for (const connection of found) {
    const { bytes } = stream(connection, Direction.write);
    assert.equal(sha256(bytes), sha256(pattern(1, bytes.length)));
    assert.deepEqual(
      closes(connection).map((r) => r.fields['write_bytes']),
      [bytes.length],
    );
    assert.equal(new Set(connection.map((r) => r.shard)).size, 1);
  }
  assert.equal(capture.ledger('seen').records, 8 * 300);
  assert.equal(capture.ledger('frame_lost').records, 0);
  assertBalanced(capture);
});

test('a flood into a small ring loses bytes only where the ledger and the offsets say so', async () => {
  const { capture, records } = await observe(['threads', 4, 4000, 8192], { ringBytes: 256 << 10 });
  assertBalanced(capture);
  assert.equal(capture.ledger('seen').records, 16000);
  let seen = 0;
  for (const connection of connections(records)) {
    let end = 0;
    for (const record of connection.filter((r) => r.kind === Kind.tls_data)) {
      const offset = record.fields['offset']!;
      assert.ok(offset >= end, 'no byte is told twice');
      assert.ok(record.payload.equals(pattern(1, record.payload.length, offset)), 'bytes are at their place');
      end = offset + record.payload.length;
      seen += record.payload.length;
    }
    for (const close of closes(connection)) assert.ok(close.fields['write_bytes']! >= end);
  }
  assert.equal(seen, capture.ledger('emitted').bytes);
  assert.ok(capture.ledger('ring_full').bytes > 0, 'the flood was a flood');
});

test('symbolOffsets finds the probed functions', () => {
  const offsets = symbolOffsets(fixture);
  for (const name of FUNCTIONS) assert.ok(offsets.get(name)! > 0, name);
});
