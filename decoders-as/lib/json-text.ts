// Copies text out of JSON or out of a body: escapes are undone, invalid UTF-8 and lone surrogates become U+FFFD. It never writes past the
// limit it is given, plus COPY_SLACK.
import { copyBytes } from './bytes';
import { JsonFlag } from './json';

/** Bytes past the end of the copied text that may be overwritten. */
export const COPY_SLACK: usize = 16;
const REPLACEMENT: u32 = 0xfffd;

/** Code points written since it was last set. */
export let copiedPoints: u32 = 0;
/** Replacements of invalid UTF-8 since the start. */
export let invalidUtf8: u32 = 0;

export function resetPoints(): void {
  copiedPoints = 0;
}

/** Counts code points that were written without copyText. */
export function addPoints(points: u32): void {
  copiedPoints += points;
}

/** Bytes written beyond one per code point, in the copy at hand. */
let wideExtra: u32 = 0;

function putPoint(to: usize, point: u32): usize {
  if (point < 0x80) {
    store<u8>(to, point);
    return to + 1;
  }
  if (point < 0x800) {
    wideExtra += 1;
    store<u16>(to, 0x80c0 | (point >> 6) | ((point & 63) << 8));
    return to + 2;
  }
  if (point < 0x10000) {
    wideExtra += 2;
    store<u16>(to, 0x80e0 | (point >> 12) | (((point >> 6) & 63) << 8));
    store<u8>(to, 0x80 | (point & 63), 2);
    return to + 3;
  }
  wideExtra += 3;
  store<u32>(to, 0x808080f0 | (point >> 18) | (((point >> 12) & 63) << 8) | (((point >> 6) & 63) << 16) | ((point & 63) << 24));
  return to + 4;
}

/**
 * Bytes of the UTF-8 sequence at `at`; negative: that many bytes are no UTF-8 (the longest prefix of a valid sequence, as TextDecoder cuts it).
 */
export function utf8Length(at: usize, end: usize): i32 {
  const c: u32 = load<u8>(at);
  if (c < 0x80) return 1;
  if (c < 0xc2 || c > 0xf4 || at + 1 >= end) return -1;
  const d: u32 = load<u8>(at, 1);
  if (c < 0xe0) return (d & 0xc0) == 0x80 ? 2 : -1;
  const low: u32 = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
  const high: u32 = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  if (d < low || d > high) return -1;
  if (at + 2 >= end || (<u32>load<u8>(at, 2) & 0xc0) != 0x80) return -2;
  if (c < 0xf0) return 3;
  if (at + 3 >= end || (<u32>load<u8>(at, 3) & 0xc0) != 0x80) return -3;
  return 4;
}

function hex4(at: usize): u32 {
  let value: u32 = 0;
  for (let i: usize = 0; i < 4; i++) {
    const c: u32 = load<u8>(at + i);
    const digit = c - 0x30 < 10 ? c - 0x30 : (c | 0x20) - 0x61 < 6 ? (c | 0x20) - 0x57 : 255;
    if (digit == 255) return 0xffffffff;
    value = (value << 4) | digit;
  }
  return value;
}

/** Bytes read by the last call of `unescape`. */
export let escapeRead: usize = 0;

/** What a character stands for after a backslash; 0: not so simple. */
export const plainEscapes: usize = memory.data(256);
store<u8>(plainEscapes + 0x22, 0x22);
store<u8>(plainEscapes + 0x2f, 0x2f);
store<u8>(plainEscapes + 0x5c, 0x5c);
store<u8>(plainEscapes + 0x62, 0x08);
store<u8>(plainEscapes + 0x66, 0x0c);
store<u8>(plainEscapes + 0x6e, 0x0a);
store<u8>(plainEscapes + 0x72, 0x0d);
store<u8>(plainEscapes + 0x74, 0x09);

