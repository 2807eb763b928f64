// What is around a deflate stream (gzip members, zlib) and the bits it is read from; it never sees a block.

export namespace Format {
  export const GZIP: u32 = 1;
  /** What HTTP calls deflate: zlib, or raw deflate as some servers send. */
  export const DEFLATE: u32 = 2;
}

/** What the next bits are. */
export namespace At {
  export const MEMBER: u32 = 0;
  export const GZIP_FLAGS: u32 = 1;
  export const SKIP: u32 = 2;
  export const EXTRA: u32 = 3;
  export const NAME: u32 = 4;
  export const COMMENT: u32 = 5;
  export const ZLIB: u32 = 7;
  export const BLOCK: u32 = 8;
  export const STORED: u32 = 9;
  export const STORED_BYTES: u32 = 10;
  export const COUNTS: u32 = 11;
  export const ORDER: u32 = 12;
  export const LENGTHS: u32 = 13;
  export const CODES: u32 = 14;
  export const TRAILER: u32 = 15;
  export const OVER: u32 = 16;
  export const BAD: u32 = 17;
}

@unmanaged
export class Wrapping {
  /** Next input byte. */
  input: usize = 0;
  inputEnd: usize = 0;
  format: u32 = 0;
  state: u32 = At.MEMBER;
  /** Bits taken from the input and not used yet; those above `count` are 0. */
  bits: u64 = 0;
  count: u32 = 0;
  /** Bytes in the window. */
  written: usize = 0;
  /** Where the member begins in the window: no match reaches before it. */
  floor: usize = 0;
  flags: u32 = 0;
  /** Bytes to go over, or of a stored block. */
  left: u32 = 0;
  index: u32 = 0;

  need(n: u32): bool {
    while (this.count < n) {
      if (this.input >= this.inputEnd) return false;
      this.bits |= (<u64>load<u8>(this.input++)) << this.count;
      this.count += 8;
    }
    return true;
  }

  pull(n: u32): u64 {
    const value = this.bits & (((<u64>1) << n) - 1);
    this.bits >>= n;
    this.count -= n;
    return value;
  }

  bad(): void {
    this.state = At.BAD;
  }

  /** One byte of what is around the deflate stream. */
  wrapper(byte: u32): void {
    switch (this.state) {
      case At.OVER:
      case At.MEMBER:
        this.memberStart(byte);
        break;
      case At.ZLIB:
        this.zlibStart(byte);
        break;
      case At.GZIP_FLAGS:
        if (this.index == 1 ? byte != 0x8b : this.index == 2 && byte != 8) this.bad();
        else if (this.index++ == 3) {
          this.flags = byte;
          if (byte & 0xe0) this.bad();
          else this.skipTo(6);
        }
        break;
      case At.SKIP:
        if (--this.left == 0) this.gzipNext();
        break;
      case At.EXTRA:
        this.left |= byte << (8 * this.index);
        if (++this.index == 2) this.left == 0 ? this.gzipNext() : this.skipTo(this.left);
        break;
      case At.NAME:
      case At.COMMENT:
        if (byte == 0) this.gzipNext();
        break;
      case At.TRAILER:
        if (--this.left == 0) this.state = At.OVER;
        break;
    }
  }

  memberStart(byte: u32): void {
    this.floor = this.written;
    this.index = 1;
    this.left = 0;
    if (this.format == Format.GZIP) {
      this.state = byte == 0x1f ? At.GZIP_FLAGS : At.BAD;
      return;
    }
    this.flags = byte;
    this.state = At.ZLIB;
  }

  /** The second byte decides whether the two are a zlib header or the beginning of raw deflate. */
  zlibStart(byte: u32): void {
    const first = this.flags;
    this.state = At.BLOCK;
    if ((first & 15) == 8 && first >> 4 <= 7 && ((first << 8) | byte) % 31 == 0) {
      this.flags = 4;
      if (byte & 32) this.bad();
      return;
    }
    this.flags = 0;
    this.bits = (this.bits << 16) | <u64>((byte << 8) | first);
    this.count += 16;
  }

  skipTo(n: u32): void {
    this.left = n;
    this.state = At.SKIP;
  }

  /** The next optional field of a gzip header; a bit of flags is cleared when its field is entered. */
  gzipNext(): void {
    const flags = this.flags;
    this.index = 0;
    this.left = 0;
    if (flags & 4) {
      this.flags = flags & ~4;
      this.state = At.EXTRA;
    } else if (flags & 8) {
      this.flags = flags & ~8;
      this.state = At.NAME;
    } else if (flags & 16) {
      this.flags = flags & ~16;
      this.state = At.COMMENT;
    } else if (flags & 2) {
      this.flags = flags & ~2;
      this.skipTo(2);
    } else {
      this.flags = 8;
      this.state = At.BLOCK;
    }
  }

  /** The last block is over: `flags` holds the length of the trailer. */
  ended(): void {
    const odd = this.count & 7;
    this.pull(odd);
    this.left = this.flags;
    this.state = this.left == 0 ? At.OVER : At.TRAILER;
  }
}
