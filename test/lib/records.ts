// Builds the msgpack records that decoder modules consume and reads the http.* records they make; it knows nothing of the bytes inside a stream.
import { readFileSync } from 'node:fs';
import { pack, Unpackr } from 'msgpackr';
import { compileDecoder, type DecoderLimits, DecoderModule } from '../../host/src/decode/decoder-module.js';
import { Kind, ProbeFunc, RecHeaderOffset, SysExitOffset, TlsDataOffset, TlsFlag } from '../../host/src/gen/records.js';
import { framed, RECORD_AT, tlsCloseRecord, tlsDataRecord, withHeader } from '../../host/src/sources/plaintext/kernel-records.js';

export type Side = 'read' | 'write';

export interface ConnName {
  readonly tgid: number;
  readonly ssl: number;
  readonly generation: number;
}

export const CONN: ConnName = { tgid: 4242, ssl: 0x7f00_1000, generation: 77 };

export interface TlsDataFields {
  readonly conn?: ConnName;
  readonly side: Side;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly ts?: number;
  readonly flags?: number;
}

/** One tls.data record. */
export function tlsData(fields: TlsDataFields): Buffer {
  const { conn = CONN, side, offset, bytes, ts = 1, flags = TlsFlag.first | TlsFlag.last } = fields;
  return tlsDataRecord({ ...conn, direction: side, offset, payload: bytes, ts, flags, func: ProbeFunc.ssl_read });
}

/** One tls.close record with the final lengths of both streams. */
export function tlsClose(readBytes: number, writeBytes: number, conn: ConnName = CONN, ts = 1): Buffer {
  return tlsCloseRecord(conn, readBytes, writeBytes, ts);
}

/** One sys.exit record. */
export function sysExit(tgid: number, ts = 1): Buffer {
  return framed(Kind.sys_exit, withHeader(Kind.sys_exit, SysExitOffset.SIZE, ts, tgid));
}

/** One conn.info record. */
export function connInfo(authority: string | null, conn: ConnName = CONN): Buffer {
  return Buffer.from(pack([Kind.conn_info, conn.tgid, conn.ssl, conn.generation, authority]));
}

/** A connection as a list of records: each write() and read() is one record, offsets are kept, lose() leaves a gap. */
export class Wire {
  readonly records: Buffer[] = [];
  private readonly offsets = { read: 0, write: 0 };
  private ts = 0;
  private first: number;

  /** @param opened the first record carries the flag `opened`. */
  constructor(
    readonly conn: ConnName = CONN,
    opened = false,
  ) {
    this.first = opened ? TlsFlag.opened : 0;
  }

  write(bytes: string | Uint8Array): this {
    return this.add('write', bytes);
  }

  read(bytes: string | Uint8Array): this {
    return this.add('read', bytes);
  }

  /** The bytes are in the stream, but no record has them. */
  lose(side: Side, bytes: string | Uint8Array | number): this {
    this.offsets[side] += typeof bytes === 'number' ? bytes : Buffer.from(bytes as string).length;
    return this;
  }

  /** The record that was added last is there once more. */
  again(): this {
    this.records.push(this.records.at(-1) as Buffer);
    return this;
  }

  info(authority: string | null): this {
    this.records.push(connInfo(authority, this.conn));
    return this;
  }

  close(): this {
    this.records.push(tlsClose(this.offsets.read, this.offsets.write, this.conn, ++this.ts));
    return this;
  }

  private add(side: Side, text: string | Uint8Array): this {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    this.records.push(tlsData({ conn: this.conn, side, offset: this.offsets[side], bytes, ts: ++this.ts, flags: 3 | this.first }));
    this.first = 0;
    this.offsets[side] += bytes.length;
    return this;
  }
}

/** The payload of a tls.data record, or nothing for another kind. */
export function payloadOf(record: Buffer): Buffer | undefined {
  return record[1] === Kind.tls_data ? record.subarray(RECORD_AT + TlsDataOffset.SIZE) : undefined;
}

/** The same bytes as records of other sizes: `size(i)` is the length of piece i, counted over all records; times stay. */
export function recut(records: readonly Buffer[], size: (index: number) => number): Buffer[] {
  const result: Buffer[] = [];
  let index = 0;
  for (const record of records) {
    const payload = payloadOf(record);
    if (!payload || payload.length < 2) {
      result.push(record);
      continue;
    }
    const offset = record.readBigUInt64LE(RECORD_AT + TlsDataOffset.offset);
    for (let at = 0; at < payload.length; ) {
      const piece = payload.subarray(at, at + Math.max(1, size(index++)));
      const fixed = Buffer.from(record.subarray(RECORD_AT, RECORD_AT + TlsDataOffset.SIZE));
      fixed.writeUInt32LE(TlsDataOffset.SIZE + piece.length, RecHeaderOffset.size);
      fixed.writeBigUInt64LE(offset + BigInt(at), TlsDataOffset.offset);
      fixed.writeUInt32LE(piece.length, TlsDataOffset.len);
      fixed.writeUInt32LE(at, TlsDataOffset.call_off);
      result.push(framed(Kind.tls_data, Buffer.concat([fixed, piece])));
      at += piece.length;
    }
  }
  return result;
}

export const LIMITS: DecoderLimits = { inBytes: 4 << 20, outBytes: 1 << 20, maxConnections: 1024, memoryBytes: 256 << 20 };

const compiled = new Map<string, ReturnType<typeof compileDecoder>>();

