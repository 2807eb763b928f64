// The ELF reader: right on real files as binutils sees them, and harmless on any bytes whatsoever.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { ElfError, type ElfImage, readElf } from '../../host/src/sources/ebpf/elf.js';
import { examine, openRegular } from '../../host/src/sources/ebpf/tls-file.js';
import { writeLargeElf } from '../lib/large-elf.js';

const NAMES = ['SSL_read', 'SSL_write', 'SSL_read_ex', 'SSL_write_ex', 'SSL_write_ex2', 'SSL_free', 'SSL_clear'];
const WANTED = new Set(NAMES);
const LIBSSL = ['/usr/lib/x86_64-linux-gnu/libssl.so.3', '/usr/lib/aarch64-linux-gnu/libssl.so.3'].find((path) => existsSync(path));
const READELF = ['/usr/bin/readelf'].find((path) => existsSync(path));
/** A hostile file may cost this much on a busy two-core machine, ms. */
const HOSTILE_MS = 2_000;

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'oisp-elf-'));
});
after(() => rm(directory, { recursive: true, force: true }));

async function read(path: string, wanted: ReadonlySet<string> = WANTED): Promise<ElfImage> {
  const file = await open(path);
  try {
    return await readElf(file, wanted);
  } finally {
    await file.close();
  }
}

/** Reads bytes as a file; anything but an ElfError is a failure of the test. */
async function readBytes(bytes: Uint8Array, name: string, wanted?: ReadonlySet<string>): Promise<ElfImage | ElfError> {
  const path = join(directory, name);
  await writeFile(path, bytes);
  const began = performance.now();
  try {
    return await read(path, wanted);
  } catch (error) {
    assert.ok(error instanceof ElfError, `not an ElfError: ${String(error)}`);
    return error;
  } finally {
    assert.ok(performance.now() - began < HOSTILE_MS, 'took too long');
  }
}

