// HPACK header blocks (RFC 7541) of a connection that is only watched: what the table held before the watching began, or before bytes were lost, is unknown.
//
// hpackOpen(table, at, end), then hpackNext() for each field, which is in `Field` until the next call. A block is decoded whole or not at all: its entries
// change the table as they are read. The table keeps what its encoder keeps as far as 64 KiB: a larger one forgets the rest, and a reference to it is unknown.
import { huffmanDecode } from './huffman';

/** RFC 7541 section 4.1: what an entry counts for besides its bytes. */
const OVERHEAD: u32 = 32;
const DEFAULT_MAX: u32 = 4096;
const TABLE_MAX: u32 = 65536;
const STATIC_COUNT: u32 = 61;
const ENTRY_HEAD: usize = 8;
/** In the place of a name's length: the name is not known. */
const UNKNOWN: u32 = 0xffffffff;

/** Most bytes of one header block. */
export const BLOCK_MAX: usize = 256 << 10;

/** Bytes that the tables of all connections hold. */
export let hpackBytes: usize = 0;

/** The field that hpackNext() read. */
export namespace Field {
  export let name: usize = 0;
  export let nameLength: u32 = 0;
  /** False: the name is an entry that was never seen. */
  export let nameKnown: bool = false;
  export let value: usize = 0;
  export let valueLength: u32 = 0;
  export let valueKnown: bool = false;
}

/** The dynamic table of one direction. */
@unmanaged
export class HpackTable {
  /** Entries by age: a ring of addresses. */
  ring: usize = 0;
  mask: u32 = 0;
  /** Where in the ring the next entry goes. */
  next: u32 = 0;
  count: u32 = 0;
  /** As section 4.1 counts it. */
  size: u32 = 0;
  max: u32 = DEFAULT_MAX;

  /** Forgets every entry: which ones the encoder has now is not known. */
  clear(): void {
    while (this.count > 0) this.dropOldest();
  }

  free(): void {
    this.clear();
    if (this.ring) {
      hpackBytes -= (this.mask + 1) * 4;
      heap.free(this.ring);
    }
    this.ring = 0;
    this.mask = 0;
  }

  /** Entry by age, 0 the newest; 0: never seen. */
  at(age: u32): usize {
    return age < this.count ? <usize>load<u32>(this.slot(this.next - 1 - age)) : 0;
  }

  /** Puts the entry of an age below `count` into Field. */
  read(age: u32): void {
    readEntry(this.at(age), true);
  }

  setMax(max: u32): void {
    this.max = max;
    this.fit(min(max, TABLE_MAX));
  }

  /** Takes the field at hand in as the newest entry. */
  insert(): void {
    const nameLength = Field.nameKnown ? Field.nameLength : 0;
    const size = nameLength + Field.valueLength + OVERHEAD;
    const room = min(this.max, TABLE_MAX);
    if (size > room) {
      keepName();
      this.clear();
      return;
    }
    // The field may lie in an entry that has to go: it is copied first.
    const entry = heap.alloc(ENTRY_HEAD + nameLength + Field.valueLength);
    store<u32>(entry, Field.nameKnown ? nameLength : UNKNOWN);
    store<u32>(entry, Field.valueLength, 4);
    memory.copy(entry + ENTRY_HEAD, Field.name, nameLength);
    memory.copy(entry + ENTRY_HEAD + nameLength, Field.value, Field.valueLength);
    Field.name = entry + ENTRY_HEAD;
    Field.value = Field.name + nameLength;
    hpackBytes += ENTRY_HEAD + nameLength + Field.valueLength;
    this.fit(room - size);
    if (this.count > this.mask || this.ring == 0) this.grow();
    store<u32>(this.slot(this.next++), <u32>entry);
    this.count++;
    this.size += size;
  }

  private slot(index: u32): usize {
    return this.ring + ((<usize>(index & this.mask)) << 2);
  }

  private fit(room: u32): void {
    while (this.size > room) this.dropOldest();
  }

