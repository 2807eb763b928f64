// The decoder ABI library against msgpackr and TextDecoder, through a module compiled here that writes back what it reads; it ships with nothing.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { pack } from 'msgpackr';
import { type CompiledDecoder, compileDecoder, DecoderModule } from '../../host/src/decode/decoder-module.js';
import { unpackAll } from '../lib/records.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** Kind 1 echoes each element; kind 2 answers BAD; kind 3 asks for its elements one by one with FULL in between; kind 4 logs. */
const SOURCE = `
import { log } from '../../decoders-as/abi/env';
import { defineModule, eventsOut, recordsOut, resuming, setError, stat, Status } from '../../decoders-as/abi/module';
import { Reader, Type } from '../../decoders-as/abi/reader';
import { Writer } from '../../decoders-as/abi/writer';
export {
  oisp_abi, oisp_consumed, oisp_flush, oisp_in, oisp_init, oisp_last_error, oisp_manifest, oisp_out, oisp_out_len, oisp_process, oisp_resume,
  oisp_stats, oisp_tick,
} from '../../decoders-as/abi/module';

let done: u32 = 0;
let ticks: u64 = 0;

function value(out: Writer): void {
  const type = Reader.peek();
  if (type == Type.NIL) { Reader.nil(); out.nil(); }
  else if (type == Type.BOOL) out.boolean(Reader.boolean());
  else if (type == Type.INT) number(out);
  else if (type == Type.FLOAT) out.float(Reader.float());
  else if (type == Type.STR) { const at = Reader.str(); out.str(at, Reader.length); }
  else if (type == Type.BIN) { const at = Reader.bin(); const opened = out.openBin(); const half = Reader.length / 2;
    out.append(opened, at, half); out.append(opened, at + half, Reader.length - half); }
  else if (type == Type.ARRAY) { const n = Reader.array(); const opened = out.openArray(); for (let i: u32 = 0; i < n; i++) value(out); out.close(opened, n); }
  else if (type == Type.MAP) { const n = Reader.map(); out.map(n); for (let i: u32 = 0; i < 2 * n; i++) value(out); }
  else { const at = Reader.raw(); out.raw(at, Reader.length); }
}

function number(out: Writer): void {
  const at = Reader.at;
  const signed = Reader.int();
  if (!Reader.failed) { out.int(signed); return; }
  Reader.open(at, Reader.end);
  out.uint(Reader.uint());
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  if (kind == 2) { setError('bad record ', 7); return Status.BAD; }
  if (kind == 4) { log(at + 1, end - at - 1); return Status.DONE; }
  Reader.open(at, end);
  if (kind == 3) {
    if (!resuming) done = 0;
    for (let i: u32 = 0; i < done; i++) Reader.skip();
    while (Reader.at < end) {
      const mark = eventsOut.begin();
      eventsOut.array(1);
      value(eventsOut);
      if (!eventsOut.commit(mark)) return Status.FULL;
      done++;
    }
    return Status.DONE;
  }
  const mark = recordsOut.begin();
  const opened = recordsOut.openArray();
  let n: u32 = 0;
  while (Reader.at < end && !Reader.failed) { value(recordsOut); n++; }
  recordsOut.close(opened, n);
  return recordsOut.commit(mark) ? Status.DONE : Status.FULL;
}
function onInit(outCap: u32, _flags: u32, _maxConns: u32): i32 {
  if (outCap < 64) { setError('too small'); return -1; }
  return 0;
}
function onTick(seconds: u32): void { ticks = seconds; recordsOut.array(1); recordsOut.uint(seconds); }
function onFlush(): bool { eventsOut.array(0); return ticks-- > 0; }
function onStats(): void { stat('ticks', ticks); stat('replaced', recordsOut.replaced); }
defineModule('echo', '9.8.7', [1, 2, 3], [1], onInit, onRecord, onTick, onFlush, onStats);
`;

let compiled: CompiledDecoder;
before(async () => {
  const folder = join(ROOT, 'dist', 'abi-echo');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.ts'), SOURCE);
  const asc = await import('assemblyscript/asc');
  const args = [join('dist', 'abi-echo', 'index.ts'), '--config', 'asconfig.json', '--baseDir', ROOT, '--outFile', join('dist', 'abi-echo', 'echo.wasm')];
  const { error, stderr } = await asc.main(args);
  assert.equal(error, null, stderr.toString());
  compiled = compileDecoder(new Uint8Array(readFileSync(join(folder, 'echo.wasm'))));
});

function echo(outBytes = 1 << 16, log?: (line: string) => void): DecoderModule {
  return new DecoderModule(compiled, { inBytes: 1 << 20, outBytes, maxConnections: 1, memoryBytes: 64 << 20 }, log);
}

function run(module: DecoderModule, ...records: Uint8Array[]): [unknown[][], unknown[][]] {
  const lanes: [unknown[][], unknown[][]] = [[], []];
  module.process(Buffer.concat(records), (lane, bytes) => {
    lanes[lane].push(...unpackAll(Buffer.from(bytes)));
  });
  return lanes;
}

