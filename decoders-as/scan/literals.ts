// Says which of up to 32 sets of literals occur in a text, 16 bytes at a time. It is no decoder: the host gives it text, and it keeps nothing.
//
// A literal of a bucket can begin only where its first three bytes do: for each of the three positions two tables of 16 bytes, by low and by
// high nibble, hold one bit per bucket. Where all six agree on a bit, the bucket's literals are compared byte by byte (the filter of Hyperscan's
// Teddy matcher: Wang et al., "Hyperscan", NSDI 2019, section 5).
//
//   tables()   6 x 16 bytes      low and high nibble of byte 0, of byte 1, of byte 2
//              8 x (u32, u32)    of each bucket: number of its first entry, number of entries
//              entries, 32 bytes each: u32 sets, u8 length (3 to 24), u8 1 when it is lower case and stands for both, u16 0, text
//   text()     the text, CAPACITY bytes at most

/** Bytes of text that one call can look at. */
const CAPACITY: u32 = 262144;
const TABLES_SIZE: usize = 8192;
const BUCKETS: usize = 96;
const ENTRIES: usize = 160;
const ENTRY: usize = 32;
const ENTRY_TEXT: usize = 8;
/** Bytes that are loaded past the end of the text. */
const PAST: usize = 32;

const TABLES: usize = (__heap_base + 15) & ~15;
const TEXT: usize = TABLES + TABLES_SIZE;

export function tables(): usize {
  return TABLES;
}

export function text(): usize {
  return TEXT;
}

export function capacity(): u32 {
  return CAPACITY;
}

/** Bytes of memory that are needed, from 0. */
export function memoryBytes(): usize {
  return TEXT + CAPACITY + PAST;
}

function matches(at: usize, entry: usize): bool {
  const length = <usize>load<u8>(entry, 4);
  const fold = load<u8>(entry, 5) !== 0 ? <u8>0x20 : <u8>0;
  for (let i: usize = 0; i < length; i++) {
    if ((load<u8>(at + i) | fold) !== load<u8>(entry + i, ENTRY_TEXT)) return false;
  }
  return true;
}

/** The sets of a bucket's literals that begin here. */
function look(at: usize, buckets: u32, found: u32): u32 {
  let sets = found;
  for (let left = buckets; left !== 0; left &= left - 1) {
    const bucket = TABLES + BUCKETS + ((<usize>ctz(left)) << 3);
    let entry = TABLES + ENTRIES + <usize>load<u32>(bucket) * ENTRY;
    for (let n = load<u32>(bucket, 4); n !== 0; n--) {
      const own = load<u32>(entry);
      if ((own & ~sets) !== 0 && matches(at, entry)) sets |= own;
      entry += ENTRY;
    }
  }
  return sets;
}

/**
 * @param length bytes of text, at most CAPACITY.
 * @returns a bit for each set of which a literal occurs; it may also say so of text that differs from a literal of both cases in bit 5 of a byte.
 */
export function scan(length: u32): u32 {
  const end = TEXT + <usize>length;
  memory.fill(end, 0, PAST);
  const low0 = v128.load(TABLES);
  const high0 = v128.load(TABLES, 16);
  const low1 = v128.load(TABLES, 32);
  const high1 = v128.load(TABLES, 48);
  const low2 = v128.load(TABLES, 64);
  const high2 = v128.load(TABLES, 80);
  const nibble = i8x16.splat(15);
  let found: u32 = 0;
  for (let at = TEXT; at < end; at += 16) {
    const a = v128.load(at);
    const b = v128.load(at, 1);
    const c = v128.load(at, 2);
    let agreed = v128.and(i8x16.swizzle(low0, v128.and(a, nibble)), i8x16.swizzle(high0, i8x16.shr_u(a, 4)));
    agreed = v128.and(agreed, v128.and(i8x16.swizzle(low1, v128.and(b, nibble)), i8x16.swizzle(high1, i8x16.shr_u(b, 4))));
    agreed = v128.and(agreed, v128.and(i8x16.swizzle(low2, v128.and(c, nibble)), i8x16.swizzle(high2, i8x16.shr_u(c, 4))));
    if (!v128.any_true(agreed)) continue;
    // A bit for each byte that is not zero.
    let places = ~i8x16.bitmask(i8x16.eq(agreed, i8x16.splat(0))) & 0xffff;
    for (let half: u32 = 0; half < 2; half++) {
      const buckets = half === 0 ? i64x2.extract_lane(agreed, 0) : i64x2.extract_lane(agreed, 1);
      for (let left = (places >> (half * 8)) & 0xff; left !== 0; left &= left - 1) {
        const place = ctz(left);
        found = look(at + half * 8 + place, <u32>((buckets >> (place * 8)) & 0xff), found);
      }
    }
  }
  return found;
}