  private dropOldest(): void {
    const entry = <usize>load<u32>(this.slot(this.next - this.count));
    const nameLength = load<u32>(entry) == UNKNOWN ? 0 : load<u32>(entry);
    const bytes = nameLength + load<u32>(entry, 4);
    this.size -= bytes + OVERHEAD;
    this.count--;
    hpackBytes -= ENTRY_HEAD + bytes;
    heap.free(entry);
  }

  private grow(): void {
    const before = this.ring ? this.mask + 1 : 0;
    const length = before ? before * 2 : 8;
    const ring = heap.alloc((<usize>length) << 2);
    for (let i: u32 = 0; i < this.count; i++) store<u32>(ring + ((<usize>i) << 2), load<u32>(this.slot(this.next - this.count + i)));
    if (this.ring) heap.free(this.ring);
    hpackBytes += (length - before) * 4;
    this.ring = ring;
    this.mask = length - 1;
    this.next = this.count;
  }
}

/** Name and value of each static entry: address and length, u32 each. */
const statics: usize = memory.data((STATIC_COUNT + 1) * 16);
const staticText: usize = memory.data(1024);
let staticUsed: usize = 0;
let staticRow: usize = statics;

function text(value: string): void {
  store<u32>(staticRow, <u32>(staticText + staticUsed));
  store<u32>(staticRow, value.length, 4);
  for (let i = 0; i < value.length; i++) store<u8>(staticText + staticUsed++, <u8>value.charCodeAt(i));
  staticRow += 8;
}

/** RFC 7541 appendix A. */
function entry(name: string, value: string = ''): void {
  text(name);
  text(value);
}

staticRow += 16;
entry(':authority');
entry(':method', 'GET');
entry(':method', 'POST');
entry(':path', '/');
entry(':path', '/index.html');
entry(':scheme', 'http');
entry(':scheme', 'https');
entry(':status', '200');
entry(':status', '204');
entry(':status', '206');
entry(':status', '304');
entry(':status', '400');
entry(':status', '404');
entry(':status', '500');
entry('accept-charset');
entry('accept-encoding', 'gzip, deflate');
entry('accept-language');
entry('accept-ranges');
entry('accept');
entry('access-control-allow-origin');
entry('age');
entry('allow');
entry('authorization');
entry('cache-control');
entry('content-disposition');
entry('content-encoding');
entry('content-language');
entry('content-length');
entry('content-location');
entry('content-range');
entry('content-type');
entry('cookie');
entry('date');
entry('etag');
entry('expect');
entry('expires');
entry('from');
entry('host');
entry('if-match');
entry('if-modified-since');
entry('if-none-match');
entry('if-range');
entry('if-unmodified-since');
entry('last-modified');
entry('link');
entry('location');
entry('max-forwards');
entry('proxy-authenticate');
entry('proxy-authorization');
entry('range');
entry('referer');
entry('refresh');
entry('retry-after');
entry('server');
entry('set-cookie');
entry('strict-transport-security');
entry('transfer-encoding');
entry('user-agent');
entry('vary');
entry('via');
entry('www-authenticate');

/** What hpackNext() found. */
export namespace Hpack {
  export const FIELD: u32 = 0;
  /** The block is over. */
  export const END: u32 = 1;
  /** It is no header block: what it would have changed in the table is not known. */
  export const BAD: u32 = 2;
}

let table: HpackTable = changetype<HpackTable>(0);
let at: usize = 0;
let end: usize = 0;
/** Some field was read: a size update may no longer come. */
let begun: bool = false;
/** Texts of the block: decoded ones, which are no longer than the block could make them, and names whose entry is gone, of which the same is true but for the first. */
const SCRATCH: usize = 2 * ((BLOCK_MAX * 8) / 5) + TABLE_MAX;
let scratch: usize = 0;
let scratchUsed: usize = 0;

/** The name at hand may lie in an entry that is about to go. */
function keepName(): void {
  if (scratch == 0) scratch = heap.alloc(SCRATCH);
  memory.copy(scratch + scratchUsed, Field.name, Field.nameLength);
  Field.name = scratch + scratchUsed;
  scratchUsed += Field.nameLength;
}

