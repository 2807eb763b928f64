// The recording file: its bytes, written and read back; knows nothing of files or of what is inside a batch.
//
//     file    := prefix header frame* [end]
//     prefix  := "OISPREC\0"  u16 version  u16 layout version  u32 header bytes  u32 crc32 of the header
//     header  := msgpack {host: HostContext, shards: u32}
//     frame   := u32 length  u32 records  u32 payload bytes  u32 shard  i64 clock offset ns  u32 crc32 of the bytes  bytes
//     end     := a frame of length 0 with shard 0xffffffff and the number of frames before it in `records`
//
// Little endian. A file without an end was cut, if only between two frames.
import { crc32 } from 'node:zlib';
import { Packr, Unpackr } from 'msgpackr';
import { HostError } from '../../errors.js';
import type { HostContext, RecordBatch } from '../../events/source.js';
import { LAYOUT_VERSION } from '../../gen/records.js';

export const RECORDING_VERSION = 1;
export const PREFIX_BYTES = 20;
export const FRAME_BYTES = 28;
/** More than any batch a source makes. */
export const MAX_FRAME_BYTES = 64 << 20;
export const MAX_HEADER_BYTES = 4 << 20;
const MAX_SHARDS = 64;
const MAGIC = Buffer.from('OISPREC\0', 'latin1');
const END_SHARD = 0xffff_ffff;

export interface RecordingHeader {
  readonly host: HostContext;
  /** How many shards the recorded source fed: batches carry 0..shards-1. */
  readonly shards: number;
}

/** What stands before the bytes of a batch. */
export interface FrameHeader {
  readonly length: number;
  readonly records: number;
  readonly payloadBytes: number;
  readonly shard: number;
  readonly clockOffsetNs: bigint;
  readonly crc: number;
}

/** Prefix and header of a new file. */
export function encodeHeader(header: RecordingHeader): Buffer {
  const body = new Packr({ useRecords: false }).pack({ host: header.host, shards: header.shards });
  const prefix = Buffer.alloc(PREFIX_BYTES);
  MAGIC.copy(prefix);
  prefix.writeUInt16LE(RECORDING_VERSION, 8);
  prefix.writeUInt16LE(LAYOUT_VERSION, 10);
  prefix.writeUInt32LE(body.length, 12);
  prefix.writeUInt32LE(crc32(body), 16);
  return Buffer.concat([prefix, body]);
}

/** @returns length and crc of the header that follows. @throws HostError RECORDING when this build cannot read the file. */
export function decodePrefix(prefix: Buffer, path: string): { length: number; crc: number } {
  if (prefix.length < PREFIX_BYTES || !prefix.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new HostError('RECORDING', `${path} is not a recording`, 'Give a file that was made with --record.');
  }
  const version = prefix.readUInt16LE(8);
  if (version !== RECORDING_VERSION) {
    throw new HostError(
      'RECORDING',
      `${path} has recording version ${version}, and this build reads ${RECORDING_VERSION}`,
      'Replay it with the release that made it.',
    );
  }
  const layout = prefix.readUInt16LE(10);
  if (layout !== LAYOUT_VERSION) {
    throw new HostError('RECORDING', `${path} has record layout ${layout}, and this build reads ${LAYOUT_VERSION}`, 'Replay it with the release that made it.');
  }
  const length = prefix.readUInt32LE(12);
  if (length > MAX_HEADER_BYTES) throw damaged(path, `a header of ${length} bytes`);
  return { length, crc: prefix.readUInt32LE(16) };
}

/** @throws HostError RECORDING for a header that is damaged or lacks something. */
export function decodeHeader(body: Buffer, crc: number, path: string): RecordingHeader {
  if (crc32(body) !== crc) throw damaged(path, 'the header does not match its checksum');
  let value: unknown;
  try {
    value = new Unpackr({ useRecords: false }).unpack(body);
  } catch (error) {
    throw new HostError('RECORDING', `${path} is damaged: the header is not msgpack`, undefined, { cause: error });
  }
  const { host, shards } = (value ?? {}) as { host?: unknown; shards?: unknown };
  if (!isHostContext(host)) throw damaged(path, 'the header does not name its host');
  if (typeof shards !== 'number' || !Number.isInteger(shards) || shards < 1 || shards > MAX_SHARDS) throw damaged(path, 'the number of shards is out of range');
  return { host, shards };
}

function isHostContext(value: unknown): value is HostContext {
  if (typeof value !== 'object' || value === null) return false;
  const host = value as Record<string, unknown>;
  const strings = ['hostname', 'deviceId', 'osVersion', 'arch', 'kernelVersion'].every((key) => typeof host[key] === 'string');
  const users = host['users'];
  return strings && typeof users === 'object' && users !== null && Object.values(users).every((name) => typeof name === 'string');
}

/** The fixed part before a batch. */
export function encodeFrame({ shard, bytes, records, payloadBytes, clockOffsetNs }: RecordBatch): Buffer {
  return frame({ length: bytes.length, records, payloadBytes, shard, clockOffsetNs, crc: crc32(bytes) });
}

/** The mark of a file that was closed properly. */
export function encodeEnd(frames: number): Buffer {
  return frame({ length: 0, records: frames >>> 0, payloadBytes: 0, shard: END_SHARD, clockOffsetNs: 0n, crc: 0 });
}

export function isEnd(header: FrameHeader): boolean {
  return header.length === 0 && header.shard === END_SHARD;
}

function frame({ length, records, payloadBytes, shard, clockOffsetNs, crc }: FrameHeader): Buffer {
  const raw = Buffer.alloc(FRAME_BYTES);
  raw.writeUInt32LE(length, 0);
  raw.writeUInt32LE(records, 4);
  raw.writeUInt32LE(payloadBytes, 8);
  raw.writeUInt32LE(shard, 12);
  raw.writeBigInt64LE(clockOffsetNs, 16);
  raw.writeUInt32LE(crc, 24);
  return raw;
}

/** @returns the header, or what is wrong with it. */
export function decodeFrame(raw: Buffer, shards: number): FrameHeader | string {
  const header: FrameHeader = {
    length: raw.readUInt32LE(0),
    records: raw.readUInt32LE(4),
    payloadBytes: raw.readUInt32LE(8),
    shard: raw.readUInt32LE(12),
    clockOffsetNs: raw.readBigInt64LE(16),
    crc: raw.readUInt32LE(24),
  };
  if (isEnd(header)) return header;
  if (header.length === 0 || header.length > MAX_FRAME_BYTES) return `a frame of ${header.length} bytes`;
  if (header.shard >= shards) return `a frame for shard ${header.shard} of ${shards}`;
  // Every record takes two bytes or more, and payload is part of the bytes.
  if (header.records > header.length || header.payloadBytes > header.length) return 'a frame with impossible counts';
  return header;
}

function damaged(path: string, what: string): HostError {
  return new HostError('RECORDING', `${path} is damaged: ${what}`, 'Make the recording again.');
}
