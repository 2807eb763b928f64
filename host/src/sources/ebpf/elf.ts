// Reads symbols and the build id of an untrusted ELF64 file through bounded reads; never maps, runs or holds a whole file.
//
// It runs on the main thread, beside capture: each turn works on one block that a thread of the pool has read (a few hundred
// microseconds), whatever the size of the file.
import type { FileHandle } from 'node:fs/promises';

/** Why a file is no use: bounded, so that it can name a counter. */
export type ElfReason = 'io' | 'not_elf' | 'unsupported' | 'truncated' | 'malformed' | 'limit';

/** The only error that reading an ELF file gives. */
export class ElfError extends Error {
  constructor(
    readonly reason: ElfReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ElfError';
  }
}

/** Where a symbol stands in a file, in bytes: its entry in the symbol table, and its name. */
export interface SymbolPlace {
  readonly entry: number;
  readonly name: number;
}

export interface ElfImage {
  /** e_machine: 62 x86-64, 183 AArch64. */
  readonly machine: number;
  /** Lower-case hex of NT_GNU_BUILD_ID. The file itself claims it: two files may carry the same one. */
  readonly buildId: string | undefined;
  /** Wanted symbol -> byte offset of the function in the file, which is what a uprobe takes. */
  readonly symbols: ReadonlyMap<string, number>;
  /** Where each of these symbols stands, for a quicker second look at a file like this one. */
  readonly places: ReadonlyMap<string, SymbolPlace>;
  /** Set when .symtab could not be searched although .dynsym could. */
  readonly partial: ElfReason | undefined;
}

// Far above any real file, and low enough that the worst file costs a fraction of a second and a few MiB.
const MAX_PROGRAM_HEADERS = 512;
const MAX_SECTIONS = 65_536;
const MAX_SYMBOLS = 4 << 20;
const MAX_STRING_TABLE = 256 << 20;
const MAX_NOTE_BYTES = 64 << 10;
const MAX_NOTE_SEGMENTS = 16;
const MAX_BUILD_ID = 64;
/** Places in a string table where a wanted name ends; real tables have a handful. */
const MAX_NAME_PLACES = 4096;
/** Names that begin like a wanted one; the largest real tables have some 10,000. */
const MAX_BEGINNINGS = 1 << 20;
/** Bytes of one turn. */
const BLOCK = 256 << 10;
/** Letters of a name that are searched for; the rest is compared where they are found. */
const STEM = 4;

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const SYM_SIZE = 24;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_X = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const STB_LOCAL = 0;
const NT_GNU_BUILD_ID = 3;

export interface Header {
  readonly machine: number;
  readonly phoff: number;
  readonly phnum: number;
  readonly shoff: number;
  readonly shnum: number;
}

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly filesz: number;
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly entsize: number;
}

/** What a file says of itself before any table is read. */
export interface ElfHead {
  /** e_machine. */
  readonly machine: number;
  readonly buildId: string | undefined;
  readonly header: Header;
  readonly segments: readonly Segment[];
}

/** Reads the header, the segments and the build id: a few KiB. @throws ElfError, and nothing else. */
export async function readHead(file: FileHandle): Promise<ElfHead> {
  const header = await readHeader(file);
  const segments = await readSegments(file, header);
  return { machine: header.machine, buildId: await readBuildId(file, segments), header, segments };
}

/**
 * Looks for functions in .dynsym, then in .symtab for those that are missing.
 *
 * Only defined symbols of type FUNC count: the value of an IFUNC is its resolver, whose arguments and result mean something else.
 * @param file an open regular file; not closed here.
 * @param wanted exact names, without a symbol version.
 * @throws ElfError, and nothing else.
 */
export async function readElf(file: FileHandle, wanted: ReadonlySet<string>, head?: ElfHead): Promise<ElfImage> {
  const { machine, buildId, header, segments } = head ?? (await readHead(file));
  const sections = await readSections(file, header);
  const symbols = new Map<string, number>();
  const places = new Map<string, SymbolPlace>();
  const code = codeOf(segments);
  let partial: ElfReason | undefined;
  for (const type of [SHT_DYNSYM, SHT_SYMTAB]) {
    const table = sections.find((s) => s.type === type);
    const missing = [...wanted].filter((name) => !symbols.has(name));
    if (table === undefined || missing.length === 0) continue;
    try {
      await searchTable(file, { table, sections, code }, missing, { symbols, places });
    } catch (error) {
      // What .dynsym gave stays true when .symtab is damaged or too large.
      if (!(error instanceof ElfError) || symbols.size === 0) throw error;
      partial = error.reason;
    }
  }
  return { machine, buildId, symbols, places, partial };
}

