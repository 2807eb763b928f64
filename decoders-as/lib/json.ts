// JSON text to a flat tape of 16-byte nodes in one pass; it never copies text, never recurses and never reads outside the text it is given.
//
//   {"role":"user","n":[1,2]}
//   tape:  OBJECT count=2 ──────────────────────────────┐ next
//          STRING role | STRING user | STRING n | ARRAY count=2 ─┐
//                                                 NUMBER 1 | NUMBER 2
//   node:  u8 kind, u8 flags, u16 one bit for each key of an object (by its tag), u32 bytes or count, u32 address of the text, u32 address of the node after this value (of a key: its tag)
//
// The grammar is RFC 8259's. Input that ends early, or breaks the grammar, leaves on the tape whatever was known by then, closed.
import { keyOfText, tagOf } from './json-key';
import { decodedEnd, decodedExtra, decodeString } from './json-decode';
import { scanFlags, scanNumber, scanString, shortString, skipDeep } from './json-scan';

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
  /** The text is decoded already, and valid UTF-8; jsonSource() is where it comes from. */
  export const DECODED: u32 = 8;
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
/** Where jsonParseDecoding() puts decoded texts, each behind a head: u32 address of the source, u32 its bytes, u32 code points, u32 0. */
let texts: usize = 0;
let textsEnd: usize = 0;
let textsTop: usize = 0;
const TEXT_HEAD: usize = 16;
/** The parse at hand decodes texts. */
let decoding: bool = false;
let leafCut: bool = false;
let parseEnd: usize = 0;

/** Values skipped because they lay below the depth limit, in the last parse. */
export let jsonDeep: u32 = 0;

