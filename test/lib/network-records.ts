// Builds the records of the network and dns decoders as the kernel writes them, and DNS messages; it reads none.
import { join } from 'node:path';
import { paths } from '../../host/src/config/paths.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { DecodeWorker } from '../../host/src/decode/worker.js';
import type { ConnectionNote, RawEvent } from '../../host/src/events/raw-event.js';
import {
  type Direction,
  DnsFlag,
  Kind,
  NetDnsOffset,
  NetFlowOffset,
  NetOpenOffset,
  PeerOffset,
  RecHeaderOffset,
  Role,
  TlsHelloOffset,
} from '../../host/src/gen/records.js';
import { framed, withHeader } from '../../host/src/sources/plaintext/kernel-records.js';

export const SECOND = 1_000_000_000n;
export const NOW = 100n * SECOND;
export const TGID = 4242;

/** Addresses as bytes: 4 or 16 of them; none for a Unix socket. */
export interface PeerFields {
  readonly local?: readonly number[];
  readonly remote?: readonly number[];
  readonly localPort?: number;
  readonly remotePort?: number;
  readonly protocol?: number;
  readonly role?: number;
}

export const V4: PeerFields = { local: [10, 0, 0, 9], remote: [203, 0, 113, 80], localPort: 40_000, remotePort: 443 };
export const RESOLVER: PeerFields = { local: [10, 0, 0, 9], remote: [10, 0, 0, 1], localPort: 40_001, remotePort: 53, protocol: 17 };

function putPeer(record: Buffer, at: number, peer: PeerFields): void {
  const { local = [], remote = [], localPort = 0, remotePort = 0, protocol = 6, role = Role.client } = peer;
  record.writeUInt16LE(remote.length === 16 ? 10 : remote.length === 4 ? 2 : 1, at + PeerOffset.family);
  record[at + PeerOffset.protocol] = protocol;
  record[at + PeerOffset.role] = role;
  record.writeUInt16LE(localPort, at + PeerOffset.local_port);
  record.writeUInt16LE(remotePort, at + PeerOffset.remote_port);
  record.set(local, at + PeerOffset.local_addr);
  record.set(remote, at + PeerOffset.remote_addr);
}

export interface OpenFields {
  readonly peer?: PeerFields;
  readonly latency?: bigint;
  readonly error?: number;
  readonly flags?: number;
  readonly path?: Uint8Array;
}

export function netOpen({ peer = V4, latency = 0n, error = 0, flags = 0, path = new Uint8Array() }: OpenFields): Buffer {
  const record = withHeader(Kind.net_open, NetOpenOffset.path + path.length, NOW, TGID);
  putPeer(record, NetOpenOffset.peer, peer);
  record.writeBigUInt64LE(latency, NetOpenOffset.latency_ns);
  record.writeUInt32LE(error, NetOpenOffset.error);
  record.writeUInt32LE(flags, NetOpenOffset.flags);
  record.writeUInt32LE(path.length, NetOpenOffset.path_len);
  record.set(path, NetOpenOffset.path);
  return framed(Kind.net_open, record);
}

export function netFlow(peer: PeerFields, socket = 1n): Buffer {
  const record = withHeader(Kind.net_flow, NetFlowOffset.SIZE, NOW, TGID);
  putPeer(record, NetFlowOffset.peer, peer);
  record.writeBigUInt64LE(socket, NetFlowOffset.socket);
  record.writeBigUInt64LE(NOW - 1_500_000n, NetFlowOffset.start_ns);
  for (const [i, name] of (['read_bytes', 'write_bytes', 'read_packets', 'write_packets'] as const).entries())
    record.writeBigUInt64LE(BigInt(i + 1), NetFlowOffset[name]);
  return framed(Kind.net_flow, record);
}

export function tlsHello(bytes: Uint8Array, peer: PeerFields = V4, socket = 1n, trueLength = bytes.length): Buffer {
  const record = withHeader(Kind.tls_hello, TlsHelloOffset.bytes + bytes.length, NOW, TGID);
  putPeer(record, TlsHelloOffset.peer, peer);
  record.writeBigUInt64LE(socket, TlsHelloOffset.socket);
  record.writeUInt32LE(trueLength, TlsHelloOffset.len);
  record.writeUInt32LE(bytes.length, TlsHelloOffset.bytes_len);
  record.set(bytes, TlsHelloOffset.bytes);
  return framed(Kind.tls_hello, record);
}

