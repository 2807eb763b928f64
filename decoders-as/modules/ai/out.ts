// Writes maps, arrays and text of one event into the event lane; it never counts pairs by hand and never lets a text be longer than the caps allow.
import { eventsOut } from '../../abi/module';
import { JsonFlag, jsonFlags, jsonKind, JsonKind, jsonLength, jsonPoints, jsonText } from '../../lib/json';
import { copyBytes } from '../../lib/bytes';
import { addPoints, copiedPoints, copyText, resetPoints, wideFlag } from '../../lib/json-text';
import { bufAt, bufLength } from './buf';

const DEPTH: u32 = 32;
/** Open containers: u32 address of the head, u32 count. */
const stack: usize = memory.data(256);
let depth: u32 = 0;
let textAt: usize = 0;

/** Longest text in bytes, and most elements of an array, in the event at hand. */
let textCap: u32 = u32.MAX_VALUE;
let itemCap: u32 = u32.MAX_VALUE;
/** Something was left out because of the caps. */
export let contentCut: bool = false;

/** Starts an event at a cut level: 0 leaves nothing out, each further one leaves out more. */
export function beginOut(level: u32): void {
  depth = 0;
  contentCut = false;
  textCap = level == 0 ? u32.MAX_VALUE : level == 1 ? 1 << 16 : level == 2 ? 4096 : 256;
  itemCap = level == 0 ? u32.MAX_VALUE : level == 1 ? 4096 : level == 2 ? 512 : 32;
}

function open(at: usize): void {
  if (depth >= DEPTH) {
    eventsOut.full = true;
    return;
  }
  store<u32>(stack + ((<usize>depth) << 3), <u32>at);
  store<u32>(stack + ((<usize>depth) << 3), 0, 4);
  depth++;
}

function count(): void {
  if (!depth) return;
  const slot = stack + ((<usize>(depth - 1)) << 3);
  store<u32>(slot, load<u32>(slot, 4) + 1, 4);
}

export function openMap(): void {
  open(eventsOut.openMap());
}

export function openArray(): void {
  open(eventsOut.openArray());
}

export function close(): void {
  if (!depth) return;
  depth--;
  const slot = stack + ((<usize>depth) << 3);
  eventsOut.close(load<u32>(slot), load<u32>(slot, 4));
}

/** Begins an element of the open array; false: the array may not grow, leave the element out. */
export function item(): bool {
  const slot = stack + ((<usize>(depth - 1)) << 3);
  if (load<u32>(slot, 4) >= itemCap) {
    contentCut = true;
    return false;
  }
  count();
  return true;
}

/** An ASCII literal. */
export function literal(text: string): void {
  const length = <u32>text.length;
  if (length > 31 || eventsOut.free < 49) {
    eventsOut.text(text);
    return;
  }
  const from = changetype<usize>(text);
  const to = eventsOut.at;
  store<u8>(to, 0xa0 | length);
  v128.store(to + 1, i8x16.narrow_i16x8_u(v128.load(from), v128.load(from + 16)));
  if (length > 16) for (let i: usize = 16; i < length; i++) store<u8>(to + 1 + i, load<u8>(from + 2 * i));
  eventsOut.at = to + 1 + length;
}

/** Begins a pair of the open map. */
export function key(name: string): void {
  count();
  literal(name);
}

export function pairLiteral(name: string, value: string): void {
  key(name);
  literal(value);
}

export function pairUint(name: string, value: u64): void {
  key(name);
  number(<f64>value, <i64>value, true);
}

export function pairBool(name: string, value: bool): void {
  key(name);
  eventsOut.boolean(value);
}

/** A number: an integer form up to 32 bits, so that readers see a plain number, else a double. */
export function number(double: f64, integer: i64, isInteger: bool): void {
  if (isInteger && integer >= -0x80000000 && integer <= 0xffffffff) eventsOut.int(integer);
  else eventsOut.float(double);
}

