// Names the files that running processes execute, from /proc/PID/maps; opens none of them.
import { open, readdir } from 'node:fs/promises';
import { libraries } from '../../gen/probes.js';
import { makeDev } from './kernel-identity.js';
import { identify, isErrno } from './tls-file.js';

/** A file of which a process maps code, as its maps file names it. */
export interface MappedFile {
  /** Path inside the process's mount namespace, without " (deleted)". */
  readonly path: string;
  /** START-END of the mapping, a name in /proc/PID/map_files. */
  readonly range: string;
  readonly dev: bigint;
  readonly inode: bigint;
}

/** Bytes of one maps file that are looked at: some 30,000 mappings. */
const MAX_MAPS_BYTES = 4 << 20;
const CHUNK = 64 << 10;
/** The names of the schema without what follows ".so": "libssl" also finds libssl.so.1.1 and a bundle's libssl-1a2b3c.so. */
const STEMS = [...new Set(libraries.flatMap((library) => library.sonames.map((soname) => soname.replace(/\.so.*$/, ''))))];
/** A TLS library under any of its names, and what often carries one inside: these are looked at first. */
const TLS_NAME = new RegExp(`^(?:(?:${STEMS.join('|')}).*|libnode\\.so.*|.*\\.node)$`);

/** Ids of all processes, those that are gone by now included. */
export async function processIds(): Promise<number[]> {
  const names = await readdir('/proc');
  return names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(Number);
}

/** Whether a process's mappings could be read. `hidden`: not without CAP_SYS_PTRACE. */
export type MapsAnswer = 'read' | 'gone' | 'hidden';

/** Files that a process has code of, each once, those that look like TLS by name first. [] when the process is gone or hidden. */
export async function mappedFiles(tgid: number): Promise<MappedFile[]> {
  const found = new Map<string, MappedFile>();
  await eachMappedFile(tgid, (mapped) => {
    const key = `${mapped.dev}:${mapped.inode}`;
    if (!found.has(key)) found.set(key, mapped);
  });
  const files = [...found.values()];
  return [...files.filter(looksLikeTls), ...files.filter((file) => !looksLikeTls(file))];
}

/** Calls back for every code mapping of a file. */
export async function eachMappedFile(tgid: number, onFile: (mapped: MappedFile) => void): Promise<MapsAnswer> {
  return await eachMapsLine(tgid, (line) => {
    const mapped = parseMapsLine(line);
    if (mapped !== undefined) onFile(mapped);
  });
}

function looksLikeTls({ path }: MappedFile): boolean {
  return TLS_NAME.test(path.slice(path.lastIndexOf('/') + 1));
}

/**
 * "START-END r-xp OFFSET MAJOR:MINOR INODE   PATH" of a code mapping of a file, or undefined.
 * @param line read as latin1, so that every byte of a path survives.
 */
export function parseMapsLine(line: string): MappedFile | undefined {
  // Most mappings are data: one look tells.
  if (line[line.indexOf(' ') + 3] !== 'x') return undefined;
  const slash = line.indexOf('/');
  if (slash < 0) return undefined;
  const path = line.slice(slash).replace(/ \(deleted\)$/, '');
  const match = /^([0-9a-f]+-[0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]+)\s*$/.exec(line.slice(0, slash));
  if (match === null) return undefined;
  const [, range = '', major = '0', minor = '0', inode = '0'] = match;
  // The kernel writes a newline in a path as \012; such a path only fails to open.
  const utf8 = Buffer.from(path, 'latin1').toString('utf8');
  return { path: utf8, range, dev: makeDev(BigInt(`0x${major}`), BigInt(`0x${minor}`)), inode: BigInt(inode) };
}

/**
 * A path in this mount namespace that leads to the very file a process has mapped: the plain path, the path inside the
 * process's root (containers), or the kernel's own link to it (deleted or replaced files). On overlayfs and btrfs the device in
 * maps may differ from stat's, so that the inode number alone decides there.
 */
export async function reachMapped(tgid: number, mapped: MappedFile): Promise<string | undefined> {
  let sameInode: string | undefined;
  for (const path of [mapped.path, `/proc/${tgid}/root${mapped.path}`]) {
    const seen = await identify(path);
    if (!seen?.regular || seen.inode !== mapped.inode) continue;
    if (seen.dev === mapped.dev) return path;
    sameInode ??= path;
  }
  if (sameInode !== undefined) return sameInode;
  const link = `/proc/${tgid}/map_files/${mapped.range}`;
  return (await identify(link))?.regular ? link : undefined;
}

async function eachMapsLine(tgid: number, onLine: (line: string) => void): Promise<MapsAnswer> {
  try {
    const file = await open(`/proc/${tgid}/maps`);
    try {
      const chunk = Buffer.alloc(CHUNK);
      let rest = '';
      for (let total = 0; total < MAX_MAPS_BYTES; ) {
        const { bytesRead } = await file.read(chunk, 0, CHUNK, null);
        if (bytesRead === 0) break;
        total += bytesRead;
        const lines = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) onLine(line);
      }
    } finally {
      await file.close();
    }
    return 'read';
  } catch (error) {
    if (!isErrno(error)) throw error;
    // ENOENT and ESRCH: gone; EACCES: hidden (no CAP_SYS_PTRACE), which `check` reports.
    return error.code === 'EACCES' || error.code === 'EPERM' ? 'hidden' : 'gone';
  }
}
