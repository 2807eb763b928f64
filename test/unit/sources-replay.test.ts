// Recordings: what was written comes back unchanged, whatever happens to the file, and within the credit.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { HostError } from '../../host/src/errors.js';
import type { HostContext, RecordBatch, SourceStats } from '../../host/src/events/source.js';
import { LAYOUT_VERSION } from '../../host/src/gen/records.js';
import { FRAME_BYTES, PREFIX_BYTES } from '../../host/src/sources/replay/format.js';
import { Recorder, ReplaySource } from '../../host/src/sources/replay/index.js';

const HOST: HostContext = { hostname: 'h', deviceId: 'ab', osVersion: 'Debian', arch: 'x86_64', kernelVersion: '6.1', users: { '0': 'root' } };
const SHARDS = 3;

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'oisp-replay-'));
});
after(() => rm(directory, { recursive: true, force: true }));

let serial = 0;
const freshPath = (): string => join(directory, `recording-${serial++}`);

const batches = fc.array(
  fc.record(
    {
      shard: fc.nat(SHARDS - 1),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 3000 }).map((b) => Uint8Array.from(b)),
      records: fc.constant(1),
      payloadBytes: fc.constant(1),
      clockOffsetNs: fc.bigInt(-(1n << 63n), (1n << 63n) - 1n),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 20 },
);

async function record(path: string, list: readonly RecordBatch[]): Promise<void> {
  const recorder = await Recorder.open(path, HOST, SHARDS);
  for (const batch of list) recorder.write(batch);
  await recorder.close();
}

interface Replayed {
  readonly got: RecordBatch[];
  readonly error: Error | undefined;
  readonly stats: SourceStats;
}

/** Plays a whole file, giving every byte back at once. */
async function replay(path: string): Promise<Replayed> {
  const source = await ReplaySource.open(path);
  const got: RecordBatch[] = [];
  const error = await new Promise<Error | undefined>((resolve) => {
    void source.start((batch) => {
      got.push(batch);
      source.credit(batch.shard, batch.bytes.length);
    }, resolve);
  });
  await source.stop();
  return { got, error, stats: source.stats() };
}

const counter = (stats: SourceStats, name: string): unknown => (stats['replay'] as SourceStats)[name];

test('property: every batch comes back in order, byte for byte', async () => {
  await fc.assert(
    fc.asyncProperty(batches, async (list) => {
      const path = freshPath();
      await record(path, list);
      const { got, error, stats } = await replay(path);
      assert.equal(error, undefined);
      assert.deepEqual(got, list);
      for (const { bytes } of got) assert.equal(bytes.buffer.byteLength, bytes.length);
      assert.equal(counter(stats, 'unfinished'), 0);
    }),
    { numRuns: 60 },
  );
});

test('property: a file cut anywhere gives its whole frames first, and never a wrong byte', async () => {
  await fc.assert(
    fc.asyncProperty(batches, fc.double({ min: 0, max: 1, noNaN: true }), async (list, part) => {
      const path = freshPath();
      await record(path, list);
      const size = (await stat(path)).size;
      const header = PREFIX_BYTES + (await readFile(path)).readUInt32LE(12);
      const cut = header + Math.floor((size - header) * part);
      await truncate(path, cut);
      const { got, error, stats } = await replay(path);
      const sizeOf = (batches: readonly RecordBatch[]): number => batches.reduce((sum, { bytes }) => sum + FRAME_BYTES + bytes.length, 0);
      const whole = list.filter((_, i) => header + sizeOf(list.slice(0, i + 1)) <= cut);
      assert.deepEqual(got, whole);
      const boundary = header + sizeOf(whole);
      const complete = cut === size;
      assert.equal(error instanceof HostError, !complete && cut !== boundary);
      assert.equal(counter(stats, 'truncated'), !complete && cut !== boundary ? 1 : 0);
      assert.equal(counter(stats, 'unfinished'), !complete && cut === boundary ? 1 : 0);
    }),
    { numRuns: 100 },
  );
});

test('property: a changed byte is refused or reported, and what is delivered before it is unchanged', async () => {
  await fc.assert(
    fc.asyncProperty(batches, fc.nat(), fc.integer({ min: 1, max: 255 }), async (list, place, flip) => {
      const path = freshPath();
      await record(path, list);
      const bytes = await readFile(path);
      const at = place % bytes.length;
      bytes[at] = (bytes[at] as number) ^ flip;
      await writeFile(path, bytes);
      let result: Replayed;
      try {
        result = await replay(path);
      } catch (error) {
        assert.ok(error instanceof HostError);
        assert.equal(error.code, 'RECORDING');
        return;
      }
      // The counts and the clock of a frame are outside its checksum; its bytes, order and number are not.
      assert.deepEqual(
        result.got.map((batch) => batch.bytes),
        list.slice(0, result.got.length).map((batch) => batch.bytes),
      );
      if (result.got.length < list.length) assert.ok(result.error instanceof HostError || counter(result.stats, 'unfinished') === 1);
    }),
    { numRuns: 200 },
  );
});

