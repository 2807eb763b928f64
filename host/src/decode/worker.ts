// The decoding half of a shard: batches in, events before the envelope out. It knows no source, no sink and no configuration.

import type { ConnectionNote, DecoderIdentity, HostRecords, ProcessEnd, ProcessStart, RawEvent } from '../events/raw-event.js';
import { Kind, RecHeaderOffset, TlsDataOffset } from '../gen/records.js';
import { Chain, type ChainOptions, type HostSink } from './chain.js';
import type { LoadedDecoder, ModuleCounters } from './stage.js';
import { unpackr } from './unpack.js';

/** Counts of what the chain gave the host. */
export interface DecodeCounters {
  events: number;
  /** Records of a kind or shape the host does not know: dropped. */
  unknown: number;
  /** Out buffers that were not msgpack: dropped. */
  malformed: number;
}

export class DecodeWorker {
  readonly counters: DecodeCounters = { events: 0, unknown: 0, malformed: 0 };
  readonly chain: Chain;

  constructor(decoders: readonly LoadedDecoder[], options: ChainOptions = {}) {
    this.chain = new Chain(decoders, options);
  }

  /** @param kinds bit k: a record of kind k may be in the batch. */
  process(batch: Uint8Array, out: HostRecords, kinds?: number): void {
    this.chain.process(batch, this.sinkFor(out), kinds);
  }

  tick(seconds: number, out: HostRecords): void {
    this.chain.tick(seconds, this.sinkFor(out));
  }

  flush(out: HostRecords): void {
    this.chain.flush(this.sinkFor(out));
  }

  /** What takes the buffers of the chain and gives their records to `out`. */
  sinkFor(out: HostRecords): HostSink {
    return (bytes, decoder) => this.take(bytes, decoder, out);
  }

  stats(): { modules: Record<string, ModuleCounters>; host: DecodeCounters } {
    return { modules: this.chain.stats(), host: { ...this.counters } };
  }

  private take(bytes: Uint8Array, decoder: DecoderIdentity, out: HostRecords): void {
    let records: unknown[];
    try {
      records = unpackr.unpackMultiple(bytes);
    } catch (error) {
      this.counters.malformed++;
      records = (error as { values?: unknown[] }).values ?? [];
    }
    for (const record of records) this.give(record, decoder, out);
  }

  private give(record: unknown, decoder: DecoderIdentity, out: HostRecords): void {
    const parsed = parse(record, decoder);
    if (!parsed) this.counters.unknown++;
    else if (parsed.kind === Kind.event) {
      this.counters.events++;
      out.event(parsed.value);
    } else if (parsed.kind === Kind.proc_start) out.processStart(parsed.value);
    else if (parsed.kind === Kind.conn_note) out.connectionNote(parsed.value);
    else out.processEnd(parsed.value);
  }
}

type Parsed =
  | { kind: typeof Kind.event; value: RawEvent }
  | { kind: typeof Kind.proc_start; value: ProcessStart }
  | { kind: typeof Kind.proc_end; value: ProcessEnd }
  | { kind: typeof Kind.conn_note; value: ConnectionNote };

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isNs = (value: unknown): value is number | bigint => isCount(value) || typeof value === 'bigint';
const isText = (value: unknown): value is string | null => value === null || typeof value === 'string';

/** A module may be anybody's: what it gives is checked here once, and trusted from here on. */
function parse(record: unknown, decoder: DecoderIdentity): Parsed | undefined {
  if (!Array.isArray(record)) return undefined;
  switch (record[0]) {
    case Kind.event:
      return parseEvent(record, decoder);
    case Kind.proc_start:
      return parseStart(record);
    case Kind.conn_note:
      return parseNote(record);
    case Kind.proc_end: {
      const [, ts, tgid, startNs] = record;
      return isNs(ts) && isCount(tgid) && isNs(startNs) ? { kind: Kind.proc_end, value: { ts: BigInt(ts), tgid, startNs: BigInt(startNs) } } : undefined;
    }
    default:
      return undefined;
  }
}

