// Drives the ai module alone: builds http records as the ABI describes them and reads the events it makes; it never uses the http module.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Packr, Unpackr } from 'msgpackr';
import { type CompiledDecoder, compileDecoder, DecoderModule } from '../../host/src/decode/decoder-module.js';
import { Kind } from '../../host/src/gen/records.js';
import { ROOT } from './run.js';

const MEBI = 1 << 20;
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

export interface AiEvent {
  readonly type: string;
  readonly ts: number;
  readonly origin: Uint8Array;
  readonly stream: number;
  readonly index: number;
  // biome-ignore lint/suspicious/noExplicitAny: events are compared field by field, whatever their shape
  readonly data: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly meta: any;
}

let compiled: CompiledDecoder | undefined;

export function aiModule(options: { outBytes?: number; maxConnections?: number; inBytes?: number; flags?: number } = {}): DecoderModule {
  compiled ??= compileDecoder(new Uint8Array(readFileSync(join(ROOT, 'dist', 'decoders', 'ai.wasm'))));
  return new DecoderModule(compiled, {
    inBytes: options.inBytes ?? 16 * MEBI,
    outBytes: options.outBytes ?? 24 * MEBI,
    maxConnections: options.maxConnections ?? 1024,
    memoryBytes: 512 * MEBI,
    flags: options.flags ?? 0,
  });
}

/** Event records of one lane 1 buffer. */
export function readLane(bytes: Uint8Array): AiEvent[] {
  if (!bytes.length) return [];
  const rows = unpackr.unpackMultiple(Buffer.from(bytes)) as unknown[][];
  // Other modules of a chain may note what they know of connections beside it.
  const events = rows.filter(([kind]) => kind === Kind.event);
  return events.map(([, type, ts, origin, , stream, index, data, meta]) => ({ type, ts: Number(ts), origin, stream, index, data, meta }) as AiEvent);
}

/** Makes records, runs them through one module, collects bytes and events. */
export class AiBench {
  readonly bytes: Buffer[] = [];
  constructor(readonly module: DecoderModule = aiModule()) {}

  feed(...records: Uint8Array[]): this {
    this.module.process(Buffer.concat(records), (lane, bytes) => {
      if (lane === 1) this.bytes.push(Buffer.from(bytes));
    });
    return this;
  }

  flush(): this {
    this.module.flush((lane, bytes) => {
      if (lane === 1) this.bytes.push(Buffer.from(bytes));
    });
    return this;
  }

  tick(seconds: number): this {
    this.module.tick(seconds, (lane, bytes) => {
      if (lane === 1) this.bytes.push(Buffer.from(bytes));
    });
    return this;
  }

  get raw(): Buffer {
    return Buffer.concat(this.bytes);
  }

  get events(): AiEvent[] {
    return readLane(this.raw);
  }
}

/** The fixed part of a tls.data record: tgid 4242, started at 777. */
export const ORIGIN: Buffer = (() => {
  const at = Buffer.alloc(96);
  at.writeUInt16LE(1, 0);
  at.writeUInt32LE(96, 4);
  at.writeUInt32LE(4242, 16);
  at.writeBigUInt64LE(777n, 32);
  return at;
})();

const MS = 1_000_000;

export interface HeadOptions {
  /** Server name, protocols offered, protocol agreed on. */
  readonly names?: readonly (string | null)[];
  conn?: bigint;
  stream?: number;
  role?: number;
  ts?: number;
  method?: string;
  target?: string;
  status?: number;
  headers?: string[];
  authority?: string | null;
  origin?: Buffer;
}

const CONN = 0x1122334455667788n;

export function requestHead(o: HeadOptions = {}): Buffer {
  const headers = o.headers ?? ['content-type', 'application/json'];
  return packr.pack([
    32,
    o.conn ?? CONN,
    o.stream ?? 0,
    0,
    1,
    o.role ?? 1,
    o.ts ?? 1000 * MS,
    11,
    o.method ?? 'POST',
    o.target ?? '/v1/chat/completions',
    null,
    null,
    headers,
    o.origin ?? ORIGIN,
    o.authority === undefined ? 'api.openai.com' : o.authority,
    false,
    ...(o.names ?? []),
  ]);
}

