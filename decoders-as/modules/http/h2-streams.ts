// The streams of HTTP/2 connections: which exchange each is, what is due of its two messages, and their end. It never looks at frames.
//
// A message goes headDue -> open -> endDue -> over; settle() writes what is due, in that order, and frees a stream whose messages are both over.
import { Completeness, Direction, Role } from '../../abi/records';
import { hash64 } from '../../lib/bytes';
import { Inflate } from '../../lib/inflate';
import { Entry, Table } from '../../lib/table';
import { Conn, Dir, Now } from './conn';
import { decodeKept, drain, isResponse } from './content';
import { Count, Fault } from './counters';
import { writeEnd, writeHead, writeNoResponse } from './emit';
import { forgetStream } from './h2-state';
import { dropMessage, endInflate, Head, makeMessage, Message, releaseHead } from './message';

/** Streams of one connection that are followed at a time; the oldest is given up for one more. */
const STREAMS_MAX: u32 = 1024;
/** Ids that are remembered as over: frames that were on their way when a stream was reset are nobody's. */
export const OVER_IDS: u32 = 32;
/** A stream that lost bytes and has had no frame for so long will hear no more: its end was among them. */
const HOLED_IDLE: u64 = 10 * 1000000000;
const IDLE: u64 = 900 * 1000000000;
/** Streams that a tick looks at. */
const TICK_STREAMS: u32 = 1024;

@unmanaged
export class StreamMessage extends Message {
  /** Its first header block has begun. */
  begun: bool = false;
  headDue: bool = false;
  /** http.head is out. */
  headOut: bool = false;
  endDue: bool = false;
  over: bool = false;
  /** Content-Length; -1: none. */
  length: i64 = -1;
  /** Of DATA, without padding. */
  dataBytes: u64 = 0;
}

@unmanaged
export class Stream extends Entry {
  conn: usize = 0;
  id: u32 = 0;
  newerOfConn: usize = 0;
  olderOfConn: usize = 0;
  lastTs: u64 = 0;
  request: StreamMessage = changetype<StreamMessage>(0);
  response: StreamMessage = changetype<StreamMessage>(0);
}

/** Bytes that all streams hold, without what is counted elsewhere. */
export let streamBytes: usize = 0;
const STREAM_SIZE: usize = offsetof<Stream>() + 2 * offsetof<StreamMessage>();

let table: Table = changetype<Table>(0);

export function makeStreamTable(limit: u32): void {
  table = new Table(limit);
}

export function streamCount(): u32 {
  return table.count;
}

export function findStream(conn: Conn, id: u32): usize {
  const found = table.find(hash64(conn.key, id, 2));
  if (found == 0) return 0;
  table.touch(found);
  changetype<Stream>(found).lastTs = Now.ts;
  return found;
}

/** Was the stream of this id over a short while ago? */
export function isOver(conn: Conn, id: u32): bool {
  if (conn.overIds == 0) return false;
  for (let i: usize = 0; i < OVER_IDS; i++) if (load<u32>(conn.overIds + (i << 2)) == id) return true;
  return false;
}

function rememberOver(conn: Conn, id: u32): void {
  if (conn.overIds == 0) {
    conn.overIds = heap.alloc(OVER_IDS << 2);
    memory.fill(conn.overIds, 0, OVER_IDS << 2);
  }
  store<u32>(conn.overIds + ((<usize>(conn.overNext++ % OVER_IDS)) << 2), id);
}

function makeStreamMessage(direction: u32): StreamMessage {
  const message = changetype<StreamMessage>(makeMessage(offsetof<StreamMessage>(), direction));
  message.length = -1;
  return message;
}

