// UTF-8 checking and repair over raw memory; it never writes where it was not told to and never keeps anything.

/** Address of the first byte in [at, end) that is not ASCII, or end. */
export function asciiEnd(at: usize, end: usize): usize {
  if (at + 16 <= end) {
    while (at + 16 <= end) {
      const mask = i8x16.bitmask(v128.load(at));
      if (mask != 0) return at + ctz(mask);
      at += 16;
    }
    if (at == end) return end;
    // The last 16 bytes, some of them once more.
    const mask = i8x16.bitmask(v128.load(end - 16));
    return mask != 0 ? end - 16 + ctz(mask) : end;
  }
  if (at + 8 <= end && ((load<u64>(at) | load<u64>(end - 8)) & 0x8080808080808080) == 0) return end;
  while (at < end && load<u8>(at) < 0x80) at++;
  return at;
}

/** Bytes of the well-formed character at `at`, or 0. */
function characterLength(at: usize, end: usize): usize {
  const head = <u32>load<u8>(at);
  if (head < 0x80) return 1;
  if (head < 0xc2 || head > 0xf4) return 0;
  const need: usize = head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
  return subpart(at, end, head) == need ? need : 0;
}

/** Bytes of the longest part of a character that begins at `at` with a valid head byte. */
function subpart(at: usize, end: usize, head: u32): usize {
  const need: usize = head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
  let low: u32 = 0x80;
  let high: u32 = 0xbf;
  if (head == 0xe0) low = 0xa0;
  else if (head == 0xed) high = 0x9f;
  else if (head == 0xf0) low = 0x90;
  else if (head == 0xf4) high = 0x8f;
  let n: usize = 1;
  while (n < need && at + n < end) {
    const byte = <u32>load<u8>(at + n);
    if (byte < low || byte > high) break;
    low = 0x80;
    high = 0xbf;
    n++;
  }
  return n;
}

/** Address of the first byte in [at, end) that does not belong to a well-formed character, or end. */
export function utf8End(at: usize, end: usize): usize {
  while (at < end) {
    at = asciiEnd(at, end);
    while (at < end && load<u8>(at) >= 0x80) {
      const n = characterLength(at, end);
      if (n == 0) return at;
      at += n;
    }
  }
  return end;
}

/** Replacements the last repair made. */
export let utf8Replaced: u32 = 0;

/**
 * Writes [at, end) to `to` with every ill-formed part replaced by U+FFFD, as the Encoding Standard's decoder does; `to` 0 only counts.
 * Returns the bytes of the result, at most three times the input.
 */
export function utf8Repair(to: usize, at: usize, end: usize): usize {
  let length: usize = 0;
  utf8Replaced = 0;
  while (at < end) {
    const good = utf8End(at, end);
    if (to != 0) memory.copy(to + length, at, good - at);
    length += good - at;
    at = good;
    if (at >= end) break;
    const head = <u32>load<u8>(at);
    at += head < 0xc2 || head > 0xf4 ? 1 : subpart(at, end, head);
    if (to != 0) {
      store<u16>(to + length, 0xbfef);
      store<u8>(to + length, 0xbd, 2);
    }
    length += 3;
    utf8Replaced++;
  }
  return length;
}
