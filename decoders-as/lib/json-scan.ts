// Finds where JSON strings, numbers and skipped containers end, many bytes at a time; it builds nothing and never reads past the end it is given.
import { JsonFlag } from './json';

/** JsonFlag of the string scanned last. */
export let scanFlags: u32 = 0;
/** scanBlocks stopped at the closing quote. */
let scanClosed: bool = false;

function isHex(c: u32): bool {
  return c - 0x30 < 10 || (c | 0x20) - 0x61 < 6;
}

/** Bytes of the escape at `at` (a backslash); 0: not an escape of JSON; 7: the input ends inside it. */
export function escapeLength(at: usize, end: usize): u32 {
  if (at + 1 >= end) return 7;
  const c: u32 = load<u8>(at, 1);
  if (c == 0x6e || c == 0x22 || c == 0x5c || c == 0x2f || c == 0x74 || c == 0x72 || c == 0x62 || c == 0x66) return 2;
  if (c != 0x75) return 0;
  for (let i: usize = 2; i < 6; i++) {
    if (at + i >= end) return 7;
    if (!isHex(load<u8>(at + i))) return 0;
  }
  return 6;
}

/** Bytes of the four blocks at `at` that equal `byte`, one bit each. */
function bitsOf(a: v128, b: v128, c: v128, d: v128): u64 {
  return <u64>(<u32>(i8x16.bitmask(a) | (i8x16.bitmask(b) << 16))) | ((<u64>(<u32>(i8x16.bitmask(c) | (i8x16.bitmask(d) << 16)))) << 32);
}

/** Of these bytes, those that may follow a backslash: b f n r t u " / and the backslash. */
function escapable(v: v128): v128 {
  const expected = i8x16.swizzle(i8x16(0, 0, 0x62, 0, 0x74, 0x75, 0x66, 0, 0, 0, 0, 0, 0x5c, 0, 0x6e, 0x2f), v128.and(v, i8x16.splat(15)));
  return v128.or(i8x16.eq(v, expected), v128.or(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v, i8x16.splat(0x72))));
}

/**
 * scanString's way through long text, 64 bytes at a time, as far as it is regular: gives the address of the closing quote with scanClosed set,
 * or the address, at no escape, from which the careful way has to go on. Adds to scanFlags.
 */
function scanBlocks(at: usize, end: usize): usize {
  let p = at;
  scanClosed = false;
  while (p + 64 <= end) {
    const a = v128.load(p);
    const b = v128.load(p, 16);
    const c = v128.load(p, 32);
    const d = v128.load(p, 48);
    const quote = i8x16.splat(0x22);
    const slash = i8x16.splat(0x5c);
    const space = i8x16.splat(0x20);
    const low = v128.or(v128.or(i8x16.lt_u(a, space), i8x16.lt_u(b, space)), v128.or(i8x16.lt_u(c, space), i8x16.lt_u(d, space)));
    const marks = v128.or(
      v128.or(v128.or(i8x16.eq(a, quote), i8x16.eq(b, quote)), v128.or(i8x16.eq(c, quote), i8x16.eq(d, quote))),
      v128.or(v128.or(i8x16.eq(a, slash), i8x16.eq(b, slash)), v128.or(i8x16.eq(c, slash), i8x16.eq(d, slash))),
    );
    if (!v128.any_true(v128.or(low, marks))) {
      if (i8x16.bitmask(v128.or(v128.or(a, b), v128.or(c, d)))) scanFlags |= JsonFlag.WIDE;
      p += 64;
      continue;
    }
    if (v128.any_true(low)) return p;
    let quotes = bitsOf(i8x16.eq(a, quote), i8x16.eq(b, quote), i8x16.eq(c, quote), i8x16.eq(d, quote));
    const slashes = bitsOf(i8x16.eq(a, slash), i8x16.eq(b, slash), i8x16.eq(c, slash), i8x16.eq(d, slash));
    let escaped: u64 = 0;
    if (slashes) {
      // Each run of backslashes escapes every second byte from its second on.
      const odd: u64 = 0xaaaaaaaaaaaaaaaa;
      const codes = (((slashes << 1) | odd) - slashes) ^ odd;
      escaped = codes ^ slashes;
      quotes &= ~escaped;
    }
    const before: u64 = quotes ? (quotes & (0 - quotes)) - 1 : u64.MAX_VALUE;
    if (slashes & before) {
      scanFlags |= JsonFlag.ESCAPED;
      const good = bitsOf(escapable(a), escapable(b), escapable(c), escapable(d));
      if (escaped & before & ~good) return p;
      const u = i8x16.splat(0x75);
      if (escaped & before & bitsOf(i8x16.eq(a, u), i8x16.eq(b, u), i8x16.eq(c, u), i8x16.eq(d, u))) return p;
    }
    if (bitsOf(a, b, c, d) & before) scanFlags |= JsonFlag.WIDE;
    if (quotes) {
      scanClosed = true;
      return p + <usize>ctz(quotes);
    }
    // A backslash at the very end belongs to the next block.
    p += slashes >> 63 && !(escaped >> 63) ? 63 : 64;
  }
  return p;
}

