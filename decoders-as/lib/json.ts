// JSON text to a flat tape of 16-byte nodes in one pass; it never copies text, never recurses and never reads outside the text it is given.
//
//   {"role":"user","n":[1,2]}
//   tape:  OBJECT count=2 ──────────────────────────────┐ next
//          STRING role | STRING user | STRING n | ARRAY count=2 ─┐
//                                                 NUMBER 1 | NUMBER 2
//   node:  u8 kind, u8 flags, u16 0, u32 bytes or count, u32 address of the text, u32 address of the node after this value (of a key: its tag)
//
// The grammar is RFC 8259's. Input that ends early, or breaks the grammar, leaves on the tape whatever was known by then, closed.
import { keyOfText, tagOf } from './json-key';

export namespace JsonKind {
  export const NULL: u32 = 0;
  export const FALSE: u32 = 1;
  export const TRUE: u32 = 2;
  export const NUMBER: u32 = 3;
  export const STRING: u32 = 4;
  export const ARRAY: u32 = 5;
  export const OBJECT: u32 = 6;
  /** An array or object below the depth limit: skipped, its brackets counted. */
  export const DEEP: u32 = 7;
}

export namespace JsonFlag {
  /** The text has escapes. */
  export const ESCAPED: u32 = 1;
  /** The text has bytes above 0x7f, not yet checked as UTF-8. */
  export const WIDE: u32 = 2;
  /** The input ended inside this string. */
  export const CUT: u32 = 4;
}

export namespace JsonEnd {
  export const WHOLE: u32 = 0;
  /** The input ended before the value did. */
  export const CUT: u32 = 1;
  export const INVALID: u32 = 2;
  /** The tape is full. */
  export const FULL: u32 = 3;
}

export const JSON_DEPTH: u32 = 128;
const NODE: usize = 16;

// What the parser is looking at.
const VALUE: u32 = 0;
const FIRST_VALUE: u32 = 1;
const KEY: u32 = 2;
const FIRST_KEY: u32 = 3;
const AFTER: u32 = 4;

let tape: usize = 0;
let tapeEnd: usize = 0;
/** Where the next node goes. A nested parse stacks its nodes on those that are there. */
let top: usize = 0;
/** Open containers: address of the node, one per depth. */
const stack: usize = memory.data(129 * 4);
/** JsonFlag of the string scanned last. */
export let scanFlags: u32 = 0;
let leafCut: bool = false;
let scanClosed: bool = false;
let parseEnd: usize = 0;

/** Values skipped because they lay below the depth limit, in the last parse. */
export let jsonDeep: u32 = 0;

export function jsonInit(nodes: u32): void {
  tape = heap.alloc(<usize>nodes * NODE);
  tapeEnd = tape + <usize>nodes * NODE;
  top = tape;
}

/** Where the next parse puts its root. */
export function jsonMark(): usize {
  return top;
}

/** Drops the nodes from `mark` on. */
export function jsonRelease(mark: usize): void {
  top = mark;
}

export function jsonKind(node: usize): u32 {
  return load<u8>(node);
}

export function jsonFlags(node: usize): u32 {
  return load<u8>(node, 1);
}

/** Bytes of the text of a string or number; children of an array, pairs of an object. */
export function jsonLength(node: usize): u32 {
  return load<u32>(node, 4);
}

export function jsonText(node: usize): usize {
  return load<u32>(node, 8);
}

/** The node after this value, or the end of the container it is the last in. */
export function jsonNext(node: usize): usize {
  return load<u32>(node, 12);
}

/** The tag (json-key.ts) of a node that is a key. */
export function jsonTag(key: usize): u32 {
  return load<u32>(key, 12);
}

/** First child of a container, if it is not at jsonNext(node). Of an object: the first key, its value follows at jsonValue(key). */
export function jsonFirst(node: usize): usize {
  return node + NODE;
}

export function jsonValue(key: usize): usize {
  return key + NODE;
}

/** Bytes of the text of an array or object of the last parse, brackets included. */
export function jsonRawLength(node: usize): u32 {
  return <u32>(skipDeep(jsonText(node), parseEnd) - jsonText(node));
}

function push(kind: u32, flags: u32, length: u32, text: usize): void {
  const node = top;
  store<u64>(node, <u64>(kind | (flags << 8)) | (<u64>length << 32));
  top = node + NODE;
  store<u64>(node, <u64>text | (<u64>top << 32), 8);
}

function isSpace(c: u32): bool {
  return c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09;
}

function isHex(c: u32): bool {
  return c - 0x30 < 10 || (c | 0x20) - 0x61 < 6;
}

