// What bytes that are missing cost an HTTP/2 connection: a message some of its body, or all of them their frames and the header table.
import { Conn, Dir } from './conn';
import { breakCoding } from './content';
import { Count, countFault, Fault } from './counters';
import { breakBody } from './emit';
import { dataOver } from './h2-frames';
import { endSeeking, followed, Frames, framesOf, payloadOver, Step } from './h2-state';
import { forOpenMessages, opened, openMessages, StreamMessage } from './h2-streams';

/** No frame is where one should be, or bytes are missing that were not all of one payload: what the header blocks changed meanwhile is not known. */
export function loseSync(conn: Conn, dir: Dir, frames: Frames, fault: u32): void {
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
