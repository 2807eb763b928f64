// Properties of HTTP/2 in the http module over what Node's own http2 (nghttp2) and hpack.js write: what was sent is what is read, however the bytes are cut.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { Completeness } from '../../host/src/gen/records.js';
import { Flag, frame, PREFACE, request, settings, Type } from '../lib/h2-frames.js';
import { type Exchange, h2Pieces, type Piece } from '../lib/h2-wire.js';
import { decoder, flushRecords, type Message, messagesOf, recut, runRecords, Wire } from '../lib/records.js';

interface HpackField {
  name: string;
  value: string;
  huffman?: boolean;
  neverIndex?: boolean;
}
const hpack = createRequire(import.meta.url)('hpack.js') as {
  compressor: { create(options: { table: { maxSize: number } }): HpackCompressor };
};
interface HpackCompressor {
  write(fields: HpackField[]): void;
  updateTableSize(size: number): void;
  read(): Buffer | null;
}

const RUNS = Number(process.env.FUZZ_RUNS ?? 40);

const nameArb = fc
  .stringMatching(/^[a-z][a-z0-9-]{0,14}$/)
  .filter((name) => !/^(content-|transfer-|connection|upgrade|te$|host|keep-alive|proxy-|http2-|cookie|x-index|date)/.test(name));
const valueArb = fc.oneof(fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/), fc.constantFrom('', 'application/json', 'text/event-stream', 'a'.repeat(300)));
const headersArb = fc.array(fc.tuple(nameArb, valueArb), { maxLength: 8 }).map((list) => Object.fromEntries(list));
const bodyArb = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 50_000 }).map((n) => Buffer.from('data: {"delta":"hello"}\n\n'.repeat(n / 20 + 1).slice(0, n))),
);
const exchangeArb: fc.Arbitrary<Exchange> = fc
  .record({
    headers: headersArb,
    body: bodyArb,
    path: fc.stringMatching(/^\/[a-z/?=]{0,30}$/),
    status: fc.constantFrom(200, 201, 404, 429, 500),
    answerHeaders: headersArb,
    answer: bodyArb,
    piece: fc.integer({ min: 1, max: 20_000 }),
    gzip: fc.boolean(),
    trailers: fc.option(headersArb, { nil: undefined }),
    hints: fc.boolean(),
    padding: fc.boolean(),
  })
  .map(({ path, gzip, answer, answerHeaders, trailers, piece, ...rest }) => ({
    ...rest,
    headers: { ':method': 'POST', ':path': path, ...rest.headers },
    answerHeaders: gzip ? { ...answerHeaders, 'content-encoding': 'gzip' } : answerHeaders,
    answer: gzip ? gzipSync(answer) : answer,
    plain: answer,
    piece: Math.max(piece, Math.ceil(answer.length / 50)),
    ...(trailers ? { trailers } : {}),
  }));

/** What both ends said, in records. */
function wireOf(pieces: readonly Piece[], skip = { write: 0, read: 0 }): Wire {
  const wire = new Wire(undefined, true);
  const left = { ...skip };
  for (const { side, bytes } of pieces) {
    const lost = Math.min(left[side], bytes.length);
    left[side] -= lost;
    if (lost) wire.lose(side, lost);
    if (lost < bytes.length) wire[side](bytes.subarray(lost));
  }
  return wire.close();
}

function balanced(module: DecoderModule): void {
  const s = module.stats() as Record<string, number>;
  const keys = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'];
  assert.equal(
    s.in_bytes,
    keys.reduce((n, key) => n + (s[key] as number), 0),
    JSON.stringify(s),
  );
}

function run(records: Buffer[], batch = 1000, outBytes = 1 << 20): { messages: Message[]; stats: Record<string, number> } {
  const module = decoder('http', { outBytes });
  const lane0 = [];
  for (let at = 0; at < records.length; at += batch) {
    lane0.push(...runRecords(module, records.slice(at, at + batch)).lane0);
    balanced(module);
  }
  lane0.push(...flushRecords(module));
  balanced(module);
  return { messages: messagesOf(lane0), stats: module.stats() };
}

