// Reads symbols and the build id of an untrusted ELF64 file through bounded reads; never maps, runs or holds a whole file.
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

export interface ElfImage {
  /** e_machine: 62 x86-64, 183 AArch64. */
  readonly machine: number;
  /** Lower-case hex of NT_GNU_BUILD_ID. The file itself claims it: two files may carry the same one. */
  readonly buildId: string | undefined;
  /** Wanted symbol -> byte offset of the function in the file, which is what a uprobe takes. */
  readonly symbols: ReadonlyMap<string, number>;
  /** Set when .symtab could not be searched although .dynsym could. */
  readonly partial: ElfReason | undefined;
}

// Far above any real file, and low enough that the worst file costs a fraction of a second and a few MiB.
const MAX_PROGRAM_HEADERS = 512;
const MAX_SECTIONS = 65_536;
const MAX_SYMBOLS = 4 << 20;
const MAX_STRING_TABLE = 128 << 20;
const MAX_NOTE_BYTES = 64 << 10;
const MAX_NOTE_SEGMENTS = 16;
const MAX_BUILD_ID = 64;
/** Places in a string table where a wanted name ends; real tables have a handful. */
const MAX_NAME_PLACES = 4096;
const BLOCK = 1 << 20;

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

interface Header {
  readonly machine: number;
  readonly phoff: number;
  readonly phnum: number;
  readonly shoff: number;
  readonly shnum: number;
}

interface Segment {
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

/**
 * Looks for functions in .dynsym, then in .symtab for those that are missing.
 *
 * Only defined symbols of type FUNC count: the value of an IFUNC is its resolver, whose arguments and result mean something else.
 * @param file an open regular file; not closed here.
 * @param wanted exact names, without a symbol version.
 * @throws ElfError, and nothing else.
 */
export async function readElf(file: FileHandle, wanted: ReadonlySet<string>): Promise<ElfImage> {
  const header = await readHeader(file);
  const segments = await readSegments(file, header);
  const buildId = await readBuildId(file, segments);
  const sections = await readSections(file, header);
  const symbols = new Map<string, number>();
  const code = segments.filter((s) => s.type === PT_LOAD && (s.flags & PF_X) !== 0);
  let partial: ElfReason | undefined;
  for (const type of [SHT_DYNSYM, SHT_SYMTAB]) {
    const table = sections.find((s) => s.type === type);
    const missing = [...wanted].filter((name) => !symbols.has(name));
    if (table === undefined || missing.length === 0) continue;
    try {
      await searchTable(file, { table, sections, code }, missing, symbols);
    } catch (error) {
      // What .dynsym gave stays true when .symtab is damaged or too large.
      if (!(error instanceof ElfError) || symbols.size === 0) throw error;
      partial = error.reason;
    }
  }
  return { machine: header.machine, buildId, symbols, partial };
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

/**
 * First finds where the wanted names stand in the string table, then which symbols point there: two sequential passes that
 * compare numbers, where looking up each of some 100,000 names would read the string table at random.
 */
async function searchTable(file: FileHandle, context: TableContext, names: readonly string[], found: Map<string, number>): Promise<void> {
  const { table, sections, code } = context;
  const strings = sections[table.link];
  if (strings?.type !== SHT_STRTAB) throw new ElfError('malformed', 'a symbol table without a string table');
  if (table.entsize !== SYM_SIZE) throw new ElfError('malformed', 'symbol size');
  if (strings.size > MAX_STRING_TABLE) throw new ElfError('limit', `a string table of ${strings.size} bytes`);
  if (table.size / SYM_SIZE > MAX_SYMBOLS) throw new ElfError('limit', `${table.size / SYM_SIZE} symbols`);
  const places = await namePlaces(file, strings, names);
  if (places.size === 0) return;
  const local = new Map<string, number>();
  const block = Buffer.alloc(Math.min(table.size, BLOCK - (BLOCK % SYM_SIZE)));
  const whole = table.size - (table.size % SYM_SIZE);
  for (let at = 0; at < whole; at += block.length) {
    const length = Math.min(block.length, whole - at);
    await readAt(file, block, length, table.offset + at);
    matchSymbols(block, length, places, (name, value, isLocal) => {
      const offset = fileOffset(code, value);
      const into = isLocal ? local : found;
      if (offset !== undefined && !into.has(name)) into.set(name, offset);
    });
  }
  // A static function of the same name is only taken when no global one exists.
  for (const [name, offset] of local) if (!found.has(name)) found.set(name, offset);
}

/** Offsets in the string table at which a wanted name stands (linkers let a name share the tail of a longer one). */
async function namePlaces(file: FileHandle, strings: Section, names: readonly string[]): Promise<Map<number, string>> {
  const places = new Map<number, string>();
  const needles = names.map((name) => ({ name, bytes: Buffer.from(`${name}\0`, 'latin1') }));
  const overlap = Math.max(...needles.map((n) => n.bytes.length)) - 1;
  const block = Buffer.alloc(Math.min(strings.size, BLOCK));
  for (let at = 0; at < strings.size; at += block.length - overlap) {
    const length = Math.min(block.length, strings.size - at);
    await readAt(file, block, length, strings.offset + at);
    const view = block.subarray(0, length);
    for (const { name, bytes } of needles) {
      for (let i = view.indexOf(bytes); i >= 0; i = view.indexOf(bytes, i + 1)) {
        places.set(at + i, name);
        if (places.size > MAX_NAME_PLACES) throw new ElfError('limit', 'too many copies of a name');
      }
    }
    if (at + length >= strings.size) break;
  }
  return places;
}

function matchSymbols(
  block: Buffer,
  length: number,
  places: ReadonlyMap<number, string>,
  onMatch: (name: string, value: number, isLocal: boolean) => void,
): void {
  for (let at = 0; at < length; at += SYM_SIZE) {
    const name = places.get(block.readUInt32LE(at));
    if (name === undefined) continue;
    const info = block.readUInt8(at + 4);
    const section = block.readUInt16LE(at + 6);
    if ((info & 15) !== STT_FUNC || section === 0) continue;
    onMatch(name, u64(block, at + 8), info >> 4 === STB_LOCAL);
  }
}

function fileOffset(code: readonly Segment[], value: number): number | undefined {
  const segment = code.find((s) => value >= s.vaddr && value - s.vaddr < s.filesz);
  return segment === undefined ? undefined : value - segment.vaddr + segment.offset;
}
