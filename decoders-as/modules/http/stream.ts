// One direction of a connection as a state machine over its bytes, and what a gap does to it; it never assumes where records are cut.
//
//             +---------------------------------------------------------------+
//             v                                                               |
//   START -> HEADERS -> HEAD_READY -> LENGTH ------------------------> END_READY -> OPAQUE (after 101 and CONNECT)
//     |          |           |    \-> TO_CLOSE --(close)------------------^   |
//     |          |           |     \-> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END  |
//     |          |           |            |  ^-----------------------'        |
//     |          |           |            \-> TRAILERS -----------------------^
//     \--> RESYNC <-(a bad line, a gap in a head, a message that broke)-------/
//     \--> RESYNC, quietly (the first bytes of the connection are no HTTP/1), or OPAQUE (they are HTTP/2)
//
// HEAD_READY and END_READY wait for room in the lane and take no input. The offset of the next byte (dir.expected) is the only position kept, so
// a record that is given again after FULL goes on where it stopped.
import { announce, finish } from './announce';
import { chunkEnd, chunkSize, counted, countedOver, drain, trailers, uncounted } from './body';
import { At, Conn, Decode, Dir, endInflate, Now } from './conn';
import { Count } from './counters';
import { breakBody } from './emit';
import { headerLines, resync, startLine } from './head';
import { endMessage, enterResync, loseHead } from './lines';

/** Decodes [at, end) as far as the lane has room (Now.blocked). Returns where it stopped. */
export function feed(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  Now.blocked = false;
  while (!Now.blocked) {
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
      return resync(conn, dir, at, end);
  }
  Count.unrecognised += end - at;
  return end;
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
export function gap(dir: Dir, n: u64): void {
  Count.gaps++;
  Count.gap += n;
  passOver(dir, n);
}

/** n bytes of the stream were left out by a verdict, which takes force and ends where a message begins. A message that is open all the same is marked. */
export function skip(dir: Dir, n: u64): void {
  Count.skips++;
  Count.skipped += n;
  if (dir.state != At.START || dir.headBytes > 0) {
    passOver(dir, n);
  } else {
    dir.expected += n;
    dir.gapped = true;
  }
  dir.joined = dir.expected;
}

/** n bytes of the stream were not copied because the process was over its rate. */
export function shed(dir: Dir, n: u64): void {
  Count.shed += n;
  dir.shed += n;
  passOver(dir, n);
}

function passOver(dir: Dir, n: u64): void {
  dir.expected += n;
  breakBody(dir);
  if (dir.decode == Decode.INFLATE) {
    endInflate(dir);
    dir.decode = Decode.DROP;
  }
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
