// Byte searching, comparing, hashing and growable buffers over raw memory; nothing here is managed, and nothing frees what it did not allocate.
//
// Literals are passed as strings: a string literal lies in the module's data as UTF-16, so taking it costs nothing.

/** Address of the first `byte` in [at, end), or end. */
export function findByte(at: usize, end: usize, byte: u8): usize {
  const wanted = i8x16.splat(<i8>byte);
  while (at + 64 <= end) {
    const a = i8x16.eq(v128.load(at), wanted);
    const b = i8x16.eq(v128.load(at, 16), wanted);
    const c = i8x16.eq(v128.load(at, 32), wanted);
    const d = i8x16.eq(v128.load(at, 48), wanted);
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
    at += 64;
  }
  while (at + 16 <= end) {
    const mask = i8x16.bitmask(i8x16.eq(v128.load(at), wanted));
    if (mask != 0) return at + ctz(mask);
    at += 16;
  }
  while (at < end && load<u8>(at) != byte) at++;
  return at;
}

/** Address of the first byte in [at, end) that is `one` or `other`, or end. */
export function findEither(at: usize, end: usize, one: u8, other: u8): usize {
  const first = i8x16.splat(<i8>one);
  const second = i8x16.splat(<i8>other);
  const long = at + 16 <= end;
  while (at + 16 <= end) {
    const bytes = v128.load(at);
    const mask = i8x16.bitmask(v128.or(i8x16.eq(bytes, first), i8x16.eq(bytes, second)));
    if (mask != 0) return at + ctz(mask);
    at += 16;
  }
  if (long && at < end) {
    // The last 16 bytes, some of them once more: of those it is known that they are neither.
    const bytes = v128.load(end - 16);
    const mask = i8x16.bitmask(v128.or(i8x16.eq(bytes, first), i8x16.eq(bytes, second)));
    return mask != 0 ? end - 16 + ctz(mask) : end;
  }
  while (at < end && load<u8>(at) != one && load<u8>(at) != other) at++;
  return at;
}

/** Address of the first CR that is followed by LF in [at, end), or end. */
export function findCrlf(at: usize, end: usize): usize {
  while (at < end) {
    at = findByte(at, end, 13);
    if (at + 1 >= end) return end;
    if (load<u8>(at, 1) == 10) return at;
    at++;
  }
  return end;
}

/** memory.copy of areas that do not overlap, without the call it costs for short ones. Reads and writes not one byte more. */
export function copyBytes(to: usize, from: usize, length: usize): void {
  if (length >= 256) {
    memory.copy(to, from, length);
  } else if (length >= 16) {
    const last = length - 16;
    for (let i: usize = 0; i < last; i += 16) v128.store(to + i, v128.load(from + i));
    v128.store(to + last, v128.load(from + last));
  } else if (length >= 8) {
    store<u64>(to, load<u64>(from));
    store<u64>(to + length - 8, load<u64>(from + length - 8));
  } else if (length >= 4) {
    store<u32>(to, load<u32>(from));
    store<u32>(to + length - 4, load<u32>(from + length - 4));
  } else {
    for (let i: usize = 0; i < length; i++) store<u8>(to + i, load<u8>(from + i));
  }
}

/** Address of the last `byte` in [from, end), or 0. */
export function findLast(from: usize, end: usize, byte: u8): usize {
  while (end > from) {
    end--;
    if (load<u8>(end) == byte) return end;
  }
  return 0;
}

/** Are two stretches of the same length equal? */
export function equalBytes(a: usize, b: usize, length: usize): bool {
  let i: usize = 0;
  while (i + 16 <= length) {
    if (!i8x16.all_true(i8x16.eq(v128.load(a + i), v128.load(b + i)))) return false;
    i += 16;
  }
  for (; i < length; i++) {
    if (load<u8>(a + i) != load<u8>(b + i)) return false;
  }
  return true;
}

/** Are these bytes exactly the ASCII literal? */
export function isText(at: usize, length: usize, literal: string): bool {
  return length == <usize>literal.length && startsWithText(at, length, literal);
}

