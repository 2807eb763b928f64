// The network decoder: connections made, taken, refused and over become network events, and ClientHellos notes; names are not resolved here.
import { EventType, FlowDirection } from '../../abi/events';
import { defineModule, eventsOut, Status, setError, stat } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { ConnNote, Kind, NetFlow, NetOpen, OpenFlag, Peer, RecHeader, Role, SOCKET_PATH_AREA, TlsHello } from '../../abi/records';
import { findByte } from '../../lib/bytes';
import { ClientHello } from '../../lib/client-hello';
import { AF_UNIX, addressText, ipText } from '../../lib/ip';
import { hasLocalEnd, localEnd, protocolName, remoteEnd } from './endpoint';
import { errnoName } from './errno';
import { initHandover } from './handover';
import { Hello, Hellos } from './hellos';
import { alpnOut, versionsOut } from './offers';

export { oisp_give, oisp_held, oisp_state_schema, oisp_take } from '../../abi/handover';
export {
  oisp_abi,
  oisp_consumed,
  oisp_flush,
  oisp_in,
  oisp_init,
  oisp_last_error,
  oisp_manifest,
  oisp_out,
  oisp_out_len,
  oisp_process,
  oisp_resume,
  oisp_stats,
  oisp_tick,
} from '../../abi/module';

/** A lane must take the largest record: a note with a whole ALPN list, whose texts may triple when they are not UTF-8. */
const MIN_OUT: u32 = 16 * 1024;

const scratch: usize = heap.alloc(SOCKET_PATH_AREA);

let connects: u64 = 0;
let accepts: u64 = 0;
let flows: u64 = 0;
let hellos: u64 = 0;
let short: u64 = 0;
let notHello: u64 = 0;

function onInit(outCap: u32, _flags: u32, _maxConns: u32): i32 {
  if (outCap >= MIN_OUT) return 0;
  setError('out lanes must hold ', MIN_OUT);
  return -1;
}

/** Bytes a record of this kind must have; path and bytes are last areas and may be shorter. */
function sizeOf(kind: u32): u32 {
  if (kind == Kind.NET_OPEN) return <u32>NetOpen.path(0);
  return kind == Kind.NET_FLOW ? NetFlow.SIZE : <u32>TlsHello.bytes(0);
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  if (kind != Kind.NET_OPEN && kind != Kind.NET_FLOW && kind != Kind.TLS_HELLO) return Status.DONE;
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed) {
    setError('a network record without its bytes');
    return Status.BAD;
  }
  const size = Reader.length;
  if (size < sizeOf(kind)) {
    short++;
    return Status.DONE;
  }
  if (kind == Kind.NET_OPEN) return onOpen(record, size);
  return kind == Kind.NET_FLOW ? onFlow(record) : onHello(record, size);
}

/** The first elements of an event record: data and meta follow. */
function eventHead(record: usize, type: string, originSize: u32): void {
  eventsOut.array(9);
  eventsOut.uint(Kind.EVENT);
  eventsOut.text(type);
  eventsOut.uint(RecHeader.ts_ns(record));
  eventsOut.bin(record, originSize);
  eventsOut.nil();
  eventsOut.nil();
  eventsOut.uint(0);
}

/** Milliseconds with whole microseconds. */
function milliseconds(ns: u64): f64 {
  return <f64>((ns + 500) / 1000) / 1000;
}

function onOpen(record: usize, size: u32): i32 {
  const peer = NetOpen.peer(record);
  const pathLength = min(min(NetOpen.path_len(record), SOCKET_PATH_AREA), size - <u32>NetOpen.path(0));
  const server = Peer.role(peer) == Role.SERVER;
  const mark = eventsOut.begin();
  eventHead(record, server ? EventType.NETWORK_ACCEPT : EventType.NETWORK_CONNECT, <u32>NetOpen.path(0));
  if (server) acceptData(record, pathLength);
  else connectData(record, pathLength);
  eventsOut.map(0);
  if (!eventsOut.commit(mark)) return Status.FULL;
  if (server) accepts++;
  else connects++;
  return Status.DONE;
}