/** Begins a text that addText() makes longer. */
export function openText(): void {
  resetPoints();
  const out = eventsOut;
  if (out.free < 5) {
    out.full = true;
    return;
  }
  textAt = out.at;
  out.at += 5;
}

/** Bytes in the open text. */
export function textLength(): u32 {
  return <u32>(eventsOut.at - textAt - 5);
}

/** Adds text to the open one, decoded as its flags (JsonFlag) ask. */
export function addText(from: usize, bytes: u32, flags: u32): void {
  const out = eventsOut;
  if (out.full) return;
  let length = bytes;
  const left = textCap - min(textCap, textLength());
  if (length > left) {
    contentCut = true;
    length = left;
    while (length && (<u32>load<u8>(from + length) & 0xc0) == 0x80) length--;
  }
  if (flags & JsonFlag.DECODED && length == bytes && length <= <u32>out.free) {
    copyBytes(out.at, from, length);
    addPoints(jsonPoints(from));
    out.at += length;
    return;
  }
  const end = copyText(out.at, from, length, flags, out.end);
  if (end > out.end) out.full = true;
  else out.at = end;
}

/** Ends the open text; gives its length in code points. */
export function closeText(): u32 {
  if (!eventsOut.full) {
    store<u8>(textAt, 0xdb);
    store<u32>(textAt, bswap(textLength()), 1);
  }
  return copiedPoints;
}

/** A text value; gives its length in code points. */
export function text(from: usize, length: u32, flags: u32): u32 {
  if (length > 31 || flags) {
    openText();
    addText(from, length, flags);
    return closeText();
  }
  resetPoints();
  const out = eventsOut;
  if (out.free <= length) {
    out.full = true;
    return 0;
  }
  store<u8>(out.at, 0xa0 | length);
  out.at = copyText(out.at + 1, from, length, 0, out.end);
  return length;
}

/** The decoded text of a JSON string node. */
export function nodeText(node: usize): u32 {
  return text(jsonText(node), jsonLength(node), jsonFlags(node) & ~JsonFlag.CUT);
}

/** A pair, if the node is a string. */
export function pairNode(name: string, node: usize): bool {
  if (!node || jsonKind(node) != JsonKind.STRING) return false;
  key(name);
  nodeText(node);
  return true;
}

/** Raw bytes as text, checked as UTF-8. */
export function bytesText(from: usize, length: u32): u32 {
  return text(from, length, wideFlag(from, length));
}

/** A pair, if the buffer holds anything. */
export function pairBuf(name: string, buf: usize): bool {
  if (!bufLength(buf)) return false;
  key(name);
  bytesText(bufAt(buf), bufLength(buf));
  return true;
}

/** A derived id: a prefix and 16 hex digits. */
export function hexText(prefix: string, value: u64): void {
  const out = eventsOut;
  const length = <usize>prefix.length + 16;
  out.strHead(length);
  if (out.free < length) {
    out.full = true;
    return;
  }
  for (let i = 0; i < prefix.length; i++) store<u8>(out.at++, prefix.charCodeAt(i));
  for (let shift: i32 = 60; shift >= 0; shift -= 4) {
    const digit = <u32>(value >> shift) & 15;
    store<u8>(out.at++, digit < 10 ? 0x30 + digit : 0x57 + digit);
  }
}

function capped(n: u32): u32 {
  if (n <= itemCap) return n;
  contentCut = true;
  return itemCap;
}

/** Head of a map of n pairs; gives how many of them may be written. */
export function mapHead(n: u32): u32 {
  const most = capped(n);
  eventsOut.map(most);
  return most;
}

/** Head of an array of n elements; gives how many of them may be written. */
export function arrayHead(n: u32): u32 {
  const most = capped(n);
  eventsOut.array(most);
  return most;
}

/** Arguments nest, so that caps on their parts do not bound the whole: the shortest events go without. */
export function cutArguments(): bool {
  if (itemCap > 32) return false;
  contentCut = true;
  return true;
}
