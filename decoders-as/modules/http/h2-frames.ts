// One direction of an HTTP/2 connection as a state machine over its bytes, and what a gap does to it; it never assumes where records are cut.
//
//   PREFACE -> HEAD -> BEGIN -> PAD -> PRIORITY -> DATA    -> PADDING -> HEAD ...
//               ^                              \-> BLOCK   ->
//               |                              \-> CONTROL ->
//               |                              \-> SKIP    ->
//               \-- SEEK (joined in the middle, bytes lost, or no frame where one should be)
//
// BEGIN takes no input: it is where a frame gets its stream, which may have to wait for room in the lane. So do heads and ends, which settle() writes.
import { Role } from '../../abi/records';
import { ByteBuf } from '../../lib/bytes';
import { BLOCK_MAX, HpackTable } from '../../lib/hpack';
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
import { At, Conn, Dir, Now } from './conn';
import { breakCoding, chooseDecoding, isResponse, take } from './content';
import { Count, countFault, Fault } from './counters';
import { breakBody } from './emit';
import { Block, readBlock } from './h2-headers';
import { freeSeeker, rescan, seek, Seeker } from './h2-seek';
import {
  endNewer,
  endStream,
  findStream,
  forOpenMessages,
  isOver,
  makeStream,
  messageOf,
  opened,
  openMessages,
  settle,
  Stream,
  StreamMessage,
  sweepStreams,
} from './h2-streams';
import { noteStart, skipPending } from './lines';
import { Head, headOf, releaseHead } from './message';

namespace Step {
  export const PREFACE: u32 = 0;
  export const HEAD: u32 = 1;
  export const BEGIN: u32 = 2;
  export const PAD: u32 = 3;
  export const PRIORITY: u32 = 4;
  export const DATA: u32 = 5;
  export const BLOCK: u32 = 6;
  export const CONTROL: u32 = 7;
  export const SKIP: u32 = 8;
  export const PADDING: u32 = 9;
  export const SEEK: u32 = 10;
}

@unmanaged
export class Frames {
  step: u32 = Step.HEAD;
  /** Bytes of what has a fixed length (preface, head, priority, settings, codes), and how many there are. */
  small0: u64 = 0;
  small1: u64 = 0;
  have: u32 = 0;
  type: u32 = 0;
  flags: u32 = 0;
  id: u32 = 0;
  /** Of the payload, without its padding. */
  left: u32 = 0;
  padding: u32 = 0;
  /** Longest frame that the other side takes. */
  longest: u32 = FRAME_DEFAULT;
  /** The stream of the frame, while it is followed. */
  stream: usize = 0;
  /** Something of that stream may be due. */
  due: bool = false;
  /** A header block that did not come in one piece, and whose it is; 0: none. */
  block: ByteBuf = new ByteBuf(BLOCK_MAX);
  blockId: u32 = 0;
  blockEnds: bool = false;
  /** The block is of a promised stream, which is not followed. */
  promised: bool = false;
  seeker: usize = 0;
  /** Bytes that a seeker held and that are not decoded yet. */
  heldAt: usize = 0;
  table: HpackTable = new HpackTable();

  get small(): usize {
    return changetype<usize>(this) + offsetof<Frames>('small0');
  }
}

/** The connection, whose role is known, speaks HTTP/2 from here on. whole: nothing of it came before. */
export function enterFrames(conn: Conn, whole: bool): void {
  conn.h2 = true;
  Count.h2++;
  if (!whole || conn.midway) conn.lossy = true;
  enterDir(conn, changetype<Dir>(conn.write));
  enterDir(conn, changetype<Dir>(conn.read));
}

/** Role of the process, once the direction of requests or of responses is known. */
export function settleRole(conn: Conn, role: u32): void {
  conn.role = role;
  conn.roleGuessed = role == Role.UNKNOWN;
  if (role != Role.UNKNOWN) return;
  conn.role = conn.socketRole == Role.UNKNOWN ? Role.CLIENT : conn.socketRole;
}