/** Offsets of functions as binutils computes them: symbol value minus segment address plus segment offset. */
function expectedOffsets(path: string): Map<string, number> {
  const run = (tool: string, ...args: string[]): string[] => execFileSync(tool, [...args, path], { encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n');
  const segments = run(READELF as string, '-W', '-l').flatMap((line) => {
    const m = /^\s+LOAD\s+0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x([0-9a-f]+) 0x[0-9a-f]+ (.{3})/.exec(line);
    return m?.[4]?.includes('E')
      ? [{ offset: Number.parseInt(m[1] as string, 16), address: Number.parseInt(m[2] as string, 16), size: Number.parseInt(m[3] as string, 16) }]
      : [];
  });
  const offsets = new Map<string, number>();
  for (const line of run('/usr/bin/nm', '-D', '--defined-only')) {
    const m = /^([0-9a-f]+) [TW] ([^@\s]+)/.exec(line);
    const value = Number.parseInt(m?.[1] ?? '', 16);
    const segment = segments.find((s) => value >= s.address && value < s.address + s.size);
    if (m !== null && segment !== undefined && WANTED.has(m[2] as string)) offsets.set(m[2] as string, value - segment.address + segment.offset);
  }
  return offsets;
}

for (const path of [LIBSSL, '/usr/bin/node', process.execPath]) {
  const usable = path !== undefined && existsSync(path) && READELF !== undefined;
  test(`offsets in ${path ?? 'libssl'} are those of readelf`, { skip: !usable }, async () => {
    const began = performance.now();
    const image = await read(path as string);
    const ms = performance.now() - began;
    const expected = expectedOffsets(path as string);
    if (expected.size > 0) assert.deepEqual(new Map([...image.symbols].sort()), new Map([...expected].sort()));
    assert.match(image.buildId ?? '', /^[0-9a-f]{40}$/);
    assert.equal(image.partial, undefined);
    assert.ok(ms < 300, `${ms.toFixed(0)} ms`);
  });
}

test('a compiled executable gives its static functions from .symtab, and a global one wins over them', { skip: !existsSync('/usr/bin/cc') }, async () => {
  const sources = {
    'a.c': 'static int SSL_read(void) { return 1; } int (*keep)(void) = SSL_read; int SSL_free(void) { return 2; } int main(void) { return keep(); }',
    'b.c': 'int SSL_read(void) { return 3; }',
  };
  for (const [name, text] of Object.entries(sources)) await writeFile(join(directory, name), text);
  const build = (out: string, files: string[]): string => {
    execFileSync('/usr/bin/cc', ['-O0', '-o', join(directory, out), ...files.map((f) => join(directory, f))]);
    return join(directory, out);
  };
  const alone = await read(build('alone', ['a.c']));
  assert.deepEqual([...alone.symbols.keys()].sort(), ['SSL_free', 'SSL_read']);
  const both = await read(build('both', ['a.c', 'b.c']));
  assert.notEqual(both.symbols.get('SSL_read'), undefined);
  const nm = execFileSync('/usr/bin/nm', [join(directory, 'both')], { encoding: 'utf8' });
  const global = Number.parseInt(/^([0-9a-f]+) T SSL_read$/m.exec(nm)?.[1] ?? '', 16);
  assert.equal(both.symbols.get('SSL_read'), global);
});

test('an undefined symbol is not a function of the file', { skip: !existsSync('/usr/bin/curl') || LIBSSL === undefined }, async () => {
  const image = await read('/usr/bin/curl');
  assert.equal(image.symbols.size, 0);
});

test('what is no ELF file says so', async () => {
  for (const [bytes, reason] of [
    [Buffer.alloc(0), 'truncated'],
    [Buffer.from('#!/bin/sh\n'), 'not_elf'],
    [Buffer.from('\x7fELF', 'latin1'), 'truncated'],
    [Buffer.concat([Buffer.from('\x7fELF\x01\x01', 'latin1'), Buffer.alloc(58)]), 'unsupported'],
  ] as const) {
    const result = await readBytes(bytes, 'not-elf');
    assert.ok(result instanceof ElfError);
    assert.equal(result.reason, reason);
  }
});

/** Header fields that a hostile file would lie in, by offset and width. */
const HEADER_FIELDS: readonly (readonly [number, number])[] = [
  [32, 8],
  [40, 8],
  [54, 2],
  [56, 2],
  [58, 2],
  [60, 2],
  [62, 2],
];

test('property: no bytes of a real file, changed or cut, give anything but an image or an ElfError', { skip: LIBSSL === undefined }, async () => {
  const real = await readFile(LIBSSL as string);
  const sections = Number(real.readBigUInt64LE(40));
  const change = fc.oneof(
    fc.record({ at: fc.nat(real.length - 9), value: fc.bigInt(0n, (1n << 64n) - 1n), width: fc.constantFrom(1, 2, 4, 8) }),
    fc.record({ at: fc.nat(0x300), value: fc.bigInt(0n, (1n << 64n) - 1n), width: fc.constantFrom(1, 2, 4, 8) }),
    fc.record({ at: fc.integer({ min: sections, max: real.length - 9 }), value: fc.bigInt(0n, (1n << 64n) - 1n), width: fc.constantFrom(1, 2, 4, 8) }),
    fc
      .constantFrom(...HEADER_FIELDS)
      .chain(([at, width]) => fc.record({ at: fc.constant(at), value: fc.bigInt(0n, (1n << 64n) - 1n), width: fc.constant(width) })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), fc.option(fc.nat(real.length)), async (changes, cut) => {
      const bytes = Buffer.from(real);
      for (const { at, value, width } of changes) {
        const raw = Buffer.alloc(8);
        raw.writeBigUInt64LE(value);
        raw.copy(bytes, at, 0, width);
      }
      const result = await readBytes(cut === null ? bytes : bytes.subarray(0, cut), 'mutant');
      if (result instanceof ElfError) return;
      for (const offset of result.symbols.values()) assert.ok(Number.isSafeInteger(offset) && offset >= 0);
    }),
    { numRuns: 400 },
  );
});

test('the number of symbols, of sections and the size of strings are bounded', { skip: LIBSSL === undefined }, async () => {
  const real = await readFile(LIBSSL as string);
  const shoff = Number(real.readBigUInt64LE(40));
  const dynsym = [...Array(real.readUInt16LE(60)).keys()].find((i) => real.readUInt32LE(shoff + i * 64 + 4) === 11) as number;
  const strings = real.readUInt32LE(shoff + dynsym * 64 + 40);
  const lie = async (write: (bytes: Buffer) => void, reason: string): Promise<void> => {
    const bytes = Buffer.from(real);
    write(bytes);
    const result = await readBytes(bytes, 'lie');
    assert.ok(result instanceof ElfError);
    assert.equal(result.reason, reason);
  };
  await lie((b) => b.writeBigUInt64LE(1n << 40n, shoff + dynsym * 64 + 32), 'limit');
  await lie((b) => b.writeBigUInt64LE(1n << 40n, shoff + strings * 64 + 32), 'limit');
  await lie((b) => b.writeBigUInt64LE(1n << 63n, shoff + strings * 64 + 24), 'malformed');
  await lie((b) => b.writeUInt32LE(0xffff, shoff + dynsym * 64 + 40), 'malformed');
  await lie((b) => b.writeUInt16LE(513, 56), 'limit');
  await lie((b) => b.writeBigUInt64LE(25n, shoff + dynsym * 64 + 56), 'malformed');
  const copies = Buffer.from('SSL_read\0'.repeat(5000));
  real.writeBigUInt64LE(BigInt(real.length), shoff + strings * 64 + 24);
  real.writeBigUInt64LE(BigInt(copies.length), shoff + strings * 64 + 32);
  const result = await readBytes(Buffer.concat([real, copies]), 'copies');
  assert.ok(result instanceof ElfError && result.reason === 'limit');
});

test('a sparse giant full of zeros is answered quickly', { skip: LIBSSL === undefined }, async () => {
  const real = await readFile(LIBSSL as string);
  const shoff = Number(real.readBigUInt64LE(40));
  const strings = real.readUInt32LE(shoff + 3 * 64 + 40);
  real.writeBigUInt64LE(BigInt(128 << 20), shoff + strings * 64 + 32);
  const path = join(directory, 'sparse');
  await writeFile(path, real);
  const file = await open(path, 'r+');
  await file.truncate(1 << 30);
  await file.close();
  const began = performance.now();
  await read(path).catch((error: unknown) => assert.ok(error instanceof ElfError));
  assert.ok(performance.now() - began < HOSTILE_MS);
});

test('pipes, devices, directories and missing files are refused without being waited for', async () => {
  const pipe = join(directory, 'pipe');
  execFileSync('/usr/bin/mkfifo', [pipe]);
  for (const [path, refused] of [
    [pipe, 'not_regular'],
    ['/dev/zero', 'not_regular'],
    [directory, 'not_regular'],
    [join(directory, 'missing'), 'gone'],
  ] as const) {
    const opened = await openRegular(path);
    assert.ok('refused' in opened);
    assert.equal(opened.refused, refused);
  }
});

test('a TLS library is recognised with its functions, another library is not', { skip: LIBSSL === undefined }, async () => {
  const opened = await openRegular(LIBSSL as string);
  assert.ok('handle' in opened);
  const result = await examine(opened.handle);
  await opened.handle.close();
  assert.ok('tls' in result);
  assert.equal(result.tls.family, 'openssl');
  assert.ok(result.tls.functions.some((f) => f.probe.func === 'ssl_write' && f.offset !== undefined));
  const other = await openRegular((LIBSSL as string).replace('libssl', 'libcrypto'));
  assert.ok('handle' in other);
  const refused = await examine(other.handle);
  await other.handle.close();
  assert.ok('refused' in refused);
  assert.equal(refused.refused, 'no_symbols');
});

test('a file of 400 MB with four million symbols leaves the event loop its turns', async (t) => {
  const path = join(directory, 'large');
  const megabytes = 400;
  writeLargeElf(path, { symbols: 4_000_000, fileBytes: megabytes << 20, functions: NAMES });
  const turns: number[] = [];
  let running = true;
  let last = performance.now();
  const turn = (): void => {
    turns.push(performance.now() - last);
    last = performance.now();
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const cpu = process.cpuUsage();
  const image = await read(path);
  running = false;
  const { user, system } = process.cpuUsage(cpu);
  assert.deepEqual([...image.symbols.keys()].toSorted(), NAMES.toSorted());
  turns.sort((a, b) => a - b);
  const ms = (share: number): string => (turns[Math.floor((turns.length - 1) * share)] as number).toFixed(1);
  t.diagnostic(`${turns.length} turns, the longest ${ms(1)} ms, 99 % within ${ms(0.99)} ms, ${Math.round((user + system) / 1000)} ms of CPU`);
  // Whatever else this machine does: the loop turns for each quarter of a MiB that is read.
  assert.ok(turns.length > megabytes, `${turns.length} turns`);
  assert.ok((turns[Math.floor(turns.length / 2)] as number) < 20, `half of the turns take more than ${ms(0.5)} ms`);
});

test('a string table full of beginnings is given up at a bound', async () => {
  const path = join(directory, 'beginnings');
  writeLargeElf(path, { symbols: 10, fileBytes: 32 << 20, functions: [...NAMES, 'SSL_'.repeat(2 << 20)] });
  const result = await read(path).catch((error: unknown) => error);
  assert.ok(result instanceof ElfError && result.reason === 'limit');
});
