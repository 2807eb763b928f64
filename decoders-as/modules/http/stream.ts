// One direction of an HTTP/1 connection, or of one that is not known yet, as a state machine over its bytes, and what a gap does to it; it never assumes where records are cut.
//
//             +---------------------------------------------------------------+
//             v                                                               |
//   START -> HEADERS -> HEAD_READY -> LENGTH ------------------------> END_READY -> OPAQUE (after 101 and CONNECT)
//     |          |           |    \-> TO_CLOSE --(close)------------------^   |
//     |          |           |     \-> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END  |
//     |          |           |            |  ^-----------------------'        |
//     |          |           |            \-> TRAILERS -----------------------^
//     \--> RESYNC <-(a bad line, a gap in a head, a message that broke)-------/
//     \--> RESYNC, quietly (the first bytes of the connection are no HTTP/1), or FRAMES (they are HTTP/2: h2-frames.ts)
//
// HEAD_READY and END_READY wait for room in the lane and take no input. The offset of the next byte (dir.expected) is the only position kept, so
// a record that is given again after FULL goes on where it stopped.
import { Direction, Role, TlsData } from '../../abi/records';
import { findByte } from '../../lib/bytes';
import { announce, finish } from './announce';
import { chunkEnd, chunkSize, counted, countedOver, trailers, uncounted } from './body';
import { At, Conn, Dir, Now } from './conn';
import { breakCoding, drain } from './content';
import { feedFrames } from './h2-frames';
import { passOverFrames } from './h2-loss';
import { enterFrames, settleRole } from './h2-state';
import { dropSeeker, seek, Seeker, seekOver } from './h2-seek';
import { Count } from './counters';
import { breakBody } from './emit';
import { headerLines, resync, startLine } from './head';
import { endMessage, enterResync, loseHead, skipBytes } from './lines';

/** Decodes [at, end) as far as the lane has room (Now.blocked). Returns where it stopped. */
export function feed(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  Now.blocked = false;
  while (!Now.blocked) {
    if (dir.state == At.FRAMES) return feedFrames(conn, dir, at, end);
    if (dir.draining) drain(conn, dir);
    else if (dir.state == At.HEAD_READY) announce(conn, dir);
    else if (dir.state == At.END_READY) finish(conn, dir);
    else if (at >= end) break;
    else at = step(conn, dir, at, end);
  }
  return at;
}

function step(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  switch (dir.state) {
    case At.LENGTH:
    case At.CHUNK_DATA:
      return counted(conn, dir, at, end);
    case At.CHUNK_SIZE:
      return chunkSize(dir, at, end);
    case At.CHUNK_END:
      return chunkEnd(dir, at);
    case At.START:
      return startLine(conn, dir, at, end);
    case At.HEADERS:
      return headerLines(dir, at, end);
    case At.TO_CLOSE:
      return uncounted(conn, dir, at, end);
    case At.TRAILERS:
      return trailers(dir, at, end);
    case At.RESYNC:
      return conn.role == Role.UNKNOWN && !dir.seekOver ? resyncUnknown(conn, dir, at, end) : resync(conn, dir, at, end);
  }
  Count.unrecognised += end - at;
  return end;
}

/** RESYNC of a connection of which nothing is known: frames are looked for as well, a line at a time, so that what comes first decides. */
function resyncUnknown(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  const feed = findByte(at, end, 10);
  const stop = feed < end ? feed + 1 : end;
  if (dir.seeker == 0) {
    dir.seeker = changetype<usize>(new Seeker());
    changetype<Seeker>(dir.seeker).fromStart = dir.expected + (at - Now.from) == 0 && (!conn.opened || TlsData.since_ns(Now.record) != 0);
  }
  const seeker = changetype<Seeker>(dir.seeker);
  const sought = seek(seeker, at, stop);
  if (!seeker.found) {
    if (!seekOver(seeker)) return resync(conn, dir, at, stop);
    dropSeeker(dir);
    dir.seekOver = true;
    return resync(conn, dir, at, stop);
  }
  skipBytes(dir, sought - at);
  // Who begins with SETTINGS and no preface is the server; else it shows with the first head.
  const whole = seeker.fromStart;
  if (!whole) settleRole(conn, Role.UNKNOWN);
  else settleRole(conn, dir.direction == Direction.WRITE ? Role.SERVER : Role.CLIENT);
  enterFrames(conn, whole);
  return sought;
}

/**
 * The first record of a stream. A connection whose very first record is not at offset 0 was joined midway: nothing before it is missing. In any
 * other, what is before the first record of the second stream was lost, and place() finds it to be a gap.
 */
export function joinStream(conn: Conn, dir: Dir, offset: u64): void {
  if (!changetype<Dir>(conn.write).seen && !changetype<Dir>(conn.read).seen) conn.midway = offset > 0;
  dir.seen = true;
  if (dir.state != At.START || conn.midway) dir.joined = offset;
  if (dir.state != At.START) {
    dir.expected = offset;
    return;
  }
  dir.quiet = conn.opened || conn.midway;
  if (offset == 0 || !conn.midway) return;
  dir.expected = offset;
  enterResync(dir);
  dir.gapped = false;
}

/** n bytes of the stream were lost. */
export function gap(conn: Conn, dir: Dir, n: u64): void {
  Count.gaps++;
  Count.gap += n;
  passOver(conn, dir, n);
}

/** n bytes of the stream were left out by a verdict, which takes force and ends where a message begins. A message that is open all the same is marked. */
export function skip(conn: Conn, dir: Dir, n: u64): void {
  Count.skips++;
  Count.skipped += n;
  if (dir.state != At.START || dir.headBytes > 0) {
    passOver(conn, dir, n);
  } else {
    dir.expected += n;
    dir.gapped = true;
  }
  dir.joined = dir.expected;
}

/** n bytes of the stream were not copied because the process was over its rate. */
export function shed(conn: Conn, dir: Dir, n: u64): void {
  Count.shed += n;
  dir.shed += n;
  passOver(conn, dir, n, true);
}

function passOver(conn: Conn, dir: Dir, n: u64, shed: bool = false): void {
  dir.expected += n;
  if (dir.state == At.FRAMES) {
    passOverFrames(conn, dir, n, shed);
    return;
  }
  breakBody(dir);
  breakCoding(dir);
  switch (dir.state) {
    case At.LENGTH:
    case At.CHUNK_DATA:
      gapInCounted(dir, n);
      break;
    case At.TO_CLOSE:
      miss(dir, n);
      break;
    case At.CHUNK_SIZE:
    case At.CHUNK_END:
    case At.TRAILERS:
      dir.missing += n;
      endMessage(dir, At.RESYNC);
      break;
    case At.START:
    case At.HEADERS:
    case At.RESYNC:
      loseHead(dir);
      dir.fault = 0;
      if (dir.state != At.RESYNC) enterResync(dir);
      dir.gapped = true;
  }
}

/** A gap that ends within the body or chunk leaves the framing as it is. */
function gapInCounted(dir: Dir, n: u64): void {
  if (n <= dir.remaining) {
    miss(dir, n);
    dir.remaining -= n;
    if (dir.remaining == 0) countedOver(dir);
    return;
  }
  // The rest of a body is what is missing of it; how much is missing behind a chunk is not known, so it is the whole gap.
  miss(dir, dir.state == At.LENGTH ? dir.remaining : n);
  endMessage(dir, At.RESYNC);
}

function miss(dir: Dir, n: u64): void {
  dir.missing += n;
  dir.bodyOffset += n;
}
