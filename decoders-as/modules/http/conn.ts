// What is kept of a connection and of each of its two streams, and the tables that find it; it never reads captured bytes.
//
//   Conn -- write: Dir -- head: Head (only while a head is incomplete)
//        \- read:  Dir -- inflate  (only during a compressed body)
//        \- fifo: the requests that wait for a response
import { recordsOut } from '../../abi/module';
import { Direction, Role, TlsData } from '../../abi/records';
import { ByteBuf, bufferedBytes } from '../../lib/bytes';
import { Start } from '../../lib/http1';
import { Inflate, inflateBytes } from '../../lib/inflate';
import { Entry, Table } from '../../lib/table';
import { Count } from './counters';

export const LINE_MAX: usize = 16384;
export const HEAD_MAX: usize = 65536;
export const FIFO_MAX: u32 = 64;
export const AUTHORITY_MAX: usize = 256;
/** Bytes in heads, lines and windows of all connections together; past it the connection idle for longest is given up. */
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
}

/** What becomes of body bytes. */
export namespace Decode {
  export const PLAIN: u32 = 0;
  export const INFLATE: u32 = 1;
  export const DROP: u32 = 2;
}

/** A head in the making. */
@unmanaged
export class Head {
  /** The current line as far as it came; during resync its last bytes. */
  line: ByteBuf = new ByteBuf(2 * LINE_MAX + 2);
  /** The start line. */
  start: ByteBuf = new ByteBuf(LINE_MAX);
  /** Names and values as msgpack. */
  fields: ByteBuf = new ByteBuf(HEAD_MAX + 4 * LINE_MAX);
  /** Last 16 bytes of the current line. */
  tail0: u64 = 0;
  tail1: u64 = 0;
  fieldCount: u32 = 0;
  version: u32 = 0;
  methodLength: u32 = 0;
  targetAt: u32 = 0;
  targetLength: u32 = 0;
  status: u32 = 0;
  reasonAt: u32 = 0;
  reasonLength: u32 = 0;
  /** -1: none */
  length: i64 = -1;
  transfer: u32 = 0;
  coding: u32 = 0;
  cut: bool = false;
  isResponse: bool = false;
}

@unmanaged
export class Dir {
  state: u32 = 0;
  /** State after END_READY. */
  after: u32 = 0;
  /** Offset of the next byte. */
  expected: u64 = 0;
  /** Offset of the first byte that was to be seen. */
  joined: u64 = 0;
  direction: u32 = 0;
  /** Kinds of message that may come, bits of Start. */
  kinds: u32 = 0;
  seen: bool = false;
  /** Nothing was recognised yet, and the stream may have been joined in its middle: what is skipped is nobody's fault. */
  quiet: bool = false;
  /** Bytes were lost or skipped since the last head: messages may be missing. */
  gapped: bool = false;
  /** Inflated bytes wait for room in the lane. */
  draining: bool = false;
  /** The head in HEAD_READY has its stream already. */
  paired: bool = false;
  /** http.head is out, http.end is not. */
  open: bool = false;
  aborted: bool = false;
  /** The request answered was CONNECT. */
  connect: bool = false;
  /** The request answered was HEAD. */
  bodyless: bool = false;
  /** Ts of the last record with payload. */
  lastTs: u64 = 0;
  head: usize = 0;
  /** Bytes of the current line. */
  lineBytes: u64 = 0;
  /** Bytes of the head with the current line, all pending. */
  headBytes: u64 = 0;
  lastByte: u32 = 0;
  stream: u64 = 0;
  ts: u64 = 0;
  endTs: u64 = 0;
  firstBodyTs: u64 = 0;
  wire: u64 = 0;
  bodyBytes: u64 = 0;
  bodyOffset: u64 = 0;
  missing: u64 = 0;
  /** Of what is missing behind this message's start, bytes that were not copied because of the rate of the process. */
  shed: u64 = 0;
  /** Of the body or the chunk. */
  remaining: u64 = 0;
  fault: u32 = 0;
  /** What to report once a body that is not decoded has bytes. */
  dropFault: u32 = 0;
  decode: u32 = 0;
  inflate: usize = 0;
  /** Digits of a chunk size, then what was seen behind them; see chunks.ts. */
  chunkDigits: u32 = 0;
  chunkPhase: u32 = 0;
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
  /** A tunnel to somewhere else was opened with CONNECT. */
  tunnel: bool = false;
  /** Some call began like an HTTP/2 frame. */
  framed: bool = false;
  /** The host was told that it carries no AI traffic. */
  noted: bool = false;
  fifoFirst: u32 = 0;
  fifoCount: u32 = 0;
  untracked: u32 = 0;

