// Turns files that hold the plaintext of one connection into the records a kernel would have made of it, so that decoding needs no privileges.
import { createReadStream } from 'node:fs';
import { Packr } from 'msgpackr';
import { HostError, reasonOf } from '../../errors.js';
import { Kind, TLS_CHUNK } from '../../gen/records.js';
import { tlsCloseRecord, tlsDataRecord } from './kernel-records.js';

/** Bytes of one stream that are left out, as if they had been lost. */
export interface Gap {
  readonly direction: 'request' | 'response';
  readonly offset: number;
  readonly length: number;
}

export interface PlaintextOptions {
  readonly request?: string;
  readonly response?: string;
  /** Payload bytes per record, 1..16384. */
  readonly chunk: number;
  readonly gaps: readonly Gap[];
  readonly authority?: string;
}

/** Every record says the same moment: what is decoded from a file must not depend on how it was cut. Not 0, which means "never". */
const TS_NS = 1_000_000_000n;
const CONNECTION = { tgid: 0, ssl: 1, generation: 1 };
const BATCH_BYTES = 256 * 1024;
const packr = new Packr({ useRecords: false });

/** Batches of records: the request file as the write stream, then the response file as the read stream, then the close. @throws HostError INPUT. */
export async function* plaintextBatches(options: PlaintextOptions): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const batch = new Batch();
  if (options.authority !== undefined) batch.add(packr.pack([Kind.conn_info, CONNECTION.tgid, CONNECTION.ssl, CONNECTION.generation, options.authority]));
  const totals = { request: 0, response: 0 };
  for (const direction of ['request', 'response'] as const) {
    const path = options[direction];
    if (path === undefined) continue;
    const gaps = options.gaps.filter((gap) => gap.direction === direction);
    for await (const { offset, bytes } of pieces(path, options.chunk, gaps)) {
      if (batch.length + bytes.length > BATCH_BYTES) yield batch.take();
      batch.add(tlsDataRecord({ ...CONNECTION, direction: direction === 'request' ? 'write' : 'read', offset, payload: bytes, ts: TS_NS }));
      totals[direction] = offset + bytes.length;
    }
    for (const gap of gaps) totals[direction] = Math.max(totals[direction], gap.offset + gap.length);
  }
  batch.add(tlsCloseRecord(CONNECTION, totals.response, totals.request, TS_NS));
  yield batch.take();
}

/** Records put together until they are handed over. */
class Batch {
  length = 0;
  private parts: Uint8Array[] = [];

  add(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  take(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      out.set(part, at);
      at += part.length;
    }
    this.parts = [];
    this.length = 0;
    return out;
  }
}

/** The file in pieces of at most `chunk` bytes, without the bytes of the gaps. */
async function* pieces(path: string, chunk: number, gaps: readonly Gap[]): AsyncGenerator<{ offset: number; bytes: Uint8Array }> {
  const cut = [...gaps].sort((a, b) => a.offset - b.offset);
  let offset = 0;
  for await (const block of readBlocks(path, chunk)) {
    let from = 0;
    while (from < block.length) {
      const at = offset + from;
      const inside = cut.find((gap) => at >= gap.offset && at < gap.offset + gap.length);
      if (inside) {
        from += Math.min(inside.offset + inside.length - at, block.length - from);
        continue;
      }
      const next = cut.find((gap) => gap.offset > at)?.offset ?? Number.POSITIVE_INFINITY;
      const to = Math.min(block.length, from + Math.min(chunk, next - at));
      yield { offset: at, bytes: block.subarray(from, to) };
      from = to;
    }
    offset += block.length;
  }
}

/** Blocks whose length is a multiple of `chunk` (but for the last), so that pieces do not depend on how the file was read. */
async function* readBlocks(path: string, chunk: number): AsyncGenerator<Buffer> {
  const blockBytes = chunk * Math.max(1, Math.floor(BATCH_BYTES / chunk));
  let held: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of createReadStream(path) as AsyncIterable<Buffer>) {
      held.push(part);
      length += part.length;
      if (length < blockBytes) continue;
      const all = Buffer.concat(held);
      const usable = all.length - (all.length % chunk);
      yield all.subarray(0, usable);
      held = [all.subarray(usable)];
      length = all.length - usable;
    }
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError('INPUT', `cannot read ${path}: ${reasonOf(error)}`, undefined, { cause: error });
  }
  if (length) yield Buffer.concat(held);
}

/** Longest record payload. */
export const MAX_CHUNK = TLS_CHUNK;