/**
 * Looks only where the symbols of a file like this one stood. What it gives is read from this very file.
 * @returns the symbols, or undefined when one of them is not there. @throws ElfError, and nothing else.
 */
export async function readPlaces(file: FileHandle, head: ElfHead, places: ReadonlyMap<string, SymbolPlace>): Promise<Map<string, number> | undefined> {
  const code = codeOf(head.segments);
  const symbols = new Map<string, number>();
  const entry = Buffer.alloc(SYM_SIZE);
  for (const [name, place] of places) {
    const bytes = Buffer.alloc(name.length + 1);
    await readAt(file, entry, SYM_SIZE, place.entry);
    await readAt(file, bytes, bytes.length, place.name);
    const offset = isFunction(entry, 0) ? fileOffset(code, u64(entry, 8)) : undefined;
    if (offset === undefined || bytes.toString('latin1') !== `${name}\0`) return undefined;
    symbols.set(name, offset);
  }
  return symbols;
}

function codeOf(segments: readonly Segment[]): Segment[] {
  return segments.filter((s) => s.type === PT_LOAD && (s.flags & PF_X) !== 0);
}

/** Reads exactly length bytes into buffer. */
async function readAt(file: FileHandle, buffer: Buffer, length: number, position: number): Promise<void> {
  let done = 0;
  while (done < length) {
    let got: number;
    try {
      got = (await file.read(buffer, done, length - done, position + done)).bytesRead;
    } catch (error) {
      throw new ElfError('io', `cannot read at ${position + done}`, { cause: error });
    }
    if (got === 0) throw new ElfError('truncated', `the file ends before ${position + length}`);
    done += got;
  }
}

/** A 64-bit number of the file; what is past 2^53 cannot be a place in a file. */
function u64(buffer: Buffer, at: number): number {
  const high = buffer.readUInt32LE(at + 4);
  if (high >= 0x20_0000) throw new ElfError('malformed', 'a 64-bit field is out of range');
  return high * 0x1_0000_0000 + buffer.readUInt32LE(at);
}

async function readHeader(file: FileHandle): Promise<Header> {
  const raw = Buffer.alloc(EHDR_SIZE);
  await readAt(file, raw, 4, 0);
  if (raw.readUInt32BE(0) !== 0x7f454c46) throw new ElfError('not_elf', 'not an ELF file');
  await readAt(file, raw, EHDR_SIZE, 0);
  if (raw[4] !== 2 || raw[5] !== 1) throw new ElfError('unsupported', 'not a 64-bit little-endian file');
  const phnum = raw.readUInt16LE(56);
  const shoff = u64(raw, 40);
  if (phnum > MAX_PROGRAM_HEADERS) throw new ElfError('limit', `${phnum} program headers`);
  if (phnum > 0 && raw.readUInt16LE(54) !== PHDR_SIZE) throw new ElfError('malformed', 'program header size');
  if (shoff > 0 && raw.readUInt16LE(58) !== SHDR_SIZE) throw new ElfError('malformed', 'section header size');
  const shnum = shoff === 0 ? 0 : await sectionCount(file, raw.readUInt16LE(60), shoff);
  return { machine: raw.readUInt16LE(18), phoff: u64(raw, 32), phnum, shoff, shnum };
}

/** e_shnum is 0 when there are 0xff00 sections or more: the number is then in the size of section 0. */
async function sectionCount(file: FileHandle, shnum: number, shoff: number): Promise<number> {
  let count = shnum;
  if (count === 0) {
    const first = Buffer.alloc(SHDR_SIZE);
    await readAt(file, first, SHDR_SIZE, shoff);
    count = u64(first, 32);
  }
  if (count > MAX_SECTIONS) throw new ElfError('limit', `${count} sections`);
  return count;
}

