// Tells which patterns a text can match at all, by the literals that each pattern's matches hold: one pass of a WebAssembly module instead of one per pattern.

/** Literals of one pattern: whatever the pattern matches holds one of them. ASCII, 3 to 24 bytes; lower case when fold is set, which stands for both. */
export interface LiteralSet {
  readonly literals: readonly string[];
  readonly fold: boolean;
}

interface Exports {
  tables(): number;
  text(): number;
  capacity(): number;
  memoryBytes(): number;
  scan(length: number): number;
}

const PAGE = 65536;
const BUCKETS = 8;
const BUCKETS_AT = 96;
const ENTRIES_AT = 160;
const ENTRY_BYTES = 32;
const ENTRY_TEXT = 8;
const MOST_SETS = 32;
const SHORTEST = 3;
const LONGEST = 24;

interface Literal {
  readonly bytes: Buffer;
  readonly fold: boolean;
  readonly set: number;
}

export class LiteralScan {
  private readonly exports: Exports;
  private readonly text: Uint8Array;
  private readonly encoder = new TextEncoder();

  /** @throws RangeError for literals that do not fit. */
  constructor(module: WebAssembly.Module, sets: readonly LiteralSet[]) {
    const probe = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const need = new WebAssembly.Instance(module, { env: { memory: probe } }).exports as unknown as Exports;
    const pages = Math.ceil(need.memoryBytes() / PAGE);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
    fill(new Uint8Array(memory.buffer, this.exports.tables()), literalsOf(sets));
    this.text = new Uint8Array(memory.buffer, this.exports.text(), this.exports.capacity());
  }

  /** @returns bit i: a match of set i may be in the text; never 0 for a set of which one is. */
  setsIn(text: string): number {
    let found = 0;
    for (let from = 0; ; ) {
      const { read, written } = this.encoder.encodeInto(from === 0 ? text : text.slice(from), this.text);
      found |= this.exports.scan(written);
      from += read;
      if (from >= text.length) return found;
      // A literal that lies across the end of this part is whole in the next one.
      from -= LONGEST;
    }
  }
}

function literalsOf(sets: readonly LiteralSet[]): Literal[] {
  if (sets.length > MOST_SETS) throw new RangeError(`more than ${MOST_SETS} sets of literals`);
  const all = sets.flatMap(({ literals, fold }, set) => literals.map((text): Literal => ({ bytes: Buffer.from(text), fold, set })));
  for (const { bytes } of all) {
    if (bytes.length < SHORTEST || bytes.length > LONGEST) throw new RangeError(`literal ${bytes.toString()} has not ${SHORTEST} to ${LONGEST} bytes`);
  }
  // Those that begin alike share a bucket, so that the buckets' first bytes overlap little.
  return all.sort((a, b) => a.bytes.compare(b.bytes));
}

function fill(tables: Uint8Array, literals: readonly Literal[]): void {
  const view = new DataView(tables.buffer, tables.byteOffset);
  const perBucket = Math.ceil(literals.length / BUCKETS);
  for (const [i, { bytes, fold, set }] of literals.entries()) {
    const bucket = Math.floor(i / perBucket);
    const at = BUCKETS_AT + bucket * 8;
    if (i % perBucket === 0) view.setUint32(at, i, true);
    view.setUint32(at + 4, (i % perBucket) + 1, true);
    const entry = ENTRIES_AT + i * ENTRY_BYTES;
    view.setUint32(entry, (1 << set) >>> 0, true);
    tables[entry + 4] = bytes.length;
    tables[entry + 5] = Number(fold);
    tables.set(bytes, entry + ENTRY_TEXT);
    for (let place = 0; place < SHORTEST; place++) {
      for (const byte of spellings(bytes[place] as number, fold)) {
        for (const nibble of [place * 32 + (byte & 15), place * 32 + 16 + (byte >> 4)]) tables[nibble] = (tables[nibble] as number) | (1 << bucket);
      }
    }
  }
}

/** The bytes that a literal's byte stands for. */
function spellings(byte: number, fold: boolean): number[] {
  return fold ? [byte, byte & ~0x20] : [byte];
}
