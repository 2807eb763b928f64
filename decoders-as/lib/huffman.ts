// The Huffman code of HPACK, decoded from the lengths of its codes alone (RFC 7541 appendix B); the code is canonical, so lengths say everything.

const SYMBOLS: u32 = 257;
const END_OF_STRING: u32 = 256;
const LONGEST: u32 = 30;

/** Bits of the code of each symbol, 0 to 255 and the end of the string. */
const lengths: usize = memory.data<u8>([
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
  10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
  8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
  23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26,
  27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
  27, 27, 26, 30,
]);

/** For each value of the next eight bits, the symbol and its length (u16: symbol << 8 | length); 0: the code is longer. */
const short: usize = memory.data(512);
/** Symbols in the order of their codes. */
const sorted: usize = memory.data(SYMBOLS * 2);
/** For each length: the first code (u32), how many there are (u32), and where in `sorted` they begin (u32). */
const byLength: usize = memory.data((LONGEST + 1) * 12);

function build(): bool {
  let code: u32 = 0;
  let index: u32 = 0;
  for (let length: u32 = 1; length <= LONGEST; length++) {
    const row = byLength + <usize>length * 12;
    store<u32>(row, code);
    store<u32>(row, index, 8);
    for (let symbol: u32 = 0; symbol < SYMBOLS; symbol++) {
      if (load<u8>(lengths + symbol) != length) continue;
      store<u16>(sorted + ((<usize>index) << 1), <u16>symbol);
      index++;
      if (length <= 8) {
        const spare = 8 - length;
        for (let rest: u32 = 0; rest < 1 << spare; rest++) store<u16>(short + ((<usize>((code << spare) | rest)) << 1), <u16>((symbol << 8) | length));
      }
      code++;
    }
    store<u32>(row, code - load<u32>(row), 4);
    code <<= 1;
  }
  return true;
}
build();

/** Decodes [at, at + length) to `to`, which has room for 8/5 of it: no code is shorter than five bits. Returns how many bytes, or -1: it is not such a string. */
export function huffmanDecode(at: usize, length: usize, to: usize): isize {
  const end = at + length;
  const begin = to;
  let bits: u64 = 0;
  let count: u32 = 0;
  while (true) {
    while (count <= 56 && at < end) {
      bits = (bits << 8) | load<u8>(at++);
      count += 8;
    }
    // Behind the last byte come ones, as in the padding: what is cut off there is longer than the bits that are left.
    const next = count >= 8 ? <u32>(bits >> (count - 8)) & 0xff : (((<u32>bits) << (8 - count)) | (0xff >> count)) & 0xff;
    const entry = <u32>load<u16>(short + ((<usize>next) << 1));
    const size = entry & 0xff;
    if (size != 0 && size <= count) {
      store<u8>(to++, <u8>(entry >> 8));
      count -= size;
      continue;
    }
    if (size == 0 && count >= 8) {
      const window = count >= LONGEST ? <u32>(bits >> (count - LONGEST)) : ((<u32>bits) << (LONGEST - count)) | ((1 << (LONGEST - count)) - 1);
      const symbol = longSymbol(window & ((1 << LONGEST) - 1), count);
      if (symbol == END_OF_STRING) return -1;
      if (symbol < END_OF_STRING) {
        store<u8>(to++, <u8>symbol);
        count -= <u32>load<u8>(lengths + symbol);
        continue;
      }
    }
    const ones = (1 << count) - 1;
    return count < 8 && (<u32>bits & ones) == ones ? <isize>(to - begin) : -1;
  }
}

/** The symbol of more than eight bits that 30 bits begin with; SYMBOLS: it is longer than the `count` bits there are. */
function longSymbol(window: u32, count: u32): u32 {
  for (let length: u32 = 9; length <= LONGEST && length <= count; length++) {
    const row = byLength + <usize>length * 12;
    const index = (window >> (LONGEST - length)) - load<u32>(row);
    if (index < load<u32>(row, 4)) return load<u16>(sorted + ((<usize>(load<u32>(row, 8) + index)) << 1));
  }
  return SYMBOLS;
}