/** Bytes of the escape at `at` (a backslash); 0: not an escape of JSON; 7: the input ends inside it. */
function escapeLength(at: usize, end: usize): u32 {
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
  return <u64><u32>(i8x16.bitmask(a) | (i8x16.bitmask(b) << 16)) | (<u64><u32>(i8x16.bitmask(c) | (i8x16.bitmask(d) << 16)) << 32);
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
function scanNumber(at: usize, end: usize): usize {
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
function skipDeep(at: usize, end: usize): usize {
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

/** End of true, false or null at `at`, pushed when it is whole; 0: another word; `end`: perhaps cut. */
function word(at: usize, end: usize, c: u32): usize {
  const length: usize = c == 0x66 ? 5 : 4;
  if (at + length > end) {
    for (let p = at; p < end; p++) if (<u32>load<u8>(p) - 0x61 >= 26) return 0;
    return end;
  }
  const text = load<u32>(at);
  if (text == 0x65757274) push(JsonKind.TRUE, 0, 4, at);
  else if (text == 0x6c6c756e) push(JsonKind.NULL, 0, 4, at);
  else if (text == 0x736c6166 && load<u8>(at, 4) == 0x65) push(JsonKind.FALSE, 0, 5, at);
  else return 0;
  return at + length;
}

/** End of the number at `at`, pushed when it is whole: inside a container that means followed by something. */
function number(at: usize, end: usize, nested: bool): usize {
  const stop = scanNumber(at, end);
  if (stop && (stop < end || !nested) && <u32>load<u8>(stop - 1) - 0x30 < 10) push(JsonKind.NUMBER, 0, <u32>(stop - at), at);
  return stop;
}

/** End of the string at `at`. One that the input cuts is pushed with what there is of it. */
function text(at: usize, end: usize, lenient: bool): usize {
  const stop = scanString(at + 1, end, lenient);
  if (!stop) return 0;
  if (stop < end) {
    push(JsonKind.STRING, scanFlags, <u32>(stop - at - 1), at + 1);
    return stop + 1;
  }
  push(JsonKind.STRING, scanFlags | JsonFlag.CUT, <u32>(end - at - 1), at + 1);
  leafCut = true;
  return end;
}

/** End of the value at `at`, which is no array or object above the depth limit; 0: not JSON. Sets leafCut. */
function leaf(at: usize, end: usize, c: u32, nested: bool, lenient: bool): usize {
  leafCut = false;
  if (c == 0x22) return text(at, end, lenient);
  if (c == 0x7b || c == 0x5b) {
    push(JsonKind.DEEP, 0, 0, at);
    jsonDeep++;
    return skipDeep(at, end);
  }
  const before = top;
  const stop = c - 0x61 < 26 ? word(at, end, c) : c == 0x2d || c - 0x30 < 10 ? number(at, end, nested) : 0;
  leafCut = top == before;
  return stop;
}

/** A key and its colon: pushes the key and gives what follows; 0: not JSON; `end`: cut. */
function key(at: usize, end: usize, lenient: bool): usize {
  const close = scanString(at + 1, end, lenient);
  if (!close || close >= end) return close;
  const keyFlags = scanFlags;
  let p = close + 1;
  while (p < end && isSpace(load<u8>(p))) p++;
  if (p >= end) return end;
  if (load<u8>(p) != 0x3a) return 0;
  const length = <u32>(close - at - 1);
  push(JsonKind.STRING, keyFlags, length, at + 1);
  store<u32>(top - NODE, tagOf(keyOfText(at + 1, length, keyFlags)), 12);
  return p + 1;
}

function count(container: usize): void {
  store<u32>(container, load<u32>(container, 4) + 1, 4);
}

/** Closes what is open, so that the tape can be walked: a key without its value is dropped. */
function closeAll(depth: u32, state: u32): void {
  if (depth && state == VALUE && jsonKind(load<usize>(stack + (<usize>(depth - 1) << 2))) == JsonKind.OBJECT) top -= NODE;
  while (depth > 0) {
    depth--;
    store<u32>(load<usize>(stack + (<usize>depth << 2)), <u32>top, 12);
  }
}

/**
 * Parses one value; its root is at jsonMark() as it was before the call (a NULL node when nothing is known).
 * @param lenient control characters and unknown escapes in strings are let pass, for text that was bridged over a gap.
 * @returns JsonEnd. Text after the value makes it INVALID.
 */
export function jsonParse(at: usize, length: u32, lenient: bool): u32 {
  const end = at + length;
  const root = top;
  parseEnd = end;
  let p = at;
  let depth: u32 = 0;
  let state = VALUE;
  let result = JsonEnd.CUT;
  let parent: usize = 0;
  let inObject = false;
  jsonDeep = 0;
  for (;;) {
    while (p < end && load<u8>(p) <= 0x20 && isSpace(load<u8>(p))) p++;
    if (p >= end) {
      if (state == AFTER && !depth) result = JsonEnd.WHOLE;
      break;
    }
    const c: u32 = load<u8>(p);
    if (state == AFTER) {
      if (!depth) {
        result = JsonEnd.INVALID;
        break;
      }
      if (c == 0x2c) {
        state = inObject ? KEY : VALUE;
        p++;
        continue;
      }
    }
    if (state & 1 || state == AFTER) {
      if (c == (inObject ? 0x7d : 0x5d)) {
        store<u32>(parent, <u32>top, 12);
        p++;
        depth--;
        parent = depth ? load<usize>(stack + (<usize>(depth - 1) << 2)) : 0;
        inObject = depth != 0 && jsonKind(parent) == JsonKind.OBJECT;
        state = AFTER;
        continue;
      }
      if (state == AFTER) {
        result = JsonEnd.INVALID;
        break;
      }
    }
    if (top + 2 * NODE > tapeEnd) {
      result = JsonEnd.FULL;
      break;
    }
    if (state & 2) {
      const before = top;
      p = c == 0x22 ? key(p, end, lenient) : 0;
      if (top == before) {
        if (!p) result = JsonEnd.INVALID;
        break;
      }
      state = VALUE;
      continue;
    }
    if ((c == 0x7b || c == 0x5b) && depth < JSON_DEPTH) {
      if (parent) count(parent);
      parent = top;
      store<usize>(stack + (<usize>depth << 2), parent);
      inObject = c == 0x7b;
      push(inObject ? JsonKind.OBJECT : JsonKind.ARRAY, 0, 0, p);
      depth++;
      state = inObject ? FIRST_KEY : FIRST_VALUE;
      p++;
      continue;
    }
    const before = top;
    p = leaf(p, end, c, depth != 0, lenient);
    if (!p) result = JsonEnd.INVALID;
    if (top != before) {
      if (parent) count(parent);
      state = AFTER;
    }
    if (leafCut || !p) break;
  }
  closeAll(depth, state);
  if (top == root) push(JsonKind.NULL, 0, 0, at);
  return result;
}
