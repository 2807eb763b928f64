// A resumable inflate for gzip (with further members), zlib and raw deflate: it takes input in any pieces, holds one window and never needs the
// whole of either side. Checksums are not verified.
//
//   input pieces -> bits (up to 64) -> blocks -> window [ history 32 KiB | new bytes | slack ] -> the caller takes the new bytes
//
// Use: feed(at, end), then run() until it asks for input; whenever it returns, the new bytes are at `fresh`, `freshLength` of them, and take(n)
// says that n were copied away. A symbol is decoded when all its bits are there, so nothing depends on how the input was cut.
import { At, Format, Wrapping } from './inflate-wrapping';
import { build, codeAt, Codes, DISTANCES, FAST_BITS, fixedTables, NO_CODE, TABLES_SIZE } from './inflate-tables';

export namespace Inflated {
  /** All input is used; more is needed. */
  export const MORE: i32 = 0;
  /** The window is full: take() what is fresh. */
  export const ROOM: i32 = 1;
  /** The stream is over, and there are bytes behind it that are not part of it. */
  export const DONE: i32 = 2;
  /** Not a deflate stream, from here on. */
  export const BAD: i32 = 3;
}

const HISTORY: usize = 32768;
const WINDOW_FIRST: usize = 8192;
const WINDOW_LAST: usize = HISTORY + 16384;
/** Longest match, and what copying by 16 bytes may write past it. */
const SLACK: usize = 258 + 16;

const LENGTH_BASE: usize = memory.data<u16>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
]);
const LENGTH_EXTRA: usize = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]);
const DISTANCE_BASE: usize = memory.data<u16>([
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
]);
const DISTANCE_EXTRA: usize = memory.data<u8>([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13]);
const ORDER: usize = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

/** Bytes on the heap now held by all Inflate together. */
export let inflateBytes: usize = 0;

@unmanaged
export class Inflate extends Wrapping {
  private window: usize = 0;
  private windowSize: usize = WINDOW_FIRST;
  private taken: usize = 0;
  private last: bool = false;
  private literals: u32 = 0;
  private distances: u32 = 0;
  private orders: u32 = 0;
  private tables: usize = 0;
  private own: usize = 0;
  private lengths: usize = 0;

  constructor(format: u32) {
    super();
    this.format = format;
    this.own = heap.alloc(TABLES_SIZE + 320);
    this.lengths = this.own + TABLES_SIZE;
    this.window = heap.alloc(WINDOW_FIRST);
    inflateBytes += TABLES_SIZE + 320 + WINDOW_FIRST;
  }

  /** Gives all memory back, its own too. */
  dispose(): void {
    inflateBytes -= TABLES_SIZE + 320 + this.windowSize;
    heap.free(this.own);
    heap.free(this.window);
    heap.free(changetype<usize>(this));
  }

  feed(at: usize, end: usize): void {
    this.input = at;
    this.inputEnd = end;
  }

  get fresh(): usize {
    return this.window + this.taken;
  }

  get freshLength(): usize {
    return this.written - this.taken;
  }

  take(n: usize): void {
    this.taken += n;
  }

  /** May the input end here? */
  get complete(): bool {
    return this.state == At.OVER || (this.state == At.MEMBER && this.written == 0 && this.count == 0 && this.index == 0);
  }

  run(): i32 {
    while (true) {
      const state = this.state;
      if (state == At.BAD) return Inflated.BAD;
      if (state == At.CODES || state == At.STORED_BYTES) {
        if (!this.makeRoom()) return Inflated.ROOM;
        if (!(state == At.CODES ? this.codes() : this.storedBytes())) return Inflated.MORE;
      } else if (state < At.BLOCK || state >= At.TRAILER) {
        if (!this.need(8)) return Inflated.MORE;
        if (state == At.OVER && (this.format != Format.GZIP || (this.bits & 0xff) != 0x1f)) return Inflated.DONE;
        this.wrapper(<u32>this.pull(8));
      } else if (!this.block()) return Inflated.MORE;
    }
  }

