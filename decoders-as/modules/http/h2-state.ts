// What is kept of one direction of an HTTP/2 connection between its bytes, and the places where it changes hands; it reads no frame.
import { Role } from '../../abi/records';
import { ByteBuf } from '../../lib/bytes';
import { BLOCK_MAX, HpackTable } from '../../lib/hpack';
import { FRAME_DEFAULT } from '../../lib/http2';
import { At, Conn, Dir, Now } from './conn';
import { Count } from './counters';
import { freeSeeker, Seeker } from './h2-seek';
import { messageOf, Stream, StreamMessage } from './h2-streams';
import { skipPending } from './lines';
import { releaseHead } from './message';

export namespace Step {
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

export function enterDir(conn: Conn, dir: Dir): void {
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

export function endSeeking(frames: Frames): void {
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

/** The frame is over. */
export function next(frames: Frames): void {
  frames.step = Step.HEAD;
  frames.have = 0;
}

export function payloadOver(frames: Frames): void {
  if (frames.padding > 0) frames.step = Step.PADDING;
  else next(frames);
}

/** The message that the frame belongs to, unless it is over. */
export function followed(conn: Conn, dir: Dir, frames: Frames): StreamMessage {
  if (frames.stream == 0) return changetype<StreamMessage>(0);
  const m = messageOf(conn, changetype<Stream>(frames.stream), dir.direction);
  return m.over || m.endDue ? changetype<StreamMessage>(0) : m;
}

export function messageOver(conn: Conn, dir: Dir, frames: Frames): void {
  const m = followed(conn, dir, frames);
  if (changetype<usize>(m) == 0) return;
  m.endDue = true;
  m.endTs = Now.ts;
  frames.due = true;
}
