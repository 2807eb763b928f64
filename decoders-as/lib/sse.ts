// Cuts a stream of server-sent events, or of lines of JSON, into events, however the bytes are split; it never looks into the data and never holds more than SSE_LIMIT per event, nor HELD_LIMIT in all.
//
//   bytes ─► lines (LF, CR or CRLF) ─► fields ─► blank line: sink(data, event name)
//
// A line that arrives whole is read in place; only a line cut by the end of the bytes, and data that waits for its blank line, are copied.
import { copyBytes } from './bytes';

/** Longest line, and longest data of one event. */
export const SSE_LIMIT: u32 = 1 << 20;
const NAME_LIMIT: u32 = 64;
/** Bytes that all parsers together may hold: past it an event that has to be kept is dropped like one that is too long. */
const HELD_LIMIT: u32 = 64 << 20;

/** Takes one event. Both areas are valid until it returns. */
export type SseSink = (owner: usize, data: usize, dataLength: u32, name: usize, nameLength: u32) => void;

@unmanaged
export class Sse {
  /** The cut line. */
  line: usize = 0;
  lineLength: u32 = 0;
  lineCap: u32 = 0;
  /** Data of the event that waits for its blank line. */
  data: usize = 0;
  dataLength: u32 = 0;
  dataCap: u32 = 0;
  hasData: bool = false;
  /** The last line ended in CR: an LF that follows belongs to it. */
  skipLf: bool = false;
  started: bool = false;
  /** Bytes were lost: everything up to the next blank line is dropped. */
  resync: bool = false;
  /** The line at hand may have lost its beginning: it is not blank even if it looks so. */
  torn: bool = false;
  /** Every line that is not empty is an event of its own (NDJSON). */
  lines: bool = false;
  /** The line or event at hand is over the limit. */
  over: bool = false;
  nameLength: u32 = 0;
  /** Events dropped because they were over the limit. */
  dropped: u32 = 0;
}
/** Behind the struct: the event name. */
const NAME_AT: usize = offsetof<Sse>();

/** Bytes held by all parsers together. */
export let sseHeld: u32 = 0;

export function sseNew(): Sse {
  const size = NAME_AT + NAME_LIMIT;
  const at = heap.alloc(size);
  memory.fill(at, 0, size);
  return changetype<Sse>(at);
}

/** The same for lines of JSON. */
export function linesNew(): Sse {
  const sse = sseNew();
  sse.lines = true;
  sse.started = true;
  return sse;
}

export function sseFree(sse: Sse): void {
  sseHeld -= sse.lineCap + sse.dataCap;
  if (sse.line) heap.free(sse.line);
  if (sse.data) heap.free(sse.data);
  heap.free(changetype<usize>(sse));
}

/** Bytes of the stream were lost here. */
export function sseGap(sse: Sse): void {
  sse.lineLength = 0;
  sse.dataLength = 0;
  sse.nameLength = 0;
  sse.hasData = false;
  sse.skipLf = false;
  sse.over = false;
  sse.started = true;
  sse.resync = true;
  sse.torn = true;
}

/** Address of the first CR or LF, or `end`. */
function lineEnd(at: usize, end: usize): usize {
  let p = at;
  while (p + 16 <= end) {
    const v = v128.load(p);
    const mask = <u32>i8x16.bitmask(v128.or(i8x16.eq(v, i8x16.splat(0x0a)), i8x16.eq(v, i8x16.splat(0x0d))));
    if (mask) return p + <usize>ctz(mask);
    p += 16;
  }
  while (p < end && load<u8>(p) != 0x0a && load<u8>(p) != 0x0d) p++;
  return p;
}

export function sseFeed(sse: Sse, at: usize, length: u32, owner: usize, sink: SseSink): void {
  const end = at + length;
  let p = at;
  while (p < end) {
    if (sse.skipLf) {
      sse.skipLf = false;
      if (load<u8>(p) == 0x0a && ++p >= end) return;
    }
    const stop = lineEnd(p, end);
    if (stop == end) {
      keepLine(sse, p, <u32>(end - p));
      return;
    }
    if (sse.lineLength || sse.over) {
      keepLine(sse, p, <u32>(stop - p));
      takeLine(sse, sse.line, sse.lineLength, owner, sink);
      sse.lineLength = 0;
    } else if (!sse.lines && isWholeEvent(sse, p, stop, end)) {
      // The usual shape, one data line and a blank one, both here: the data is handed over where it lies.
      const from = p + (load<u8>(p, 5) == 0x20 ? 6 : 5);
      sink(owner, from, <u32>(stop - from), nameOf(sse), sse.nameLength);
      sse.nameLength = 0;
      p = stop + 2;
      continue;
    } else takeLine(sse, p, <u32>(stop - p), owner, sink);
    sse.skipLf = load<u8>(stop) == 0x0d;
    p = stop + 1;
  }
}