  /** Room for one match: grows or slides the window. False: what is fresh must be taken first. */
  private makeRoom(): bool {
    if (this.written + SLACK <= this.windowSize) return true;
    if (this.taken < this.written) return false;
    if (this.windowSize < WINDOW_LAST) {
      const size = min(this.windowSize * 2, WINDOW_LAST);
      const grown = heap.alloc(size);
      memory.copy(grown, this.window, this.written);
      heap.free(this.window);
      inflateBytes += size - this.windowSize;
      this.window = grown;
      this.windowSize = size;
      return true;
    }
    const gone = this.written - HISTORY;
    memory.copy(this.window, this.window + gone, HISTORY);
    this.written = HISTORY;
    this.taken = HISTORY;
    this.floor = this.floor > gone ? this.floor - gone : 0;
    return true;
  }

  /** One step of a block's head. False: more input is needed. */
  private block(): bool {
    switch (this.state) {
      case At.BLOCK:
        return this.blockStart();
      case At.STORED: {
        if (!this.need(32)) return false;
        const pair = <u32>this.pull(32);
        if ((pair & 0xffff) != ~pair >> 16) this.bad();
        else {
          this.left = pair & 0xffff;
          this.state = At.STORED_BYTES;
        }
        return true;
      }
      case At.COUNTS:
        if (!this.need(14)) return false;
        this.literals = 257 + <u32>this.pull(5);
        this.distances = 1 + <u32>this.pull(5);
        this.orders = 4 + <u32>this.pull(4);
        this.index = 0;
        memory.fill(this.lengths, 0, 320);
        this.state = At.ORDER;
        if (this.literals > 286 || this.distances > 30) this.bad();
        return true;
      case At.ORDER:
        return this.order();
    }
    return this.codeLengths();
  }

  private blockStart(): bool {
    if (this.last) {
      this.last = false;
      this.ended();
      return true;
    }
    if (!this.need(3)) return false;
    this.last = this.pull(1) != 0;
    const type = <u32>this.pull(2);
    if (type == 0) {
      this.pull(this.count & 7);
      this.state = At.STORED;
    } else if (type == 1) {
      this.tables = fixedTables;
      this.state = At.CODES;
    } else if (type == 2) this.state = At.COUNTS;
    else this.bad();
    return true;
  }

  private order(): bool {
    while (this.index < this.orders) {
      if (!this.need(3)) return false;
      store<u8>(this.lengths + <usize>load<u8>(ORDER + this.index++), <u8>this.pull(3));
    }
    this.index = 0;
    this.state = At.LENGTHS;
    if (!build(this.own, this.lengths, 19, Codes.LENGTHS)) this.bad();
    return true;
  }

  private codeLengths(): bool {
    const total = this.literals + this.distances;
    while (this.index < total) {
      const plenty = this.need(14);
      const entry = codeAt(this.own, this.bits, this.count);
      if (entry == NO_CODE) {
        if (!plenty) return false;
        this.bad();
        return true;
      }
      const symbol = entry >> 4;
      const extra: u32 = symbol < 16 ? 0 : symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
      if ((entry & 15) + extra > this.count) return false;
      this.pull(entry & 15);
      let repeat: u32 = 1;
      let length: u32 = symbol;
      if (symbol >= 16) {
        repeat = (symbol == 18 ? 11 : 3) + <u32>this.pull(extra);
        length = symbol == 16 && this.index > 0 ? <u32>load<u8>(this.lengths + this.index - 1) : 0;
        if (this.index + repeat > total || (symbol == 16 && this.index == 0)) {
          this.bad();
          return true;
        }
      }
      memory.fill(this.lengths + this.index, <u8>length, repeat);
      this.index += repeat;
    }
    this.state = At.CODES;
    this.tables = this.own;
    const distances = this.lengths + this.literals;
    const good =
      load<u8>(this.lengths + 256) != 0 &&
      build(this.own, this.lengths, this.literals, Codes.OTHERS) &&
      build(this.own + DISTANCES, distances, this.distances, Codes.OTHERS);
    if (!good) this.bad();
    return true;
  }

