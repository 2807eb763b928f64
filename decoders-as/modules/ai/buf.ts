// Growing byte buffers under one global budget; it never grows one past its own limit, and what is refused is counted.
//
// A buffer is an address: 0 is the empty one. At it: u32 length, u32 capacity, then the bytes and BUF_SLACK more.
import { copyBytes } from '../../lib/bytes';
import { COPY_SLACK, copyText } from '../../lib/json-text';

const HEAD: usize = 8;
/** What a buffer costs beside its bytes: its head, its slack and the allocator's share. */
const COST: u32 = 48;

/** Bytes of all buffers together, slack and capacity included. */
export let bufHeld: u32 = 0;
let budget: u32 = 0;
/** Appends that were refused, for want of budget or over a limit. */
export let bufRefused: u32 = 0;
/** The last append was refused. */
export let bufFailed: bool = false;

export function bufInit(bytes: u32): void {
  budget = bytes;
}

export function bufLength(buf: usize): u32 {
  return buf ? load<u32>(buf) : 0;
}

export function bufAt(buf: usize): usize {
  return buf + HEAD;
}

export function bufFree(buf: usize): void {
  if (!buf) return;
  bufHeld -= load<u32>(buf, 4) + COST;
  heap.free(buf);
}

export function bufSetLength(buf: usize, length: u32): void {
  if (buf) store<u32>(buf, length);
}

/** Takes bytes out of the budget for something that is no buffer; false: there are none left. */
export function bufCharge(bytes: u32): bool {
  if (bufHeld + bytes > budget) {
    bufRefused++;
    return false;
  }
  bufHeld += bytes;
  return true;
}

export function bufRelease(bytes: u32): void {
  bufHeld -= bytes;
}

function refuse(buf: usize): usize {
  bufRefused++;
  bufFailed = true;
  return buf;
}

/** The buffer with room for `more` bytes; the same one, with bufFailed set, when it may not grow. */
export function bufRoom(buf: usize, more: u32, limit: u32): usize {
  bufFailed = false;
  const used = bufLength(buf);
  const need = used + more;
  const cap = buf ? load<u32>(buf, 4) : 0;
  if (need <= cap) return buf;
  if (need > limit) return refuse(buf);
  // Nearly all buffers are short and never grow; large ones double, so that copying stays linear.
  let wider: u32 = need < 64 ? (need + 7) & ~7 : max<u32>(cap << 1, 128);
  while (wider < need) wider <<= 1;
  if (bufHeld - cap + wider + COST > budget) return refuse(buf);
  const fresh = heap.alloc(HEAD + wider + COPY_SLACK);
  store<u32>(fresh, used);
  store<u32>(fresh, wider, 4);
  if (buf) {
    copyBytes(fresh + HEAD, buf + HEAD, used);
    heap.free(buf);
  }
  bufHeld += wider - cap + (buf ? 0 : COST);
  return fresh;
}

/** Appends bytes. */
export function bufAppend(buf: usize, from: usize, length: u32, limit: u32): usize {
  if (!length) return buf;
  const grown = bufRoom(buf, length, limit);
  if (bufFailed) return grown;
  const used = load<u32>(grown);
  copyBytes(grown + HEAD + used, from, length);
  store<u32>(grown, used + length);
  return grown;
}

/** Appends the text of a JSON string (flags: JsonFlag), decoded. */
export function bufAppendText(buf: usize, from: usize, length: u32, flags: u32, limit: u32): usize {
  if (!length) return buf;
  // Decoded text is no longer than its source, except where invalid bytes are replaced.
  let grown = bufRoom(buf, length, limit);
  for (let room = length; !bufFailed; room = length * 3) {
    const start = grown + HEAD + load<u32>(grown);
    const end = copyText(start, from, length, flags, start + room);
    if (end <= start + room) {
      store<u32>(grown, <u32>(end - grown - HEAD));
      break;
    }
    grown = bufRoom(grown, length * 3, limit);
  }
  return grown;
}

/** A buffer that holds exactly this text instead of what it held. */
export function bufSet(buf: usize, from: usize, length: u32, limit: u32): usize {
  bufSetLength(buf, 0);
  return bufAppend(buf, from, min(length, limit), limit);
}

/** A name out of a body with lost bytes, or none: the mark that stands for them means that it is not the name. */
export function bufUnlessBridged(buf: usize, gaps: u32): usize {
  const length = bufLength(buf);
  if (!gaps || length < 3) return buf;
  const at = bufAt(buf);
  for (let i: u32 = 0; i + 3 <= length; i++) {
    if (load<u16>(at + i) != 0xbfef || load<u8>(at + i, 2) != 0xbd) continue;
    bufFree(buf);
    return 0;
  }
  return buf;
}

/** Appends an ASCII literal. */
export function bufAppendLiteral(buf: usize, literal: string, limit: u32): usize {
  const grown = bufRoom(buf, literal.length, limit);
  if (bufFailed) return grown;
  const used = load<u32>(grown);
  for (let i = 0; i < literal.length; i++) store<u8>(grown + HEAD + used + <usize>i, literal.charCodeAt(i));
  store<u32>(grown, used + literal.length);
  return grown;
}