/** A stream of which nothing was seen yet. 0: no room in the lane to give up another for it. */
export function makeStream(conn: Conn, id: u32, exchange: u64): usize {
  while (conn.streamCount >= STREAMS_MAX || table.count >= table.limit) {
    const oldest = changetype<Stream>(conn.streamCount >= STREAMS_MAX ? conn.oldestStream : table.oldest);
    if (!abandon(oldest, Fault.MANY_STREAMS, false)) return 0;
  }
  const stream = new Stream();
  stream.key = hash64(conn.key, id, 2);
  stream.conn = changetype<usize>(conn);
  stream.id = id;
  stream.lastTs = Now.ts;
  const server = conn.role == Role.SERVER;
  stream.request = makeStreamMessage(server ? Direction.READ : Direction.WRITE);
  stream.response = makeStreamMessage(server ? Direction.WRITE : Direction.READ);
  stream.request.stream = exchange;
  stream.response.stream = exchange;
  table.insert(changetype<usize>(stream));
  stream.olderOfConn = conn.streams;
  if (conn.streams) changetype<Stream>(conn.streams).newerOfConn = changetype<usize>(stream);
  else conn.oldestStream = changetype<usize>(stream);
  conn.streams = changetype<usize>(stream);
  conn.streamCount++;
  streamBytes += STREAM_SIZE;
  Count.h2Streams++;
  return changetype<usize>(stream);
}

/** The stream of a request that was sent in HTTP/1, before the connection went over (h2c). False: no room in the lane. */
export function startUpgraded(conn: Conn, exchange: u64): bool {
  const at = makeStream(conn, 1, exchange);
  if (at) changetype<Stream>(at).request.over = true;
  return at != 0;
}

function freeStream(stream: Stream): void {
  const conn = changetype<Conn>(stream.conn);
  if (stream.newerOfConn) changetype<Stream>(stream.newerOfConn).olderOfConn = stream.olderOfConn;
  else conn.streams = stream.olderOfConn;
  if (stream.olderOfConn) changetype<Stream>(stream.olderOfConn).newerOfConn = stream.newerOfConn;
  else conn.oldestStream = stream.newerOfConn;
  conn.streamCount--;
  rememberOver(conn, stream.id);
  forgetStream(changetype<Dir>(conn.write), changetype<usize>(stream));
  forgetStream(changetype<Dir>(conn.read), changetype<usize>(stream));
  table.remove(changetype<usize>(stream));
  dropMessage(stream.request);
  dropMessage(stream.response);
  heap.free(changetype<usize>(stream));
  streamBytes -= STREAM_SIZE;
}

/** The message of a stream that a direction carries. */
export function messageOf(conn: Conn, stream: Stream, direction: u32): StreamMessage {
  return (conn.role == Role.SERVER) == (direction == Direction.WRITE) ? stream.response : stream.request;
}

/** Writes what is due of a stream; one that is over is freed. False: no room in the lane; call again. */
export function settle(stream: Stream): bool {
  const conn = changetype<Conn>(stream.conn);
  if (!settleMessage(conn, stream.request) || !settleMessage(conn, stream.response)) return false;
  if (stream.request.over && stream.response.over) freeStream(stream);
  return true;
}

function settleMessage(conn: Conn, m: StreamMessage): bool {
  if (m.over) return true;
  if (m.headDue) {
    const head = changetype<Head>(m.head);
    if (!writeHead(conn, m, head)) return false;
    Count.heads++;
    if (head.cut) Count.headsCut++;
    releaseHead(m);
    m.headDue = false;
    m.headOut = true;
    m.open = true;
  }
  if (m.draining) {
    Now.blocked = false;
    drain(conn, m);
    if (Now.blocked) return false;
  }
  return !m.endDue || finish(conn, m);
}

function finish(conn: Conn, m: StreamMessage): bool {
  const response = isResponse(conn, m);
  if (!m.headOut) {
    // Of a request nothing was told, so there is nothing to end; a response is waited for.
    const completeness = m.aborted ? Completeness.ABORTED : m.holed ? Completeness.GAP : Completeness.CAPPED;
    if (response && !writeNoResponse(conn, m.stream, completeness, m.fault == Fault.NONE ? Fault.NO_RESPONSE : m.fault)) return false;
    releaseHead(m);
    m.over = true;
    return true;
  }
  if (!decodeKept(conn, m)) return false;
  // A client that has all that Content-Length announced may leave before the frame that only says END_STREAM.
  if (m.length >= 0 && m.dataBytes == <u64>m.length && m.fault == Fault.NONE) m.aborted = false;
  if (m.fault == Fault.NONE && !m.aborted && m.missing == 0 && !m.holed) {
    if (m.inflate && !changetype<Inflate>(m.inflate).complete) m.fault = Fault.SHORT_DEFLATE;
    else if (m.length >= 0 && m.dataBytes != <u64>m.length && m.dataBytes > 0) m.fault = Fault.LENGTH_DIFFERS;
  }
  if (!writeEnd(conn, m, response ? 1 : 0)) return false;
  endInflate(m);
  m.open = false;
  m.over = true;
  return true;
}

