// Decoder modules written by hand in WebAssembly text, for what a compiler would not write: each is what its shape says and keeps all other rules.
import binaryen from 'binaryen';
import { pack } from 'msgpackr';
import { Kind } from '../../host/src/gen/records.js';

export interface Shape {
  name?: string;
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

/** Its buffers have places; memory for them is grown as far as it may. */
const ROOM = '(drop (memory.grow (i32.const 512))) (i32.const 0)';

/** What a module does that bears everything but one word in its in buffer: `then` is done when it is there. */
export function onWord(word: string, then: string): Shape {
  const bytes = Buffer.from(word.slice(0, 4)).readInt32LE(0);
  return {
    process: `(local $i i32)
      (block $end (loop $next
        (br_if $end (i32.gt_s (i32.add (local.get $i) (i32.const 4)) (local.get 0)))
        (if (i32.eq (i32.load (i32.add (i32.const 8192) (local.get $i))) (i32.const ${bytes})) (then ${then}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (global.set $len (local.get 0)) (i32.const 0)`,
    consumed: '(global.get $len)',
    extra: '(global $len (mut i32) (i32.const 0))',
  };
}

/** The same module under another hash: a custom section more. */
export function renamed(bytes: Uint8Array, tag: string): Uint8Array<ArrayBuffer> {
  const name = Buffer.from(tag);
  return new Uint8Array(Buffer.concat([bytes, Buffer.from([0, name.length + 1, name.length]), name]));
}

/** A module written by hand: it says what its manifest says and does what `process` says. */
export function wasm(shape: Shape = {}): Uint8Array<ArrayBuffer> {
  const manifest = pack({ name: shape.name ?? 'odd', version: '1', consumes: shape.consumes ?? [Kind.tls_data], produces: shape.produces ?? [Kind.http_head] });
  const hex = (bytes: Uint8Array) => [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('');
  const length = new Uint8Array(new Uint32Array([manifest.length]).buffer);
  const functions: Record<string, string> = {
    oisp_abi: `(result i32) (i32.const ${shape.abi ?? 0x10000})`,
    oisp_manifest: '(result i32) (i32.const 1024)',
    oisp_init: `(param i32 i32 i32 i32) (result i32) ${shape.init ?? ROOM}`,
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
