// Reads start lines and header lines, and finds a message start after bytes were lost; what the framing headers mean together is decided in announce.ts.
import { Direction, Role } from '../../abi/records';
import { findByte, findEither, startsWithText } from '../../lib/bytes';
import { Field, fieldOf, findStart, isBlank, Line, parseStart, Start, tokenEnd, viableStart } from '../../lib/http1';
import { At, Conn, Dir } from './conn';
import { Count, countFault, Fault } from './counters';
import { framingField, keepField } from './fields';
import { enterFrames, expectPrefaceRest, settleRole } from './h2-state';
import { dropSeeker } from './h2-seek';
import { endLine, endMessage, enterResync, keepLast, noteStart, pend, skipPending, Taken, takeLine } from './lines';
import { Head, headOf, LINE_MAX, releaseHead } from './message';
import { roleOf } from './pairing';

/** headerLine(): the head is complete. */
const HEAD_ENDS: u32 = 0xffff;
/** No start line is judged by more bytes than this before it is complete. */
const PREFIX: usize = 25;
/** Bytes of the first line of the preface of HTTP/2. */
const PREFACE_LINE: u32 = 16;
const prefix: usize = memory.data(32);

/** Bytes where a message may begin. Returns where it stopped. */
export function startLine(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  if (dir.lineBytes == 0) {
    const from = at;
    while (at < end && (load<u8>(at) == 13 || load<u8>(at) == 10)) at++;
    Count.framing += at - from;
    if (at == end) return at;
    noteStart(dir);
  }
  if (!viableSoFar(dir, at, end)) {
    // The line stays pending: a message may still begin inside it.
    startMissing(conn, dir);
    return at;
  }
  at = takeLine(dir, at, end);
  if (!Taken.complete) return at;
  const kind = Taken.crlf ? parseStart(Taken.at, Taken.length, Taken.tail, Taken.full, dir.kinds) : Start.NONE;
  if (kind == Start.REQUEST || kind == Start.RESPONSE) {
    startFound(conn, dir, kind, Taken.at, Taken.length);
    return at;
  }
  if (kind == Start.H2) {
    Count.pending -= dir.headBytes;
    Count.framing += dir.headBytes;
    dir.headBytes = 0;
    prefaceFound(conn, dir);
    return at;
  }
  startMissing(conn, dir);
  skipPending(dir, 0);
  return at;
}

function viableSoFar(dir: Dir, at: usize, end: usize): bool {
  const have = <usize>min<u64>(dir.lineBytes, PREFIX);
  if (have == PREFIX) return true;
  const n = min(PREFIX - have, end - at);
  if (have == 0) return viableStart(at, <u32>n, dir.kinds);
  memory.copy(prefix, headOf(dir).line.ptr, have);
  memory.copy(prefix + have, at, n);
  return viableStart(prefix, <u32>(have + n), dir.kinds);
}

/** No message begins where one should. */
function startMissing(conn: Conn, dir: Dir): void {
  // Not HTTP/1 so far. It may still become so (bytes that the sensor misread, a protocol of its own before), so it is looked for, quietly.
  if (conn.role == Role.UNKNOWN) dir.quiet = true;
  if (!dir.quiet) countFault(Fault.START_LINE);
  enterResync(dir);
}

/** The first line of the preface of HTTP/2 was read. */
function prefaceFound(conn: Conn, dir: Dir): void {
  settleRole(conn, dir.direction == Direction.WRITE ? Role.CLIENT : Role.SERVER);
  enterFrames(conn, true);
  expectPrefaceRest(dir, PREFACE_LINE);
}

/** The connection speaks something else from here on. */
export function goOpaque(conn: Conn): void {
  if (conn.opaque) return;
  conn.opaque = true;
  Count.opaque++;
  closeToHttp(changetype<Dir>(conn.write));
  closeToHttp(changetype<Dir>(conn.read));
}

function closeToHttp(dir: Dir): void {
  if (dir.open) {
    dir.aborted = true;
    endMessage(dir, At.OPAQUE);
    return;
  }
  dir.state = At.OPAQUE;
  skipPending(dir, 0);
  releaseHead(dir);
}

