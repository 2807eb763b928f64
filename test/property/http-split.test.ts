// Properties of the http module over generated connections: how the bytes are cut never matters, every byte is accounted for, nothing traps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import type { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { type ConnName, decoder, flushRecords, type Message, messagesOf, recut, runRecords, type Side, sysExit, Wire } from '../lib/records.js';

type Coding = 'none' | 'gzip' | 'members' | 'zlib' | 'raw' | 'br' | 'zstd' | 'stacked';
type Framing = 'length' | 'chunked' | 'none';

interface Part {
  readonly start: string;
  readonly headers: [string, string][];
  readonly body: Uint8Array;
  readonly framing: Framing;
  readonly coding: Coding;
  readonly chunk: number;
  readonly trailer: boolean;
}

const headerArb = fc
  .tuple(fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/), fc.stringMatching(/^[!-~ \xe9\xff]{0,40}$/))
  .filter(([name]) => !/^(content-|transfer-)/i.test(name));
const bodyArb = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.integer({ min: 0, max: 3000 }).map((n) => Buffer.from('{"text":"hello"}\r\n'.repeat(n).slice(0, n))),
);
const partArb = (start: fc.Arbitrary<string>) =>
  fc.record<Part>({
    start,
    headers: fc.array(headerArb, { maxLength: 6 }),
    body: bodyArb,
    framing: fc.constantFrom<Framing>('length', 'chunked', 'none'),
    coding: fc.constantFrom<Coding>('none', 'none', 'gzip', 'members', 'zlib', 'raw', 'br', 'zstd', 'stacked'),
    chunk: fc.integer({ min: 1, max: 200 }),
    trailer: fc.boolean(),
  });
const requestArb = partArb(fc.constantFrom('GET / HTTP/1.1', 'POST /v1/chat?x=y HTTP/1.1', 'HEAD /h HTTP/1.1', 'PUT /p HTTP/1.0', 'QUERY /q HTTP/1.1'));
const responseArb = partArb(fc.constantFrom('HTTP/1.1 200 OK', 'HTTP/1.1 500 ', 'HTTP/1.1 404', 'HTTP/1.1 304 Not Modified', 'HTTP/1.0 200 Fine\xff'));

function coded(part: Part): Buffer {
  const body = Buffer.from(part.body);
  const half = body.length >> 1;
  switch (part.coding) {
    case 'gzip':
      return gzipSync(body);
    case 'members':
      return Buffer.concat([gzipSync(body.subarray(0, half)), gzipSync(body.subarray(half))]);
    case 'zlib':
      return deflateSync(body);
    case 'raw':
      return deflateRawSync(body);
    case 'br':
      return brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
    case 'zstd':
      return zstdCompressSync(body);
    case 'stacked':
      return brotliCompressSync(gzipSync(body), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
  }
  return body;
}

function bytesOf(part: Part): Buffer {
  const body = coded(part);
  const names = { none: '', gzip: 'gzip', members: 'gzip', zlib: 'deflate', raw: 'deflate', br: 'br', zstd: 'zstd', stacked: 'gzip, br' };
  const lines = [part.start, ...part.headers.map(([name, value]) => `${name}: ${value}`)];
  if (part.coding !== 'none') lines.push(`Content-Encoding: ${names[part.coding]}`);
  if (part.framing === 'length') lines.push(`Content-Length: ${body.length}`);
  if (part.framing === 'chunked') lines.push('Transfer-Encoding: chunked');
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (part.framing !== 'chunked') return part.framing === 'length' ? Buffer.concat([head, body]) : head;
  const pieces: Buffer[] = [head];
  for (let at = 0; at < body.length; at += part.chunk) {
    const piece = body.subarray(at, at + part.chunk);
    pieces.push(Buffer.from(`${piece.length.toString(16)}${part.trailer ? ';x=1' : ''}\r\n`), piece, Buffer.from('\r\n'));
  }
  pieces.push(Buffer.from(part.trailer ? '0\r\nX-Trailer: 1\r\n\r\n' : '0\r\n\r\n'));
  return Buffer.concat(pieces);
}

interface Turn {
  readonly requests: Part[];
  readonly responses: Part[];
  readonly interim: boolean;
  readonly noise: string;
}

const turnArb = fc.record<Turn>({
  requests: fc.array(requestArb, { minLength: 1, maxLength: 3 }),
  responses: fc.array(responseArb, { maxLength: 3 }),
  interim: fc.boolean(),
  noise: fc.oneof(
    { weight: 6, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom('\r\n', 'junk', 'junk\r\n', 'GET nonsense\r\n', 'A: b\rc\r\n', '\0\x01\x02') },
  ),
});

type Damage = 'none' | 'lose' | 'again' | 'flip';

interface Scene {
  readonly turns: Turn[];
  readonly damage: { turn: number; side: Side; at: number; length: number; kind: Damage }[];
  readonly opened: boolean;
  readonly skip: number;
  readonly server: boolean;
  readonly close: 'close' | 'exit' | 'flush';
}

const sceneArb = fc.record<Scene>({
  turns: fc.array(turnArb, { minLength: 1, maxLength: 4 }),
  damage: fc.array(
    fc.record({
      turn: fc.integer({ min: 0, max: 3 }),
      side: fc.constantFrom<Side>('read', 'write'),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      length: fc.integer({ min: 1, max: 400 }),
      kind: fc.constantFrom<Damage>('none', 'none', 'lose', 'again', 'flip'),
    }),
    { maxLength: 3 },
  ),
  opened: fc.boolean(),
  skip: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 50 }) }),
  server: fc.boolean(),
  close: fc.constantFrom('close', 'exit', 'flush'),
});