  private storedBytes(): bool {
    while (this.left > 0 && this.count >= 8 && this.written < this.windowSize) {
      store<u8>(this.window + this.written++, <u8>this.pull(8));
      this.left--;
    }
    const n = min(min(<usize>this.left, this.inputEnd - this.input), this.windowSize - this.written);
    if (this.count == 0 && n > 0) {
      memory.copy(this.window + this.written, this.input, n);
      this.input += n;
      this.written += n;
      this.left -= <u32>n;
    }
    if (this.left == 0) this.state = At.BLOCK;
    else if (this.input >= this.inputEnd && this.count == 0) return false;
    return true;
  }

  /** Literals and matches until the window is full, the block over (both: true) or the input used (false). */
  private codes(): bool {
    let bits = this.bits;
    let count = this.count;
    let input = this.input;
    const inputEnd = this.inputEnd;
    const literals = this.tables;
    const distances = literals + DISTANCES;
    const mask: u64 = (1 << FAST_BITS) - 1;
    const start = this.window + this.floor;
    const roof = this.window + this.windowSize - SLACK;
    let to = this.window + this.written;
    let more = true;
    while (to <= roof) {
      if (inputEnd - input >= 8) {
        bits |= load<u64>(input) << count;
        input += (63 - count) >> 3;
        count |= 56;
      } else {
        while (count <= 56 && input < inputEnd) {
          bits |= (<u64>load<u8>(input++)) << count;
          count += 8;
        }
      }
      let entry = <u32>load<u16>(literals + ((<usize>(bits & mask)) << 1));
      if (entry == 0) entry = codeAt(literals, bits, count);
      let used = entry & 15;
      if (entry == NO_CODE || used > count) {
        if (entry == NO_CODE && count >= 15) this.bad();
        else more = false;
        break;
      }
      let symbol = entry >> 4;
      if (symbol < 256) {
        store<u8>(to++, <u8>symbol);
        bits >>= used;
        count -= used;
        continue;
      }
      if (symbol == 256) {
        bits >>= used;
        count -= used;
        this.state = At.BLOCK;
        break;
      }
      symbol -= 257;
      if (symbol > 28) {
        this.bad();
        break;
      }
      let rest = bits >> used;
      let extra = <u32>load<u8>(LENGTH_EXTRA + symbol);
      const length = <usize>load<u16>(LENGTH_BASE + (symbol << 1)) + <usize>(rest & (((<u64>1) << extra) - 1));
      used += extra;
      rest >>= extra;
      const have = count > used ? count - used : 0;
      entry = <u32>load<u16>(distances + ((<usize>(rest & mask)) << 1));
      if (entry == 0) entry = codeAt(distances, rest, have);
      if (entry == NO_CODE || (entry & 15) > have) {
        if (entry == NO_CODE && have >= 15) this.bad();
        else more = false;
        break;
      }
      symbol = entry >> 4;
      if (symbol > 29) {
        this.bad();
        break;
      }
      extra = <u32>load<u8>(DISTANCE_EXTRA + symbol);
      used += (entry & 15) + extra;
      if (used > count) {
        more = false;
        break;
      }
      const distance = <usize>load<u16>(DISTANCE_BASE + (symbol << 1)) + <usize>((rest >> (entry & 15)) & (((<u64>1) << extra) - 1));
      if (distance > to - start) {
        this.bad();
        break;
      }
      bits >>= used;
      count -= used;
      copyMatch(to, distance, length);
      to += length;
    }
    this.written = to - this.window;
    // Bits above count are bytes of the input that are not used yet.
    this.bits = count < 64 ? bits & (((<u64>1) << count) - 1) : bits;
    this.count = count;
    this.input = input;
    return more;
  }
}

/** Repeats what lies `distance` before `to`; may write 15 bytes too many. */
function copyMatch(to: usize, distance: usize, length: usize): void {
  const end = to + length;
  if (distance >= 16) {
    do {
      v128.store(to, v128.load(to - distance));
      to += 16;
    } while (to < end);
  } else if (distance == 1) memory.fill(to, load<u8>(to - 1), length);
  else {
    do {
      store<u8>(to, load<u8>(to - distance));
      to++;
    } while (to < end);
  }
}