const essence = (messages: Message[]) =>
  messages.map(({ head, records: _, ...rest }) => ({ ...rest, body: rest.body.toString('latin1'), head: head && { ...head, origin: head.origin.length } }));

/** Header fields as an object, without the pseudo-header fields and those that the library adds. */
function fieldsOf(message: Message): Record<string, string> {
  const list = message.head?.headers ?? [];
  const pairs: [string, string][] = [];
  for (let i = 0; i < list.length; i += 2) pairs.push([list[i] as string, list[i + 1] as string]);
  return Object.fromEntries(pairs.filter(([name]) => !/^(:|date$|x-index$)/.test(name)));
}
const sent = (headers: object) => Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
const indexOf = (message: Message) => Number(message.head?.headers[message.head.headers.indexOf('x-index') + 1]);

test('what Node sends in HTTP/2 is what is read, one after the other and all at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(exchangeArb, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      fc.constantFrom(0, 100, 4096, 65_536),
      async (exchanges, together, table) => {
        const pieces = await h2Pieces(exchanges, { together, settings: { headerTableSize: table } });
        const { messages, stats } = run(wireOf(pieces).records);
        const requests = messages.filter((m) => m.message === 0);
        assert.equal(requests.length, exchanges.length);
        assert.equal(messages.length, 2 * exchanges.length);
        for (const asked of requests) {
          const exchange = exchanges[indexOf(asked)] as Exchange & { plain: Buffer };
          const answered = messages.find((m) => m.message === 1 && m.stream === asked.stream) as Message;
          assert.equal(asked.head?.target, exchange.headers[':path']);
          assert.deepEqual(fieldsOf(asked), sent(exchange.headers));
          assert.ok(asked.body.equals(exchange.body));
          assert.equal(answered.head?.status, exchange.status);
          assert.deepEqual(fieldsOf(answered), exchange.answerHeaders);
          assert.ok(answered.body.equals(exchange.plain), `${answered.body.length} of ${exchange.plain.length} bytes`);
          assert.deepEqual([asked.end?.completeness, answered.end?.completeness], [Completeness.full, Completeness.full]);
        }
        assert.deepEqual([stats.resync_bytes, stats.unrecognised_bytes, stats.h2_fields_unknown], [0, 0, 0]);
      },
    ),
    { numRuns: RUNS },
  );
});

test('any cut of the same HTTP/2 bytes gives the same messages, whole, joined in the middle, damaged or in a small lane', async () => {
  const damageArb = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 3000 }), fc.constantFrom('lose', 'flip')), {
    maxLength: 3,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(exchangeArb, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.record({ write: fc.constantFrom(0, 0, 10, 200), read: fc.constantFrom(0, 0, 30, 500) }),
      damageArb,
      fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 20 }),
      async (all, together, skip, damage, sizes) => {
        const exchanges = all.map((exchange, i) => ({ ...exchange, reset: (exchange.piece + i) % 5 === 0 }));
        let records = wireOf(await h2Pieces(exchanges, { together }), skip).records;
        for (const [where, length, kind] of damage) {
          const index = Math.floor(where * (records.length - 1));
          if (records.length === 0) break;
          if (kind === 'lose') records = records.filter((_, i) => i !== index);
          else {
            const bytes = Buffer.from(records[index] as Buffer);
            const at = bytes.length - 1 - (length % Math.max(1, bytes.length - 200));
            bytes[at] = (bytes[at] as number) ^ (length & 255);
            if (at > 180) records = records.map((record, i) => (i === index ? bytes : record));
          }
        }
        const whole = run(records);
        const cut = run(
          recut(records, (i) => sizes[i % sizes.length] as number),
          7,
        );
        assert.deepEqual(essence(cut.messages), essence(whole.messages));
        const bytewise = run(
          recut(records, () => 1),
          1 << 20,
        );
        assert.deepEqual(essence(bytewise.messages), essence(whole.messages));
        assert.deepEqual(essence(run(records, 1000, 256 << 10).messages), essence(whole.messages));
        for (const key of ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'gap_bytes', 'heads', 'ends']) {
          assert.equal(bytewise.stats[key], whole.stats[key], key);
        }
        assert.deepEqual([bytewise.stats.pending_bytes, bytewise.stats.h2_table_bytes, bytewise.stats.h2_streams_open], [0, 0, 0]);
      },
    ),
    { numRuns: RUNS },
  );
});

