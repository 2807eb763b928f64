// Gathers the lines of heads out of records that cut them anywhere, and moves bytes between the buckets of the ledger; it never judges a line.
import { findByte } from '../../lib/bytes';
import { TlsData } from '../../abi/records';
import { At, Dir, Now } from './conn';
import { Count } from './counters';
import { Head, headOf, LINE_MAX, Message, releaseHead } from './message';

/** The line that takeLine() has completed. */
export namespace Taken {
  export let complete: bool = false;
  /** What is kept, at most LINE_MAX bytes, without the line end. */
  export let at: usize = 0;
  export let length: u32 = 0;
  /** Behind the last byte before the line end; it differs from at + length when the line is cut. */
  export let tail: usize = 0;
  /** Its true length without the line end. */
  export let full: u64 = 0;
  export let cut: bool = false;
  /** It ends with CR LF rather than a bare LF. */
  export let crlf: bool = false;
}

/** Counts bytes of a head that is not complete. */
export function pend(dir: Dir, n: usize): void {
  dir.lineBytes += n;
  dir.headBytes += n;
  Count.pending += n;
}

/** Counts bytes that belong to no message. */
export function skipBytes(dir: Dir, n: u64): void {
  if (dir.quiet || dir.state == At.OPAQUE) Count.unrecognised += n;
  else Count.resync += n;
}

/** Gives up what is pending, except its last `kept` bytes. */
export function skipPending(dir: Dir, kept: u64): void {
  const n = dir.headBytes - kept;
  Count.pending -= n;
  skipBytes(dir, n);
  dir.headBytes = kept;
  if (kept == 0) endLine(dir);
}

/** Forgets the line that was taken. */
export function endLine(dir: Dir): void {
  dir.lineBytes = 0;
  if (dir.head) changetype<Head>(dir.head).line.clear();
}

/** Looks for a message start from here on. */
export function enterResync(dir: Dir): void {
  dir.state = At.RESYNC;
  dir.gapped = true;
  if (dir.quiet) Count.joined++;
  else Count.resyncs++;
}

/** A message begins in the current record. */
export function noteStart(message: Message): void {
  message.ts = Now.ts;
  memory.copy(headOf(message).origin, Now.record, TlsData.SIZE);
}

/** The message of a stream is over with what was read; http.end follows. */
export function endMessage(dir: Dir, after: u32): void {
  dir.state = At.END_READY;
  dir.after = after;
  dir.endTs = dir.lastTs;
}

/** Gives up a head that cannot be completed. */
export function loseHead(dir: Dir): void {
  if (dir.headBytes > 0 && dir.state != At.RESYNC) Count.headsLost++;
  skipPending(dir, 0);
  releaseHead(dir);
}

/** Takes bytes up to the end of the line or of the record; Taken says whether the line is complete. Returns where it stopped. */
export function takeLine(dir: Dir, at: usize, end: usize): usize {
  const feed = findByte(at, end, 10);
  if (feed < end && dir.lineBytes == 0) {
    const crlf = feed > at && load<u8>(feed - 1) == 13;
    const tail = crlf ? feed - 1 : feed;
    pend(dir, feed + 1 - at);
    taken(at, tail - at, tail, crlf);
    return feed + 1;
  }
  const head = headOf(dir);
  const next = feed < end ? feed + 1 : end;
  const before = feed > at ? <u32>load<u8>(feed - 1) : dir.lastByte;
  const room = LINE_MAX + 2 - head.line.length;
  head.line.push(at, min(room, next - at));
  keepTail(head, at, next - at);
  pend(dir, next - at);
  dir.lastByte = load<u8>(next - 1);
  Taken.complete = false;
  if (feed == end) return end;
  const marks: usize = before == 13 ? 2 : 1;
  const length = dir.lineBytes - marks;
  const tail = length > LINE_MAX ? changetype<usize>(head) + offsetof<Head>('tail0') + 16 - marks : head.line.ptr + <usize>length;
  taken(head.line.ptr, length, tail, marks == 2);
  return next;
}

function taken(at: usize, length: u64, tail: usize, crlf: bool): void {
  Taken.complete = true;
  Taken.at = at;
  Taken.full = length;
  Taken.cut = length > LINE_MAX;
  Taken.length = <u32>min<u64>(length, LINE_MAX);
  Taken.tail = tail;
  Taken.crlf = crlf;
}

/** Keeps the last 16 bytes of the line, where the version of a long request line is. */
function keepTail(head: Head, at: usize, n: usize): void {
  const tail = changetype<usize>(head) + offsetof<Head>('tail0');
  if (n >= 16) {
    v128.store(tail, v128.load(at + n - 16));
    return;
  }
  memory.copy(tail, tail + n, 16 - n);
  memory.copy(tail + 16 - n, at, n);
}

/** Keeps at least the last LINE_MAX + 1 bytes of a line of any length. */
export function keepLast(head: Head, at: usize, n: usize): void {
  const keep: usize = LINE_MAX + 1;
  const line = head.line;
  if (n >= keep) {
    line.clear();
    at += n - keep;
    n = keep;
  } else if (line.length + n > 2 * keep) {
    memory.copy(line.ptr, line.ptr + line.length - keep, keep);
    line.length = keep;
  }
  line.push(at, n);
}