test('what is not a recording, or of another version, is refused with a reason', async () => {
  const path = freshPath();
  await record(path, []);
  const good = await readFile(path);
  const spoilt = (write: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(good);
    write(bytes);
    return bytes;
  };
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ['text', Buffer.from('hello, this is not a recording'), /not a recording/],
    ['empty', Buffer.alloc(0), /not a recording/],
    ['version', spoilt((b) => b.writeUInt16LE(9, 8)), /version 9, and this build reads 1/],
    ['layout', spoilt((b) => b.writeUInt16LE(99, 10)), new RegExp(`layout 99, and this build reads ${LAYOUT_VERSION}`)],
    ['header', spoilt((b) => b.writeUInt8(0, PREFIX_BYTES)), /checksum/],
    ['short', good.subarray(0, PREFIX_BYTES + 3), /ends inside its header/],
    ['giant', spoilt((b) => b.writeUInt32LE(0xffff_ffff, 12)), /damaged/],
  ];
  for (const [name, bytes, message] of cases) {
    const bad = join(directory, `bad-${name}`);
    await writeFile(bad, bytes);
    await assert.rejects(ReplaySource.open(bad), (error) => error instanceof HostError && error.code === 'RECORDING' && message.test(error.message));
  }
  for (const path of [join(directory, 'missing'), directory]) {
    await assert.rejects(ReplaySource.open(path), (error) => error instanceof HostError && error.code === 'INPUT');
  }
});

test('without credit no more than the bound is in flight; credit lets the rest pass; stop ends the wait', async () => {
  const path = freshPath();
  const list = Array.from(
    { length: 50 },
    (): RecordBatch => ({ shard: 0, bytes: new Uint8Array(1000).fill(7), records: 1, payloadBytes: 0, clockOffsetNs: 5n }),
  );
  await record(path, list);
  const source = await ReplaySource.open(path, { maxInFlightBytes: 4000 });
  let inFlight = 0;
  let highest = 0;
  let delivered = 0;
  await source.start(
    (batch) => {
      delivered += 1;
      inFlight += batch.bytes.length;
      highest = Math.max(highest, inFlight);
    },
    () => assert.fail('stopped sources do not end'),
  );
  for (let i = 0; i < 20; i += 1) await setImmediate();
  while (delivered < 30) {
    if (inFlight > 0) {
      inFlight -= 1000;
      source.credit(0, 1000);
    }
    await setImmediate();
  }
  assert.ok(highest <= 4000, `${highest} bytes in flight`);
  assert.ok((counter(source.stats(), 'stalls') as number) > 0);
  await source.stop();
  await source.stop();
  assert.ok(delivered < 50);
});

test('a recording is private, and an existing file is not written over unless asked', async () => {
  const path = freshPath();
  await writeFile(path, 'precious', { mode: 0o644 });
  await assert.rejects(Recorder.open(path, HOST, 1), (error) => error instanceof HostError && error.code === 'OUTPUT' && /EEXIST/.test(error.message));
  const recorder = await Recorder.open(path, HOST, 1, { overwrite: true });
  await recorder.close();
  await recorder.close();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const link = freshPath();
  await symlink(path, link);
  await assert.rejects(Recorder.open(link, HOST, 1, { overwrite: true }), (error) => error instanceof HostError && error.code === 'OUTPUT');
});

test('a full disk stops the recording once, with a message, and not the caller', async () => {
  const errors: HostError[] = [];
  await assert.rejects(Recorder.open('/dev/full', HOST, 1, { overwrite: true, onError: (e) => errors.push(e) }), HostError);
  assert.equal(errors.length, 1);
  assert.match(errors[0]?.message ?? '', /ENOSPC/);
});

test('the caller may transfer its bytes right after write', async () => {
  const path = freshPath();
  const bytes = new Uint8Array(64).fill(9);
  const recorder = await Recorder.open(path, HOST, 1);
  recorder.write({ shard: 0, bytes, records: 1, payloadBytes: 0, clockOffsetNs: 0n });
  structuredClone(bytes, { transfer: [bytes.buffer] });
  await recorder.close();
  const { got } = await replay(path);
  assert.deepEqual(got[0]?.bytes, new Uint8Array(64).fill(9));
  assert.equal((await ReplaySource.open(path)).host.hostname, 'h');
});
