// Tests that the host refuses decoder modules that break the ABI or reach for more than the sandbox gives, and survives those that misbehave.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pack } from 'msgpackr';
import { Chain } from '../../host/src/decode/chain.js';
import { compileDecoder, DecoderError, DecoderModule } from '../../host/src/decode/decoder-module.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { recordEnds } from '../../host/src/decode/record-ends.js';
import { Kind } from '../../host/src/gen/records.js';
import { tlsData, unpackAll } from '../lib/records.js';
import { ROOT } from '../lib/run.js';
import { type Shape, wasm } from '../lib/wasm-module.js';

const LIMITS = { inBytes: 4096, outBytes: 4096, maxConnections: 4, memoryBytes: 1 << 20 };

const refused = (pattern: RegExp) => (error: unknown) => error instanceof DecoderError && error.code === 'refused' && pattern.test(error.message);
const decoder = (shape: Shape, name = 'odd') => ({ name, version: '1', compiled: compileDecoder(wasm(shape)) });
const batch = new Uint8Array([0x92, Kind.tls_data, 0xc4, 0]);
const ignore = () => undefined;

describe('a decoder module', () => {
  it('that keeps the rules is used, and says what it is', () => {
    const module = new DecoderModule(compileDecoder(wasm()), LIMITS);
    assert.deepEqual({ ...module.manifest }, { name: 'odd', version: '1', consumes: [1], produces: [32] });
    module.process(batch, ignore);
    assert.deepEqual(module.stats(), {});
  });

  it('that is no WebAssembly is refused', () => assert.throws(() => compileDecoder(new Uint8Array([1, 2, 3])), refused(/not a WebAssembly module/)));

  it('that imports anything else is refused before it runs', () => {
    assert.throws(() => compileDecoder(wasm({ imports: '(import "env" "fetch" (func))' })), refused(/imports env\.fetch/));
    assert.throws(() => compileDecoder(wasm({ imports: '(import "wasi_snapshot_preview1" "fd_write" (func))' })), refused(/imports wasi/));
  });

  it('that lacks an export is refused', () => assert.throws(() => compileDecoder(wasm({ omit: 'oisp_tick' })), refused(/does not export oisp_tick/)));

  it('of another ABI is refused with both versions', () => {
    assert.throws(() => new DecoderModule(compileDecoder(wasm({ abi: 0x20003 })), LIMITS), refused(/ABI 2\.3, this host speaks 1\.x/));
  });

  it('that cannot be initialised is refused with its reason', () => {
    assert.throws(() => new DecoderModule(compileDecoder(wasm({ init: '(i32.const -1)' })), LIMITS), refused(/bad/));
  });

  it('that asks for more memory than it may have gets none', () => {
    const grow = '(if (result i32) (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then (i32.const -1)) (else (i32.const 0)))';
    assert.throws(
      () => new DecoderModule(compileDecoder(wasm({ process: grow })), LIMITS).process(batch, ignore),
      (error: DecoderError) => error.code === 'rejected',
    );
  });

  it('that lies about the length of its output is stopped', () => {
    const module = new DecoderModule(compileDecoder(wasm({ outLength: '(i32.const 2000000000)' })), LIMITS);
    assert.throws(
      () => module.process(batch, ignore),
      (error: DecoderError) => error.code === 'trap' && /claims 2000000000 bytes/.test(error.message),
    );
  });

  it('that neither consumes nor gives anything is stopped, not waited for', () => {
    const module = new DecoderModule(compileDecoder(wasm({ consumed: '(i32.const 0)' })), LIMITS);
    assert.throws(
      () => module.process(batch, ignore),
      (error: DecoderError) => error.code === 'trap' && /without input consumed/.test(error.message),
    );
  });

  it('that traps says so', () => {
    const module = new DecoderModule(compileDecoder(wasm({ process: 'unreachable' })), LIMITS);
    assert.throws(
      () => module.process(batch, ignore),
      (error: DecoderError) => error.code === 'trap',
    );
  });

  it('is given no batch longer than its in buffer', () => {
    const module = new DecoderModule(compileDecoder(wasm()), LIMITS);
    assert.throws(
      () => module.process(new Uint8Array(5000), ignore),
      (error: DecoderError) => error.code === 'rejected',
    );
  });
});

