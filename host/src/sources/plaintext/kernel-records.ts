// Builds records as the kernel would have written them, framed for the decoder chain; the one place in the host that writes these layouts.
import { Direction, Kind, RecHeaderOffset, TlsCloseOffset, TlsDataOffset, TlsFlag } from '../../gen/records.js';

/** What names a connection, and the process it belongs to. */
export interface ConnectionName {
  /** 0: no process. */
  readonly tgid: number;
  readonly ssl: number | bigint;
  readonly generation: number | bigint;
}

export interface TlsDataFields extends ConnectionName {
  readonly direction: keyof typeof Direction;
  /** Position of the first byte in its stream. */
  readonly offset: number;
  readonly payload: Uint8Array;
  /** CLOCK_BOOTTIME, ns. */
  readonly ts: number | bigint;
  /** Default: first and last chunk of its call. */
  readonly flags?: number;
  readonly func?: number;
}

/** [kind, bin(record)], the bin head always of 4 length bytes, so that the record lies at RECORD_AT. */
export function framed(kind: number, record: Uint8Array): Buffer {
  const out = Buffer.alloc(RECORD_AT + record.length);
  out[0] = 0x92;
  out[1] = kind;
  out[2] = 0xc6;
  out.writeUInt32BE(record.length, 3);
  out.set(record, RECORD_AT);
  return out;
}

/** Where the record begins in what framed() returns. */
export const RECORD_AT = 7;

/** A record of `size` bytes, zero but for its header. uid, gid and start time stay 0. */
export function withHeader(kind: number, size: number, ts: number | bigint, tgid: number): Buffer {
  const record = Buffer.alloc(size);
  record.writeUInt16LE(kind, RecHeaderOffset.kind);
  record.writeUInt32LE(size, RecHeaderOffset.size);
  record.writeBigUInt64LE(BigInt(ts), RecHeaderOffset.ts_ns);
  record.writeUInt32LE(tgid, RecHeaderOffset.tgid);
  record.writeUInt32LE(tgid, RecHeaderOffset.tid);
  return record;
}

/** One tls.data record, framed. */
export function tlsDataRecord(fields: TlsDataFields): Buffer {
  const { payload } = fields;
  const record = withHeader(Kind.tls_data, TlsDataOffset.SIZE + payload.length, fields.ts, fields.tgid);
  record.writeBigUInt64LE(BigInt(fields.ssl), TlsDataOffset.ssl);
  record.writeBigUInt64LE(BigInt(fields.generation), TlsDataOffset.generation);
  record.writeBigUInt64LE(BigInt(fields.offset), TlsDataOffset.offset);
  record.writeUInt32LE(payload.length, TlsDataOffset.call_len);
  record.writeUInt32LE(payload.length, TlsDataOffset.len);
  record[TlsDataOffset.direction] = Direction[fields.direction];
  record[TlsDataOffset.func] = fields.func ?? 0;
  record[TlsDataOffset.flags] = fields.flags ?? TlsFlag.first | TlsFlag.last;
  record.set(payload, TlsDataOffset.SIZE);
  return framed(Kind.tls_data, record);
}

/** One tls.close record with the final lengths of both streams, framed. */
export function tlsCloseRecord(name: ConnectionName, readBytes: number, writeBytes: number, ts: number | bigint): Buffer {
  const record = withHeader(Kind.tls_close, TlsCloseOffset.SIZE, ts, name.tgid);
  record.writeBigUInt64LE(BigInt(name.ssl), TlsCloseOffset.ssl);
  record.writeBigUInt64LE(BigInt(name.generation), TlsCloseOffset.generation);
  record.writeBigUInt64LE(BigInt(readBytes), TlsCloseOffset.read_bytes);
  record.writeBigUInt64LE(BigInt(writeBytes), TlsCloseOffset.write_bytes);
  return framed(Kind.tls_close, record);
}
