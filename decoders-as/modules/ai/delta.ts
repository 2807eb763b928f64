// The short way for stream events that differ from the one before in nothing but their text; it never guesses: any other difference goes the long way.
//
//   template   {"id":"c1","choices":[{"delta":{"content":"|Hello|"}}],"obfuscation":"|x7|"}
//                                                         hole                      pad
//
// Equal bytes outside two whole JSON strings parse to equal values outside them, so what the long way did with the hole is right again.
import { JsonFlag, jsonFlags, jsonKind, JsonKind, jsonLength, jsonText } from '../../lib/json';
import { scanFlags, scanString } from '../../lib/json-scan';
import { bufAppendText, bufAt, bufFailed, bufLength, bufSet } from './buf';
import { counters } from './counters';
import { Exchange } from './exchange';

const TEMPLATE_LIMIT: u32 = 4096;

function equal(a: usize, b: usize, length: usize): bool {
  if (length < 16) {
    for (let i: usize = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
    return true;
  }
  const last = length - 16;
  for (let i: usize = 0; i < last; i += 16) {
    if (!i8x16.all_true(i8x16.eq(v128.load(a + i), v128.load(b + i)))) return false;
  }
  return i8x16.all_true(i8x16.eq(v128.load(a + last), v128.load(b + last)));
}

/** Keeps an event as the template. @param hole the string node that mattered. @param pad a string node whose text never matters, or 0. */
export function learn(x: Exchange, data: usize, length: u32, hole: usize, pad: usize): void {
  x.holeEnd = 0;
  if (length > TEMPLATE_LIMIT) return;
  x.template = bufSet(x.template, data, length, TEMPLATE_LIMIT);
  if (bufFailed) return;
  x.holeStart = <u32>(jsonText(hole) - data);
  x.holeEnd = x.holeStart + jsonLength(hole);
  x.padStart = 0;
  x.padEnd = 0;
  if (!pad || jsonKind(pad) != JsonKind.STRING || jsonText(pad) < jsonText(hole)) return;
  x.padStart = <u32>(jsonText(pad) - data);
  x.padEnd = x.padStart + jsonLength(pad);
}

/** Takes the event if it fits the template. */
export function takeDelta(x: Exchange, data: usize, length: u32): bool {
  if (!x.holeEnd || length < x.holeStart) return false;
  const template = bufAt(x.template);
  const end = data + length;
  if (!equal(data, template, x.holeStart)) return false;
  const from = data + x.holeStart;
  const close = scanString(from, end, false);
  if (!close || close >= end) return false;
  const flags = scanFlags;
  let at = close;
  let rest = x.holeEnd;
  if (x.padStart) {
    const middle = x.padStart - x.holeEnd;
    if (at + middle > end || !equal(at, template + rest, middle)) return false;
    at = scanString(at + middle, end, false);
    if (!at) return false;
    rest = x.padEnd;
  }
  const tail = bufLength(x.template) - rest;
  if (end - at != tail || !equal(at, template + rest, tail)) return false;
  counters.templateHits++;
  if (close == from) return true;
  const grown = bufAppendText(load<usize>(x.target), from, <u32>(close - from), flags & (JsonFlag.ESCAPED | JsonFlag.WIDE), x.targetLimit);
  store<usize>(x.target, grown);
  if (bufFailed) x.answer.cut = true;
  return true;
}

/** Appends the text of a node to the buffer whose address is at `target`, and remembers where it went. */
export function appendDelta(x: Exchange, target: usize, node: usize, limit: u32): void {
  x.target = target;
  x.targetLimit = limit;
  const grown = bufAppendText(load<usize>(target), jsonText(node), jsonLength(node), jsonFlags(node) & (JsonFlag.ESCAPED | JsonFlag.WIDE), limit);
  store<usize>(target, grown);
  if (bufFailed) x.answer.cut = true;
}
