// Keys of literals, comparisons with literals, and the hash of derived ids; it never allocates.
import { keyOf } from '../../lib/json-key';

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;

const literalArea: usize = memory.data(64);

/** The key of an ASCII literal. */
export function key(literal: string): u64 {
  for (let i = 0; i < literal.length; i++) store<u8>(literalArea + <usize>i, literal.charCodeAt(i));
  return keyOf(literalArea, literal.length);
}

function lower(c: u32): u32 {
  return c - 0x41 < 26 ? c | 0x20 : c;
}

/** The bytes at `at` are the literal, which is in lower case; ASCII letters of either case match. */
function same(at: usize, literal: string): bool {
  for (let i = 0; i < literal.length; i++) if (lower(load<u8>(at + <usize>i)) != <u32>literal.charCodeAt(i)) return false;
  return true;
}

export function isText(at: usize, length: u32, literal: string): bool {
  return length == <u32>literal.length && same(at, literal);
}

export function startsWith(at: usize, length: u32, literal: string): bool {
  return length >= <u32>literal.length && same(at, literal);
}

export function endsWith(at: usize, length: u32, literal: string): bool {
  return length >= <u32>literal.length && same(at + length - literal.length, literal);
}

/** Offset of the literal in the text, or -1. */
export function indexOf(at: usize, length: u32, literal: string): i32 {
  const last = <i32>length - literal.length;
  for (let i = 0; i <= last; i++) if (same(at + <usize>i, literal)) return i;
  return -1;
}

export function contains(at: usize, length: u32, literal: string): bool {
  return indexOf(at, length, literal) >= 0;
}

let a: u64 = 0;
let b: u64 = 0;
let c: u64 = 0;
let d: u64 = 0;

export function hashStart(seed: u64): void {
  a = seed + P1;
  b = seed ^ P2;
  c = seed;
  d = seed - P3;
}

function mix(lane: u64, word: u64): u64 {
  return rotl(lane + word * P2, 31) * P1;
}

export function hashNumber(value: u64): void {
  a = mix(a, value);
}

/** Adds one piece of text; where it ends matters. */
export function hashText(at: usize, length: u32): void {
  const end = at + length;
  let p = at;
  for (; p + 32 <= end; p += 32) {
    a = mix(a, load<u64>(p));
    b = mix(b, load<u64>(p, 8));
    c = mix(c, load<u64>(p, 16));
    d = mix(d, load<u64>(p, 24));
  }
  for (; p + 8 <= end; p += 8) b = mix(b, load<u64>(p));
  c = mix(c, keyOf(p, <u32>(end - p)));
  d = mix(d, length);
}

export function hashEnd(): u64 {
  let h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
  h = (h ^ (h >> 33)) * P2;
  h = (h ^ (h >> 29)) * P3;
  return h ^ (h >> 32);
}
