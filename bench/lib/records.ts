// Makes the records and bodies that the benches decode; all of it deterministic, none of it recorded from anybody.
import { Kind, TLS_CHUNK, TlsCloseOffset, TlsDataOffset } from '../../host/src/gen/records.js';
import { RECORD_AT, tlsCloseRecord, tlsDataRecord } from '../../host/src/sources/plaintext/kernel-records.js';

const CONNECTION = { tgid: 4711, ssl: 1, generation: 1 };
const TS_NS = 1_000_000_000;
const BATCH_BYTES = 256 * 1024;

/** A stream cut into records of the size the kernel makes. */
function stream(direction: 'read' | 'write', bytes: Uint8Array, offset = 0): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += TLS_CHUNK) {
    out.push(tlsDataRecord({ ...CONNECTION, direction, offset: offset + at, payload: bytes.subarray(at, at + TLS_CHUNK), ts: TS_NS }));
  }
  return out;
}

/** Lines as agents send them: instructions in Markdown, source code, listings, a diff; quotes, tabs and characters beyond ASCII included. */
const LINES = [
  '## Working with files',
  '- Read a file before you edit it — never guess what it holds.',
  '- Prefer the smallest change that works; keep the style of the file (tabs, quotes, line ends).',
  'When a command fails, show its output and say what you will try next. Do not repeat it unchanged.',
  '```ts',
  'export async function load(path: string, limit = 100): Promise<Row[]> {',
  '\tconst response = await fetch(base + "/rows?path=" + path + "&limit=" + limit, { headers: { accept: "application/json" } });',
  '\tif (!response.ok) throw new Error("cannot load " + path + ": " + response.status);',
  '\treturn (await response.json()) as Row[];',
  '}',
  '```',
  'drwxr-xr-x  4 build build   4096 Mar 14 09:26 src',
  '-rw-r--r--  1 build build  18211 Mar 14 09:26 package-lock.json',
  'diff --git a/src/rows.ts b/src/rows.ts',
  '@@ -12,7 +12,7 @@ import { base } from "./base.js";',
  '-\tconst rows = JSON.parse(text);',
  '+\tconst rows = parse(text) ?? [];',
  '  12 |   assert.equal(rows.length, 3, "three rows → three results");',
  'The user wants the test to pass without loosening it. First find out why `rows` is empty…',
  '',
];

/** Text of about that many characters, made of those lines in an order that the seed decides. */
function prose(length: number, seed: number): string {
  let text = '';
  for (let i = seed; text.length < length; i += 7) text += `${LINES[(i * 13) % LINES.length]}\n`;
  return text.slice(0, length);
}

/** An OpenAI chat completions request of about `bytes` bytes, shaped like an agent's: a long system prompt, tools, a history. */
export function openAiRequest(bytes: number): Buffer {
  const tools = Array.from({ length: 12 }, (_, i) => ({
    type: 'function',
    function: {
      name: `tool_${i}`,
      description: prose(400, i),
      parameters: {
        type: 'object',
        properties: { path: { type: 'string', description: prose(80, i) }, limit: { type: 'integer', minimum: 1 } },
        required: ['path'],
      },
    },
  }));
  const messages: unknown[] = [{ role: 'system', content: prose(8000, 1) }];
  const body = { model: 'gpt-5', messages, tools, tool_choice: 'auto', temperature: 0.2, stream: true, stream_options: { include_usage: true } };
  for (let i = 0; Buffer.byteLength(JSON.stringify(body)) < bytes; i++) {
    messages.push(
      { role: 'user', content: prose(900, i) },
      {
        role: 'assistant',
        content: prose(1800, i),
        tool_calls: [{ id: `call_${i}`, type: 'function', function: { name: 'tool_1', arguments: JSON.stringify({ path: `/src/file_${i}.ts`, limit: i }) } }],
      },
      { role: 'tool', tool_call_id: `call_${i}`, content: prose(1200, i) },
    );
  }
  return Buffer.from(JSON.stringify(body));
}

