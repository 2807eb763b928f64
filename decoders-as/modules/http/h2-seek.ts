// Finds where frames of HTTP/2 begin in bytes whose beginning was not seen: two heads in a row, the second where the first says. It keeps at most a frame.
//
// What comes first in a connection of which nothing is known may be HTTP/1 or HTTP/2; both are looked for in the same bytes, so what is kept here is counted
// there (stream.ts), until frames are found. The rule looks only at bytes, so it does not matter how records cut them.
import { ByteBuf } from '../../lib/bytes';
import { FRAME_DEFAULT, FRAME_HEAD, Frame, frameLength, frameType, looksLikeFrame } from '../../lib/http2';
import { Dir } from './conn';

/** Most bytes that are taken in at one time. */
const SLICE: usize = 16384;
/** What can be kept: the longest frame with the head of the next, and a slice. */
const KEPT: usize = <usize>FRAME_DEFAULT + 2 * FRAME_HEAD + SLICE;
/** A connection of which nothing is known is given up after so many bytes of one direction. */
const UNKNOWN_MOST: u64 = 128 << 10;

@unmanaged
export class Seeker {
  held: ByteBuf = new ByteBuf(KEPT);
  /** Where in `held` the first head is that may be one. */
  at: usize = 0;
  /** Bytes taken in, ever. */
  total: u64 = 0;
  /** The first byte held is the first of its stream, and may be the first of a server. */
  fromStart: bool = false;
  /** `held` begins with a frame. */
  found: bool = false;
}

/** Takes bytes in until frames are found. Returns where it stopped; seeker.found says why. */
export function seek(seeker: Seeker, at: usize, end: usize): usize {
  while (at < end && !seeker.found) {
    const n = min(SLICE, end - at);
    seeker.held.push(at, n);
    seeker.total += n;
    at += n;
    scan(seeker);
    forget(seeker);
  }
  return at;
}

/** Drops what cannot be the beginning of a frame. */
function forget(seeker: Seeker): void {
  const held = seeker.held;
  if (seeker.at == 0) return;
  memory.copy(held.ptr, held.ptr + seeker.at, held.length - seeker.at);
  held.length -= seeker.at;
  seeker.at = 0;
  seeker.fromStart = false;
}

function scan(seeker: Seeker): void {
  const held = seeker.held;
  while (held.length - seeker.at >= FRAME_HEAD) {
    const at = held.ptr + seeker.at;
    if (looksLikeFrame(at, FRAME_DEFAULT)) {
      // A server begins with SETTINGS (RFC 9113 section 3.4).
      seeker.found = seeker.fromStart && frameType(at) == Frame.SETTINGS && load<u8>(at, 4) == 0;
      if (seeker.found) return;
      seeker.fromStart = false;
      const next = seeker.at + FRAME_HEAD + frameLength(at);
      if (next + FRAME_HEAD > held.length) return;
      seeker.found = looksLikeFrame(held.ptr + next, FRAME_DEFAULT);
      if (seeker.found) return;
    }
    seeker.at++;
    seeker.fromStart = false;
  }
}

/** Looks again in what is held behind its first n bytes, which were no frame. */
export function rescan(seeker: Seeker, n: usize): void {
  seeker.found = false;
  seeker.at = n;
  forget(seeker);
  scan(seeker);
  forget(seeker);
}

/** Did a stream of which nothing is known show no frames for long enough? */
export function seekOver(seeker: Seeker): bool {
  return seeker.total >= UNKNOWN_MOST;
}

export function dropSeeker(dir: Dir): void {
  if (dir.seeker) freeSeeker(changetype<Seeker>(dir.seeker));
  dir.seeker = 0;
}

export function freeSeeker(seeker: Seeker): void {
  seeker.held.free();
  heap.free(changetype<usize>(seeker.held));
  heap.free(changetype<usize>(seeker));
}