/** An array of the kind and elements that are msgpack already. */
function record(kind: number, ...elements: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([0xdc, 0, elements.length + 1, kind]), ...elements]);
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('the exports', () => {
  test('manifest, tick, flush, stats and log', () => {
    const lines: string[] = [];
    const module = echo(1 << 16, (line) => lines.push(line));
    assert.deepEqual(module.manifest, { name: 'echo', version: '9.8.7', consumes: [1, 2, 3], produces: [1] });
    const out: unknown[][] = [];
    module.tick(3, (_, bytes) => out.push(...unpackAll(Buffer.from(bytes))));
    assert.deepEqual(out, [[3]]);
    let flushed = 0;
    module.flush(() => flushed++);
    assert.equal(flushed, 4);
    assert.deepEqual(Object.keys(module.stats()), ['ticks', 'replaced']);
    run(module, record(4, pack('hello')));
    assert.deepEqual(lines, ['hello']);
  });

  test('init refuses with a reason', () => {
    assert.throws(() => echo(32), /oisp_init failed: too small/);
    assert.throws(() => echo(0), /a size of 0/);
  });

  test('a batch is rejected from the bad record on, and what came before stays done', () => {
    const module = echo();
    const seen: unknown[][] = [];
    const sink = (_: 0 | 1, bytes: Uint8Array) => seen.push(...unpackAll(Buffer.from(bytes)));
    assert.throws(() => module.process(Buffer.concat([record(1, pack('a')), record(2)]), sink), /bad record 7/);
    assert.deepEqual(seen, [['a']]);
    assert.deepEqual(run(module, record(1, pack('b')))[0], [['b']]);
  });

  test('every cut of a record is rejected, and nothing of it is written', () => {
    const module = echo();
    const whole = Buffer.from(pack([1, 'text', 70000, -5, 1.5, [1, { a: Buffer.from('x') }], null, true]));
    for (let n = 1; n < whole.length; n++) {
      let wrote = 0;
      assert.throws(() => module.process(whole.subarray(0, n), () => wrote++), /not a well-formed record at byte 0/);
      assert.equal(wrote, 0);
    }
  });

  test('a record that is answered with FULL goes on where it stopped', () => {
    const texts = Array.from({ length: 500 }, (_, i) => `${'t'.repeat(i % 50)}${i}`);
    const [, lane1] = run(echo(64), Buffer.from(pack([3, ...texts])), Buffer.from(pack([3, 'end'])));
    assert.deepEqual(
      lane1.map((r) => r[0]),
      [...texts, 'end'],
    );
  });
});

describe('the reader and the writer', () => {
  test('every form of an integer', () => {
    const forms: [string, number | bigint][] = [
      ['05', 5],
      ['ff', -1],
      ['cc 05', 5],
      ['cd 0005', 5],
      ['ce 00000005', 5],
      ['cf 0000000000000005', 5],
      ['d0 05', 5],
      ['d0 fb', -5],
      ['d1 fffb', -5],
      ['d2 fffffffb', -5],
      ['d3 fffffffffffffffb', -5],
      ['d3 0000000000000005', 5],
      ['cf ffffffffffffffff', 0xffffffffffffffffn],
      ['cf 8000000000000000', 0x8000000000000000n],
      ['d3 8000000000000000', -0x8000000000000000n],
    ];
    const [[out]] = run(echo(), record(1, ...forms.map(([bytes]) => hex(bytes)))) as [unknown[][], unknown[][]];
    assert.deepEqual(
      out,
      forms.map(([, value]) => value),
    );
  });

  test('the kind may be any whole number form, a float too', () => {
    for (const kind of ['01', 'cc01', 'd30000000000000001', 'cb3ff0000000000000', 'ca3f800000']) {
      assert.deepEqual(run(echo(), Buffer.concat([hex('92'), hex(kind), hex('07')]))[0], [[7]]);
    }
    assert.throws(() => run(echo(), hex('92 cb3ff8000000000000 07')), /not a well-formed/);
    assert.throws(() => run(echo(), hex('92 ff 07')), /not a well-formed/);
  });

  test('any value comes back as it was', () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.oneof(
          fc.constant(null),
          fc.boolean(),
          fc.integer(),
          fc.double({ noNaN: true }),
          fc.maxSafeInteger(),
          fc.string({ unit: 'binary', maxLength: 80 }),
          fc.uint8Array({ maxLength: 400 }).map((b) => Buffer.from(b)),
        ),
        fc.array(tie('value'), { maxLength: 20 }),
        fc.dictionary(fc.string({ maxLength: 40 }), tie('value'), { maxKeys: 18, noNullPrototype: true }),
      ),
    }));
    const module = echo();
    fc.assert(
      fc.property(value, (v) => {
        const [out] = run(module, record(1, pack(v)));
        assert.deepEqual(out, unpackAll(Buffer.concat([hex('91'), pack(v)])));
      }),
      { numRuns: 1000 },
    );
  });

  test('ill-formed UTF-8 is repaired as TextDecoder does it, and counted', () => {
    const module = echo();
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const bytes = fc.array(
      fc.oneof(
        fc.constantFrom(0xe0, 0xed, 0xf0, 0xf4, 0xc1, 0xc3, 0xf5, 0x80, 0x9f, 0xa0, 0xbf, 0x90, 0x8f),
        fc.integer({ min: 0, max: 255 }),
        fc.constant(0x61),
      ),
      {
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(bytes, (list) => {
        const text = Buffer.from(list);
        const [out] = run(module, record(1, Buffer.concat([Buffer.from([0xd9, text.length]), text])));
        assert.deepEqual(out, [[decoder.decode(text)]]);
      }),
      { numRuns: 3000 },
    );
    assert.ok((module.stats().replaced as number) > 0);
  });

  test('random bytes never trap: each batch is done or rejected', () => {
    const module = echo();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          module.process(Buffer.concat([hex('dc 0004 01'), bytes]), () => undefined);
        } catch (error) {
          assert.equal((error as { code: string }).code, 'rejected');
        }
      }),
      { numRuns: 5000 },
    );
  });
});