/** Head and body of a POST as one client write. */
export function httpRequest(path: string, body: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nUser-Agent: bench\r\nContent-Length: ${body.length}\r\n\r\n`,
    ),
    body,
  ]);
}

/** A whole small response, so that the exchange ends. */
export const SMALL_RESPONSE = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');

/** Head of a streamed response. */
export const SSE_HEAD = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');

/** JSON of one token of a streamed chat completion. */
export function sseJson(i: number): string {
  return JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion.chunk',
    created: 1770000000,
    model: 'gpt-5',
    choices: [{ index: 0, delta: { content: ` word${i % 1000}` }, finish_reason: null }],
  });
}

/** The same as a server-sent event in chunked framing: what one TLS read gives. */
export function sseChunk(i: number): Buffer {
  const event = `data: ${sseJson(i)}\n\n`;
  return Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
}

/** The end of such a stream. */
export const SSE_END = Buffer.from('e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n');

/** A whole connection as batches, which can be decoded again and again as a new one: next() changes its generation in place. */
export class Connection {
  /** What the native reader says of such a batch. */
  static readonly kinds = (1 << Kind.tls_data) | (1 << Kind.tls_close);
  /** Batches of what the client wrote. */
  readonly request: readonly Uint8Array<ArrayBuffer>[];
  /** Batches of what it read, and of the end. */
  rest: readonly Uint8Array<ArrayBuffer>[];
  private readonly generations: { view: DataView; at: number }[] = [];
  private generation = 1n;

  /** @param request what the client wrote @param reads what it read, one record each (cut at the kernel's chunk size) @param options close: it ends (default) */
  constructor(request: Uint8Array, reads: readonly Uint8Array[], options: { close?: boolean } = {}) {
    this.request = this.batches(stream('write', request));
    const records: Uint8Array[] = [];
    let offset = 0;
    for (const read of reads) {
      records.push(...stream('read', read, offset));
      offset += read.length;
    }
    if (options.close !== false) records.push(tlsCloseRecord(CONNECTION, offset, request.length, TS_NS));
    this.rest = this.batches(records);
  }

  /** A connection on which both sides speak in turn: [what is written, what is read] each time. */
  static inTurns(turns: readonly (readonly [Uint8Array, Uint8Array])[]): Connection {
    const records: Uint8Array[] = [];
    let [written, read] = [0, 0];
    for (const [asked, answered] of turns) {
      records.push(...stream('write', asked, written), ...stream('read', answered, read));
      written += asked.length;
      read += answered.length;
    }
    const connection = new Connection(new Uint8Array(), []);
    connection.rest = connection.batches([...records, tlsCloseRecord(CONNECTION, read, written, TS_NS)]);
    return connection;
  }

  /** Makes it a connection that was never seen. */
  next(): void {
    this.generation++;
    for (const { view, at } of this.generations) view.setBigUint64(at, this.generation, true);
  }

  private batches(records: readonly Uint8Array[]): Uint8Array<ArrayBuffer>[] {
    const out: Uint8Array<ArrayBuffer>[] = [];
    let held: Uint8Array[] = [];
    let length = 0;
    for (const record of records) {
      if (length + record.length > BATCH_BYTES) {
        out.push(this.batch(held));
        held = [];
        length = 0;
      }
      held.push(record);
      length += record.length;
    }
    return [...out, this.batch(held)];
  }

  private batch(records: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
    const batch = new Uint8Array(Buffer.concat(records));
    const view = new DataView(batch.buffer);
    let at = 0;
    for (const record of records) {
      const generation = record[1] === Kind.tls_close ? TlsCloseOffset.generation : TlsDataOffset.generation;
      this.generations.push({ view, at: at + RECORD_AT + generation });
      at += record.length;
    }
    return batch;
  }
}