test('header blocks of hpack.js, with tables of every size and never-indexed fields, are read as they were written', () => {
  const fieldArb = fc.record({ name: nameArb, value: valueArb, huffman: fc.boolean(), neverIndex: fc.boolean() });
  const stepArb = fc.record({
    fields: fc.array(fieldArb, { minLength: 1, maxLength: 8 }),
    size: fc.option(fc.integer({ min: 0, max: 4096 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(stepArb, { minLength: 1, maxLength: 12 }), (steps) => {
      const compressor = hpack.compressor.create({ table: { maxSize: 4096 } });
      const wire = new Wire(undefined, true).write(Buffer.concat([PREFACE, settings()])).read(settings());
      steps.forEach(({ fields, size }, i) => {
        if (size !== undefined) compressor.updateTableSize(size);
        compressor.write([{ name: ':method', value: 'POST' }, { name: ':path', value: `/${i}` }, ...fields]);
        const parts: Buffer[] = [];
        for (let part = compressor.read(); part; part = compressor.read()) parts.push(part);
        wire.write(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 2 * i + 1, Buffer.concat(parts)));
      });
      const { messages } = run(wire.close().records);
      const heads = messages.filter((m) => m.message === 0);
      assert.deepEqual(
        heads.map((m) => [m.head?.target, m.head?.headers]),
        steps.map(({ fields }, i) => [`/${i}`, fields.flatMap(({ name, value }) => [name, value])]),
      );
    }),
    { numRuns: 10 * RUNS },
  );
});

test('hostile frames never trap, and memory stays bounded', () => {
  const module = decoder('http', { maxConnections: 64, memoryBytes: 128 << 20 });
  const frameArb = fc
    .tuple(fc.integer({ min: 0, max: 10 }), fc.nat(255), fc.constantFrom(0, 1, 3, 5, 7, 2, 0x7fffffff), fc.uint8Array({ maxLength: 60 }))
    .map(([type, flags, stream, payload]) => frame(type, flags, stream, payload));
  const pieceArb = fc.oneof(
    { weight: 5, arbitrary: frameArb },
    { weight: 2, arbitrary: fc.constantFrom(request(1), request(3, 0), PREFACE, settings([5, 1 << 20])) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 40_000 }).map((n) => Buffer.alloc(n, 0x82)) },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(pieceArb, fc.boolean(), fc.nat(40), fc.integer({ min: 0, max: 30 })), { maxLength: 60 }), (list) => {
      const wires = new Map<number, Wire>();
      for (const [bytes, write, ssl, lost] of list) {
        const wire = wires.get(ssl) ?? new Wire({ tgid: ssl % 5, ssl, generation: 1 }, true).write(Buffer.concat([PREFACE, settings()])).read(settings());
        wires.set(ssl, wire);
        const side = write ? 'write' : 'read';
        if (lost > 27) wire.lose(side, lost);
        wire[side](bytes);
      }
      runRecords(
        module,
        [...wires.values()].flatMap((wire) => wire.records),
      );
      balanced(module);
    }),
    { numRuns: 12 * RUNS },
  );
  flushRecords(module);
  balanced(module);
  assert.deepEqual([module.stats().h2_streams_open, module.stats().h2_table_bytes], [0, 0]);
  assert.ok(module.memoryBytes < 100 << 20, String(module.memoryBytes));
});