async function readSegments(file: FileHandle, header: Header): Promise<Segment[]> {
  const raw = Buffer.alloc(header.phnum * PHDR_SIZE);
  await readAt(file, raw, raw.length, header.phoff);
  const segments: Segment[] = [];
  for (let at = 0; at < raw.length; at += PHDR_SIZE) {
    const type = raw.readUInt32LE(at);
    // Other segments may hold anything in their numbers; they are not looked at.
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const flags = raw.readUInt32LE(at + 4);
    segments.push({ type, flags, offset: u64(raw, at + 8), vaddr: u64(raw, at + 16), filesz: u64(raw, at + 32) });
  }
  return segments;
}

async function readSections(file: FileHandle, header: Header): Promise<Section[]> {
  const raw = Buffer.alloc(header.shnum * SHDR_SIZE);
  await readAt(file, raw, raw.length, header.shoff);
  const sections: Section[] = [];
  for (let at = 0; at < raw.length; at += SHDR_SIZE) {
    const type = raw.readUInt32LE(at + 4);
    const used = type === SHT_SYMTAB || type === SHT_DYNSYM || type === SHT_STRTAB;
    sections.push({
      type,
      offset: used ? u64(raw, at + 24) : 0,
      size: used ? u64(raw, at + 32) : 0,
      link: raw.readUInt32LE(at + 40),
      entsize: used ? u64(raw, at + 56) : 0,
    });
  }
  return sections;
}