/** A start line of [at, at + length), as `Line` says, begins a head. */
function startFound(conn: Conn, dir: Dir, kind: u32, at: usize, length: u32): void {
  const head = headOf(dir);
  head.start.clear();
  head.start.push(at, length);
  head.isResponse = kind == Start.RESPONSE;
  head.cut = Line.cut;
  head.version = Line.version;
  head.methodLength = Line.methodLength;
  head.targetAt = Line.targetAt;
  head.targetLength = Line.targetLength;
  head.status = Line.status;
  head.reasonAt = Line.reasonAt;
  head.reasonLength = Line.reasonLength;
  dir.quiet = false;
  dir.state = At.HEADERS;
  endLine(dir);
  if (conn.role != Role.UNKNOWN) return;
  dropSeeker(changetype<Dir>(conn.write));
  dropSeeker(changetype<Dir>(conn.read));
  conn.role = roleOf(dir.direction, head.isResponse);
  const client = conn.role == Role.CLIENT;
  changetype<Dir>(conn.write).kinds = client ? Start.REQUEST : Start.RESPONSE;
  changetype<Dir>(conn.read).kinds = client ? Start.RESPONSE : Start.REQUEST;
}

/** Messages that are looked for in the middle of a stream: what the socket's role rules out there is the text of a body. At a beginning bytes rule. */
function resyncKinds(conn: Conn, dir: Dir): u32 {
  if (conn.role != Role.UNKNOWN || conn.socketRole == Role.UNKNOWN) return dir.kinds;
  return roleOf(dir.direction, false) == conn.socketRole ? Start.REQUEST : Start.RESPONSE;
}

/** Bytes among which a message may begin at the end of any line. Returns where it stopped. */
export function resync(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  const feed = findByte(at, end, 10);
  if (feed == end) {
    keepLast(headOf(dir), at, end - at);
    pend(dir, end - at);
    return end;
  }
  let from = at;
  let stop = feed;
  if (dir.lineBytes > 0) {
    const head = headOf(dir);
    keepLast(head, at, feed - at);
    from = head.line.ptr;
    stop = from + head.line.length;
  }
  pend(dir, feed + 1 - at);
  const start = stop > from && load<u8>(stop - 1) == 13 ? findStart(max(from, stop - 1 - min(LINE_MAX, stop - 1)), stop - 1, resyncKinds(conn, dir)) : 0;
  if (start == 0) {
    const isPreface = conn.role == Role.UNKNOWN && stop - from == 15 && startsWithText(from, 15, 'PRI * HTTP/2.0\r');
    skipPending(dir, 0);
    if (isPreface) {
      prefaceFound(conn, dir);
      return feed + 1;
    }
    if (dir.head && changetype<Head>(dir.head).line.capacity > 4096) releaseHead(dir);
    return feed + 1;
  }
  noteStart(dir);
  skipPending(dir, stop + 1 - start);
  startFound(conn, dir, startsWithText(start, 5, 'HTTP/') ? Start.RESPONSE : Start.REQUEST, start, <u32>(stop - 1 - start));
  return feed + 1;
}

/** Header lines up to the empty one. Returns where it stopped. */
export function headerLines(dir: Dir, at: usize, end: usize): usize {
  const head = headOf(dir);
  while (at < end) {
    at = takeLine(dir, at, end);
    if (!Taken.complete) return at;
    const fault = headerLine(head);
    endLine(dir);
    if (fault == Fault.NONE) continue;
    dir.state = At.HEAD_READY;
    if (fault == HEAD_ENDS) return at;
    dir.fault = fault;
    head.cut = true;
    return at;
  }
  return at;
}

function headerLine(head: Head): u32 {
  if (!Taken.crlf) return Fault.BARE_LF;
  if (Taken.length == 0) return HEAD_ENDS;
  const at = Taken.at;
  const end = at + Taken.length;
  if (isBlank(load<u8>(at))) return Fault.OBS_FOLD;
  const name = tokenEnd(at, end);
  if (name == at || name == end || load<u8>(name) != 58) return name < end && load<u8>(name) == 13 ? Fault.BARE_CR : Fault.BAD_NAME;
  let value = name + 1;
  let valueEnd = end;
  while (value < valueEnd && isBlank(load<u8>(value))) value++;
  while (valueEnd > value && isBlank(load<u8>(valueEnd - 1))) valueEnd--;
  const bad = findEither(value, valueEnd, 13, 0);
  if (bad < valueEnd) return load<u8>(bad) == 13 ? Fault.BARE_CR : Fault.NUL_VALUE;
  const field = fieldOf(at, name - at);
  if (field != Field.OTHER) {
    const fault = Taken.cut ? Fault.LONG_FRAMING : framingField(head, field, value, valueEnd - value);
    if (fault != Fault.NONE) return fault;
  }
  if (Taken.cut) head.cut = true;
  keepField(head, at, name - at, value, valueEnd - value, true);
  return Fault.NONE;
}
