// Makes the envelope of an event: who did it, where, when, how it was seen and how much of it. It adds no content and removes none.
import type { Confidence, OispEvent, ProcessContext, ShardEvent } from '../../events/event.js';
import { eventId, wallTime } from '../../events/event-id.js';
import type { EventMeta, ProcessEnd, ProcessStart, RawEvent } from '../../events/raw-event.js';
import type { HostContext } from '../../events/source.js';
import { EventType, OISP_VERSION } from '../../gen/events.js';
import { Kind, layoutOfKind, NetFlowOffset, NetOpenOffset, ProbeFunc, ProbeFuncText, RecHeaderOffset, TlsDataOffset } from '../../gen/records.js';
import { type PeerContext, peerOf } from './peer.js';
import { ProcessTable, type ProcessTableCounters } from './process-table.js';

export interface EnrichOptions {
  readonly host: HostContext;
  /** Version of this build, as events name their collector. */
  readonly version: string;
  /** Number of the shard, for ext. */
  readonly shard: number;
}

/** The header of a kernel record, read out of an event's origin. */
interface Origin {
  kind: number;
  tgid: number;
  tid: number;
  uid: number;
  gid: number;
  startNs: bigint;
  comm: string;
  func: number;
}

export class Enricher {
  private readonly table = new ProcessTable();
  private readonly hostObject: Record<string, unknown>;
  private noOrigin = 0;

  constructor(private readonly options: EnrichOptions) {
    const { hostname, deviceId, osVersion, arch, kernelVersion } = options.host;
    this.hostObject = { hostname, device_id: deviceId, os: 'linux', os_version: osVersion, arch, kernel_version: kernelVersion };
  }

  processStart(start: ProcessStart): void {
    this.table.start(start);
  }

  processEnd(end: ProcessEnd): void {
    this.table.end(end);
  }

  /** What is known of a process; undefined for one never seen. */
  processOf(tgid: number, startNs: bigint): ProcessContext | undefined {
    return this.table.describe(tgid, startNs);
  }

  /** @param clockOffsetNs CLOCK_REALTIME - CLOCK_BOOTTIME of the batch the event came from. */
  event(raw: RawEvent, clockOffsetNs: bigint): ShardEvent {
    const origin = readOrigin(raw.origin);
    if (!origin) this.noOrigin++;
    const wallNs = raw.ts + clockOffsetNs;
    const process = origin && this.describe(origin, clockOffsetNs);
    const peer = origin && peerOf(origin.kind, raw.origin, clockOffsetNs);
    const event: OispEvent = {
      oisp_version: OISP_VERSION,
      event_id: eventId(Number(wallNs / 1_000_000n), this.identity(raw, origin)),
      event_type: raw.type,
      ts: wallTime(wallNs),
      ts_mono: Number(raw.ts),
      host: this.hostObject,
      ...(origin && { actor: this.actor(origin) }),
      ...(process && { process }),
      source: { collector: 'oisp-host', collector_version: this.options.version, ...capture(origin) },
      confidence: confidence(raw.meta, origin, process),
      data: raw.data,
      ext: { oisp_host: this.ext(raw, peer) },
    };
    if ((raw.type === EventType.tool_call || raw.type === EventType.tool_result) && process?.name) event.data['agent'] ??= { name: process.name };
    return { event, exchange: raw.conn === null ? null : `${raw.conn}:${raw.stream ?? 0}` };
  }

  counters(): ProcessTableCounters & { no_origin: number } {
    return { ...this.table.counters(), no_origin: this.noOrigin };
  }

  private identity(raw: RawEvent, origin: Origin | undefined): string {
    const place = raw.conn === null ? `${origin?.tgid}:${origin?.startNs}:${raw.ts}` : `${raw.conn}:${raw.stream}`;
    return `${this.options.host.deviceId}:${place}:${raw.type}:${raw.index}`;
  }

  private describe(origin: Origin, clockOffsetNs: bigint): ProcessContext {
    const known = this.table.describe(origin.tgid, origin.startNs) ?? { pid: origin.tgid, name: origin.comm };
    return {
      ...known,
      ...(origin.startNs > 0n && { start_time: wallTime(origin.startNs + clockOffsetNs) }),
      ...(origin.tid > 0 && { thread_id: origin.tid }),
    };
  }

