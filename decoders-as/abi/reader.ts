// A msgpack reader over raw memory: it reads one value after the other in place, copies nothing and never reads past its end.
//
// Use: Reader.open(at, end), then one call per value. A value that is cut off or of another type sets Reader.failed, which stays set until the
// next open(); from then on every call returns 0 and moves nothing, so a sequence of reads needs one check at its end:
//
//   Reader.open(at, end);
//   const conn = Reader.uint();
//   const name = Reader.str();            // address; the length is in Reader.length
//   const nameLength = Reader.length;
//   if (Reader.failed) return BAD;
//
// One reader exists (its state are wasm globals, the fastest there is). To read something else in between: keep Reader.at and Reader.end, open()
// the other, and open(kept at, kept end) again.

/** What peek() sees. */
export namespace Type {
  /** Nothing is left. */
  export const END: i32 = 0;
  export const NIL: i32 = 1;
  export const BOOL: i32 = 2;
  /** Any integer form. */
  export const INT: i32 = 3;
  /** float32 or float64, of integral value or not. */
  export const FLOAT: i32 = 4;
  export const STR: i32 = 5;
  export const BIN: i32 = 6;
  export const ARRAY: i32 = 7;
  export const MAP: i32 = 8;
  export const EXT: i32 = 9;
  /** 0xc1. */
  export const INVALID: i32 = 10;
}

/** By a value's first byte: the bytes of the whole value where that byte tells them all, else 0. */
const sizes: usize = memory.data(256);
memory.fill(sizes, 1, 0x80);
for (let head: usize = 0xa0; head < 0xc0; head++) store<u8>(sizes + head, <u8>(head - 0x9f));
store<u32>(sizes + 0xc0, 0x01010001);
store<u32>(sizes + 0xca, 0x03020905);
store<u32>(sizes + 0xce, 0x03020905);
store<u16>(sizes + 0xd2, 0x0905);
store<u32>(sizes + 0xd4, 0x0a060403);
store<u8>(sizes + 0xd8, 18);
memory.fill(sizes + 0xe0, 1, 0x20);

/** What a failed read points at. */
const NOTHING: usize = memory.data(16);

export namespace Reader {
  /** Where the next value begins. */
  export let at: usize = 0;
  /** First byte that is not to be read. */
  export let end: usize = 0;
  /** A value was cut off or of another type; stays set until open(). */
  export let failed: bool = false;
  /** Bytes of the last str(), bin() or raw(). */
  export let length: u32 = 0;
  let negative: bool = false;

  export function open(from: usize, to: usize): void {
    at = from;
    end = to;
    failed = false;
    length = 0;
  }

  /** Type of the next value, which stays unread. */
  export function peek(): i32 {
    if (failed || at >= end) return Type.END;
    const head = <u32>load<u8>(at);
    if (head < 0x80 || head >= 0xe0) return Type.INT;
    if (head < 0x90) return Type.MAP;
    if (head < 0xa0) return Type.ARRAY;
    if (head < 0xc0) return Type.STR;
    switch (head) {
      case 0xc0:
        return Type.NIL;
      case 0xc1:
        return Type.INVALID;
      case 0xc2:
      case 0xc3:
        return Type.BOOL;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return Type.BIN;
      case 0xca:
      case 0xcb:
        return Type.FLOAT;
      case 0xd9:
      case 0xda:
      case 0xdb:
        return Type.STR;
      case 0xdc:
      case 0xdd:
        return Type.ARRAY;
      case 0xde:
      case 0xdf:
        return Type.MAP;
    }
    return head >= 0xcc && head <= 0xd3 ? Type.INT : Type.EXT;
  }

  /** A whole number that is not negative; every integer form, and floats of integral value. */
  export function uint(): u64 {
    if (at < end && !failed) {
      const head = <u32>load<u8>(at);
      if (head < 0x80) {
        at++;
        return head;
      }
      if (head == 0xcf && end - at >= 9) {
        at += 9;
        return bswap(load<u64>(at - 8));
      }
    }
    const value = whole();
    if (!negative) return value;
    fail();
    return 0;
  }

  /** A whole number; every integer form, and floats of integral value. */
  export function int(): i64 {
    const value = whole();
    if (negative == <i64>value < 0) return <i64>value;
    if (value != 0) fail();
    return 0;
  }

  /** Any number. */
  export function float(): f64 {
    if (peek() == Type.FLOAT) {
      const wide = load<u8>(at) == 0xcb;
      const from = take(wide ? 9 : 5) + 1;
      if (failed) return 0;
      return wide ? reinterpret<f64>(bswap(load<u64>(from))) : <f64>reinterpret<f32>(bswap(load<u32>(from)));
    }
    const value = whole();
    return negative ? <f64>(<i64>value) : <f64>value;
  }

  export function boolean(): bool {
    if (peek() != Type.BOOL) {
      fail();
      return false;
    }
    return load<u8>(at++) == 0xc3;
  }

  /** Reads a nil if one is next; any other value stays unread. */
  export function nil(): bool {
    if (peek() != Type.NIL) return false;
    at++;
    return true;
  }

  /** Address of a text; its bytes are in `length`. Not checked for being UTF-8. */
  export function str(): usize {
    if (!failed && at < end) {
      const n = <u32>load<u8>(at) - 0xa0;
      if (n < 32 && end - at > n) {
        length = n;
        at += n + 1;
        return at - n;
      }
    }
    if (peek() == Type.STR) return body();
    length = 0;
    fail();
    return NOTHING;
  }

  /** Address of a text, or 0 and length 0 for a nil. */
  export function strOrNil(): usize {
    if (failed || at >= end || load<u8>(at) != 0xc0) return str();
    at++;
    length = 0;
    return 0;
  }

