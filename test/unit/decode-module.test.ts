// Tests that the host refuses decoder modules that break the ABI or reach for more than the sandbox gives, and survives those that misbehave.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import binaryen from 'binaryen';
import { pack } from 'msgpackr';
import { Chain } from '../../host/src/decode/chain.js';
import { compileDecoder, DecoderError, DecoderModule } from '../../host/src/decode/decoder-module.js';
import { Kind } from '../../host/src/gen/records.js';

const LIMITS = { inBytes: 4096, outBytes: 4096, maxConnections: 4, memoryBytes: 1 << 20 };

interface Shape {
  abi?: number;
  imports?: string;
  process?: string;
  outLength?: string;
  consumed?: string;
  init?: string;
  consumes?: number[];
  produces?: number[];
  extra?: string;
  omit?: string;
}

/** A module written by hand: it says what its manifest says and does what `process` says. */
function wasm(shape: Shape = {}): Uint8Array<ArrayBuffer> {
  const manifest = pack({ name: 'odd', version: '1', consumes: shape.consumes ?? [Kind.tls_data], produces: shape.produces ?? [Kind.http_head] });
  const hex = (bytes: Uint8Array) => [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('');
  const length = new Uint8Array(new Uint32Array([manifest.length]).buffer);
  const functions: Record<string, string> = {
    oisp_abi: `(result i32) (i32.const ${shape.abi ?? 0x10000})`,
    oisp_manifest: '(result i32) (i32.const 1024)',
    oisp_init: `(param i32 i32 i32 i32) (result i32) ${shape.init ?? '(i32.const 0)'}`,
    oisp_in: '(result i32) (i32.const 8192)',
    oisp_out: '(param i32) (result i32) (i32.const 16384)',
    oisp_process: `(param i32) (result i32) ${shape.process ?? '(i32.const 0)'}`,
    oisp_consumed: `(result i32) ${shape.consumed ?? '(i32.const 4096)'}`,
    oisp_resume: '(result i32) (i32.const 0)',
    oisp_out_len: `(param i32) (result i32) ${shape.outLength ?? '(i32.const 0)'}`,
    oisp_tick: '(param i32) (result i32) (i32.const 0)',
    oisp_flush: '(result i32) (i32.const 0)',
    oisp_stats: '(result i32) (i32.store8 (i32.const 16384) (i32.const 128)) (i32.const 1)',
    oisp_last_error: '(result i32) (i32.const 2048)',
  };
  const body = Object.entries(functions)
    .filter(([name]) => name !== shape.omit)
    .map(([name, text]) => `(func (export "${name}") ${text})`)
    .join('\n');
  const text = `(module (import "env" "memory" (memory 1)) ${shape.imports ?? ''} (data (i32.const 1024) "${hex(length)}${hex(manifest)}") (data (i32.const 2048) "\\03\\00\\00\\00bad") ${shape.extra ?? ''} ${body})`;
  const module = binaryen.parseText(text);
  const binary = new Uint8Array(module.emitBinary());
  module.dispose();
  return binary;
}

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

  it('refuses modules that feed each other', () => {
    const one = decoder({ consumes: [Kind.tls_data, Kind.http_body], produces: [Kind.http_head] }, 'one');
    const two = decoder({ consumes: [Kind.http_head], produces: [Kind.http_body] }, 'two');
    assert.throws(() => new Chain([one, two]), refused(/feed each other: one -> two -> one/));
  });
});
