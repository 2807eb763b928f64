// Writes a synthetic ELF executable with a symbol table of any size, as a large program has that was not stripped; what it holds cannot run.
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

export interface LargeElf {
  readonly symbols: number;
  /** Length of the file; what the tables do not need is a hole. */
  readonly fileBytes: number;
  /** Names that stand at the very end of the tables, each a function at 0x1000 + 16 * its place. */
  readonly functions: readonly string[];
  readonly buildId?: string;
}

const EHDR = 64;
const PHDR = 56;
const SHDR = 64;
const SYM = 24;
const CHUNK_SYMBOLS = 20_000;
/** Length of a name with its NUL: what mangled names are on average. */
const NAME = 48;
const NOTE_AT = 0x400;
const TABLES_AT = 0x10000;

const align = (n: number): number => Math.ceil(n / 64) * 64;

export function writeLargeElf(path: string, { symbols, fileBytes, functions, buildId }: LargeElf): void {
  const machine = process.arch === 'arm64' ? 183 : 62;
  const names = Buffer.from(functions.map((name) => `${name}\0`).join(''), 'latin1');
  const symtabBytes = (symbols + functions.length + 1) * SYM;
  const strtabBytes = 1 + symbols * NAME + names.length;
  const symtabAt = align(TABLES_AT);
  const strtabAt = align(symtabAt + symtabBytes);
  const sectionsAt = align(strtabAt + strtabBytes);
  const file = openSync(path, 'w', 0o755);
  try {
    writeSync(file, header(machine, sectionsAt), 0, EHDR, 0);
    writeSync(file, segments(fileBytes, buildId), 0, 2 * PHDR, EHDR);
    if (buildId !== undefined) writeSync(file, note(buildId), 0, 36, NOTE_AT);
    for (let first = 0; first < symbols; first += CHUNK_SYMBOLS) {
      const count = Math.min(CHUNK_SYMBOLS, symbols - first);
      const entries = Buffer.alloc(count * SYM);
      const strings = Buffer.alloc(count * NAME);
      for (let i = 0; i < count; i += 1) {
        symbol(entries, i * SYM, { name: 1 + (first + i) * NAME, value: 0x1000 });
        // As in a real table, some begin like what is searched for.
        strings.write(`${i % 50 === 0 ? 'SSL_' : '_ZN4'}${(first + i).toString(36).padStart(NAME - 5, 'Sx')}`, i * NAME, 'latin1');
      }
      writeSync(file, entries, 0, entries.length, symtabAt + (1 + first) * SYM);
      writeSync(file, strings, 0, strings.length, strtabAt + 1 + first * NAME);
    }
    const last = Buffer.alloc(functions.length * SYM);
    let name = 1 + symbols * NAME;
    functions.forEach((text, i) => {
      symbol(last, i * SYM, { name, value: 0x1000 + 16 * i });
      name += text.length + 1;
    });
    writeSync(file, last, 0, last.length, symtabAt + (1 + symbols) * SYM);
    writeSync(file, names, 0, names.length, strtabAt + 1 + symbols * NAME);
    writeSync(file, sections({ symtabAt, symtabBytes, strtabAt, strtabBytes }), 0, 3 * SHDR, sectionsAt);
    ftruncateSync(file, Math.max(fileBytes, sectionsAt + 3 * SHDR));
  } finally {
    closeSync(file);
  }
}

function header(machine: number, sectionsAt: number): Buffer {
  const raw = Buffer.alloc(EHDR);
  raw.writeUInt32BE(0x7f454c46, 0);
  raw.set([2, 1, 1], 4);
  raw.writeUInt16LE(2, 16);
  raw.writeUInt16LE(machine, 18);
  raw.writeBigUInt64LE(BigInt(EHDR), 32);
  raw.writeBigUInt64LE(BigInt(sectionsAt), 40);
  raw.writeUInt16LE(PHDR, 54);
  raw.writeUInt16LE(2, 56);
  raw.writeUInt16LE(SHDR, 58);
  raw.writeUInt16LE(3, 60);
  return raw;
}

/** All of the file as code, and the note. */
function segments(fileBytes: number, buildId: string | undefined): Buffer {
  const raw = Buffer.alloc(2 * PHDR);
  raw.writeUInt32LE(1, 0);
  raw.writeUInt32LE(5, 4);
  raw.writeBigUInt64LE(BigInt(fileBytes), 32);
  raw.writeUInt32LE(4, PHDR);
  raw.writeBigUInt64LE(BigInt(NOTE_AT), PHDR + 8);
  raw.writeBigUInt64LE(buildId === undefined ? 0n : 36n, PHDR + 32);
  return raw;
}

function note(buildId: string): Buffer {
  const raw = Buffer.alloc(36);
  raw.writeUInt32LE(4, 0);
  raw.writeUInt32LE(20, 4);
  raw.writeUInt32LE(3, 8);
  raw.write('GNU\0', 12, 'latin1');
  raw.write(buildId, 16, 'hex');
  return raw;
}

function symbol(into: Buffer, at: number, { name, value }: { name: number; value: number }): void {
  into.writeUInt32LE(name, at);
  into.writeUInt8(0x12, at + 4);
  into.writeUInt16LE(1, at + 6);
  into.writeBigUInt64LE(BigInt(value), at + 8);
}

function sections(at: { symtabAt: number; symtabBytes: number; strtabAt: number; strtabBytes: number }): Buffer {
  const raw = Buffer.alloc(3 * SHDR);
  raw.writeUInt32LE(2, SHDR + 4);
  raw.writeBigUInt64LE(BigInt(at.symtabAt), SHDR + 24);
  raw.writeBigUInt64LE(BigInt(at.symtabBytes), SHDR + 32);
  raw.writeUInt32LE(2, SHDR + 40);
  raw.writeBigUInt64LE(BigInt(SYM), SHDR + 56);
  raw.writeUInt32LE(3, 2 * SHDR + 4);
  raw.writeBigUInt64LE(BigInt(at.strtabAt), 2 * SHDR + 24);
  raw.writeBigUInt64LE(BigInt(at.strtabBytes), 2 * SHDR + 32);
  return raw;
}