  private actor(origin: Origin): { uid: number; gid: number; user?: string } {
    const user = this.options.host.users[origin.uid];
    return { uid: origin.uid, gid: origin.gid, ...(user !== undefined && { user }) };
  }

  private ext(raw: RawEvent, peer: PeerContext | undefined): Record<string, unknown> {
    const { meta } = raw;

    return {
      decoder: `${raw.decoder.name}@${raw.decoder.version}`,
      sha256: raw.decoder.sha256,
      shard: this.options.shard,
      ...(raw.conn !== null && { connection: raw.conn, exchange: raw.stream }),
      ...(peer && { peer }),
      ...(meta.provider !== undefined && { provider: meta.provider }),
      ...(meta.role !== undefined && { role: meta.role }),
      ...(meta.missing_bytes !== undefined && { missing_bytes: meta.missing_bytes }),
      ...meta.ext,
    };
  }
}

/** @returns undefined when the record names no process (plaintext from files). */
function readOrigin(bytes: Uint8Array): Origin | undefined {
  if (bytes.length < RecHeaderOffset.SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tgid = view.getUint32(RecHeaderOffset.tgid, true);
  if (tgid === 0) return undefined;
  const kind = view.getUint16(RecHeaderOffset.kind, true);
  const comm = bytes.subarray(RecHeaderOffset.comm, RecHeaderOffset.SIZE);
  const end = comm.indexOf(0);
  return {
    kind,
    tgid,
    tid: view.getUint32(RecHeaderOffset.tid, true),
    uid: view.getUint32(RecHeaderOffset.uid, true),
    gid: view.getUint32(RecHeaderOffset.gid, true),
    startNs: view.getBigUint64(RecHeaderOffset.start_ns, true),
    comm: Buffer.from(end < 0 ? comm : comm.subarray(0, end)).toString('utf8'),
    func: bytes[FUNC_OFFSETS[layoutOfKind[kind] ?? ''] ?? bytes.length] ?? TRACEPOINTS[kind] ?? ProbeFunc.sys_exit,
  };
}

function capture(origin: Origin | undefined): { capture_method: string; capture_point?: string } {
  if (!origin) return { capture_method: 'other' };
  if (origin.kind === Kind.tls_data) return { capture_method: 'ebpf_uprobe', capture_point: ProbeFuncText[origin.func] ?? 'unknown' };
  return { capture_method: 'ebpf_tracepoint', capture_point: ProbeFuncText[origin.func] ?? 'unknown' };
}

/** How the content of an event was had, by the kind of the record that it begins in. */
const CONTENT_SOURCES: Readonly<Record<number, string>> = { [Kind.tls_data]: 'tls_boundary', [Kind.sock_data]: 'plaintext_capture' };

/** Where the layouts that have one say which probe made the record: the low byte of enum probe_func. */
const FUNC_OFFSETS: Readonly<Record<string, number>> = {
  tls_data: TlsDataOffset.func,
  net_open: NetOpenOffset.func,
  net_flow: NetFlowOffset.func,
};

/** The probe of those that have not; all others are made when a system call returns. */
const TRACEPOINTS: Readonly<Record<number, number>> = {
  [Kind.sys_exec]: ProbeFunc.process_exec,
  [Kind.sys_exit]: ProbeFunc.process_exit,
  [Kind.sys_fork]: ProbeFunc.process_fork,
};

function confidence(meta: EventMeta, origin: Origin | undefined, process: ProcessContext | undefined): Confidence {
  const missing = [...(meta.missing ?? [])];
  if (process && process.exe === undefined) missing.push('process.exe');
  const content = origin && CONTENT_SOURCES[origin.kind];
  return {
    level: meta.level ?? 'high',
    completeness: meta.completeness ?? 'full',
    ...(meta.reasons?.length && { reasons: meta.reasons }),
    ...(missing.length && { missing }),
    ...(meta.limitations?.length && { limitations: meta.limitations }),
    process_attribution: origin ? 'direct' : 'unknown',
    ...(content !== undefined && { content_source: content }),
    ...(meta.detection !== undefined && { ai_detection_method: meta.detection }),
  };
}
