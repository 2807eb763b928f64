// Header blocks of HTTP/2 put together from HEADERS and CONTINUATION, and what a block is for its message: its head, an informational response, or its trailers.
import { Role } from '../../abi/records';
import { FrameFlag } from '../../lib/http2';
import { Conn, Dir, Now } from './conn';
import { chooseDecoding, isResponse } from './content';
import { Count, countFault, Fault } from './counters';
import { Block, readBlock } from './h2-headers';
import { loseSync } from './h2-loss';
import { followed, Frames, messageOver, payloadOver } from './h2-state';
import { Stream, StreamMessage } from './h2-streams';
import { Head, headOf, releaseHead } from './message';

/** BLOCK: what a frame has of a header block. One that came whole is read where it lies. */
export function block(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): usize {
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
export function blockOver(conn: Conn, dir: Dir, frames: Frames, at: usize, end: usize): void {
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