/** Keys of a note's detail; a decoder that sends more is not believed. */
const MAX_DETAIL = 16;

function parseNote(record: unknown[]): Parsed | undefined {
  const [, what, ts, origin, conn, target, detail] = record;
  if (!isCount(what) || !isNs(ts) || !(origin instanceof Uint8Array) || origin.length < RecHeaderOffset.SIZE || !isCount(target) || !isMap(detail))
    return undefined;
  if ((conn !== null && !isNs(conn)) || Object.keys(detail).length > MAX_DETAIL) return undefined;
  const view = new DataView(origin.buffer, origin.byteOffset, origin.length);
  const kind = view.getUint16(RecHeaderOffset.kind, true);
  const named = origin.length >= TlsDataOffset.offset;
  const value: ConnectionNote = {
    what,
    ts: BigInt(ts),
    tgid: view.getUint32(RecHeaderOffset.tgid, true),
    startNs: view.getBigUint64(RecHeaderOffset.start_ns, true),
    uid: view.getUint32(RecHeaderOffset.uid, true),
    comm: commOf(origin),
    kind,
    bytes: kind === Kind.tls_data && origin.length >= TlsDataOffset.SIZE ? view.getUint32(TlsDataOffset.call_len, true) : 0,
    conn: conn === null ? null : hex(conn),
    target,
    ssl: named ? view.getBigUint64(TlsDataOffset.ssl, true) : 0n,
    generation: named ? view.getBigUint64(TlsDataOffset.generation, true) : 0n,
    detail,
  };
  return { kind: Kind.conn_note, value };
}

function commOf(origin: Uint8Array): string {
  const comm = origin.subarray(RecHeaderOffset.comm, RecHeaderOffset.SIZE);
  const end = comm.indexOf(0);
  return Buffer.from(end < 0 ? comm : comm.subarray(0, end)).toString('utf8');
}

const hex = (conn: number | bigint): string => BigInt(conn).toString(16).padStart(16, '0');

function parseEvent(record: unknown[], decoder: DecoderIdentity): Parsed | undefined {
  const [, type, ts, origin, conn, stream, index, data, meta] = record;
  if (typeof type !== 'string' || !isNs(ts) || !(origin instanceof Uint8Array) || !isMap(data) || !isCount(index)) return undefined;
  if ((conn !== null && !isNs(conn)) || (stream !== null && !isCount(stream))) return undefined;
  const value: RawEvent = {
    decoder,
    type,
    ts: BigInt(ts),
    // Copied: the buffer it points into is reused by the next call.
    origin: Uint8Array.from(origin),
    conn: conn === null ? null : hex(conn),
    stream,
    index,
    data,
    meta: isMap(meta) ? meta : {},
  };
  return { kind: Kind.event, value };
}

function parseStart(record: unknown[]): Parsed | undefined {
  const [, how, ts, tgid, ppid, startNs, parentStartNs, uid, gid, comm, exe, args, cwd, cgroup, flags] = record;
  if (!isNs(ts) || !isNs(startNs) || !isNs(parentStartNs) || typeof comm !== 'string') return undefined;
  if (!isCount(how) || !isCount(tgid) || !isCount(ppid) || !isCount(uid) || !isCount(gid) || !isCount(flags)) return undefined;
  if (!isText(exe) || !isText(cwd) || !isText(cgroup)) return undefined;
  if (args !== null && !(Array.isArray(args) && args.every((arg) => typeof arg === 'string'))) return undefined;
  const value: ProcessStart = {
    how,
    ts: BigInt(ts),
    tgid,
    ppid,
    startNs: BigInt(startNs),
    parentStartNs: BigInt(parentStartNs),
    uid,
    gid,
    comm,
    exe,
    args,
    cwd,
    cgroup,
    flags,
  };
  return { kind: Kind.proc_start, value };
}