  /** Address of a byte string; its bytes are in `length`. */
  export function bin(): usize {
    if (peek() == Type.BIN) return body();
    length = 0;
    fail();
    return NOTHING;
  }

  /** Number of elements of an array, which follow. */
  export function array(): u32 {
    return items(Type.ARRAY, 0x90, 0xdc);
  }

  /** Number of pairs of a map, which follow as key, value, key, value. */
  export function map(): u32 {
    return items(Type.MAP, 0x80, 0xde);
  }

  /** Passes over one value with all that is in it. */
  export function skip(): void {
    let left: u64 = 1;
    while (left > 0 && !failed) {
      left = skipShort(left);
      if (left == 0) return;
      left--;
      const type = peek();
      if (type == Type.NIL || type == Type.BOOL) at++;
      else if (type == Type.INT || type == Type.FLOAT) skipNumber();
      else if (type == Type.STR || type == Type.BIN) body();
      else if (type == Type.ARRAY) left += array();
      else if (type == Type.MAP) left += 2 * <u64>map();
      else if (type == Type.EXT) skipExt();
      else fail();
    }
  }

  /** Passes over values as long as their first two bytes say all of their size; returns how many of `left` are left. */
  function skipShort(left: u64): u64 {
    const stop = end;
    let p = at;
    while (left > 0 && p < stop) {
      const head = <u32>load<u8>(p);
      const size = <usize>load<u8>(sizes + head);
      if (size) {
        if (size > stop - p) break;
        p += size;
      } else if (head >> 4 == 9) {
        p++;
        left += head & 15;
      } else if ((head == 0xd9 || head == 0xc4) && stop - p >= 2 && stop - p - 2 >= <usize>load<u8>(p, 1)) {
        p += 2 + <usize>load<u8>(p, 1);
      } else break;
      left--;
    }
    at = p;
    return left;
  }

  /** Address of the next value, which is passed over; its encoded bytes are in `length`. */
  export function raw(): usize {
    const from = at;
    skip();
    length = failed ? 0 : <u32>(at - from);
    return failed ? NOTHING : from;
  }

  export function fail(): void {
    failed = true;
  }

  /** Moves over n bytes and returns where they began, or fails. */
  function take(n: u64): usize {
    if (failed || <u64>(end - at) < n || at > end) {
      failed = true;
      return NOTHING;
    }
    const from = at;
    at += <usize>n;
    return from;
  }

  /** Any whole number; `negative` says whether the result is to be read as i64. */
  function whole(): u64 {
    negative = false;
    const type = peek();
    if (type == Type.FLOAT) return integral(float());
    if (type != Type.INT) {
      fail();
      return 0;
    }
    const head = <u32>load<u8>(at);
    if (head < 0x80) {
      at++;
      return head;
    }
    if (head >= 0xe0) {
      at++;
      negative = true;
      return <u64>(<i64>(<i8>head));
    }
    const from = take(1 + ((<u64>1) << (head & 3))) + 1;
    if (failed) return 0;
    switch (head) {
      case 0xcc:
        return load<u8>(from);
      case 0xcd:
        return bswap(load<u16>(from));
      case 0xce:
        return bswap(load<u32>(from));
      case 0xcf:
        return bswap(load<u64>(from));
    }
    let value: i64 = 0;
    if (head == 0xd0) value = load<i8>(from);
    else if (head == 0xd1) value = <i16>bswap(load<u16>(from));
    else if (head == 0xd2) value = <i32>bswap(load<u32>(from));
    else value = <i64>bswap(load<u64>(from));
    negative = value < 0;
    return <u64>value;
  }

  function integral(value: f64): u64 {
    if (value >= 0 && value < 18446744073709551616.0 && Math.floor(value) == value) return <u64>value;
    if (value < 0 && value >= -9223372036854775808.0 && Math.floor(value) == value) {
      negative = true;
      return <u64>(<i64>value);
    }
    fail();
    return 0;
  }

  function skipNumber(): void {
    const head = <u32>load<u8>(at);
    if (head < 0x80 || head >= 0xe0) at++;
    else if (head < 0xcc) take(head == 0xcb ? 9 : 5);
    else take(1 + ((<u64>1) << (head & 3)));
  }

  function skipExt(): void {
    const head = <u32>load<u8>(at);
    if (head >= 0xd4 && head <= 0xd8) {
      take(2 + ((<u64>1) << (head - 0xd4)));
      return;
    }
    const size = head - 0xc7;
    const from = take(2 + ((<u64>1) << size)) + 1;
    if (failed) return;
    take(size == 0 ? <u64>load<u8>(from) : size == 1 ? <u64>bswap(load<u16>(from)) : <u64>bswap(load<u32>(from)));
  }

  /** The bytes of a str or bin, whose head is next. */
  function body(): usize {
    const head = <u32>load<u8>(at);
    let n: u32 = head & 0x1f;
    if (head >= 0xc0) {
      const size = head >= 0xd9 ? head - 0xd9 : head - 0xc4;
      const from = take(1 + ((<u64>1) << size)) + 1;
      length = 0;
      if (failed) return NOTHING;
      n = size == 0 ? <u32>load<u8>(from) : size == 1 ? <u32>bswap(load<u16>(from)) : bswap(load<u32>(from));
    } else at++;
    const from = take(n);
    length = failed ? 0 : n;
    return from;
  }

  function items(type: i32, fix: u32, wide: u32): u32 {
    if (peek() != type) {
      fail();
      return 0;
    }
    const head = <u32>load<u8>(at);
    if (head < 0xa0) {
      at++;
      return head - fix;
    }
    const from = take(head == wide ? 3 : 5) + 1;
    if (failed) return 0;
    return head == wide ? <u32>bswap(load<u16>(from)) : bswap(load<u32>(from));
  }
}
