// Tool call arguments: JSON text as an object where it is one, else the text itself; it never fails.
import { eventsOut } from '../../abi/module';
import { JsonEnd, jsonKind, JsonKind, jsonMark, jsonParseInner, jsonRelease } from '../../lib/json';
import { bytesText, key } from './out';
import { writeArguments } from './nodes';
import { decodedLength, decodedText } from './scratch';

/** The text is one whole JSON object. Leaves its tape from jsonMark() on: release to the mark of before. */
function isObject(at: usize, length: u32): bool {
  const mark = jsonMark();
  return jsonParseInner(at, length) == JsonEnd.WHOLE && jsonKind(mark) == JsonKind.OBJECT;
}

/** A model that calls a tool without arguments sends no text at all. */
export function isEmptyText(at: usize, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) {
    const c: u32 = load<u8>(at + i);
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return false;
  }
  return true;
}

/** Writes the pair `arguments`: an object, or the text as a string when it is none. */
export function pairArguments(at: usize, length: u32): void {
  key('arguments');
  const mark = jsonMark();
  if (isEmptyText(at, length)) eventsOut.map(0);
  else if (isObject(at, length)) writeArguments(mark);
  else bytesText(at, length);
  jsonRelease(mark);
}

/** Writes the pair `arguments` of a call in a request: the text of a string node, or an object as it stands on the tape; nothing for other nodes. */
export function pairArgumentsOf(node: usize): void {
  if (!node) return;
  if (jsonKind(node) == JsonKind.STRING) pairArguments(decodedText(node), decodedLength());
  else if (jsonKind(node) == JsonKind.OBJECT) {
    key('arguments');
    writeArguments(node);
  }
}

/** Writes the pair `arguments` as an object in any case; false: it was none, and the text is under raw_arguments. */
export function pairObjectArguments(at: usize, length: u32): bool {
  key('arguments');
  const mark = jsonMark();
  let valid = true;
  if (isEmptyText(at, length)) eventsOut.map(0);
  else if (isObject(at, length)) writeArguments(mark);
  else {
    valid = false;
    eventsOut.map(0);
    key('raw_arguments');
    bytesText(at, length);
  }
  jsonRelease(mark);
  return valid;
}
