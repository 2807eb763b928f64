// What is kept of a connection and of each of its two streams, and the tables that find it; it never reads captured bytes.
//
//   Conn -- write: Dir (a Message in HTTP/1)
//        \- read:  Dir
//        \- fifo: the requests that wait for a response in HTTP/1
//        \- streams: Stream -- request, response: Message in HTTP/2
import { Direction, Role } from '../../abi/records';
import { bufferedBytes, ByteBuf } from '../../lib/bytes';
import { hpackBytes } from '../../lib/hpack';
import { Start } from '../../lib/http1';
import { inflateBytes } from '../../lib/inflate';
import { Entry, Table } from '../../lib/table';
import { Count } from './counters';
import { dropFrames } from './h2-state';
import { dropSeeker } from './h2-seek';
import { dropMessage, makeMessage, Message } from './message';
import { streamBytes } from './h2-streams';

export const FIFO_MAX: u32 = 64;
const FIFO_FEW: u32 = 4;
export const AUTHORITY_MAX: usize = 256;
/** heldBytes() of all connections together; past it the connection idle for longest is given up. */
export const BUFFERS_MAX: usize = 64 << 20;

/** What the bytes of a stream are, next; see the drawing in stream.ts. */
export namespace At {
  export const START: u32 = 0;
  export const HEADERS: u32 = 1;
  export const HEAD_READY: u32 = 2;
  export const LENGTH: u32 = 3;
  export const TO_CLOSE: u32 = 4;
  export const CHUNK_SIZE: u32 = 5;
  export const CHUNK_DATA: u32 = 6;
  export const CHUNK_END: u32 = 7;
  export const TRAILERS: u32 = 8;
  export const END_READY: u32 = 9;
  export const RESYNC: u32 = 10;
  export const OPAQUE: u32 = 11;
  /** Frames of HTTP/2: h2-frames.ts. */
  export const FRAMES: u32 = 12;
}

@unmanaged
export class Dir extends Message {
  state: u32 = 0;
  /** State after END_READY. */
  after: u32 = 0;
  /** Offset of the next byte. */
  expected: u64 = 0;
  /** Offset of the first byte that was to be seen. */
  joined: u64 = 0;
  /** Kinds of message that may come, bits of Start. */
  kinds: u32 = 0;
  seen: bool = false;
  /** Nothing was recognised yet, and the stream may have been joined in its middle: what is skipped is nobody's fault. */
  quiet: bool = false;
  /** Bytes were lost or skipped since the last head: messages may be missing. */
  gapped: bool = false;
  /** The head in HEAD_READY has its stream already. */
  paired: bool = false;
  /** The request answered was CONNECT. */
  connect: bool = false;
  /** The request answered was HEAD. */
  bodyless: bool = false;
  /** Bytes of the current line. */
  lineBytes: u64 = 0;
  /** Bytes of the head with the current line, all pending. */
  headBytes: u64 = 0;
  lastByte: u32 = 0;
  /** Of the body or the chunk. */
  remaining: u64 = 0;
  /** Digits of a chunk size, then what was seen behind them; see body.ts. */
  chunkDigits: u32 = 0;
  chunkPhase: u32 = 0;
  /** What looks for frames while nothing is recognised (h2-seek.ts). */
  seeker: usize = 0;
  /** Enough was looked at. */
  seekOver: bool = false;
  /** Its frames, once the connection is HTTP/2 (h2-frames.ts). */
  frames: usize = 0;
}

@unmanaged
export class Conn extends Entry {
  write: usize = 0;
  read: usize = 0;
  proc: usize = 0;
  nextOfProc: usize = 0;
  lastOfProc: usize = 0;
  lastTs: u64 = 0;
  nextStream: u64 = 0;
  lastRequestEnd: u64 = 0;
  authority: usize = 0;
  authorityLength: u32 = 0;
  role: u32 = 0;
  /** What connect or accept of its socket said, enum role. */
  socketRole: u32 = 0;
  /** Its first bytes, until they are told (first-bytes.ts); 0: none yet, or told. */
  first: usize = 0;
  firstTold: bool = false;
  /** Names of its TLS (names.ts); 0: none were told. */
  names: usize = 0;
  /** Its first record had the flag `opened`. */
  opened: bool = false;
  /** Its first record was not at offset 0. */
  midway: bool = false;
  /** The client is known to send requests before it has the responses to earlier ones. */
  pipelines: bool = false;
  opaque: bool = false;
  /** It speaks HTTP/2. */
  h2: bool = false;
  /** HTTP/2: frames may be missing, for it was joined in its middle or bytes were lost. */
  lossy: bool = false;
  /** The role follows from no message yet, but from what the socket said. */
  roleGuessed: bool = false;
  /** A tunnel to somewhere else was opened with CONNECT. */
  tunnel: bool = false;
  /** Some call began like an HTTP/2 frame. */
  framed: bool = false;
  /** The host was told that it carries no AI traffic. */
  noted: bool = false;
  fifo: usize = 0;
  fifoSlots: u32 = 0;
  fifoFirst: u32 = 0;
  fifoCount: u32 = 0;
  untracked: u32 = 0;
  /** HTTP/2: its streams, newest first (h2-streams.ts), how many, and the ids of the last that are over. */
  streams: usize = 0;
  oldestStream: usize = 0;
  streamCount: u32 = 0;
  overIds: usize = 0;
  overNext: u32 = 0;
  /** Ends of several of its streams may be due. */
  sweep: bool = false;
  /** The instance that took this one's place keeps out of it. */
  claimed: bool = false;

  dir(direction: u32): Dir {
    return changetype<Dir>(direction == Direction.WRITE ? this.write : this.read);
  }