/** Nothing more will come of a stream: what is open of it ends for that reason. settle() writes it. */
export function endStream(stream: Stream, fault: u32, aborted: bool): void {
  endOf(stream.request, fault, aborted);
  endOf(stream.response, fault, aborted);
}

function endOf(m: StreamMessage, fault: u32, aborted: bool): void {
  if (m.over || m.endDue) return;
  if (aborted) m.aborted = true;
  if (m.fault == Fault.NONE) m.fault = fault;
  m.endDue = true;
  m.endTs = m.lastTs ? m.lastTs : Now.ts;
}

/** endStream() and settle() in one. False: no room in the lane; call again. */
function abandon(stream: Stream, fault: u32, aborted: bool): bool {
  endStream(stream, fault, aborted);
  return settle(stream);
}

/** Ends every stream of a connection that is over. False: no room in the lane; call again. */
export function closeStreams(conn: Conn): bool {
  while (conn.oldestStream) {
    if (!abandon(changetype<Stream>(conn.oldestStream), Fault.NONE, true)) return false;
  }
  return true;
}

/** Ends the streams that the other side says it never looked at (GOAWAY). */
export function endNewer(conn: Conn, last: u32): void {
  for (let at = conn.streams; at; at = changetype<Stream>(at).olderOfConn) {
    if (changetype<Stream>(at).id > last) endStream(changetype<Stream>(at), Fault.GOAWAY, true);
  }
  conn.sweep = true;
}

/** Settles every stream of a connection. False: no room in the lane; call again. */
export function sweepStreams(conn: Conn): bool {
  for (let at = conn.oldestStream; at; ) {
    const newer = changetype<Stream>(at).newerOfConn;
    if (!settle(changetype<Stream>(at))) return false;
    at = newer;
  }
  conn.sweep = false;
  return true;
}

/** Messages of one direction that have begun and are not over; the last of them is in `opened`. */
export function openMessages(conn: Conn, direction: u32): u32 {
  let count: u32 = 0;
  for (let at = conn.streams; at; at = changetype<Stream>(at).olderOfConn) {
    const m = messageOf(conn, changetype<Stream>(at), direction);
    if (m.over || m.endDue || !m.begun) continue;
    opened = m;
    count++;
  }
  return count;
}
export let opened: StreamMessage = changetype<StreamMessage>(0);

/** Calls for each message of one direction that has begun and is not over. */
export function forOpenMessages(conn: Conn, direction: u32, call: (m: StreamMessage, n: u64) => void, n: u64): void {
  for (let at = conn.streams; at; at = changetype<Stream>(at).olderOfConn) {
    const m = messageOf(conn, changetype<Stream>(at), direction);
    if (m.begun && !m.over && !m.endDue) call(m, n);
  }
}

/** Gives up streams that will hear no more. May leave some for the next tick. */
export function expireStreams(now: u64): void {
  let at = table.oldest;
  for (let looked: u32 = 0; at && looked < TICK_STREAMS; looked++) {
    const stream = changetype<Stream>(at);
    if (stream.lastTs + HOLED_IDLE > now) return;
    at = stream.newer;
    const holed = stream.request.holed || stream.response.holed || stream.request.missing > 0 || stream.response.missing > 0;
    if (!holed && stream.lastTs + IDLE > now) continue;
    if (!abandon(stream, Fault.NO_END, false)) return;
    Count.h2Expired++;
  }
}