function enterDir(conn: Conn, dir: Dir): void {
  skipPending(dir, 0);
  releaseHead(dir);
  const frames = new Frames();
  dir.frames = changetype<usize>(frames);
  dir.state = At.FRAMES;
  const requests = (conn.role == Role.CLIENT) == (dir.direction == 1);
  frames.step = dir.expected > 0 || conn.lossy ? Step.SEEK : requests ? Step.PREFACE : Step.HEAD;
  if (!dir.seeker) return;
  const seeker = changetype<Seeker>(dir.seeker);
  dir.seeker = 0;
  frames.seeker = changetype<usize>(seeker);
  frames.step = seeker.found ? Step.HEAD : Step.SEEK;
  // Until here they were counted with what is not HTTP/1.
  const n = <u64>seeker.held.length;
  if (dir.quiet) Count.unrecognised -= n;
  else Count.resync -= n;
  Count.pending += n;
}

export function framesOf(dir: Dir): Frames {
  return changetype<Frames>(dir.frames);
}

/** The client's first line is read: the rest of the preface follows. */
export function expectPrefaceRest(dir: Dir, read: u32): void {
  const frames = framesOf(dir);
  frames.step = Step.PREFACE;
  frames.have = read;
}

/** What comes next begins with a frame, or, in the direction of requests, with the preface. */
export function expectStart(dir: Dir, preface: bool): void {
  framesOf(dir).step = preface ? Step.PREFACE : Step.HEAD;
}

export function dropFrames(dir: Dir): void {
  if (dir.frames == 0) return;
  const frames = framesOf(dir);
  endSeeking(frames);
  frames.table.free();
  heap.free(changetype<usize>(frames.table));
  frames.block.free();
  heap.free(changetype<usize>(frames.block));
  heap.free(dir.frames);
  dir.frames = 0;
}

function endSeeking(frames: Frames): void {
  if (frames.seeker == 0) return;
  const seeker = changetype<Seeker>(frames.seeker);
  const rest = <u64>(seeker.held.length - frames.heldAt);
  Count.pending -= rest;
  Count.resync += rest;
  freeSeeker(seeker);
  frames.seeker = 0;
  frames.heldAt = 0;
}

/** A stream is about to be freed. */
export function forgetStream(dir: Dir, stream: usize): void {
  if (dir.frames == 0 || framesOf(dir).stream != stream) return;
  framesOf(dir).stream = 0;
  framesOf(dir).due = false;
}

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