  /** Was a start line seen? */
  get recognised(): bool {
    return this.role != Role.UNKNOWN;
  }
}

/** Address of one slot of the queue of requests, which has so many slots: most clients wait for each response, so it begins with few. */
export function fifoSlot(conn: Conn, index: u32): usize {
  return conn.fifo + ((<usize>(index % conn.fifoSlots)) << 3);
}

/** Makes room for one more request; the queue holds fewer than FIFO_MAX. */
export function growFifo(conn: Conn): void {
  if (conn.fifoCount < conn.fifoSlots) return;
  const slots = conn.fifoSlots ? conn.fifoSlots * 4 : FIFO_FEW;
  const fifo = heap.alloc((<usize>slots) << 3);
  for (let i: u32 = 0; i < conn.fifoCount; i++) store<u64>(fifo + ((<usize>i) << 3), load<u64>(fifoSlot(conn, conn.fifoFirst + i)));
  if (conn.fifo) heap.free(conn.fifo);
  conn.fifo = fifo;
  conn.fifoSlots = slots;
  conn.fifoFirst = 0;
}

/** The connections of one process. */
@unmanaged
class Proc extends Entry {
  first: usize = 0;
}

/** The record that is being decoded. */
export namespace Now {
  export let ts: u64 = 0;
  /** Address of the kernel record. */
  export let record: usize = 0;
  /** The lane has no room: leave everything as it is. */
  export let blocked: bool = false;
  /** Address of the payload byte that `expected` of its stream is the offset of. */
  export let from: usize = 0;
  /** Newest ts of any record. */
  export let newest: u64 = 0;
}

export let conns: Table = changetype<Table>(0);
let procs: Table = changetype<Table>(0);

export function makeTables(maxConns: u32): void {
  conns = new Table(maxConns);
  procs = new Table(maxConns);
}

/** Bytes of the heads, lines, windows, header tables and HTTP/2 streams of all connections. */
export function heldBytes(): usize {
  return bufferedBytes + inflateBytes + hpackBytes + streamBytes;
}

/** Are the buffers of all connections over their common limit? */
export function overBudget(): bool {
  return heldBytes() > BUFFERS_MAX;
}

/** A connection of which nothing is known; the table must have room. */
export function makeConn(key: u64, tgid: u32): Conn {
  const conn = new Conn();
  conn.key = key;
  conn.write = makeDir(Direction.WRITE);
  conn.read = makeDir(Direction.READ);
  conn.lastTs = Now.newest;
  conns.insert(changetype<usize>(conn));
  joinProc(conn, tgid);
  Count.connections++;
  return conn;
}

function makeDir(direction: u32): usize {
  const dir = changetype<Dir>(makeMessage(offsetof<Dir>(), direction));
  dir.kinds = Start.EITHER;
  return changetype<usize>(dir);
}

/** Keys of claimed connections that are over, until the claims are released (handover.ts). */
export const claimsOver: ByteBuf = new ByteBuf(8 << 20);

/** Forgets a connection whose messages have all ended. */
export function dropConn(conn: Conn): void {
  if (conn.claimed) claimsOver.push(changetype<usize>(conn) + offsetof<Conn>('key'), sizeof<u64>());
  leaveProc(conn);
  conns.remove(changetype<usize>(conn));
  dropDir(changetype<Dir>(conn.write));
  dropDir(changetype<Dir>(conn.read));
  if (conn.authority) heap.free(conn.authority);
  if (conn.first) heap.free(conn.first);
  if (conn.names) heap.free(conn.names);
  if (conn.overIds) heap.free(conn.overIds);
  if (conn.fifo) heap.free(conn.fifo);
  heap.free(changetype<usize>(conn));
}

function dropDir(dir: Dir): void {
  dropSeeker(dir);
  dropFrames(dir);
  dropMessage(dir);
}

export function setAuthority(conn: Conn, at: usize, length: usize): void {
  if (conn.authority) heap.free(conn.authority);
  conn.authority = 0;
  conn.authorityLength = 0;
  if (at == 0) return;
  if (length > AUTHORITY_MAX) length = AUTHORITY_MAX;
  conn.authority = heap.alloc(length + 1);
  conn.authorityLength = <u32>length;
  memory.copy(conn.authority, at, length);
}

/** First connection of a process, or 0. */
export function firstConnOf(tgid: u32): usize {
  const proc = procs.find(tgid);
  return proc ? changetype<Proc>(proc).first : 0;
}

function joinProc(conn: Conn, tgid: u32): void {
  let at = procs.find(tgid);
  if (at == 0) {
    const proc = new Proc();
    proc.key = tgid;
    at = changetype<usize>(proc);
    procs.insert(at);
  }
  const proc = changetype<Proc>(at);
  conn.proc = at;
  conn.nextOfProc = proc.first;
  if (proc.first) changetype<Conn>(proc.first).lastOfProc = changetype<usize>(conn);
  proc.first = changetype<usize>(conn);
}

export function tgidOf(conn: Conn): u32 {
  return <u32>changetype<Proc>(conn.proc).key;
}

function leaveProc(conn: Conn): void {
  const proc = changetype<Proc>(conn.proc);
  if (conn.nextOfProc) changetype<Conn>(conn.nextOfProc).lastOfProc = conn.lastOfProc;
  if (conn.lastOfProc) changetype<Conn>(conn.lastOfProc).nextOfProc = conn.nextOfProc;
  else proc.first = conn.nextOfProc;
  if (proc.first) return;
  procs.remove(conn.proc);
  heap.free(conn.proc);
}

/** Bytes that a single http.head may need: no lane may be smaller. */
export const OUT_MIN: u32 = 256 << 10;