/**
 * What tells the bytes that end a run of plain text: 16 bytes each of 0x02, 0x21 and the backslash. Loaded, because a constant of 16 bytes in the
 * code is made anew in every round.
 */
export const stops: usize = memory.data(48, 16);
memory.fill(stops, 0x02, 16);
memory.fill(stops + 16, 0x21, 16);
memory.fill(stops + 32, 0x5c, 16);

/** Address of the quote that closes the string whose text begins at `at`, if that is short and plain; 0: scanString has to look. */
export function shortString(at: usize, end: usize): usize {
  if (at + 16 > end) return 0;
  const v = v128.load(at);
  // Signed, with bit 1 flipped, the quote is just above the control characters, and bytes above 0x7f are below them.
  const stop = v128.or(i8x16.lt_s(v128.xor(v, v128.load(stops)), v128.load(stops, 16)), i8x16.eq(v, v128.load(stops, 32)));
  const mask = <u32>i8x16.bitmask(stop);
  if (!mask) return 0;
  const close = at + <usize>ctz(mask);
  return load<u8>(close) == 0x22 ? close : 0;
}

/** Address of the quote that closes the string whose text begins at `at`; `end`: none; 0: not JSON. Sets scanFlags. */
export function scanString(at: usize, end: usize, lenient: bool): usize {
  let p = at;
  let flags: u32 = 0;
  let blocks: u32 = 0;
  while (p + 16 <= end) {
    if (++blocks > 2 && p + 64 <= end) {
      scanFlags = flags;
      p = scanBlocks(p, end);
      if (scanClosed) return p;
      flags = scanFlags;
      blocks = 0;
      if (p + 16 > end) break;
    }
    const v = v128.load(p);
    const stop = v128.or(v128.or(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v, i8x16.splat(0x5c))), i8x16.lt_u(v, i8x16.splat(0x20)));
    const mask = <u32>i8x16.bitmask(stop);
    const wide = <u32>i8x16.bitmask(v);
    if (!mask) {
      if (wide) flags |= JsonFlag.WIDE;
      p += 16;
      continue;
    }
    if (wide & ((mask & -mask) - 1)) flags |= JsonFlag.WIDE;
    p += <usize>ctz(mask);
    const c: u32 = load<u8>(p);
    if (c == 0x22) {
      scanFlags = flags;
      return p;
    }
    const step = stepOver(c, p, end, lenient);
    if (!step) return 0;
    flags |= JsonFlag.ESCAPED;
    p += step;
  }
  return scanTail(p, end, flags, lenient);
}

/** How far the scan moves past a backslash or control character; 0: not JSON. */
function stepOver(c: u32, at: usize, end: usize, lenient: bool): usize {
  if (c != 0x5c) return lenient ? 1 : 0;
  const length = escapeLength(at, end);
  if (length == 7) return end - at;
  if (!length) return lenient ? 1 : 0;
  return length;
}

function scanTail(at: usize, end: usize, known: u32, lenient: bool): usize {
  let p = at;
  let flags = known;
  while (p < end) {
    const c: u32 = load<u8>(p);
    if (c == 0x22) break;
    if (c == 0x5c || c < 0x20) {
      const step = stepOver(c, p, end, lenient);
      if (!step) return 0;
      flags |= JsonFlag.ESCAPED;
      p += step;
      continue;
    }
    if (c >= 0x80) flags |= JsonFlag.WIDE;
    p++;
  }
  scanFlags = flags;
  return min(p, end);
}

/** End of the number at `at`, by the grammar; 0: not a number; `end`: it reaches the end of the input, perhaps cut. */
export function scanNumber(at: usize, end: usize): usize {
  let p = at;
  if (load<u8>(p) == 0x2d) p++;
  if (p >= end) return end;
  let c: u32 = load<u8>(p);
  if (c - 0x30 >= 10) return 0;
  p = c == 0x30 ? p + 1 : digits(p, end);
  if (p < end && load<u8>(p) == 0x2e) {
    p++;
    const from = p;
    p = digits(p, end);
    if (p == from && p < end) return 0;
  }
  if (p < end && (load<u8>(p) | 0x20) == 0x65) {
    p++;
    if (p < end) {
      c = load<u8>(p);
      if (c == 0x2b || c == 0x2d) p++;
    }
    const from = p;
    p = digits(p, end);
    if (p == from && p < end) return 0;
  }
  return p;
}

function digits(at: usize, end: usize): usize {
  let p = at;
  while (p < end && <u32>load<u8>(p) - 0x30 < 10) p++;
  return p;
}

/** Address after the bracket that closes the one at `at`, skipping strings; `end` when there is none. */
export function skipDeep(at: usize, end: usize): usize {
  let p = at;
  let depth: u32 = 0;
  while (p < end) {
    const c: u32 = load<u8>(p);
    if (c == 0x22) {
      p = scanString(p + 1, end, true);
      if (p >= end) return end;
    } else if (c == 0x5b || c == 0x7b) {
      depth++;
    } else if (c == 0x5d || c == 0x7d) {
      if (--depth == 0) return p + 1;
    }
    p++;
  }
  return end;
}