/** The frame is over. */
function next(frames: Frames): void {
  frames.step = Step.HEAD;
  frames.have = 0;
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

function payloadOver(frames: Frames): void {
  if (frames.padding > 0) frames.step = Step.PADDING;
  else next(frames);
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

/** The message that the frame belongs to, unless it is over. */
function followed(conn: Conn, dir: Dir, frames: Frames): StreamMessage {
  if (frames.stream == 0) return changetype<StreamMessage>(0);
  const m = messageOf(conn, changetype<Stream>(frames.stream), dir.direction);
  return m.over || m.endDue ? changetype<StreamMessage>(0) : m;
}

function dataOver(conn: Conn, dir: Dir, frames: Frames): void {
  if (frames.flags & FrameFlag.END_STREAM) messageOver(conn, dir, frames);
  payloadOver(frames);
}

function messageOver(conn: Conn, dir: Dir, frames: Frames): void {
  const m = followed(conn, dir, frames);
  if (changetype<usize>(m) == 0) return;
  m.endDue = true;
  m.endTs = Now.ts;
  frames.due = true;
}

/** BLOCK: what a frame has of a header block. One that came whole is read where it lies. */
function block(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
  const n = min<usize>(end - at, frames.left);
  Count.framing += n;
  const ends = (frames.flags & FrameFlag.END_HEADERS) != 0;
  if (n == frames.left && ends && frames.block.length == 0) {
    frames.left = 0;
    blockOver(conn, dir, frames, at, at + n);
    return at + n;
  }
  if (!frames.block.push(at, n)) {
    loseSync(conn, dir, frames, Fault.LONG_BLOCK);
    return at + n;
  }
  frames.left -= <u32>n;
  if (frames.left == 0) blockOver(conn, dir, frames, frames.block.ptr, frames.block.ptr + frames.block.length);
  return at + n;
}

/** The header block fragment of a frame is over. */
function blockOver(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): void {
  payloadOver(frames);
  if ((frames.flags & FrameFlag.END_HEADERS) == 0) return;
  if (frames.block.length > 0) {
    at = frames.block.ptr;
    end = at + frames.block.length;
  }
  frames.blockId = 0;
  headerBlock(conn, dir, frames, at, end);
  frames.promised = false;
  if (frames.block.capacity > 4096) frames.block.free();
  frames.block.clear();
}

function headerBlock(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): void {
  const m = followed(conn, dir, frames);
  const wanted = changetype<usize>(m) != 0 && !m.headOut && !m.headDue;
  const head = wanted ? headOf(m) : changetype<Head>(0);
  const good = readBlock(frames.table, head, at, end);
  if (changetype<usize>(m)) m.wire += end - at;
  if (!good) {
    conn.lossy = true;
    if (!wanted) countFault(Fault.BAD_BLOCK);
  }
  if (wanted) headRead(conn, dir, frames, m, head, good);
  if (frames.blockEnds) messageOver(conn, dir, frames);
}

/** A message's first block is read: it is its head, an informational response, or trailers of a message whose head was lost. */
function headRead(conn: Conn, dir: Dir, frames: Frames, m: StreamMessage, head: Head, good: bool): void {
  if (conn.roleGuessed && (Block.request || Block.status)) correctRole(conn, dir, frames, Block.request);
  const response = isResponse(conn, m);
  const bare = good && !Block.request && Block.status == 0 && Block.unknown == 0;
  if (response && Block.status >= 100 && Block.status < 200) {
    Count.informational++;
    releaseHead(m);
    return;
  }
  if (bare && frames.blockEnds) {
    m.holed = true;
    releaseHead(m);
    return;
  }
  head.version = 20;
  head.isResponse = response;
  if (!good) {
    head.cut = true;
    m.fault = Fault.BAD_BLOCK;
    m.endDue = true;
    m.endTs = Now.ts;
  } else if (Block.fault != Fault.NONE) m.fault = Block.fault;
  m.length = head.length;
  chooseDecoding(m, head);
  m.headDue = true;
  frames.due = true;
}

/** What the role was taken to be turns out wrong with the first head: nothing was told yet, so the messages of its stream change places. */
function correctRole(conn: Conn, dir: Dir, frames: Frames, request: bool): void {
  conn.roleGuessed = false;
  const role = request == (dir.direction == 1) ? Role.CLIENT : Role.SERVER;
  if (role == conn.role || conn.streamCount != 1) return;
  const stream = changetype<Stream>(frames.stream);
  conn.role = role;
  const swapped = stream.request;
  stream.request = stream.response;
  stream.response = swapped;
  stream.request.over = !request;
  stream.response.over = false;
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

/** No frame is where one should be, or bytes are missing that were not all of one payload: what the header blocks changed meanwhile is not known. */
function loseSync(conn: Conn, dir: Dir, frames: Frames, fault: u32): void {
  Count.resyncs++;
  conn.lossy = true;
  if (fault != Fault.NONE) countFault(fault);
  forOpenMessages(conn, dir.direction, hole, 0);
  frames.table.clear();
  frames.block.free();
  frames.blockId = 0;
  frames.promised = false;
  frames.stream = 0;
  frames.left = 0;
  frames.padding = 0;
  frames.have = 0;
  frames.step = Step.SEEK;
}

/** Up to n bytes of a body may be missing. */
function hole(m: StreamMessage, n: u64): void {
  m.holed = true;
  m.bodyOffset += n;
  breakBody(m);
  breakCoding(m);
}

function miss(m: StreamMessage, n: u64, shed: bool): void {
  m.missing += n;
  m.bodyOffset += n;
  if (shed) m.shed += n;
  breakBody(m);
  breakCoding(m);
}

/** n bytes of a direction did not come. A gap within the payload of a frame costs only that; any other loses the frames, and the header table with them. */
export function passOverFrames(conn: Conn, dir: Dir, n: u64, shed: bool): void {
  const frames = framesOf(dir);
  const whole = frames.step == Step.DATA || frames.step == Step.SKIP;
  if (whole && n <= frames.left) {
    const m = followed(conn, dir, frames);
    if (frames.step == Step.DATA && changetype<usize>(m)) miss(m, n, shed);
    frames.left -= <u32>n;
    if (frames.left > 0) return;
    if (frames.step == Step.DATA) dataOver(conn, dir, frames);
    else payloadOver(frames);
    return;
  }
  // What is missing is of the one message that is open; of several, each may have lost some.
  if (openMessages(conn, dir.direction) == 1) miss(opened, n, shed);
  else forOpenMessages(conn, dir.direction, hole, n);
  endSeeking(frames);
  loseSync(conn, dir, frames, Fault.NONE);
}
