// Reads a JSON tape by key: look-ups, scalars, and the way of a value into msgpack; it never changes the tape.
import { eventsOut } from '../../abi/module';
import { jsonFirst, jsonFlags, jsonKind, JsonKind, jsonLength, jsonMayHave, jsonNext, jsonTag, jsonText, jsonValue } from '../../lib/json';
import { keyOfText, tagOf } from '../../lib/json-key';
import { isInteger, jsonInteger, toDouble } from '../../lib/json-number';
import { arrayHead, cutArguments, mapHead, nodeText, number } from './out';

/** The key (lib/json-key.ts) of a string node; 0 for other nodes. */
export function keyOfNode(node: usize): u64 {
  if (!node || jsonKind(node) != JsonKind.STRING) return 0;
  return keyOfText(jsonText(node), jsonLength(node), jsonFlags(node));
}

/** The value under a key, or 0. The last of several equal keys counts. */
export function find(object: usize, wanted: u64): usize {
  if (!object || jsonKind(object) != JsonKind.OBJECT) return 0;
  const tag = tagOf(wanted);
  if (!jsonMayHave(object, tag)) return 0;
  const end = jsonNext(object);
  let result: usize = 0;
  for (let node = jsonFirst(object); node < end; ) {
    const value = jsonValue(node);
    if (jsonTag(node) == tag && keyOfNode(node) == wanted) result = value;
    node = jsonNext(value);
  }
  return result;
}

/** The value under a key if it is of that kind, or 0. */
export function findKind(object: usize, wanted: u64, kind: u32): usize {
  const node = find(object, wanted);
  return node && jsonKind(node) == kind ? node : 0;
}

export function isKind(node: usize, kind: u32): bool {
  return node != 0 && jsonKind(node) == kind;
}

export function isTrue(node: usize): bool {
  return isKind(node, JsonKind.TRUE);
}

/** The number of a node, or `otherwise`. */
export function numberOf(node: usize, otherwise: f64): f64 {
  if (!isKind(node, JsonKind.NUMBER)) return otherwise;
  return isInteger(jsonText(node), jsonLength(node)) ? <f64>jsonInteger : toDouble(jsonText(node), jsonLength(node));
}

/** The number of a node as an index: not negative, whole, small; else `otherwise`. */
export function indexOfNode(node: usize, otherwise: u32): u32 {
  const value = numberOf(node, -1);
  return value >= 0 && value < 1000000 ? <u32>value : otherwise;
}

/** A node has something to say: it is there and not null. */
export function given(node: usize): bool {
  return node != 0 && jsonKind(node) != JsonKind.NULL;
}

/** Writes any JSON value. Of equal keys all are written: a reader keeps the last. */
export function writeNode(node: usize): void {
  const kind = jsonKind(node);
  if (kind == JsonKind.STRING) nodeText(node);
  else if (kind == JsonKind.NUMBER) writeNumber(node);
  else if (kind == JsonKind.OBJECT) writeObject(node);
  else if (kind == JsonKind.ARRAY) writeArray(node);
  else if (kind == JsonKind.TRUE || kind == JsonKind.FALSE) eventsOut.boolean(kind == JsonKind.TRUE);
  else eventsOut.nil();
}

function writeNumber(node: usize): void {
  const whole = isInteger(jsonText(node), jsonLength(node));
  const integer = jsonInteger;
  number(whole ? <f64>integer : toDouble(jsonText(node), jsonLength(node)), integer, whole);
}

function writeObject(node: usize): void {
  const end = jsonNext(node);
  let left = mapHead(jsonLength(node));
  for (let at = jsonFirst(node); at < end && left && !eventsOut.full; left--) {
    const value = jsonValue(at);
    nodeText(at);
    writeNode(value);
    at = jsonNext(value);
  }
}

function writeArray(node: usize): void {
  const end = jsonNext(node);
  let left = arrayHead(jsonLength(node));
  for (let at = jsonFirst(node); at < end && left && !eventsOut.full; left--) {
    writeNode(at);
    at = jsonNext(at);
  }
}

/** Writes an object of unknown size, or an empty one when the event must be short. */
export function writeArguments(node: usize): void {
  if (cutArguments()) eventsOut.map(0);
  else writeObject(node);
}