export interface DnsFields {
  readonly direction: (typeof Direction)[keyof typeof Direction];
  readonly bytes: Uint8Array;
  readonly ts?: bigint;
  readonly peer?: PeerFields;
  readonly tgid?: number;
  readonly startNs?: bigint;
  readonly stream?: boolean;
  readonly socket?: bigint;
  readonly trueLength?: number;
}

export function netDns(fields: DnsFields): Buffer {
  const { direction, bytes, ts = NOW, peer = RESOLVER, tgid = TGID, stream = false, socket = 9n } = fields;
  const record = withHeader(Kind.net_dns, NetDnsOffset.bytes + bytes.length, ts, tgid);
  record.writeBigUInt64LE(fields.startNs ?? 0n, RecHeaderOffset.start_ns);
  putPeer(record, NetDnsOffset.peer, peer);
  record.writeBigUInt64LE(socket, NetDnsOffset.socket);
  record.writeUInt32LE(fields.trueLength ?? bytes.length, NetDnsOffset.len);
  record.writeUInt32LE(bytes.length, NetDnsOffset.bytes_len);
  record.writeUInt16LE(stream ? DnsFlag.stream : 0, NetDnsOffset.flags);
  record.writeUInt16LE(direction, NetDnsOffset.direction);
  record.set(bytes, NetDnsOffset.bytes);
  return framed(Kind.net_dns, record);
}

/** A name as labels, without compression. */
export function dnsName(name: string): Buffer {
  const labels = name === '.' ? [] : name.split('.');
  return Buffer.concat([...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])), Buffer.from([0])]);
}

export interface ResourceRecord {
  readonly type: number;
  readonly data: Uint8Array;
  readonly ttl?: number;
  /** Default: a pointer to the question's name. */
  readonly name?: Uint8Array;
}

export interface DnsMessage {
  readonly id?: number;
  readonly name?: string;
  readonly type?: number;
  /** Given: a response. */
  readonly rcode?: number;
  readonly truncated?: boolean;
  readonly answers?: readonly ResourceRecord[];
}

const words = (...values: number[]): Buffer => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));

export function dnsMessage({ id = 7, name = 'a.test', type = 1, rcode, truncated = false, answers = [] }: DnsMessage = {}): Buffer {
  const flags = 0x0100 | (rcode === undefined ? 0 : 0x8080 | rcode) | (truncated ? 0x0200 : 0);
  const records = answers.map(({ type: kind, data, ttl = 60, name: owner = words(0xc00c) }) =>
    Buffer.concat([owner, words(kind, 1, ttl >>> 16, ttl & 0xffff, data.length), data]),
  );
  return Buffer.concat([words(id, flags, 1, answers.length, 0, 0), dnsName(name), words(type, 1), ...records]);
}

/** Decodes with one module of the chain, alone. */
export class Decoding {
  readonly events: RawEvent[] = [];
  readonly notes: ConnectionNote[] = [];
  private readonly worker: DecodeWorker;
  private readonly out = {
    event: (event: RawEvent) => void this.events.push(event),
    processStart: () => undefined,
    processEnd: () => undefined,
    connectionNote: (note: ConnectionNote) => void this.notes.push(note),
  };

  constructor(private readonly name: string) {
    this.worker = new DecodeWorker([loadDecoder(join(paths.decoders, `${name}.wasm`))]);
  }

  give(...records: Uint8Array[]): this {
    for (const record of records) this.worker.process(record, this.out);
    return this;
  }
  tick(seconds: number): this {
    this.worker.tick(seconds, this.out);
    return this;
  }
  flush(): this {
    this.worker.flush(this.out);
    return this;
  }
  counter(name: string): number {
    return this.worker.stats().modules[this.name]?.counters[name] ?? -1;
  }
  get traps(): number {
    return this.worker.stats().modules[this.name]?.traps ?? -1;
  }
}
