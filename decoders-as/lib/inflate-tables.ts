// Huffman tables of deflate (RFC 1951): building them from code lengths and looking codes up; it never reads input.
//
// One set of tables for both alphabets, as offsets from its address:
//
//   literal/length: fast 1024 x u16 | counts 16 x u16 | symbols 288 x u16     distance: fast 1024 x u16 | counts | symbols 32
//
// A fast entry is symbol << 4 | code length, found by the next 10 bits; 0 means that the code is longer (or does not exist) and is walked bit by bit.

export const FAST_BITS: u32 = 10;
const FAST_SIZE: usize = 2048;
const COUNTS: usize = FAST_SIZE;
const SYMBOLS: usize = COUNTS + 32;
/** From the tables of literals to those of distances. */
export const DISTANCES: usize = SYMBOLS + 576;
export const TABLES_SIZE: usize = DISTANCES + SYMBOLS + 64;

/** What codeAt() answers when no code matches or more bits are needed. */
export const NO_CODE: u32 = 0xffff;

const offsets: usize = memory.data(32);

/** How complete a set of code lengths must be; see build(). */
export namespace Codes {
  /** The code of code lengths: complete. */
  export const LENGTHS: u32 = 0;
  /** Literals and distances: complete, or a single code of one bit. */
  export const OTHERS: u32 = 1;
}

function reverse(code: u32, bits: u32): u32 {
  let result: u32 = 0;
  for (let i: u32 = 0; i < bits; i++) {
    result = (result << 1) | (code & 1);
    code >>= 1;
  }
  return result;
}

/** Builds one alphabet's tables from n code lengths (bytes). False: the lengths make no code. */
export function build(table: usize, lengths: usize, n: u32, kind: u32): bool {
  const counts = table + COUNTS;
  memory.fill(table, 0, SYMBOLS);
  for (let i: u32 = 0; i < n; i++) {
    const at = counts + ((<usize>load<u8>(lengths + i)) << 1);
    store<u16>(at, load<u16>(at) + 1);
  }
  store<u16>(counts, 0);
  let left: i32 = 1;
  let longest: u32 = 0;
  let code: u32 = 0;
  let index: u32 = 0;
  // offsets: next symbol slot of each length; codes are counted along in `starts`.
  for (let bits: u32 = 1; bits < 16; bits++) {
    const count = <u32>load<u16>(counts + (bits << 1));
    left = (left << 1) - <i32>count;
    if (left < 0) return false;
    if (count) longest = bits;
    store<u16>(offsets + (bits << 1), <u16>index);
    index += count;
  }
  if (left > 0 && longest != 0 && (kind == Codes.LENGTHS || longest != 1)) return false;
  for (let i: u32 = 0; i < n; i++) {
    const bits = <usize>load<u8>(lengths + i);
    if (bits == 0) continue;
    const at = offsets + (bits << 1);
    store<u16>(table + SYMBOLS + ((<usize>load<u16>(at)) << 1), <u16>i);
    store<u16>(at, load<u16>(at) + 1);
  }
  index = 0;
  for (let bits: u32 = 1; bits <= FAST_BITS; bits++) {
    for (let count = <u32>load<u16>(counts + (bits << 1)); count > 0; count--) {
      const entry = ((<u32>load<u16>(table + SYMBOLS + (index++ << 1))) << 4) | bits;
      for (let slot = reverse(code++, bits); slot < 1 << FAST_BITS; slot += 1 << bits) store<u16>(table + (slot << 1), <u16>entry);
    }
    code <<= 1;
  }
  return true;
}

/** The code that `bits` begins with, as symbol << 4 | length, walked bit by bit; NO_CODE when none does within `have` bits. */
export function codeAt(table: usize, bits: u64, have: u32): u32 {
  let code: u32 = 0;
  let first: u32 = 0;
  let index: u32 = 0;
  for (let length: u32 = 1; length < 16 && length <= have; length++) {
    code |= <u32>bits & 1;
    bits >>= 1;
    const count = <u32>load<u16>(table + COUNTS + (length << 1));
    if (code < first + count) return ((<u32>load<u16>(table + SYMBOLS + ((index + code - first) << 1))) << 4) | length;
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return NO_CODE;
}

/** The tables of blocks with fixed codes. */
export const fixedTables: usize = makeFixed();

function makeFixed(): usize {
  const table = heap.alloc(TABLES_SIZE);
  const lengths = heap.alloc(288);
  memory.fill(lengths, 8, 144);
  memory.fill(lengths + 144, 9, 112);
  memory.fill(lengths + 256, 7, 24);
  memory.fill(lengths + 280, 8, 8);
  build(table, lengths, 288, Codes.OTHERS);
  memory.fill(lengths, 5, 32);
  build(table + DISTANCES, lengths, 32, Codes.OTHERS);
  heap.free(lengths);
  return table;
}