export function jsonInit(nodes: u32, textBytes: usize): void {
  texts = heap.alloc(textBytes);
  textsEnd = texts + textBytes;
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

/** Address of the text of a string as it stands in the input. */
export function jsonSource(node: usize): usize {
  return jsonFlags(node) & JsonFlag.DECODED ? <usize>load<u32>(jsonText(node) - TEXT_HEAD) : jsonText(node);
}

/** Bytes of that text. */
export function jsonSourceLength(node: usize): u32 {
  return jsonFlags(node) & JsonFlag.DECODED ? load<u32>(jsonText(node) - TEXT_HEAD, 4) : jsonLength(node);
}

/** Code points of a text that has JsonFlag.DECODED. */
export function jsonPoints(text: usize): u32 {
  return load<u32>(text - TEXT_HEAD, 8);
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

/** False: the object has no key of that tag. */
export function jsonMayHave(object: usize, tag: u32): bool {
  return (load<u16>(object, 2) & tagBit(tag)) != 0;
}

function tagBit(tag: u32): u32 {
  return 1 << ((tag * 0x9e3779b1) >> 28);
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
  store<u64>(node, <u64>(kind | (flags << 8)) | ((<u64>length) << 32));
  top = node + NODE;
  store<u64>(node, <u64>text | ((<u64>top) << 32), 8);
}

function isSpace(c: u32): bool {
  return c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09;
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

/** End of the string at `at`, pushed decoded; 0: this is not the way for it. */
function decoded(at: usize, end: usize): usize {
  const from = at + 1;
  const to = textsTop + TEXT_HEAD;
  const close = decodeString(from, end, to, textsEnd);
  if (!close) return 0;
  const source = <u32>(close - from);
  const length = <u32>(decodedEnd - to);
  if (length == source && !decodedExtra) push(JsonKind.STRING, 0, length, from);
  else {
    store<u32>(textsTop, <u32>from);
    store<u32>(textsTop, source, 4);
    store<u32>(textsTop, length - decodedExtra, 8);
    push(JsonKind.STRING, decodedExtra ? JsonFlag.DECODED | JsonFlag.WIDE : JsonFlag.DECODED, length, to);
    textsTop = (decodedEnd + 7) & ~7;
  }
  return close + 1;
}

/** End of the string at `at`. One that the input cuts is pushed with what there is of it. */
function text(at: usize, end: usize, lenient: bool): usize {
  const close = shortString(at + 1, end);
  if (close) {
    push(JsonKind.STRING, 0, <u32>(close - at - 1), at + 1);
    return close + 1;
  }
  if (decoding) {
    const after = decoded(at, end);
    if (after) return after;
  }
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
function key(at: usize, end: usize, object: usize, lenient: bool): usize {
  let close = shortString(at + 1, end);
  let keyFlags: u32 = 0;
  if (!close) {
    close = scanString(at + 1, end, lenient);
    if (!close || close >= end) return close;
    keyFlags = scanFlags;
  }
  let p = close + 1;
  while (p < end && isSpace(load<u8>(p))) p++;
  if (p >= end) return end;
  if (load<u8>(p) != 0x3a) return 0;
  const length = <u32>(close - at - 1);
  // keyOf() without its branches, where reading eight bytes is allowed.
  const isShort = length - 1 < 8 && !keyFlags && at + 9 <= end;
  const tag = tagOf(isShort ? load<u64>(at + 1) & (u64.MAX_VALUE >> (64 - ((<u64>length) << 3))) : keyOfText(at + 1, length, keyFlags));
  push(JsonKind.STRING, keyFlags, length, at + 1);
  store<u32>(top - NODE, tag, 12);
  store<u16>(object, load<u16>(object, 2) | tagBit(tag), 2);
  return p + 1;
}

function count(container: usize): void {
  store<u32>(container, load<u32>(container, 4) + 1, 4);
}

/** Closes what is open, so that the tape can be walked: a key without its value is dropped. */
function closeAll(depth: u32, state: u32): void {
  if (depth && state == VALUE && jsonKind(load<usize>(stack + ((<usize>(depth - 1)) << 2))) == JsonKind.OBJECT) top -= NODE;
  while (depth > 0) {
    depth--;
    store<u32>(load<usize>(stack + ((<usize>depth) << 2)), <u32>top, 12);
  }
}

/**
 * As jsonParse, and decodes the texts of values on the way, as far as there is room for them: for input whose texts are mostly told. The texts are
 * valid until the next call.
 */
export function jsonParseDecoding(at: usize, length: u32, lenient: bool): u32 {
  textsTop = texts;
  decoding = true;
  const result = jsonParse(at, length, lenient);
  decoding = false;
  return result;
}

/** Parses one value while the tape of another is still read: what is known of that one's text stays. */
export function jsonParseInner(at: usize, length: u32): u32 {
  const outer = parseEnd;
  const result = jsonParse(at, length, false);
  parseEnd = outer;
  return result;
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
    let c: u32 = load<u8>(p);
    if (state == AFTER) {
      if (!depth) {
        result = JsonEnd.INVALID;
        break;
      }
      if (c == 0x2c) {
        state = inObject ? KEY : VALUE;
        p++;
        if (p >= end) continue;
        c = load<u8>(p);
        if (c <= 0x20) continue;
      }
    }
    if (state & 1 || state == AFTER) {
      if (c == (inObject ? 0x7d : 0x5d)) {
        store<u32>(parent, <u32>top, 12);
        p++;
        depth--;
        parent = depth ? load<usize>(stack + ((<usize>(depth - 1)) << 2)) : 0;
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
      p = c == 0x22 ? key(p, end, parent, lenient) : 0;
      if (top == before) {
        if (!p) result = JsonEnd.INVALID;
        break;
      }
      state = VALUE;
      if (p >= end) continue;
      c = load<u8>(p);
      if (c <= 0x20) continue;
    }
    if (c == 0x22 && parent) {
      // Most values are short texts, and a comma and a key follow.
      const close = shortString(p + 1, end);
      if (close) {
        push(JsonKind.STRING, 0, <u32>(close - p - 1), p + 1);
        count(parent);
        p = close + 1;
        state = AFTER;
        if (p + 2 > end || load<u16>(p) != 0x222c || !inObject) continue;
        p++;
        state = KEY;
        continue;
      }
    }
    if ((c == 0x7b || c == 0x5b) && depth < JSON_DEPTH) {
      if (parent) count(parent);
      parent = top;
      store<usize>(stack + ((<usize>depth) << 2), parent);
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
