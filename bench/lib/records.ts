// Makes the records and bodies that the benches decode; all of it deterministic, none of it recorded from anybody.
import { Packr } from 'msgpackr';
import { Direction, Kind, RecHeaderOffset, TLS_CHUNK, TlsDataOffset, TlsFlag } from '../../host/src/gen/records.js';

const packr = new Packr({ useRecords: false });

/** One tls.data record, as it lies in a batch. */
export function tlsData(direction: 'read' | 'write', offset: number, payload: Uint8Array, ssl = 1): Uint8Array {
  const record = Buffer.alloc(TlsDataOffset.SIZE + payload.length);
  record.writeUInt16LE(Kind.tls_data, RecHeaderOffset.kind);
  record.writeUInt32LE(record.length, RecHeaderOffset.size);
  record.writeBigUInt64LE(1_000_000_000n, RecHeaderOffset.ts_ns);
  record.writeUInt32LE(4711, RecHeaderOffset.tgid);
  record.writeUInt32LE(4711, RecHeaderOffset.tid);
  record.writeBigUInt64LE(BigInt(ssl), TlsDataOffset.ssl);
  record.writeBigUInt64LE(1n, TlsDataOffset.generation);
  record.writeBigUInt64LE(BigInt(offset), TlsDataOffset.offset);
  record.writeUInt32LE(payload.length, TlsDataOffset.call_len);
  record.writeUInt32LE(payload.length, TlsDataOffset.len);
  record[TlsDataOffset.direction] = Direction[direction];
  record[TlsDataOffset.flags] = TlsFlag.first | TlsFlag.last;
  record.set(payload, TlsDataOffset.SIZE);
  return packr.pack([Kind.tls_data, record]);
}

/** A stream cut into records of the size the kernel makes. */
export function stream(direction: 'read' | 'write', bytes: Uint8Array, offset = 0, ssl = 1): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += TLS_CHUNK) out.push(tlsData(direction, offset + at, bytes.subarray(at, at + TLS_CHUNK), ssl));
  return out;
}

const WORDS = 'the agent reads a file and then it writes another one because the test did not pass while "quotes" and\nnew lines are in every prompt '.split(' ');

/** Prose of about that many characters, with what JSON must escape. */
function prose(length: number, seed: number): string {
  let text = '';
  for (let i = seed; text.length < length; i += 7) text += `${WORDS[(i * 2654435761) % WORDS.length]} `;
  return text.slice(0, length);
}

/** An OpenAI chat completions request of about `bytes` bytes, shaped like an agent's: a long system prompt, tools, a history. */
export function openAiRequest(bytes: number): Buffer {
  const tools = Array.from({ length: 12 }, (_, i) => ({
    type: 'function',
    function: { name: `tool_${i}`, description: prose(400, i), parameters: { type: 'object', properties: { path: { type: 'string', description: prose(80, i) }, limit: { type: 'integer', minimum: 1 } }, required: ['path'] } },
  }));
  const messages: unknown[] = [{ role: 'system', content: prose(8000, 1) }];
  const body = { model: 'gpt-5', messages, tools, tool_choice: 'auto', temperature: 0.2, stream: true, stream_options: { include_usage: true } };
  for (let i = 0; Buffer.byteLength(JSON.stringify(body)) < bytes; i++) {
    messages.push({ role: 'user', content: prose(900, i) }, { role: 'assistant', content: prose(1800, i), tool_calls: [{ id: `call_${i}`, type: 'function', function: { name: 'tool_1', arguments: JSON.stringify({ path: `/src/file_${i}.ts`, limit: i }) } }] }, { role: 'tool', tool_call_id: `call_${i}`, content: prose(1200, i) });
  }
  return Buffer.from(JSON.stringify(body));
}

/** Head and body of a POST as one client write. */
export function httpRequest(path: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nUser-Agent: bench\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
}

/** A whole small response, so that the exchange ends. */
export const SMALL_RESPONSE = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');

/** Head of a streamed response. */
export const SSE_HEAD = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');

/** One token of a streamed chat completion, in chunked framing: what one TLS read gives. */
export function sseChunk(i: number): Buffer {
  const event = `data: ${JSON.stringify({ id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1770000000, model: 'gpt-5', choices: [{ index: 0, delta: { content: ` word${i % 1000}` }, finish_reason: null }] })}\n\n`;
  return Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
}

/** Puts records together into batches of at most `bytes`. */
export function batches(records: readonly Uint8Array[], bytes = 256 * 1024): Uint8Array<ArrayBuffer>[] {
  const out: Uint8Array<ArrayBuffer>[] = [];
  let held: Uint8Array[] = [];
  let length = 0;
  const take = () => {
    if (held.length) out.push(new Uint8Array(Buffer.concat(held)));
    held = [];
    length = 0;
  };
  for (const record of records) {
    if (length + record.length > bytes) take();
    held.push(record);
    length += record.length;
  }
  take();
  return out;
}
