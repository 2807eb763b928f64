// Reads the socket behind a connection out of the kernel record that an event begins in; it never looks past the record's fixed part.
import { wallTime } from '../../events/event-id.js';
import { layoutOfKind, PeerOffset, Role, RoleText, TlsDataOffset } from '../../gen/records.js';

/** As ext.oisp_host.peer has it. ip and port are the other end's. */
export interface PeerContext {
  readonly ip?: string;
  readonly port?: number;
  readonly local_ip?: string;
  readonly local_port?: number;
  readonly protocol: string;
  /** Which end the process is; absent when connect and accept were not seen. */
  readonly role?: string;
  /** When the socket was connected or accepted. */
  readonly since?: string;
}

const AF_UNIX = 1;
const AF_INET = 2;
const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp' };

/** @returns undefined when the record has no peer, or does not know it. */
export function peerOf(kind: number, record: Uint8Array, clockOffsetNs: bigint): PeerContext | undefined {
  if (layoutOfKind[kind] !== 'tls_data' || record.length < TlsDataOffset.SIZE) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const at = TlsDataOffset.peer;
  const family = view.getUint16(at + PeerOffset.family, true);
  if (family === 0) return undefined;
  const role = record[at + PeerOffset.role] ?? Role.unknown;
  const since = view.getBigUint64(TlsDataOffset.since_ns, true);
  const known = { ...(role !== Role.unknown && { role: RoleText[role] ?? 'unknown' }), ...(since > 0n && { since: wallTime(since + clockOffsetNs) }) };
  if (family === AF_UNIX) return { protocol: 'unix', ...known };
  const address = (offset: number) => addressText(family, record.subarray(at + offset, at + offset + 16));
  return {
    ip: address(PeerOffset.remote_addr),
    port: view.getUint16(at + PeerOffset.remote_port, true),
    local_ip: address(PeerOffset.local_addr),
    local_port: view.getUint16(at + PeerOffset.local_port, true),
    protocol: PROTOCOLS[record[at + PeerOffset.protocol] ?? 0] ?? 'other',
    ...known,
  };
}

/** Text form of an address as on the wire; IPv6 as RFC 5952 writes it. */
function addressText(family: number, bytes: Uint8Array): string {
  if (family === AF_INET) return bytes.subarray(0, 4).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16));
  // The longest run of at least two zero groups, the first of them when there are several.
  const runs = [...groups.join(':').matchAll(/\b0(?::0)+\b/g)];
  const longest = runs.reduce<RegExpExecArray | undefined>((best, run) => (best && best[0].length >= run[0].length ? best : run), undefined);
  if (longest === undefined) return groups.join(':');
  const text = groups.join(':');
  const before = text.slice(0, longest.index).replace(/:$/, '');
  const behind = text.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${before}::${behind}`;
}