  dir(direction: u32): Dir {
    return changetype<Dir>(direction == Direction.WRITE ? this.write : this.read);
  }

  /** Was a start line seen? */
  get recognised(): bool {
    return this.role != Role.UNKNOWN;
  }
}

/** Address of the fixed part of the record that the message of a stream begins in. */
export function originOf(dir: Dir): usize {
  return changetype<usize>(dir) + offsetof<Dir>();
}

/** Address of one slot of the queue of requests. */
export function fifoSlot(conn: Conn, index: u32): usize {
  return changetype<usize>(conn) + offsetof<Conn>() + ((<usize>(index % FIFO_MAX)) << 3);
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
  /** Newest ts of any record. */
  export let newest: u64 = 0;
}

export let conns: Table = changetype<Table>(0);
let procs: Table = changetype<Table>(0);
const spareHeads: usize = heap.alloc(64 * sizeof<usize>());
let spareCount: usize = 0;

export function makeTables(maxConns: u32): void {
  conns = new Table(maxConns);
  procs = new Table(maxConns);
}

/** Are the buffers of all connections over their common limit? */
export function overBudget(): bool {
  return bufferedBytes + inflateBytes > BUFFERS_MAX;
}

/** A connection of which nothing is known; the table must have room. */
export function makeConn(key: u64, tgid: u32): Conn {
  const conn = changetype<Conn>(heap.alloc(offsetof<Conn>() + FIFO_MAX * 8));
  memory.fill(changetype<usize>(conn), 0, offsetof<Conn>());
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
  const at = heap.alloc(offsetof<Dir>() + TlsData.SIZE);
  memory.fill(at, 0, offsetof<Dir>() + TlsData.SIZE);
  const dir = changetype<Dir>(at);
  dir.direction = direction;
  dir.kinds = Start.EITHER;
  return at;
}

/** Forgets a connection whose messages have all ended. */
export function dropConn(conn: Conn): void {
  leaveProc(conn);
  conns.remove(changetype<usize>(conn));
  dropDir(changetype<Dir>(conn.write));
  dropDir(changetype<Dir>(conn.read));
  if (conn.authority) heap.free(conn.authority);
  if (conn.first) heap.free(conn.first);
  if (conn.names) heap.free(conn.names);
  heap.free(changetype<usize>(conn));
}

function dropDir(dir: Dir): void {
  releaseHead(dir);
  endInflate(dir);
  heap.free(changetype<usize>(dir));
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

/** The head in the making of a stream; made when there is none. */
export function headOf(dir: Dir): Head {
  if (dir.head == 0) {
    if (spareCount > 0) dir.head = load<usize>(spareHeads + --spareCount * sizeof<usize>());
    else dir.head = changetype<usize>(new Head());
    resetHead(changetype<Head>(dir.head));
  }
  return changetype<Head>(dir.head);
}

function resetHead(head: Head): void {
  head.line.clear();
  head.start.clear();
  head.fields.clear();
  head.fieldCount = 0;
  head.length = -1;
  head.transfer = 0;
  head.coding = 0;
  head.cut = false;
}

export function releaseHead(dir: Dir): void {
  if (dir.head == 0) return;
  const head = changetype<Head>(dir.head);
  dir.head = 0;
  trim(head.line, 1024);
  trim(head.start, 1024);
  trim(head.fields, 4096);
  if (spareCount < 64) {
    store<usize>(spareHeads + spareCount++ * sizeof<usize>(), changetype<usize>(head));
    return;
  }
  freeBuf(head.line);
  freeBuf(head.start);
  freeBuf(head.fields);
  heap.free(changetype<usize>(head));
}

function trim(buf: ByteBuf, keep: usize): void {
  if (buf.capacity > keep) buf.free();
}

function freeBuf(buf: ByteBuf): void {
  buf.free();
  heap.free(changetype<usize>(buf));
}

export function endInflate(dir: Dir): void {
  if (dir.inflate) changetype<Inflate>(dir.inflate).dispose();
  dir.inflate = 0;
  dir.draining = false;
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

/** Is there room for a record without text of its own? */
export function roomForSmall(): bool {
  return recordsOut.room(160);
}
