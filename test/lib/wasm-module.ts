// Decoder modules written by hand in WebAssembly text, for what a compiler would not write: each is what its shape says and keeps all other rules.
import binaryen from 'binaryen';
import { pack } from 'msgpackr';
import { Kind } from '../../host/src/gen/records.js';

export interface Shape {
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
export function wasm(shape: Shape = {}): Uint8Array<ArrayBuffer> {
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