/** Do these bytes begin with the ASCII literal? */
export function startsWithText(at: usize, length: usize, literal: string): bool {
  const n = <usize>literal.length;
  if (length < n) return false;
  const from = changetype<usize>(literal);
  for (let i: usize = 0; i < n; i++) {
    if (<u16>load<u8>(at + i) != load<u16>(from + 2 * i)) return false;
  }
  return true;
}

/** A to Z as a to z, everything else as it is. */
export function lower(byte: u32): u32 {
  return byte - 65 < 26 ? byte + 32 : byte;
}

/** Are these bytes the ASCII literal, which is in lower case, whatever their case? */
export function isTextAnyCase(at: usize, length: usize, literal: string): bool {
  return length == <usize>literal.length && startsWithTextAnyCase(at, length, literal);
}

/** Do these bytes begin with the ASCII literal, which is in lower case, whatever their case? */
export function startsWithTextAnyCase(at: usize, length: usize, literal: string): bool {
  const n = <usize>literal.length;
  if (length < n) return false;
  const from = changetype<usize>(literal);
  for (let i: usize = 0; i < n; i++) {
    if (lower(<u32>load<u8>(at + i)) != <u32>load<u16>(from + 2 * i)) return false;
  }
  return true;
}

/** Mixes 64 bits so that every bit of the result depends on every bit of the value. */
export function mix64(value: u64): u64 {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccd;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53;
  return value ^ (value >> 33);
}

/** One 64-bit name for three numbers; conn is hash64(tgid, ssl, generation). */
export function hash64(a: u64, b: u64, c: u64): u64 {
  return mix64(mix64(mix64(a + 0x9e3779b97f4a7c15) ^ b) ^ rotl(c, 17));
}

/** A hash of bytes, for tables of names; not for secrets. */
export function hashBytes(at: usize, length: usize): u64 {
  let hash: u64 = 0x9e3779b97f4a7c15 ^ <u64>length;
  while (length >= 8) {
    hash = rotl((hash ^ load<u64>(at)) * 0xff51afd7ed558ccd, 29);
    at += 8;
    length -= 8;
  }
  for (; length > 0; length--) hash = rotl((hash ^ <u64>load<u8>(at++)) * 0xff51afd7ed558ccd, 29);
  return mix64(hash);
}

/** Bytes on the heap now held by all ByteBuf together. */
export let bufferedBytes: usize = 0;

/** A growable byte buffer with a limit of its own. Fields are to be read; free() before letting go of it. */
@unmanaged
export class ByteBuf {
  ptr: usize = 0;
  length: usize = 0;
  capacity: usize = 0;
  /** Never longer than this. */
  limit: usize = 0;

  constructor(limit: usize) {
    this.limit = limit;
  }

  /** Makes room for n more bytes; false: that would pass the limit, and nothing changed. */
  reserve(n: usize): bool {
    const needed = this.length + n;
    if (needed <= this.capacity) return true;
    if (needed > this.limit || needed < n) return false;
    let size: usize = this.capacity < 256 ? 256 : this.capacity * 2;
    while (size < needed) size *= 2;
    if (size > this.limit) size = this.limit;
    const ptr = heap.alloc(size);
    if (this.length > 0) memory.copy(ptr, this.ptr, this.length);
    if (this.ptr != 0) heap.free(this.ptr);
    bufferedBytes += size - this.capacity;
    this.ptr = ptr;
    this.capacity = size;
    return true;
  }

  /** Appends all of it, or nothing and returns false. */
  push(from: usize, n: usize): bool {
    if (!this.reserve(n)) return false;
    copyBytes(this.ptr + this.length, from, n);
    this.length += n;
    return true;
  }

  /** Appends as much as the limit allows and returns how much that was. */
  pushSome(from: usize, n: usize): usize {
    const left = this.limit - this.length;
    if (n > left) n = left;
    this.push(from, n);
    return n;
  }

  /** Empties it and keeps its memory. */
  clear(): void {
    this.length = 0;
  }

  /** Empties it and gives its memory back. The object itself stays; heap.free(changetype<usize>(buf)) ends it. */
  free(): void {
    if (this.ptr != 0) heap.free(this.ptr);
    bufferedBytes -= this.capacity;
    this.ptr = 0;
    this.length = 0;
    this.capacity = 0;
  }
}
