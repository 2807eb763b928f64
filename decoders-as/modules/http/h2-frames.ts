// One direction of an HTTP/2 connection as a state machine over its bytes; it never assumes where records are cut.
//
//   PREFACE -> HEAD -> BEGIN -> PAD -> PRIORITY -> DATA    -> PADDING -> HEAD ...
//               ^                              \-> BLOCK   ->
//               |                              \-> CONTROL ->
//               |                              \-> SKIP    ->
//               \-- SEEK (joined in the middle, bytes lost, or no frame where one should be)
//
// BEGIN takes no input: it is where a frame gets its stream, which may have to wait for room in the lane. So do heads and ends, which settle() writes.
import { Role } from '../../abi/records';
import {
  Frame,
  FrameFlag,
  frameFits,
  frameFlags,
  FRAME_DEFAULT,
  FRAME_HEAD,
  FRAME_MOST,
  frameLength,
  frameStream,
  frameType,
  PREFACE,
  SETTING_MAX_FRAME,
} from '../../lib/http2';
import { Conn, Dir, Now } from './conn';
import { isResponse, take } from './content';
import { Count, Fault } from './counters';
import { block, blockOver } from './h2-blocks';
import { loseSync } from './h2-loss';
import { rescan, seek, Seeker } from './h2-seek';
import { endSeeking, followed, Frames, framesOf, messageOver, next, payloadOver, Step } from './h2-state';
import { endNewer, endStream, findStream, isOver, makeStream, messageOf, settle, Stream, StreamMessage, sweepStreams } from './h2-streams';
import { noteStart } from './lines';
import { headOf } from './message';

/** Decodes [at, end) as far as the lane has room (Now.blocked). Returns where it stopped. */
export function feedFrames(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  const frames = framesOf(dir);
  Now.blocked = false;
  while (true) {
    if ((frames.due && !settleDue(frames)) || (conn.sweep && !sweepStreams(conn))) {
      Now.blocked = true;
      return at;
    }
    if (frames.step == Step.BEGIN) begin(conn, dir, frames);
    else if (frames.seeker && frames.step != Step.SEEK) takeHeld(conn, dir, frames);
    else if (at >= end) return at;
    else if (frames.step == Step.SEEK) at = seekOn(conn, frames, at, end);
    else at = step(conn, dir, frames, at, end);
    if (Now.blocked) return at;
  }
}

function settleDue(frames: Frames): bool {
  frames.due = false;
  if (frames.stream == 0 || settle(changetype<Stream>(frames.stream))) return true;
  frames.due = true;
  return false;
}

/** SEEK: bytes among which a frame may begin. Returns where it stopped. */
function seekOn(conn: Conn, frames: Frames, at: usize, end: usize): usize {
  if (frames.seeker == 0) frames.seeker = changetype<usize>(new Seeker());
  const seeker = changetype<Seeker>(frames.seeker);
  const before = <u64>seeker.held.length;
  const stop = seek(seeker, at, end);
  const dropped = before + (stop - at) - seeker.held.length;
  Count.pending += seeker.held.length - before;
  Count.resync += dropped;
  if (seeker.found) {
    conn.lossy = true;
    frames.step = Step.HEAD;
    frames.have = 0;
  }
  return stop;
}

/** Decodes what a seeker held. */
function takeHeld(conn: Conn, dir: Dir, frames: Frames): void {
  const held = changetype<Seeker>(frames.seeker).held;
  const at = held.ptr + frames.heldAt;
  const stop = step(conn, dir, frames, at, held.ptr + held.length);
  Count.pending -= stop - at;
  frames.heldAt += stop - at;
  if (frames.step == Step.SEEK) seekAgain(frames);
  else if (frames.heldAt == held.length) endSeeking(frames);
}

/** What a seeker held turned out to be no frame: looks on behind it. */
function seekAgain(frames: Frames): void {
  const seeker = changetype<Seeker>(frames.seeker);
  const before = seeker.held.length - frames.heldAt;
  rescan(seeker, frames.heldAt);
  frames.heldAt = 0;
  Count.pending -= before - seeker.held.length;
  Count.resync += before - seeker.held.length;
  if (seeker.found) frames.step = Step.HEAD;
}

function step(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  switch (frames.step) {
    case Step.HEAD:
      return head(conn, dir, frames, at, end);
    case Step.DATA:
      return data(conn, dir, frames, at, end);
    case Step.BLOCK:
      return block(conn, dir, frames, at, end);
    case Step.CONTROL:
      return control(conn, dir, frames, at, end);
    case Step.PAD:
      return pad(conn, dir, frames, at);
    case Step.PRIORITY:
      return skip(frames, at, end, Step.BLOCK);
    case Step.PREFACE:
      return preface(conn, dir, frames, at, end);
    case Step.PADDING:
      return padding(frames, at, end);
  }
  return skip(frames, at, end, Step.PADDING);
}