/** Writes what the escape at `at` stands for. One that the input cuts is dropped, an unknown one becomes U+FFFD. */
export function unescape(to: usize, at: usize, end: usize): usize {
  if (at + 1 >= end) {
    escapeRead = 1;
    return to;
  }
  const c: u32 = load<u8>(at, 1);
  escapeRead = 2;
  const plain: u32 = load<u8>(plainEscapes + <usize>c);
  if (plain) return putPoint(to, plain);
  if (c != 0x75) {
    escapeRead = 1;
    return putPoint(to, REPLACEMENT);
  }
  if (at + 6 > end) {
    escapeRead = end - at;
    return to;
  }
  const unit = hex4(at + 2);
  if (unit == 0xffffffff) return putPoint(to, REPLACEMENT);
  escapeRead = 6;
  if (unit - 0xd800 >= 0x800) return putPoint(to, unit);
  if (unit < 0xdc00 && at + 12 <= end && load<u16>(at, 6) == 0x755c) {
    const low = hex4(at + 8);
    if (low - 0xdc00 < 0x400) {
      escapeRead = 12;
      return putPoint(to, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
    }
  }
  return putPoint(to, REPLACEMENT);
}

/** Copies the sequences from `at` up to the next byte below 0x80 or the limit, and gives its address; copyTo is where the copy ends. */
function copyWide(to: usize, at: usize, end: usize, limit: usize): usize {
  let p = at;
  copyTo = to;
  while (p < end && load<u8>(p) >= 0x80 && copyTo <= limit) {
    const length = utf8Length(p, end);
    if (length < 0) {
      invalidUtf8++;
      copyTo = putPoint(copyTo, REPLACEMENT);
      p += <usize>-length;
    } else {
      for (let i: usize = 0; i < <usize>length; i++) store<u8>(copyTo + i, load<u8>(p + i));
      copyTo += <usize>length;
      wideExtra += <u32>length - 1;
      p += <usize>length;
    }
  }
  return p;
}

let copyTo: usize = 0;

/**
 * Copies text, undoing escapes when `flags` has ESCAPED and checking UTF-8 when it has WIDE. Adds to copiedPoints.
 * @returns the address after the copy; past `limit` when the text does not fit below it.
 */
export function copyText(to: usize, from: usize, length: u32, flags: u32, limit: usize): usize {
  if (!(flags & (JsonFlag.ESCAPED | JsonFlag.WIDE))) {
    if (to + length > limit) return limit + 1;
    copyBytes(to, from, length);
    copiedPoints += length;
    return to + length;
  }
  const end = from + length;
  const slash: u32 = flags & JsonFlag.ESCAPED ? 0x5c : 0x1ff;
  const known = copiedPoints;
  wideExtra = 0;
  let p = from;
  let d = to;
  while (d <= limit) {
    let c: u32 = 0;
    if (p + 16 <= end) {
      const v = v128.load(p);
      v128.store(d, v);
      const mask = <u32>i8x16.bitmask(v128.or(v, i8x16.eq(v, i8x16.splat(<u8>slash))));
      if (!mask) {
        p += 16;
        d += 16;
        continue;
      }
      const run: usize = <usize>ctz(mask);
      p += run;
      d += run;
      c = load<u8>(p);
    } else {
      if (p >= end) break;
      c = load<u8>(p);
      if (c < 0x80 && c != slash) {
        store<u8>(d++, c);
        p++;
        continue;
      }
    }
    if (c == slash) {
      const plain: u32 = p + 1 < end ? load<u8>(plainEscapes + <usize>load<u8>(p, 1)) : 0;
      if (plain) {
        store<u8>(d, plain);
        d++;
        p += 2;
        continue;
      }
      d = unescape(d, p, end);
      p += escapeRead;
    } else {
      p = copyWide(d, p, end, limit);
      d = copyTo;
    }
  }
  copiedPoints = known + <u32>(d - to) - wideExtra;
  return d;
}

/** JsonFlag.WIDE when raw text has bytes above 0x7f, else 0. */
export function wideFlag(from: usize, length: u32): u32 {
  const end = from + length;
  let p = from;
  for (; p + 16 <= end; p += 16) if (i8x16.bitmask(v128.load(p))) return JsonFlag.WIDE;
  for (; p < end; p++) if (load<u8>(p) >= 0x80) return JsonFlag.WIDE;
  return 0;
}