/** Begins a block of at most BLOCK_MAX bytes. */
export function hpackOpen(by: HpackTable, from: usize, to: usize): void {
  table = by;
  at = from;
  end = to;
  begun = false;
  scratchUsed = 0;
}

let failed: bool = false;

/** An integer whose first byte, at `at`, has a prefix of so many bits (section 5.1). */
function integer(prefix: u32): u32 {
  const most: u32 = (1 << prefix) - 1;
  let value: u32 = load<u8>(at++) & most;
  if (value < most) return value;
  for (let shift: u32 = 0; shift <= 21; shift += 7) {
    if (at >= end) break;
    const byte: u32 = load<u8>(at++);
    value += (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  failed = true;
  return 0;
}

let stringAt: usize = 0;
let stringLength: u32 = 0;

/** A string literal (section 5.2). */
function readString(): void {
  if (at >= end) {
    failed = true;
    return;
  }
  const coded = load<u8>(at) >= 0x80;
  const length = <usize>integer(7);
  if (failed || length > end - at) {
    failed = true;
    return;
  }
  const from = at;
  at += length;
  if (!coded) {
    stringAt = from;
    stringLength = <u32>length;
    return;
  }
  if (scratch == 0) scratch = heap.alloc(SCRATCH);
  stringAt = scratch + scratchUsed;
  const decoded = huffmanDecode(from, length, stringAt);
  if (decoded < 0) failed = true;
  else {
    stringLength = <u32>decoded;
    scratchUsed += <usize>decoded;
  }
}

/** Puts the name of an entry, and its value, into Field. */
function indexed(index: u32, value: bool): void {
  if (index <= STATIC_COUNT) {
    const row = statics + ((<usize>index) << 4);
    Field.name = load<u32>(row);
    Field.nameLength = load<u32>(row, 4);
    Field.nameKnown = true;
    if (!value) return;
    Field.value = load<u32>(row, 8);
    Field.valueLength = load<u32>(row, 12);
    Field.valueKnown = true;
    return;
  }
  readEntry(table.at(index - STATIC_COUNT - 1), value);
}

/** Puts the name of a dynamic entry, and its value, into Field. found: 0 is one that was never seen. */
function readEntry(found: usize, value: bool): void {
  const nameLength = found ? load<u32>(found) : UNKNOWN;
  Field.nameKnown = nameLength != UNKNOWN;
  Field.nameLength = Field.nameKnown ? nameLength : 0;
  Field.name = found + ENTRY_HEAD;
  if (!value) return;
  Field.valueKnown = found != 0;
  Field.value = Field.name + Field.nameLength;
  Field.valueLength = found ? load<u32>(found, 4) : 0;
}

/** Reads the next field, or says why there is none. */
export function hpackNext(): u32 {
  failed = false;
  while (at < end) {
    const first: u32 = load<u8>(at);
    if (first >> 5 == 1) {
      const max = integer(5);
      if (failed || begun) return Hpack.BAD;
      table.setMax(max);
      continue;
    }
    begun = true;
    if (first >= 0x80) {
      const index = integer(7);
      if (failed || index == 0) return Hpack.BAD;
      indexed(index, true);
      return Hpack.FIELD;
    }
    const remembered = first >= 0x40;
    return literal(integer(remembered ? 6 : 4), remembered) ? Hpack.FIELD : Hpack.BAD;
  }
  return Hpack.END;
}

/** A literal field whose name is an entry or, with index 0, follows (section 6.2). */
function literal(index: u32, remembered: bool): bool {
  if (failed) return false;
  if (index == 0) {
    readString();
    if (failed) return false;
    Field.name = stringAt;
    Field.nameLength = stringLength;
    Field.nameKnown = true;
  } else indexed(index, false);
  readString();
  if (failed) return false;
  Field.value = stringAt;
  Field.valueLength = stringLength;
  Field.valueKnown = true;
  if (remembered) table.insert();
  return true;
}