/** A data line from `at` to `stop`, followed by LF and LF, with nothing waiting. */
function isWholeEvent(sse: Sse, at: usize, stop: usize, end: usize): bool {
  if (stop + 2 > end || load<u16>(stop) != 0x0a0a || sse.hasData || sse.resync || !sse.started) return false;
  const length = stop - at;
  return length >= 6 && length < SSE_LIMIT && load<u32>(at) == 0x61746164 && load<u8>(at, 4) == 0x3a;
}

function nameOf(sse: Sse): usize {
  return changetype<usize>(sse) + NAME_AT;
}

/** The stream has ended: gives an event whose blank line is missing. */
export function sseEnd(sse: Sse, owner: usize, sink: SseSink): void {
  if (sse.lineLength) takeLine(sse, sse.line, sse.lineLength, owner, sink);
  sse.lineLength = 0;
  if (sse.hasData) dispatch(sse, owner, sink);
}

/** Room for `need` bytes in an area of `cap`; the new area, with `used` bytes moved over. */
function grow(area: usize, cap: u32, used: u32, need: u32): usize {
  growCap = max<u32>(1024, cap);
  while (growCap < need) growCap <<= 1;
  const wider = heap.alloc(growCap);
  if (used) copyBytes(wider, area, used);
  if (area) heap.free(area);
  sseHeld += growCap - cap;
  return wider;
}
let growCap: u32 = 0;

function keepLine(sse: Sse, at: usize, length: u32): void {
  if (!length) return;
  const need = sse.lineLength + length;
  if (sse.over || need > SSE_LIMIT || (need > sse.lineCap && sseHeld + 2 * need > HELD_LIMIT)) {
    sse.over = true;
    sse.lineLength = 1;
    return;
  }
  if (need > sse.lineCap) {
    sse.line = grow(sse.line, sse.lineCap, sse.lineLength, need);
    sse.lineCap = growCap;
  }
  copyBytes(sse.line + sse.lineLength, at, length);
  sse.lineLength = need;
}

function dispatch(sse: Sse, owner: usize, sink: SseSink): void {
  if (sse.over) sse.dropped++;
  else if (sse.hasData) sink(owner, sse.data, sse.dataLength, nameOf(sse), sse.nameLength);
  sse.hasData = false;
  sse.over = false;
  sse.dataLength = 0;
  sse.nameLength = 0;
}

/** One line without its end. */
function takeLine(sse: Sse, from: usize, bytes: u32, owner: usize, sink: SseSink): void {
  let at = from;
  let length = bytes;
  if (!sse.started) {
    sse.started = true;
    if (length >= 3 && load<u16>(at) == 0xbbef && load<u8>(at, 2) == 0xbf) {
      at += 3;
      length -= 3;
    }
  }
  if (length > SSE_LIMIT) sse.over = true;
  if (sse.lines) {
    takeJsonLine(sse, at, length, owner, sink);
    return;
  }
  const torn = sse.torn;
  sse.torn = false;
  if (sse.resync) {
    if (!length && !torn) sse.resync = false;
    sse.over = false;
    return;
  }
  if (!length) {
    dispatch(sse, owner, sink);
    return;
  }
  if (sse.over || length < 4) return;
  const name = load<u32>(at);
  if (name == 0x61746164 && (length == 4 || load<u8>(at, 4) == 0x3a)) keepData(sse, at + 4, length - 4);
  else if (name == 0x6e657665 && length >= 5 && load<u8>(at, 4) == 0x74 && (length == 5 || load<u8>(at, 5) == 0x3a)) keepName(sse, at + 5, length - 5);
}

/** One line of NDJSON. Behind a gap the first line end is the beginning of the next whole line. */
function takeJsonLine(sse: Sse, at: usize, length: u32, owner: usize, sink: SseSink): void {
  sse.torn = false;
  if (sse.resync) sse.resync = false;
  else if (sse.over) sse.dropped++;
  else if (length) sink(owner, at, length, 0, 0);
  sse.over = false;
}

/** Bytes of ": " or ":" before a value. */
function colon(at: usize, length: u32): u32 {
  if (!length) return 0;
  return length > 1 && load<u8>(at, 1) == 0x20 ? 2 : 1;
}

function keepData(sse: Sse, from: usize, bytes: u32): void {
  const skip = colon(from, bytes);
  const length = bytes - skip;
  const joint: u32 = sse.hasData ? 1 : 0;
  const need = sse.dataLength + joint + length;
  if (need > SSE_LIMIT || (need > sse.dataCap && sseHeld + 2 * need > HELD_LIMIT)) {
    sse.over = true;
    return;
  }
  if (need > sse.dataCap) {
    sse.data = grow(sse.data, sse.dataCap, sse.dataLength, need);
    sse.dataCap = growCap;
  }
  if (joint) store<u8>(sse.data + sse.dataLength, 0x0a);
  copyBytes(sse.data + sse.dataLength + joint, from + skip, length);
  sse.dataLength = need;
  sse.hasData = true;
}

function keepName(sse: Sse, from: usize, bytes: u32): void {
  const skip = colon(from, bytes);
  sse.nameLength = min(bytes - skip, NAME_LIMIT);
  copyBytes(nameOf(sse), from + skip, sse.nameLength);
}