/** Adds bytes to what has a fixed length. Returns where it stopped; frames.have says whether it is complete. */
function gather(frames: Frames, at: usize, end: usize, length: u32): usize {
  const n = min<usize>(length - frames.have, end - at);
  memory.copy(frames.small + frames.have, at, n);
  frames.have += <u32>n;
  Count.framing += n;
  return at + n;
}

function preface(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  while (at < end && frames.have < <u32>PREFACE.length) {
    if (<u32>load<u8>(at) != <u32>PREFACE.charCodeAt(frames.have)) {
      loseSync(conn, dir, frames, Fault.BAD_FRAME);
      return at;
    }
    frames.have++;
    at++;
    Count.framing++;
  }
  if (frames.have == <u32>PREFACE.length) next(frames);
  return at;
}

function head(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  at = gather(frames, at, end, FRAME_HEAD);
  if (frames.have < FRAME_HEAD) return at;
  const from = frames.small;
  frames.type = frameType(from);
  frames.flags = frameFlags(from);
  frames.id = frameStream(from);
  frames.left = frameLength(from);
  frames.padding = 0;
  frames.have = 0;
  frames.stream = 0;
  Count.h2Frames++;
  const longest = conn.lossy ? FRAME_MOST : frames.longest;
  const between = frames.blockId != 0 && (frames.type != Frame.CONTINUATION || frames.id != frames.blockId);
  const alone = frames.blockId == 0 && frames.type == Frame.CONTINUATION;
  if (frames.left > longest || between || alone || !frameFits(frames.type, frames.flags, frames.left, frames.id)) {
    loseSync(conn, dir, frames, Fault.BAD_FRAME);
    return at;
  }
  frames.step = Step.BEGIN;
  return at;
}

/** BEGIN: chooses by its type how the payload is read. It may wait for room in the lane. */
function begin(conn: Conn, dir: Dir, frames: Frames): void {
  const type = frames.type;
  if (type == Frame.DATA || type == Frame.HEADERS) {
    if (!openStream(conn, dir, frames)) {
      Now.blocked = true;
      return;
    }
    payload(conn, dir, frames);
    return;
  }
  if (type == Frame.CONTINUATION) {
    if (!frames.promised) frames.stream = findStream(conn, frames.id);
    frames.step = Step.BLOCK;
    if (frames.left == 0) blockOver(conn, dir, frames, 0, 0);
    return;
  }
  if (type == Frame.PUSH_PROMISE) {
    Count.h2Pushes++;
    frames.promised = true;
    payload(conn, dir, frames);
    return;
  }
  const kept = type == Frame.SETTINGS || type == Frame.RST_STREAM || type == Frame.GOAWAY;
  frames.step = kept ? Step.CONTROL : Step.SKIP;
  if (frames.left == 0) next(frames);
}

/** Finds or makes the stream of DATA or HEADERS. False: no room in the lane. */
function openStream(conn: Conn, dir: Dir, frames: Frames): bool {
  let at = findStream(conn, frames.id);
  if (at == 0) {
    const data = frames.type == Frame.DATA;
    // Of a stream that is over, pushed (even), or that DATA cannot begin as nothing was lost.
    if (isOver(conn, frames.id) || !(frames.id & 1) || (data && !conn.lossy)) return true;
    at = makeStream(conn, frames.id, conn.nextStream);
    if (at == 0) return false;
    conn.nextStream++;
    // The request of a response that comes first was never seen.
    const m = messageOf(conn, changetype<Stream>(at), dir.direction);
    if (m == changetype<Stream>(at).response) changetype<Stream>(at).request.over = true;
  }
  frames.stream = at;
  const m = messageOf(conn, changetype<Stream>(at), dir.direction);
  if (m.over || m.endDue) return true;
  m.lastTs = Now.ts;
  if (!m.headOut && !m.headDue) {
    m.begun = true;
    noteStart(m);
    if (frames.type == Frame.DATA) {
      if (!conn.lossy) return true;
      unseenHead(conn, m);
      frames.due = true;
    }
  }
  return true;
}

/** DATA of a message whose header block was lost: what it is, its content tells. How much was before it is not known. */
function unseenHead(conn: Conn, m: StreamMessage): void {
  const head = headOf(m);
  head.version = 20;
  head.isResponse = isResponse(conn, m);
  head.status = 0;
  head.unknown = 1;
  head.cut = true;
  m.headDue = true;
  m.holed = true;
  m.bodyOffset = 1;
}