export function responseHead(o: HeadOptions = {}): Buffer {
  const headers = o.headers ?? ['content-type', 'application/json'];
  return packr.pack([
    32,
    o.conn ?? CONN,
    o.stream ?? 0,
    1,
    0,
    o.role ?? 1,
    o.ts ?? 1200 * MS,
    11,
    null,
    null,
    o.status ?? 200,
    'OK',
    headers,
    o.origin ?? ORIGIN,
    null,
    false,
  ]);
}

export interface BodyOptions {
  conn?: bigint;
  stream?: number;
  ts?: number;
}

export function body(message: 0 | 1, offset: number, bytes: string | Uint8Array, o: BodyOptions = {}): Buffer {
  return packr.pack([
    33,
    o.conn ?? CONN,
    o.stream ?? 0,
    message,
    1 - message,
    o.ts ?? (message ? 1300 : 1000) * MS,
    offset,
    typeof bytes === 'string' ? Buffer.from(bytes) : bytes,
  ]);
}

export function end(message: 0 | 1, o: BodyOptions & { completeness?: number; missing?: number; wire?: number } = {}): Buffer {
  return packr.pack([
    34,
    o.conn ?? CONN,
    o.stream ?? 0,
    message,
    1 - message,
    o.ts ?? (message ? 1500 : 1000) * MS,
    o.completeness ?? 0,
    o.missing ?? 0,
    o.wire ?? 100,
    0,
    null,
    0,
  ]);
}

/** A whole message: head, its body in pieces of `size`, end. */
export function whole(message: 0 | 1, text: string | Uint8Array, size = Number.MAX_SAFE_INTEGER, head: HeadOptions = {}): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const parts = [message ? responseHead(head) : requestHead(head)];
  const names = { ...(head.conn === undefined ? {} : { conn: head.conn }), ...(head.stream === undefined ? {} : { stream: head.stream }) };
  for (let at = 0; at < bytes.length; at += size) parts.push(body(message, at, bytes.subarray(at, at + size), names));
  parts.push(end(message, names));
  return Buffer.concat(parts);
}

/** A stream of `data:` events. */
export const sse = (events: readonly unknown[], done = true): string =>
  events.map((e) => `data: ${typeof e === 'string' ? e : JSON.stringify(e)}\n\n`).join('') + (done ? 'data: [DONE]\n\n' : '');

export const EVENT_STREAM = ['content-type', 'text/event-stream; charset=utf-8'];

const SMALL_REQUEST = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'x' }] });

/** The agent.tool_call that comes of a tool call with this text as its arguments: the way of any JSON text through the module's parser. */
export function callWith(module: DecoderModule, text: string): AiEvent {
  const answer = {
    object: 'chat.completion',
    choices: [{ index: 0, message: { tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: text } }] } }],
  };
  const event = new AiBench(module).feed(whole(0, SMALL_REQUEST), whole(1, JSON.stringify(answer))).events.find((e) => e.type === 'agent.tool_call');
  if (!event) throw new Error('no agent.tool_call');
  return event;
}

/** What the module says the arguments are: a value, or the text when it takes it for no JSON object. */
export function argumentsOf(module: DecoderModule, text: string): { value: unknown } | { raw: string } {
  const { data } = callWith(module, text);
  return data.raw_arguments === undefined ? { value: data.arguments } : { raw: data.raw_arguments };
}

/** The ai.response to a stream of these bytes, cut into pieces of `size`. */
export function streamed(module: DecoderModule, text: string | Uint8Array, size = Number.MAX_SAFE_INTEGER): AiEvent {
  const bench = new AiBench(module).feed(whole(0, SMALL_REQUEST), whole(1, text, size, { headers: EVENT_STREAM }));
  const event = bench.events.find((e) => e.type === 'ai.response');
  if (!event) throw new Error('no ai.response');
  return event;
}