/** Adds one stretch of bytes, with the damage that belongs to it. */
function put(wire: Wire, side: Side, bytes: Buffer, damage: Scene['damage']): void {
  for (const { at, length, kind } of damage) {
    const from = Math.floor(at * bytes.length);
    if (kind === 'flip' && bytes.length > 0) bytes[Math.min(from, bytes.length - 1)] = (bytes[Math.min(from, bytes.length - 1)] as number) ^ (length & 255);
    if (kind === 'lose') {
      wire[side](bytes.subarray(0, from)).lose(side, Math.min(length, bytes.length - from));
      bytes = bytes.subarray(from + length);
    }
  }
  wire[side](bytes);
  if (damage.some((d) => d.kind === 'again')) wire.again();
}

function wireOf(scene: Scene, conn: ConnName): Wire {
  const wire = new Wire(conn, scene.opened);
  const [there, back]: [Side, Side] = scene.server ? ['read', 'write'] : ['write', 'read'];
  if (scene.skip) wire.lose(there, scene.skip);
  scene.turns.forEach((turn, index) => {
    const damage = (side: Side) => scene.damage.filter((d) => d.turn === index && d.side === side);
    put(wire, there, Buffer.concat([...turn.requests.map(bytesOf), Buffer.from(turn.noise, 'latin1')]), damage(there));
    const interim = Buffer.from(turn.interim ? 'HTTP/1.1 100 Continue\r\n\r\n' : '');
    put(wire, back, Buffer.concat([interim, ...turn.responses.map(bytesOf)]), damage(back));
  });
  if (scene.close === 'close') wire.close();
  if (scene.close === 'exit') wire.records.push(sysExit(conn.tgid));
  return wire;
}

/** What must not depend on the cut: everything but the fixed part of the record and the number of http.body records. */
function essence(messages: Message[]) {
  return messages.map(({ head, records: _, ...rest }) => ({
    ...rest,
    body: rest.body.toString('latin1'),
    head: head && { ...head, origin: head.origin.length },
  }));
}

function balanced(module: DecoderModule): void {
  const s = module.stats() as Record<string, number>;
  const sum = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'].reduce(
    (n, key) => n + (s[key] as number),
    0,
  );
  assert.equal(s.in_bytes, sum, JSON.stringify(s));
}