async function readBuildId(file: FileHandle, segments: readonly Segment[]): Promise<string | undefined> {
  const notes = segments.filter((s) => s.type === PT_NOTE).slice(0, MAX_NOTE_SEGMENTS);
  for (const { offset, filesz } of notes) {
    const raw = Buffer.alloc(Math.min(filesz, MAX_NOTE_BYTES));
    await readAt(file, raw, raw.length, offset);
    const found = buildIdIn(raw);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Walks notes (name size, description size, type, name, description; both padded to 4). */
function buildIdIn(raw: Buffer): string | undefined {
  let at = 0;
  while (at + 12 <= raw.length) {
    const nameSize = raw.readUInt32LE(at);
    const descSize = raw.readUInt32LE(at + 4);
    const desc = at + 12 + Math.ceil(nameSize / 4) * 4;
    const next = desc + Math.ceil(descSize / 4) * 4;
    if (desc + descSize > raw.length) return undefined;
    const isBuildId = raw.readUInt32LE(at + 8) === NT_GNU_BUILD_ID && raw.toString('latin1', at + 12, at + 12 + nameSize) === 'GNU\0';
    if (isBuildId && descSize > 0 && descSize <= MAX_BUILD_ID) return raw.toString('hex', desc, desc + descSize);
    at = next;
  }
  return undefined;
}

interface TableContext {
  readonly table: Section;
  readonly sections: readonly Section[];
  readonly code: readonly Segment[];
}

interface Found {
  readonly symbols: Map<string, number>;
  readonly places: Map<string, SymbolPlace>;
}

/**
 * First finds where the wanted names stand in the string table, then which symbols point there: two sequential passes that
 * compare numbers, where looking up each of some 100,000 names would read the string table at random.
 */
async function searchTable(file: FileHandle, context: TableContext, names: readonly string[], found: Found): Promise<void> {
  const { table, sections, code } = context;
  const strings = sections[table.link];
  if (strings?.type !== SHT_STRTAB) throw new ElfError('malformed', 'a symbol table without a string table');
  if (table.entsize !== SYM_SIZE) throw new ElfError('malformed', 'symbol size');
  if (strings.size > MAX_STRING_TABLE) throw new ElfError('limit', `a string table of ${strings.size} bytes`);
  if (table.size / SYM_SIZE > MAX_SYMBOLS) throw new ElfError('limit', `${table.size / SYM_SIZE} symbols`);
  const places = await namePlaces(file, strings, names);
  if (places.size === 0) return;
  const filter = new PlaceFilter(places.keys());
  const local = new Map<string, { offset: number; place: SymbolPlace }>();
  const block = Buffer.alloc(Math.min(table.size, BLOCK - (BLOCK % SYM_SIZE)));
  const whole = table.size - (table.size % SYM_SIZE);
  for (let at = 0; at < whole; at += block.length) {
    const length = Math.min(block.length, whole - at);
    await readAt(file, block, length, table.offset + at);
    for (const entry of filter.entries(block, length)) {
      const string = block.readUInt32LE(entry);
      const name = places.get(string);
      const offset = name !== undefined && isFunction(block, entry) ? fileOffset(code, u64(block, entry + 8)) : undefined;
      if (name === undefined || offset === undefined) continue;
      const place = { entry: table.offset + at + entry, name: strings.offset + string };
      if (block.readUInt8(entry + 4) >> 4 === STB_LOCAL) {
        if (!local.has(name)) local.set(name, { offset, place });
      } else if (!found.symbols.has(name)) {
        found.symbols.set(name, offset);
        found.places.set(name, place);
      }
    }
  }
  // A static function of the same name is only taken when no global one exists.
  for (const [name, { offset, place }] of local) {
    if (found.symbols.has(name)) continue;
    found.symbols.set(name, offset);
    found.places.set(name, place);
  }
}

/** Defined, and code that can be called. */
function isFunction(buffer: Buffer, at: number): boolean {
  return (buffer.readUInt8(at + 4) & 15) === STT_FUNC && buffer.readUInt16LE(at + 6) !== 0;
}

/** Leaves out nearly every symbol with one look at a table of bits, which is all that is done for most of some million. */
class PlaceFilter {
  readonly #bits = new Uint8Array(1 << 16);

  constructor(places: Iterable<number>) {
    for (const place of places) this.#bits[place & 0xffff] = 1;
  }

  /** Offsets of the entries in a block whose name may be one of the places. */
  entries(block: Buffer, length: number): number[] {
    const bits = this.#bits;
    const found: number[] = [];
    for (let at = 0; at < length; at += SYM_SIZE) {
      // Byte by byte: an index into a Buffer is what V8 turns into one load.
      if (bits[(block[at] as number) | ((block[at + 1] as number) << 8)] === 1) found.push(at);
    }
    return found;
  }
}

/** Offsets in the string table at which a wanted name stands (linkers let a name share the tail of a longer one). */
async function namePlaces(file: FileHandle, strings: Section, names: readonly string[]): Promise<Map<number, string>> {
  const places = new Map<number, string>();
  const search = new NameSearch(names);
  const block = Buffer.alloc(Math.min(strings.size, BLOCK));
  for (let at = 0; at < strings.size; at += block.length - search.overlap) {
    const length = Math.min(block.length, strings.size - at);
    await readAt(file, block, length, strings.offset + at);
    for (const [place, name] of search.in(block.subarray(0, length))) {
      places.set(at + place, name);
      if (places.size > MAX_NAME_PLACES) throw new ElfError('limit', 'too many copies of a name');
    }
    if (at + length >= strings.size) break;
  }
  return places;
}

/** Searches for many names at once: few letters begin them all, so that a block is read once for each beginning and not for each name. */
class NameSearch {
  readonly #names: ReadonlySet<string>;
  readonly #stems: readonly Buffer[];
  readonly #longest: number;
  #looked = 0;

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
    this.#stems = [...new Set(names.map((name) => name.slice(0, STEM)))].map((stem) => Buffer.from(stem, 'latin1'));
    this.#longest = Math.max(...names.map((name) => name.length));
  }

  /** Bytes that two blocks must share, so that a name with its NUL is whole in one of them. */
  get overlap(): number {
    return this.#longest;
  }

  /** Where the NUL of a name is, or -1 when it is longer than all that are searched for, or goes on in the next block. */
  #endOf(view: Buffer, at: number): number {
    const last = Math.min(view.length - 1, at + this.#longest);
    for (let end = at; end <= last; end += 1) if (view[end] === 0) return end;
    return -1;
  }

  *in(view: Buffer): Generator<[number, string]> {
    for (const stem of this.#stems) {
      for (let at = view.indexOf(stem); at >= 0; at = view.indexOf(stem, at + 1)) {
        this.#looked += 1;
        if (this.#looked > MAX_BEGINNINGS) throw new ElfError('limit', 'too many names that begin like a wanted one');
        const end = this.#endOf(view, at);
        const name = end < 0 ? undefined : view.toString('latin1', at, end);
        if (name !== undefined && this.#names.has(name)) yield [at, name];
      }
    }
  }
}

function fileOffset(code: readonly Segment[], value: number): number | undefined {
  const segment = code.find((s) => value >= s.vaddr && value - s.vaddr < s.filesz);
  return segment === undefined ? undefined : value - segment.vaddr + segment.offset;
}