describe('the chain', () => {
  it('rebuilds an instance that traps, counts it, and goes on with the other modules', () => {
    const lines: string[] = [];
    const chain = new Chain([decoder({ process: 'unreachable' }, 'bad'), decoder({}, 'good')], { log: (line) => lines.push(line) });
    chain.process(batch, ignore);
    chain.process(batch, ignore);
    const stats = chain.stats();
    assert.equal(stats['bad']?.traps, 2);
    assert.equal(stats['good']?.traps, 0);
    assert.match(lines[0] ?? '', /decoder bad: oisp_process/);
  });

  it('gives a buffer that a module trapped on again, record by record, and leaves out only what it traps on again', () => {
    // It copies what it is given to lane 1, and traps on a question mark.
    const copy = `(local $i i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (local.get 0)))
        (if (i32.eq (i32.load8_u (i32.add (i32.const 8192) (local.get $i))) (i32.const 63)) (then unreachable))
        (i32.store8 (i32.add (i32.const 16384) (local.get $i)) (i32.load8_u (i32.add (i32.const 8192) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (global.set $len (local.get 0)) (i32.const 0)`;
    const picky = decoder(
      {
        consumes: [Kind.http_head],
        produces: [],
        process: copy,
        consumed: '(global.get $len)',
        outLength: '(if (result i32) (local.get 0) (then (global.get $len)) (else (i32.const 0)))',
        extra: '(global $len (mut i32) (i32.const 0))',
      },
      'picky',
    );
    const chain = new Chain([loadDecoder(join(ROOT, 'dist', 'decoders', 'http.wasm')), picky]);
    const targets = ['/a', '/b', '/c?', '/d', '/e?', '/f'];
    const bytes = Buffer.from(targets.map((target) => `GET ${target} HTTP/1.1\r\n\r\n`).join(''));
    const seen: string[] = [];
    const take = (lane: Uint8Array, { name }: { name: string }) => {
      if (name === 'picky') for (const record of unpackAll(Buffer.from(lane))) if (record[0] === Kind.http_head) seen.push(String(record[9]));
    };
    chain.process(tlsData({ side: 'write', offset: 0, bytes }), take);
    const { picky: stats } = chain.stats();
    assert.deepEqual(seen, ['/a', '/b', '/d', '/f']);
    assert.deepEqual([stats?.traps, stats?.quarantined, stats?.given_up], [3, 2, 0]);
    chain.process(tlsData({ side: 'write', offset: bytes.length, bytes: Buffer.from(`${'GET /?? HTTP/1.1\r\n\r\n'.repeat(6)}`) }), take);
    assert.deepEqual(
      [chain.stats()['picky']?.quarantined, chain.stats()['picky']?.given_up],
      [2 + 4, 5],
      'four heads; the end of the fourth, and two whole requests',
    );
  });

  it('refuses modules that feed each other', () => {
    const one = decoder({ consumes: [Kind.tls_data, Kind.http_body], produces: [Kind.http_head] }, 'one');
    const two = decoder({ consumes: [Kind.http_head], produces: [Kind.http_body] }, 'two');
    assert.throws(() => new Chain([one, two]), refused(/feed each other: one -> two -> one/));
  });
});

describe('recordEnds', () => {
  it('finds the end of every record that msgpackr writes, and stops at one that is cut', () => {
    const valueArb = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, false, 0, -1, 127, -33, 128, 65_536, 2 ** 40, 1.5),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.string({ maxLength: 70 }),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        fc.array(tie('value'), { maxLength: 20 }),
        fc.dictionary(fc.string({ maxLength: 5 }), tie('value'), { maxKeys: 4 }),
      ),
    })).value;
    fc.assert(
      fc.property(fc.array(fc.array(valueArb, { maxLength: 20 }), { maxLength: 6 }), fc.nat(5), (records, cut) => {
        const packed = records.map((record) => Buffer.from(pack(record)));
        const ends = packed.map((_, i) => packed.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0));
        const whole = Buffer.concat(packed);
        assert.deepEqual(recordEnds(whole), ends);
        if (packed.length > 0 && cut > 0)
          assert.deepEqual(
            recordEnds(whole.subarray(0, Math.max(0, whole.length - cut))),
            ends.filter((end) => end <= whole.length - cut),
          );
      }),
      { numRuns: 500 },
    );
  });
});