function run(records: Buffer[], batch: number, outBytes = 1 << 20): { messages: Message[]; stats: Record<string, number> } {
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

/** More runs for a search by hand: FUZZ_RUNS=20000. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 400);

const CONN_A: ConnName = { tgid: 7, ssl: 1, generation: 1 };

test('any segmentation of the same bytes gives the same heads, bodies and ends, and every byte is in one bucket', () => {
  fc.assert(
    fc.property(sceneArb, fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 7 }), (scene, sizes, batch) => {
      const records = wireOf(scene, CONN_A).records;
      const whole = run(records, 1000);
      assert.deepEqual(
        essence(
          run(
            recut(records, (i) => sizes[i % sizes.length] as number),
            batch,
          ).messages,
        ),
        essence(whole.messages),
      );
      const bytewise = run(
        recut(records, () => 1),
        1 << 20,
      );
      assert.deepEqual(essence(bytewise.messages), essence(whole.messages));
      const { pending_bytes: a } = whole.stats;
      assert.equal(a, 0);
      for (const key of ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'gap_bytes', 'heads', 'ends']) {
        assert.equal(bytewise.stats[key], whole.stats[key], key);
      }
    }),
    { numRuns: RUNS },
  );
});

test('a scene without damage gives back every body that was sent', () => {
  const clean = sceneArb.map((scene) => ({ ...scene, damage: [], skip: 0, opened: false, turns: scene.turns.map((turn) => ({ ...turn, noise: '' })) }));
  fc.assert(
    fc.property(clean, (scene) => {
      const { messages } = run(wireOf(scene, CONN_A).records, 1000);
      const sent = scene.turns.flatMap((turn) => turn.requests);
      const got = messages.filter((m) => m.message === 0);
      if (sent.every((part) => part.framing !== 'chunked' || !part.start.endsWith('1.0'))) {
        assert.equal(got.length, sent.length);
        got.forEach((message, i) => {
          const part = sent[i] as Part;
          const expected = part.framing === 'none' ? Buffer.alloc(0) : Buffer.from(part.body);
          assert.ok(message.body.equals(expected), part.start);
          assert.equal(message.head?.headers.length, 2 * (part.headers.length + Number(part.coding !== 'none') + Number(part.framing !== 'none')));
        });
      }
    }),
    { numRuns: 300 },
  );
});

test('where a limit cuts does not depend on how the bytes were cut', () => {
  const long = (n: number) => 'v'.repeat(n);
  const streams: string[] = [
    `POST /a HTTP/1.1\r\nX-Long: ${long(1 << 17)}\r\nContent-Length: 2\r\n\r\nok`,
    ...[16_366, 16_367, 16_368, 16_369, 16_370, 16_371, 40_000].map((n) => `GET /${long(n)} HTTP/1.1\r\nA: b\r\n\r\n`),
    ...[16_380, 16_381, 16_382, 16_383].map((n) => `GET / HTTP/1.1\r\nA: ${long(n)}\r\n\r\n`),
    `GET / HTTP/1.1\r\nA: ${long(20_000)}\n\r\n`,
    `POST / HTTP/1.1\r\nContent-Length:${' '.repeat(20_000)}5\r\n\r\nhello`,
    `GET / HTTP/1.1\r\n${`X-Y: ${long(60)}\xff\r\n`.repeat(1500)}\r\n`,
    `GET / HTTP/1.1\r\nbad line\r\n${long(40_000)}GET /found HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\nbad line\r\n${long(40_000)}\r\nGET /${long(16_367)} HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\nbad line\r\n${long(40_000)}\r\nGET /${long(16_380)} HTTP/1.1\r\n\r\n`,
  ];
  const chains = streams.map((text) => new Wire(CONN_A).write(`${text}GET /last HTTP/1.1\r\n\r\n`).close().records);
  for (const records of chains) {
    const whole = run(records, 1);
    assert.equal(whole.messages.filter((m) => m.message === 0).at(-1)?.head?.target, '/last');
    for (const size of [1, 7, 1000, 16_383, 16_384, 16_385, 16_387, 33_000]) {
      const cut = run(
        recut(records, () => size),
        1 << 20,
      );
      assert.deepEqual(essence(cut.messages), essence(whole.messages), `pieces of ${size}`);
      for (const key of ['framing_bytes', 'resync_bytes', 'heads_cut']) assert.equal(cut.stats[key], whole.stats[key], key);
    }
  }
});

test('a small lane stops and resumes without changing anything', () => {
  const big = Buffer.from('data: {"delta":"some text that repeats"}\n\n'.repeat(40_000));
  const part = (framing: Framing, coding: Coding, chunk: number): Part => ({
    start: 'HTTP/1.1 200 OK',
    headers: [['A', 'b'.repeat(9000)]],
    body: big,
    framing,
    coding,
    chunk,
    trailer: false,
  });
  const wire = new Wire();
  for (const [framing, coding, chunk] of [
    ['length', 'none', 1],
    ['chunked', 'none', 100_000],
    ['chunked', 'gzip', 777],
    ['length', 'zlib', 1],
  ] as const) {
    wire.write('GET / HTTP/1.1\r\n\r\n').read(bytesOf(part(framing, coding, chunk)));
  }
  for (let i = 0; i < 60; i++) wire.write(`GET /${i} HTTP/1.1\r\nA: ${'c'.repeat(15_000)}\r\n\r\n`);
  const records = wire.close().records;
  const wide = run(records, 1000, 16 << 20);
  assert.deepEqual(essence(run(records, 1000, 256 << 10).messages), essence(wide.messages));
  assert.deepEqual(
    essence(
      run(
        recut(records, () => 5000),
        50,
        256 << 10,
      ).messages,
    ),
    essence(wide.messages),
  );
  for (const stream of [0, 1, 2, 3]) assert.ok(wide.messages.find((m) => m.message === 1 && m.stream === stream)?.body.equals(big));
});

test('many connections at once, with few allowed, end every message exactly once', () => {
  fc.assert(
    fc.property(fc.array(sceneArb, { minLength: 2, maxLength: 6 }), fc.array(fc.nat(5), { maxLength: 60 }), (scenes, order) => {
      const lists = scenes.map((scene, i) => wireOf(scene, { tgid: 100 + (i % 3), ssl: i, generation: 9 }).records);
      const mixed: Buffer[] = [];
      for (const pick of [...order, ...Array.from({ length: 200 }, (_, i) => i)]) {
        const next = lists[pick % lists.length]?.shift();
        if (next) mixed.push(next);
      }
      const module = decoder('http', { maxConnections: 2 });
      const lane0 = [];
      for (const record of mixed) {
        lane0.push(...runRecords(module, [record]).lane0);
        balanced(module);
      }
      lane0.push(...flushRecords(module));
      assert.equal(lane0.filter((r) => r[0] === 34).length, (module.stats() as { ends: number }).ends);
      assert.equal(module.stats().connections_open, 0);
      assert.equal(module.stats().pending_bytes, 0);
      assert.ok((module.stats().buffer_bytes as number) < 1 << 20);
    }),
    { numRuns: 100 },
  );
});

test('hostile bytes never trap, and memory stays bounded', () => {
  const module = decoder('http', { maxConnections: 64, memoryBytes: 128 << 20 });
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .constantFrom(
        'GET / HTTP/1.1\r\n',
        'HTTP/1.1 200 OK\r\n',
        'Transfer-Encoding: chunked\r\n',
        'Content-Encoding: gzip\r\n',
        'Content-Length: 100000\r\n',
        '\r\n',
        '\n',
        '\r',
        'ffffff\r\n',
        '0\r\n\r\n',
        '\x1f\x8b\x08\0\0\0\0\0\0\x03',
        ' ',
        ':',
      )
      .map((text) => Buffer.from(text, 'latin1')),
    fc.integer({ min: 1, max: 60_000 }).map((n) => Buffer.alloc(n, 'a')),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(pieces, fc.boolean(), fc.nat(100), fc.integer({ min: 0, max: 30 })), { maxLength: 40 }), (list) => {
      const wires = new Map<number, Wire>();
      for (const [bytes, write, ssl, lost] of list) {
        const wire = wires.get(ssl) ?? new Wire({ tgid: ssl % 5, ssl, generation: 1 }, ssl % 2 === 0);
        wires.set(ssl, wire);
        const side = write ? 'write' : 'read';
        if (lost > 25) wire.lose(side, lost);
        wire[side](bytes);
      }
      runRecords(
        module,
        [...wires.values()].flatMap((wire) => wire.records),
      );
      balanced(module);
    }),
    { numRuns: 500 },
  );
  flushRecords(module);
  balanced(module);
  assert.ok(module.memoryBytes < 100 << 20);
});

test('thousands of unfinished heads and inflates stay within the buffer limit', () => {
  const module = decoder('http', { maxConnections: 4096, memoryBytes: 112 << 20 });
  const head = `GET / HTTP/1.1\r\n${`X: ${'v'.repeat(1000)}\r\n`.repeat(60)}`;
  const zipped = gzipSync(Buffer.from(Array.from({ length: 6000 }, (_, i) => `${i * 7919}`).join(' ')));
  const answer = Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999999\r\n\r\n'), zipped.subarray(0, -9)]);
  for (let i = 0; i < 4000; i++) {
    const wire = new Wire({ tgid: i, ssl: i, generation: 1 }).write(i % 2 ? head : 'GET / HTTP/1.1\r\n\r\n');
    runRecords(module, i % 2 ? wire.records : wire.read(answer).records);
    assert.ok((module.stats().buffer_bytes as number) <= (64 << 20) + (1 << 18));
  }
  assert.ok((module.stats().connections_evicted as number) > 2000);
  balanced(module);
});