function acceptData(record: usize, pathLength: u32): void {
  const peer = NetOpen.peer(record);
  eventsOut.map(3);
  eventsOut.text('src');
  remoteEnd(peer, 0, 0);
  eventsOut.text('dest');
  if (Peer.family(peer) == AF_UNIX) unixEnd(NetOpen.path(record), pathLength);
  else localEnd(peer);
  eventsOut.text('protocol');
  eventsOut.text(protocolName(peer));
}

function connectData(record: usize, pathLength: u32): void {
  const peer = NetOpen.peer(record);
  const isUnix = Peer.family(peer) == AF_UNIX;
  const hasSource = !isUnix && hasLocalEnd(peer);
  const success = NetOpen.error(record) == 0 && (NetOpen.flags(record) & OpenFlag.ABANDONED) == 0;
  const latency = NetOpen.latency_ns(record);
  eventsOut.map(3 + (hasSource ? 1 : 0) + (success ? 0 : 1) + (latency ? 1 : 0));
  eventsOut.text('dest');
  if (isUnix) unixEnd(NetOpen.path(record), pathLength);
  else remoteEnd(peer, 0, 0);
  if (hasSource) {
    eventsOut.text('src');
    localEnd(peer);
  }
  eventsOut.text('protocol');
  eventsOut.text(protocolName(peer));
  eventsOut.text('success');
  eventsOut.boolean(success);
  if (!success) errorOut(NetOpen.error(record));
  if (latency) {
    eventsOut.text('latency_ms');
    eventsOut.float(milliseconds(latency));
  }
}

function errorOut(error: u32): void {
  eventsOut.text('error');
  if (error == 0) {
    // The program closed the socket while it was connecting.
    eventsOut.text('abandoned');
    return;
  }
  const name = errnoName(error);
  if (name.length) eventsOut.text(name);
  else eventsOut.str(scratch, numbered(error));
}

/** 'errno 123' in scratch: its length. */
function numbered(error: u32): usize {
  store<u32>(scratch, 0x6e727265);
  store<u16>(scratch, 0x206f, 4);
  let digits: usize = 1;
  for (let rest = error; rest >= 10; rest /= 10) digits++;
  for (let i = digits; i > 0; i--) {
    store<u8>(scratch + 5 + i, <u8>(48 + (error % 10)));
    error /= 10;
  }
  return 6 + digits;
}

/** The name of a Unix socket; an abstract one, whose first byte is NUL, as tools write it: with an @. */
function unixEnd(at: usize, length: u32): void {
  if (length && load<u8>(at) == 0) {
    memory.copy(scratch, at, length);
    store<u8>(scratch, 0x40);
    at = scratch;
  } else {
    // A path ends at its NUL; an abstract name has none, and may hold some.
    const used = findByte(at, at + length, 0) - at;
    length = <u32>used;
  }
  eventsOut.map(length ? 1 : 0);
  if (length) {
    eventsOut.text('path');
    eventsOut.str(at, length);
  }
}

function onFlow(record: usize): i32 {
  const peer = NetFlow.peer(record);
  const inbound = Peer.role(peer) == Role.SERVER;
  const found = Hellos.find(Hellos.keyOf(NetFlow.socket(record), peer));
  const mark = eventsOut.begin();
  eventHead(record, EventType.NETWORK_FLOW, NetFlow.SIZE);
  eventsOut.map(found ? 10 : 9);
  eventsOut.text(inbound ? 'src' : 'dest');
  if (found) remoteEnd(peer, changetype<Hello>(found).name, changetype<Hello>(found).nameLength);
  else remoteEnd(peer, 0, 0);
  eventsOut.text(inbound ? 'dest' : 'src');
  localEnd(peer);
  eventsOut.text('protocol');
  eventsOut.text(protocolName(peer));
  eventsOut.text('direction');
  eventsOut.text(inbound ? FlowDirection.INBOUND : FlowDirection.OUTBOUND);
  count('bytes_sent', NetFlow.write_bytes(record));
  count('bytes_received', NetFlow.read_bytes(record));
  count('packets_sent', NetFlow.write_packets(record));
  count('packets_received', NetFlow.read_packets(record));
  count('duration_ms', (RecHeader.ts_ns(record) - NetFlow.start_ns(record)) / 1000000);
  if (found) {
    tlsData(changetype<Hello>(found));
    tlsMeta(changetype<Hello>(found));
  } else eventsOut.map(0);
  if (!eventsOut.commit(mark)) return Status.FULL;
  if (found) Hellos.drop(found);
  flows++;
  return Status.DONE;
}