/** What comes first in the payload of DATA, HEADERS and PUSH_PROMISE. */
function payload(conn: Conn, dir: Dir, frames: Frames): void {
  if (frames.type != Frame.DATA) {
    frames.blockId = frames.id;
    frames.blockEnds = frames.type == Frame.HEADERS && (frames.flags & FrameFlag.END_STREAM) != 0;
    if (frames.type == Frame.HEADERS) frames.promised = false;
  }
  if (frames.flags & FrameFlag.PADDED) frames.step = Step.PAD;
  else behindPad(conn, dir, frames);
}

function pad(conn: Conn, dir: Dir, frames: Frames, at: usize): usize {
  frames.padding = load<u8>(at);
  frames.left--;
  Count.framing++;
  const fixed: u32 = frames.type == Frame.PUSH_PROMISE ? 4 : frames.type == Frame.HEADERS && frames.flags & FrameFlag.PRIORITY ? 5 : 0;
  if (frames.padding + fixed > frames.left) {
    frames.padding = 0;
    loseSync(conn, dir, frames, Fault.BAD_FRAME);
    return at + 1;
  }
  frames.left -= frames.padding;
  behindPad(conn, dir, frames);
  return at + 1;
}

function behindPad(conn: Conn, dir: Dir, frames: Frames): void {
  if (frames.type == Frame.DATA) {
    frames.step = Step.DATA;
    if (frames.left == 0) dataOver(conn, dir, frames);
    return;
  }
  const fixed: u32 = frames.type == Frame.PUSH_PROMISE ? 4 : frames.flags & FrameFlag.PRIORITY ? 5 : 0;
  frames.have = fixed;
  frames.step = fixed ? Step.PRIORITY : Step.BLOCK;
  if (!fixed && frames.left == 0) blockOver(conn, dir, frames, 0, 0);
}

/** PRIORITY: passes over the `have` bytes before a header block. SKIP: passes over the payload. */
function skip(frames: Frames, at: usize, end: usize, after: u32): usize {
  const before = after == Step.BLOCK;
  const n = <u32>min<usize>(end - at, before ? frames.have : frames.left);
  frames.left -= n;
  Count.framing += n;
  if (before) {
    frames.have -= n;
    if (frames.have == 0) frames.step = Step.BLOCK;
  } else if (frames.left == 0) payloadOver(frames);
  return at + n;
}

function padding(frames: Frames, at: usize, end: usize): usize {
  const n = <u32>min<usize>(end - at, frames.padding);
  frames.padding -= n;
  Count.framing += n;
  if (frames.padding == 0) next(frames);
  return at + n;
}

function data(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  const n = min<usize>(end - at, frames.left);
  const m = followed(conn, dir, frames);
  let took = n;
  if (changetype<usize>(m) && m.open) {
    m.lastTs = Now.ts;
    took = take(conn, m, at, n);
    m.dataBytes += took;
    frames.due = m.draining;
  } else {
    if (changetype<usize>(m)) m.wire += n;
    Count.bodyWire += n;
  }
  frames.left -= <u32>took;
  if (frames.left == 0) dataOver(conn, dir, frames);
  return at + took;
}

export function dataOver(conn: Conn, dir: Dir, frames: Frames): void {
  if (frames.flags & FrameFlag.END_STREAM) messageOver(conn, dir, frames);
  payloadOver(frames);
}

/** CONTROL: settings six bytes at a time, the code of a reset, the last stream of GOAWAY. */
function control(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  const unit: u32 = frames.type == Frame.SETTINGS ? 6 : frames.type == Frame.RST_STREAM ? 4 : 8;
  const from = at;
  at = gather(frames, at, end, unit);
  frames.left -= <u32>(at - from);
  if (frames.have < unit) return at;
  frames.have = 0;
  const value = bswap(load<u32>(frames.small));
  if (frames.type == Frame.SETTINGS) {
    const setting = bswap(load<u32>(frames.small, 2));
    if (value >> 16 == SETTING_MAX_FRAME) framesOf(conn.dir(1 - dir.direction)).longest = max(FRAME_DEFAULT, min(setting, FRAME_MOST));
    if (frames.left == 0) next(frames);
    return at;
  }
  if (frames.type == Frame.RST_STREAM) {
    const found = findStream(conn, frames.id);
    if (found) {
      endStream(changetype<Stream>(found), Fault.RESET, true);
      frames.stream = found;
      frames.due = true;
    }
  } else if (isResponseDir(conn, dir)) endNewer(conn, value & 0x7fffffff);
  frames.step = Step.SKIP;
  if (frames.left == 0) next(frames);
  return at;
}

function isResponseDir(conn: Conn, dir: Dir): bool {
  return (conn.role == Role.SERVER) == (dir.direction == 1);
}
