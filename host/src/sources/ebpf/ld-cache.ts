// Finds libraries by soname as the dynamic linker would, from /etc/ld.so.cache or the usual directories; never runs ldconfig.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from './tls-file.js';

const MAGIC = 'glibc-ld.so.cache1.1';
const OLD_MAGIC = 'ld.so-1.7.0\0';
const HEADER_SIZE = 48;
const ENTRY_SIZE = 24;
const MAX_CACHE_BYTES = 64 << 20;
const MAX_ENTRIES = 1 << 20;

/** Where musl and images without a cache keep libraries. */
const DIRECTORIES = [
  '/lib',
  '/lib64',
  '/usr/lib',
  '/usr/lib64',
  '/usr/local/lib',
  '/usr/local/lib64',
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
] as const;

/** @returns existing paths of the given sonames, without duplicates; names of other architectures are among them. */
export async function libraryPaths(sonames: readonly string[], cachePath = '/etc/ld.so.cache'): Promise<string[]> {
  const wanted = new Set(sonames);
  const found = new Set(await fromCache(cachePath, wanted));
  for (const directory of DIRECTORIES) {
    for (const soname of sonames) {
      const path = join(directory, soname);
      if (await exists(path)) found.add(path);
    }
  }
  return [...found];
}

async function fromCache(cachePath: string, wanted: ReadonlySet<string>): Promise<string[]> {
  try {
    if ((await stat(cachePath)).size > MAX_CACHE_BYTES) return [];
    return parseLdCache(await readFile(cachePath), wanted);
  } catch (error) {
    // No cache (musl, a bare image) is an ordinary machine: the directories are searched all the same.
    if (isErrno(error)) return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isErrno(error)) return false;
    throw error;
  }
}

/** Paths of the wanted sonames in a cache of glibc 2.2 or later; [] for anything else. */
export function parseLdCache(cache: Buffer, wanted: ReadonlySet<string>): string[] {
  const base = newFormatStart(cache);
  if (base < 0) return [];
  const count = cache.readUInt32LE(base + 20);
  const end = base + HEADER_SIZE + count * ENTRY_SIZE;
  if (count > MAX_ENTRIES || end > cache.length) return [];
  const paths: string[] = [];
  for (let at = base + HEADER_SIZE; at < end; at += ENTRY_SIZE) {
    const name = stringAt(cache, base + cache.readUInt32LE(at + 4));
    if (name !== undefined && wanted.has(name)) {
      const path = stringAt(cache, base + cache.readUInt32LE(at + 8));
      if (path?.startsWith('/')) paths.push(path);
    }
  }
  return paths;
}

/** The new format stands alone, or after a table of the old one, 8-byte aligned. */
function newFormatStart(cache: Buffer): number {
  let at = 0;
  if (cache.length >= 16 && cache.toString('latin1', 0, OLD_MAGIC.length) === OLD_MAGIC) {
    at = Math.ceil((16 + cache.readUInt32LE(12) * 12) / 8) * 8;
  }
  const isNew = at + HEADER_SIZE <= cache.length && cache.toString('latin1', at, at + MAGIC.length) === MAGIC;
  return isNew ? at : -1;
}

function stringAt(cache: Buffer, at: number): string | undefined {
  const end = at < cache.length ? cache.indexOf(0, at) : -1;
  return end < 0 ? undefined : cache.toString('utf8', at, end);
}
