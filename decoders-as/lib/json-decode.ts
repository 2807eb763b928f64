// Finds the end of a JSON string and writes its decoded text in one pass, 64 bytes at a time; what is not plain and valid it leaves to the careful way.
//
//   source   a b c \ n d e \ " f "        each block is copied as it is, and again behind every escape, one byte further to the left:
//   to       a b c \ n d e \ " f          nothing is moved byte by byte and no branch depends on how long the pieces are
//            a b c ⏎ d e \ " f
//            a b c ⏎ d e " f
import { escapeLength, scanFlags, scanString, stops as stopBytes } from './json-scan';
import { JsonFlag } from './json';
import { copiedPoints, copyText, escapeRead, plainEscapes, resetPoints, unescape, utf8Length } from './json-text';
import { utf8End } from './utf8';

/** A block and the longest escape at its end, copied as a block again. What is nearer to the end of the input or of the room goes the careful way. */
export const DECODE_SLACK: usize = 192;

/** Where the text decoded last ends. */
export let decodedEnd: usize = 0;
/** Its bytes beyond one per code point. */
export let decodedExtra: u32 = 0;

function copy64(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
}

/**
 * Address of the quote that closes the string whose text begins at `at`, the decoded text written to [to, decodedEnd); 0: nothing is known, because
 * the string is not closed, breaks the grammar, is no UTF-8, or has no room. Decoded text is never longer than its source.
 */
export function decodeString(at: usize, end: usize, to: usize, toEnd: usize): usize {
  const flip = v128.load(stopBytes);
  const low = v128.load(stopBytes, 16);
  const slash = v128.load(stopBytes, 32);
  const last = end - DECODE_SLACK;
  const room = toEnd - DECODE_SLACK;
  let p = at;
  let d = to;
  let extra: u32 = 0;
  while (p <= last && d <= room) {
    const v0 = v128.load(p);
    const v1 = v128.load(p, 16);
    const v2 = v128.load(p, 32);
    const v3 = v128.load(p, 48);
    v128.store(d, v0);
    v128.store(d, v1, 16);
    v128.store(d, v2, 32);
    v128.store(d, v3, 48);
    // Signed, with bit 1 flipped, the quote is just above the control characters, and bytes above 0x7f are below them.
    const m0 = <u32>i8x16.bitmask(v128.or(i8x16.lt_s(v128.xor(v0, flip), low), i8x16.eq(v0, slash)));
    const m1 = <u32>i8x16.bitmask(v128.or(i8x16.lt_s(v128.xor(v1, flip), low), i8x16.eq(v1, slash)));
    const m2 = <u32>i8x16.bitmask(v128.or(i8x16.lt_s(v128.xor(v2, flip), low), i8x16.eq(v2, slash)));
    const m3 = <u32>i8x16.bitmask(v128.or(i8x16.lt_s(v128.xor(v3, flip), low), i8x16.eq(v3, slash)));
    let stops = <u64>(m0 | (m1 << 16)) | ((<u64>(m2 | (m3 << 16))) << 32);
    let next = p + 64;
    while (stops) {
      const i = <usize>ctz(stops);
      const from = p + i;
      const c: u32 = load<u8>(from);
      let length: usize = 0;
      if (c == 0x5c) {
        const plain: u32 = load<u8>(plainEscapes + <usize>load<u8>(from, 1));
        if (plain) {
          store<u8>(d + i, plain);
          copy64(d + i + 1, from + 2);
          d--;
          if (i == 63) {
            next = p + 65;
            break;
          }
          const lowest = stops & (0 - stops);
          stops &= ~(lowest | (lowest << 1));
          continue;
        }
        if (!escapeLength(from, end)) return 0;
        const written = unescape(d + i, from, end) - d - i;
        length = escapeRead;
        d -= length - written;
        extra += <u32>written - 1;
        copy64(d + i + length, from + length);
      } else if (c == 0x22) {
        decodedEnd = d + i;
        decodedExtra = extra;
        return from;
      } else {
        const word = load<u32>(from);
        // Nearly all are three bytes; the first of those heads allows fewer second bytes, and so does the surrogates'.
        const wide = (word & 0xc0c0f0) == 0x8080e0 && c != 0xe0 && c != 0xed ? 3 : c < 0x80 ? -1 : utf8Length(from, end);
        if (wide < 0) return 0;
        length = <usize>wide;
        store<u32>(d + i, word);
        extra += <u32>wide - 1;
      }
      // A branch that is hardly ever taken: with max() the next block would wait for what is found in this one.
      if (i + length > 64) {
        next = from + length;
        break;
      }
      stops &= ~((((<u64>1) << length) - 1) << i);
    }
    d += next - p;
    p = next;
  }
  return decodeTail(p, end, d, toEnd, extra);
}

/** The rest of a string near the end of the input. */
function decodeTail(at: usize, end: usize, to: usize, toEnd: usize, extra: u32): usize {
  const close = scanString(at, end, false);
  if (!close || close >= end || to + (close - at) > toEnd - DECODE_SLACK) return 0;
  if (scanFlags & JsonFlag.WIDE && utf8End(at, close) != close) return 0;
  resetPoints();
  decodedEnd = copyText(to, at, <u32>(close - at), scanFlags, toEnd);
  decodedExtra = extra + <u32>(decodedEnd - to) - copiedPoints;
  return close;
}