function count(key: string, value: u64): void {
  eventsOut.text(key);
  eventsOut.uint(value);
}

/** What the client asked for is known; what the two agreed on is not. */
function tlsData(hello: Hello): void {
  eventsOut.text('tls');
  eventsOut.map(hello.nameLength ? 1 : 0);
  if (!hello.nameLength) return;
  eventsOut.text('sni');
  eventsOut.str(hello.name, hello.nameLength);
}

function tlsMeta(hello: Hello): void {
  eventsOut.map(1);
  eventsOut.text('ext');
  eventsOut.map(1);
  eventsOut.text('tls_offer');
  eventsOut.map(2);
  eventsOut.text('alpn');
  alpnOut(hello.alpn, hello.alpnLength);
  eventsOut.text('versions');
  versionsOut(hello.versions, hello.versionsLength, hello.legacyVersion);
}

function onHello(record: usize, size: u32): i32 {
  const length = min(TlsHello.bytes_len(record), size - <u32>TlsHello.bytes(0));
  if (!ClientHello.read(TlsHello.bytes(record), length)) {
    notHello++;
    return Status.DONE;
  }
  const mark = eventsOut.begin();
  noteOut(record, TlsHello.len(record) > length || ClientHello.cut);
  if (!eventsOut.commit(mark)) return Status.FULL;
  Hellos.keep(Hellos.keyOf(TlsHello.socket(record), TlsHello.peer(record)));
  hellos++;
  return Status.DONE;
}

/** conn.note: [what, ts, origin, conn, target, detail]. */
function noteOut(record: usize, cut: bool): void {
  const peer = TlsHello.peer(record);
  eventsOut.array(7);
  eventsOut.uint(Kind.CONN_NOTE);
  eventsOut.uint(ConnNote.TLS_HELLO);
  eventsOut.uint(RecHeader.ts_ns(record));
  eventsOut.bin(record, RecHeader.SIZE);
  eventsOut.nil();
  eventsOut.uint(0);
  eventsOut.map(7);
  eventsOut.text('sni');
  if (ClientHello.nameLength) eventsOut.str(ClientHello.nameAt, ClientHello.nameLength);
  else eventsOut.nil();
  eventsOut.text('alpn');
  alpnOut(ClientHello.alpnAt, ClientHello.alpnLength);
  eventsOut.text('versions');
  versionsOut(ClientHello.versionsAt, ClientHello.versionsLength, ClientHello.legacyVersion);
  eventsOut.text('local_port');
  eventsOut.uint(Peer.local_port(peer));
  eventsOut.text('peer');
  eventsOut.str(ipText, addressText(Peer.family(peer), Peer.remote_addr(peer)));
  eventsOut.text('peer_port');
  eventsOut.uint(Peer.remote_port(peer));
  eventsOut.text('cut');
  eventsOut.boolean(cut);
}

function onTick(_seconds: u32): void {}

function onFlush(): bool {
  return false;
}

function onStats(): void {
  stat('connects', connects);
  stat('accepts', accepts);
  stat('flows', flows);
  stat('hellos', hellos);
  stat('hellos_kept', Hellos.count());
  stat('hellos_forgotten', Hellos.forgotten);
  stat('no_hello', notHello);
  stat('malformed', short);
  stat('invalid_utf8', eventsOut.replaced);
}

defineModule('network', '0.1.0', [Kind.NET_OPEN, Kind.NET_FLOW, Kind.TLS_HELLO], [Kind.CONN_NOTE, Kind.EVENT], onInit, onRecord, onTick, onFlush, onStats);
initHandover();