/** A fresh instance of dist/decoders/<name>.wasm. */
export function decoder(name: string, limits: Partial<DecoderLimits> = {}): DecoderModule {
  let module = compiled.get(name);
  if (!module) {
    module = compileDecoder(new Uint8Array(readFileSync(new URL(`../../decoders/${name}.wasm`, import.meta.url))));
    compiled.set(name, module);
  }
  return new DecoderModule(module, { ...LIMITS, ...limits });
}

const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });

/** Whole records out of the bytes of a lane. */
export function unpackAll(bytes: Uint8Array): unknown[][] {
  return bytes.length === 0 ? [] : (unpackr.unpackMultiple(bytes) as unknown[][]);
}

/** Gives all records to a module, at most `batch` in one call, and returns what it wrote to both lanes. */
export function runRecords(module: DecoderModule, records: readonly Buffer[], batch = 1 << 20): { lane0: unknown[][]; lane1: unknown[][] } {
  const lanes: [unknown[][], unknown[][]] = [[], []];
  const sink = (lane: 0 | 1, bytes: Uint8Array) => {
    for (const record of unpackAll(Buffer.from(bytes))) lanes[lane].push(record);
  };
  for (let at = 0; at < records.length; ) {
    const some: Buffer[] = [];
    let size = 0;
    while (at < records.length && some.length < batch) {
      const record = records[at] as Buffer;
      if (size > 0 && size + record.length > LIMITS.inBytes) break;
      some.push(record);
      size += record.length;
      at++;
    }
    module.process(Buffer.concat(some), sink);
  }
  return { lane0: lanes[0], lane1: lanes[1] };
}

/** What flush() writes to lane 0. */
export function flushRecords(module: DecoderModule): unknown[][] {
  const result: unknown[][] = [];
  module.flush((lane, bytes) => {
    if (lane === 0) result.push(...unpackAll(Buffer.from(bytes)));
  });
  return result;
}

export interface Head {
  readonly dir: number;
  readonly role: number;
  readonly ts: number;
  readonly version: number;
  readonly method: string | null;
  readonly target: string | null;
  readonly status: number | null;
  readonly reason: string | null;
  readonly headers: string[];
  readonly origin: Uint8Array;
  readonly authority: string | null;
  readonly cut: boolean;
  /** Header fields whose table entry was never seen. */
  readonly unknown: number;
}

export interface End {
  readonly dir: number;
  readonly ts: number;
  readonly completeness: number;
  readonly missing: number;
  readonly wire: number;
  readonly bodyBytes: number;
  readonly error: string | null;
  readonly firstBodyTs: number;
}

/** One HTTP message put together from http.head, http.body and http.end. */
export interface Message {
  readonly conn: string;
  readonly stream: number;
  readonly message: number;
  head?: Head;
  body: Buffer;
  /** [offset, length] of stretches that follow one another without a jump. */
  pieces: [number, number][];
  records: number;
  end?: End;
}

/** Puts http.* records together, in the order in which the messages began; throws when a record comes after its message's end. */
export function messagesOf(records: readonly unknown[][]): Message[] {
  const all: Message[] = [];
  const open = new Map<string, Message>();
  const bodies = new Map<Message, Uint8Array[]>();
  for (const record of records) {
    const [kind, conn, stream, which] = record as [number, bigint, number, number];
    const key = `${conn}/${stream}/${which}`;
    let message = open.get(key);
    if (!message) {
      message = { conn: String(conn), stream: Number(stream), message: which, body: Buffer.alloc(0), pieces: [], records: 0 };
      open.set(key, message);
      all.push(message);
      bodies.set(message, []);
    }
    if (message.end) throw new Error(`a record of kind ${kind} after the end of ${key}`);
    if (kind === Kind.http_head) {
      if (message.head) throw new Error(`two heads of ${key}`);
      message.head = headOf(record);
    } else if (kind === Kind.http_body) {
      if (!message.head) throw new Error(`a body without a head: ${key}`);
      const bytes = record[7] as Uint8Array;
      const offset = Number(record[6]);
      const last = message.pieces.at(-1);
      if (last && last[0] + last[1] === offset) last[1] += bytes.length;
      else message.pieces.push([offset, bytes.length]);
      message.records++;
      bodies.get(message)?.push(bytes);
    } else if (kind === Kind.http_end) message.end = endOf(record);
  }
  for (const [message, parts] of bodies) message.body = Buffer.concat(parts);
  return all;
}

function headOf(record: unknown[]): Head {
  const [dir, role, ts, version, method, target, status, reason, headers, origin, authority, cut, , , , unknown] = record.slice(4) as [
    number,
    number,
    number,
    number,
    string,
    string,
    number,
    string,
    string[],
    Uint8Array,
    string | null,
    boolean,
    unknown,
    unknown,
    unknown,
    number,
  ];
  return { dir, role, ts: Number(ts), version, method, target, status, reason, headers, origin, authority, cut, unknown };
}

function endOf(record: unknown[]): End {
  const [dir, ts, completeness, missing, wire, bodyBytes, error, firstBodyTs] = record.slice(4) as [
    number,
    number,
    number,
    number,
    number,
    number,
    string | null,
    number,
  ];
  return {
    dir,
    ts: Number(ts),
    completeness,
    missing: Number(missing),
    wire: Number(wire),
    bodyBytes: Number(bodyBytes),
    error,
    firstBodyTs: Number(firstBodyTs),
  };
}
