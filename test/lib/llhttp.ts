// llhttp, the HTTP/1 parser of Node, in the wasm that undici ships: an oracle for tests and what benches compare with.
import { createRequire } from 'node:module';

const wasm = createRequire(import.meta.url)('undici/lib/llhttp/llhttp_simd-wasm.js') as Buffer;

export const Kind = { BOTH: 0, REQUEST: 1, RESPONSE: 2 } as const;

interface Exports {
  memory: { buffer: ArrayBuffer };
  malloc(bytes: number): number;
  llhttp_alloc(kind: number): number;
  llhttp_free(parser: number): void;
  llhttp_execute(parser: number, at: number, length: number): number;
  llhttp_finish(parser: number): number;
  llhttp_get_method(parser: number): number;
  llhttp_get_http_minor(parser: number): number;
}

/** What it calls back with; a span is bytes of the message, in pieces where the input was cut, there only during the call. */
export interface Calls {
  url?(bytes: Buffer): void;
  field?(bytes: Buffer): void;
  value?(bytes: Buffer): void;
  /** @returns 1: there is no body whatever the headers say; 2: nor anything behind it; 0 otherwise. */
  headersComplete?(status: number, method: number, minor: number, upgrade: boolean): number;
  body?(bytes: Buffer): void;
  messageComplete?(): void;
}

/** One direction of one connection. */
export class Llhttp {
  readonly #exports: Exports;
  readonly #parser: number;
  readonly #at: number;

  /** @param bytes the most that is executed at a time; without `calls` nothing is looked at, which is what it costs at the least. */
  constructor(kind: number, bytes: number, calls?: Calls) {
    const span = (call?: (bytes: Buffer) => void) => (_parser: number, at: number, length: number) => {
      if (call) call(Buffer.from(this.#exports.memory.buffer, at, length));
      return 0;
    };
    const env = {
      wasm_on_url: span(calls?.url),
      wasm_on_status: () => 0,
      wasm_on_message_begin: () => 0,
      wasm_on_header_field: span(calls?.field),
      wasm_on_header_value: span(calls?.value),
      wasm_on_headers_complete: (parser: number, status: number, upgrade: number) =>
        calls?.headersComplete?.(status, this.#exports.llhttp_get_method(parser), this.#exports.llhttp_get_http_minor(parser), upgrade === 1) ?? 0,
      wasm_on_body: span(calls?.body),
      wasm_on_message_complete: () => {
        calls?.messageComplete?.();
        return 0;
      },
    };
    this.#exports = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(wasm)), { env }).exports as unknown as Exports;
    this.#parser = this.#exports.llhttp_alloc(kind);
    this.#at = this.#exports.malloc(bytes);
  }

  /** @returns 0, or the number of llhttp's error. */
  execute(bytes: Uint8Array): number {
    new Uint8Array(this.#exports.memory.buffer).set(bytes, this.#at);
    return this.#exports.llhttp_execute(this.#parser, this.#at, bytes.length);
  }

  /** The connection is over. @returns 0, or the number of llhttp's error. */
  finish(): number {
    return this.#exports.llhttp_finish(this.#parser);
  }
}
