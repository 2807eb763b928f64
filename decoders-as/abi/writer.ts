// A msgpack writer into memory of fixed size: it never writes past its end and never leaves a record half written.
//
// Use: mark, write, commit. A write that does not fit sets `full` and writes nothing; so a record is written without looking and kept or undone at
// its end, which is how a module answers FULL:
//
//   const mark = out.begin();
//   out.array(3);
//   out.uint(Kind.EVENT);
//   out.text('ai.request');               // an ASCII literal
//   out.str(at, length);                  // bytes that should be UTF-8; what is not becomes U+FFFD, counted in `replaced`
//   if (!out.commit(mark)) return Status.FULL;
//
// Sizes that are not known yet: openMap()/openArray() write a 5-byte head that close() fills in; openBin() one that append() extends as long as
// nothing else was written.
import { copyBytes } from '../lib/bytes';
import { utf8End, utf8Repair, utf8Replaced } from '../lib/utf8';

@unmanaged
export class Writer {
  /** Where writing began. */
  base: usize = 0;
  /** Where the next byte goes. */
  at: usize = 0;
  /** First byte that is not to be written. */
  end: usize = 0;
  /** Something since begin() did not fit. */
  full: bool = false;
  /** Ill-formed parts of texts that were replaced, ever. */
  replaced: u64 = 0;

  /** Takes [from, from + capacity) for its own. */
  open(from: usize, capacity: usize): void {
    this.base = from;
    this.at = from;
    this.end = from + capacity;
    this.full = false;
  }

  /** Bytes written. */
  get length(): usize {
    return this.at - this.base;
  }

  /** Bytes free. */
  get free(): usize {
    return this.end - this.at;
  }

  /** Do n more bytes fit? */
  room(n: usize): bool {
    return this.end - this.at >= n;
  }

  begin(): usize {
    this.full = false;
    return this.at;
  }

  /** True: all since the mark is kept. False: something did not fit, and nothing of it remains. */
  commit(mark: usize): bool {
    if (!this.full) return true;
    this.at = mark;
    this.full = false;
    return false;
  }

  /** Room for n bytes, or 0 with `full` set. */
  private take(n: usize): usize {
    const at = this.at;
    if (this.end - at < n) {
      this.full = true;
      return 0;
    }
    this.at = at + n;
    return at;
  }

  nil(): void {
    const at = this.take(1);
    if (at) store<u8>(at, 0xc0);
  }

  boolean(value: bool): void {
    const at = this.take(1);
    if (at) store<u8>(at, value ? 0xc3 : 0xc2);
  }

  uint(value: u64): void {
    if (value < 0x80) {
      const at = this.take(1);
      if (at) store<u8>(at, <u8>value);
    } else if (value <= 0xff) {
      const at = this.take(2);
      if (at) store<u16>(at, <u16>(0xcc | ((<u32>value) << 8)));
    } else if (value <= 0xffff) this.head16(0xcd, <u32>value);
    else if (value <= 0xffffffff) this.head32(0xce, <u32>value);
    else this.head64(0xcf, value);
  }

  int(value: i64): void {
    if (value >= 0) this.uint(<u64>value);
    else if (value >= -32) {
      const at = this.take(1);
      if (at) store<u8>(at, <u8>value);
    } else if (value >= -0x80000000) this.head32(0xd2, <u32>(<i32>value));
    else this.head64(0xd3, <u64>value);
  }

  float(value: f64): void {
    this.head64(0xcb, reinterpret<u64>(value));
  }

  array(n: u32): void {
    if (n < 16) this.byte(0x90 | n);
    else if (n <= 0xffff) this.head16(0xdc, n);
    else this.head32(0xdd, n);
  }

  /** A map of n pairs, which follow as key, value, key, value. */
  map(n: u32): void {
    if (n < 16) this.byte(0x80 | n);
    else if (n <= 0xffff) this.head16(0xde, n);
    else this.head32(0xdf, n);
  }

  /** A map whose pairs are counted later; returns what close() wants. */
  openMap(): usize {
    const at = this.at;
    this.head32(0xdf, 0);
    return at;
  }

  /** An array whose elements are counted later; returns what close() wants. */
  openArray(): usize {
    const at = this.at;
    this.head32(0xdd, 0);
    return at;
  }

  close(opened: usize, count: u32): void {
    if (!this.full) store<u32>(opened, bswap(count), 1);
  }

  /** Text that is to be UTF-8. */
  str(from: usize, length: usize): void {
    const bad = utf8End(from, from + length);
    if (bad != from + length) {
      this.repaired(from, length);
      return;
    }
    this.strHead(length);
    this.raw(from, length);
  }

  /** Text, or nil when `from` is 0. */
  strOrNil(from: usize, length: usize): void {
    if (from == 0) this.nil();
    else this.str(from, length);
  }

  /** A literal of ASCII characters. */
  text(value: string): void {
    const length = <usize>value.length;
    this.strHead(length);
    const at = this.take(length);
    if (!at) return;
    const from = changetype<usize>(value);
    for (let i: usize = 0; i < length; i++) store<u8>(at + i, load<u8>(from + 2 * i));
  }

  bin(from: usize, length: usize): void {
    if (length <= 0xff) {
      const at = this.take(2);
      if (at) store<u16>(at, <u16>(0xc4 | ((<u32>length) << 8)));
    } else if (length <= 0xffff) this.head16(0xc5, <u32>length);
    else this.head32(0xc6, <u32>length);
    this.raw(from, length);
  }

  /** An empty byte string that append() makes longer; returns what append() wants. */
  openBin(): usize {
    const at = this.at;
    this.head32(0xc6, 0);
    return at;
  }

  /** Adds bytes to an openBin() that is still the last thing written. */
  append(opened: usize, from: usize, length: usize): void {
    const at = this.take(length);
    if (!at) return;
    memory.copy(at, from, length);
    store<u32>(opened, bswap(<u32>(at + length - opened - 5)), 1);
  }

  /** Bytes that are msgpack already. */
  raw(from: usize, length: usize): void {
    const at = this.take(length);
    if (at) copyBytes(at, from, length);
  }

  /** Head of a text of `length` bytes, which raw() then writes: for a text that lies in pieces and is known to be UTF-8. */
  strHead(length: usize): void {
    if (length < 32) this.byte(0xa0 | <u32>length);
    else if (length <= 0xff) {
      const at = this.take(2);
      if (at) store<u16>(at, <u16>(0xd9 | ((<u32>length) << 8)));
    } else if (length <= 0xffff) this.head16(0xda, <u32>length);
    else this.head32(0xdb, <u32>length);
  }

  private repaired(from: usize, length: usize): void {
    const size = utf8Repair(0, from, from + length);
    this.strHead(size);
    const at = this.take(size);
    if (!at) return;
    utf8Repair(at, from, from + length);
    this.replaced += utf8Replaced;
  }

  private byte(value: u32): void {
    const at = this.take(1);
    if (at) store<u8>(at, <u8>value);
  }

  private head16(head: u8, value: u32): void {
    const at = this.take(3);
    if (!at) return;
    store<u8>(at, head);
    store<u16>(at, bswap(<u16>value), 1);
  }

  private head32(head: u8, value: u32): void {
    const at = this.take(5);
    if (!at) return;
    store<u8>(at, head);
    store<u32>(at, bswap(value), 1);
  }

  private head64(head: u8, value: u64): void {
    const at = this.take(9);
    if (!at) return;
    store<u8>(at, head);
    store<u64>(at, bswap(value), 1);
  }
}
