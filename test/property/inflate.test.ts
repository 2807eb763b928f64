// The inflate of the http module against node:zlib: the same bytes at every cut, for every format, level and strategy; damage never passes as sound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync, deflateSync, gzipSync, inflateRawSync, type ZlibOptions } from 'node:zlib';
import fc from 'fast-check';
import { Completeness, TlsDataOffset } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { decoder, type Message, messagesOf, recut, runRecords, tlsClose, Wire } from '../lib/records.js';

const module = decoder('http', { inBytes: 1 << 20, outBytes: 1 << 20 });
let generation = 0;

function decode(coding: string, bytes: Buffer, size: (index: number) => number): Message {
  const conn = { tgid: 1, ssl: 1, generation: ++generation };
  const wire = new Wire(conn).write('GET / HTTP/1.1\r\n\r\n');
  wire.read(`HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  const records = [...wire.records, ...recut(new Wire(conn).read(bytes).records, size).map((record) => shift(record, wire)), tlsClose(0, 0, conn)];
  const messages = messagesOf(runRecords(module, records, 20).lane0);
  return messages.find((m) => m.message === 1) ?? assert.fail();
}

/** Moves a record behind what the wire has already read. */
function shift(record: Buffer, wire: Wire): Buffer {
  const result = Buffer.from(record);
  const head = wire.records.at(-1) as Buffer;
  const at = RECORD_AT + TlsDataOffset.offset;
  result.writeBigUInt64LE(record.readBigUInt64LE(at) + BigInt(head.length - RECORD_AT - TlsDataOffset.SIZE), at);
  return result;
}

const text = Buffer.from(Array.from({ length: 400 }, (_, i) => `data: {"i":${i},"delta":"${'ab'.repeat(i % 37)}"}\n\n`).join(''));
const short = text.subarray(0, 700);

test('gzip, zlib and raw deflate at every single cut', () => {
  for (const [coding, bytes] of [
    ['gzip', gzipSync(short)],
    ['deflate', deflateSync(short)],
    ['deflate', deflateRawSync(short)],
    ['gzip', Buffer.concat([gzipSync(short.subarray(0, 300)), gzipSync(short.subarray(300))])],
    ['gzip', gzipSync(short, { level: 0 })],
    ['gzip', gzipSync(short, { strategy: constants.Z_FIXED })],
  ] as const) {
    for (let cut = 1; cut < bytes.length; cut++) {
      const { body, end } = decode(coding, bytes, (i) => (i === 0 ? cut : 1 << 20));
      assert.ok(body.equals(short), `${coding} cut at ${cut}`);
      assert.equal(end?.completeness, Completeness.full);
    }
  }
});

test('any bytes, level, strategy and window, in any pieces', () => {
  const options = fc.record<ZlibOptions>({
    level: fc.integer({ min: 0, max: 9 }),
    strategy: fc.constantFrom(constants.Z_DEFAULT_STRATEGY, constants.Z_FILTERED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE, constants.Z_FIXED),
    windowBits: fc.integer({ min: 9, max: 15 }),
    memLevel: fc.integer({ min: 1, max: 9 }),
  });
  const data = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    fc.tuple(fc.integer({ min: 1, max: 200_000 }), fc.integer({ min: 1, max: 50_000 }), fc.integer()).map(([n, period, seed]) => {
      const bytes = Buffer.alloc(n);
      let state = seed | 1;
      for (let i = 0; i < n; i++) {
        state = (Math.imul(state, 1103515245) + 12345) | 0;
        bytes[i] = i >= period && state >>> 28 > 1 ? (bytes[i - period] as number) : state >>> 24;
      }
      return bytes;
    }),
  );
  fc.assert(
    fc.property(
      data,
      options,
      fc.constantFrom('gzip', 'zlib', 'raw'),
      fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 10 }),
      (bytes, opts, format, sizes) => {
        const packed = format === 'gzip' ? gzipSync(bytes, opts) : format === 'zlib' ? deflateSync(bytes, opts) : deflateRawSync(bytes, opts);
        const { body, end } = decode(format === 'gzip' ? 'gzip' : 'deflate', packed, (i) => sizes[i % sizes.length] as number);
        assert.ok(body.equals(Buffer.from(bytes)));
        assert.equal(end?.completeness, Completeness.full);
      },
    ),
    { numRuns: 300 },
  );
});

test('every optional field of a gzip header', () => {
  const plain = gzipSync(short);
  for (let flags = 0; flags < 32; flags++) {
    const parts = [Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3])];
    if (flags & 4) parts.push(Buffer.from([3, 0, 1, 2, 3]));
    if (flags & 8) parts.push(Buffer.from('name\0'));
    if (flags & 16) parts.push(Buffer.from('comment\0'));
    if (flags & 2) parts.push(Buffer.from([1, 2]));
    const bytes = Buffer.concat([...parts, plain.subarray(10)]);
    for (const size of [1, 3, 1000]) assert.ok(decode('gzip', bytes, () => size).body.equals(short), `flags ${flags} in pieces of ${size}`);
  }
});

test('damaged raw deflate: an error exactly when zlib says so, and the same bytes before it', () => {
  const packed = deflateRawSync(text, { level: 6 });
  fc.assert(
    fc.property(fc.integer({ min: 2, max: packed.length - 1 }), fc.integer({ min: 1, max: 255 }), fc.integer({ min: 1, max: 50 }), (at, flip, size) => {
      const damaged = Buffer.from(packed);
      damaged[at] = (damaged[at] as number) ^ flip;
      let expected: Buffer | undefined;
      try {
        expected = inflateRawSync(damaged);
      } catch {
        expected = undefined;
      }
      const whole = decode('deflate', damaged, () => 1 << 20);
      const cut = decode('deflate', damaged, () => size);
      assert.ok(cut.body.equals(whole.body));
      assert.equal(cut.end?.error, whole.end?.error);
      if (expected) assert.ok(whole.body.equals(expected));
      assert.equal(whole.end?.completeness === Completeness.full, expected !== undefined);
    }),
    { numRuns: 500 },
  );
});
