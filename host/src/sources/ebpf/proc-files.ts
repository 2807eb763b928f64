// Names the files of running processes that may carry TLS code, from /proc/PID/exe and /proc/PID/maps; opens none of them.
import { open, readdir } from 'node:fs/promises';
import { identify, isErrno } from './tls-file.js';

/** A file that a process maps, as its maps file names it. */
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
/** libssl under any of its names, and what carries a TLS library inside: Node addons and libnode. */
const TLS_NAME = /^(?:libssl.*|libnode\.so.*|.*\.node)$/;

/** Ids of all processes, those that are gone by now included. */
export async function processIds(): Promise<number[]> {
  const names = await readdir('/proc');
  return names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(Number);
}

/** Executable mappings whose file name looks like TLS code, each file once. [] when the process is gone or hidden. */
export async function mappedTlsFiles(tgid: number): Promise<MappedFile[]> {
  const found = new Map<string, MappedFile>();
  await eachMapsLine(tgid, (line) => {
    const mapped = parseMapsLine(line);
    if (mapped !== undefined) found.set(`${mapped.dev}:${mapped.inode}`, mapped);
  });
  return [...found.values()];
}

/**
 * "START-END r-xp OFFSET MAJOR:MINOR INODE   PATH" of a code mapping of an interesting file, or undefined.
 * @param line read as latin1, so that every byte of a path survives.
 */
export function parseMapsLine(line: string): MappedFile | undefined {
  const slash = line.indexOf('/');
  if (slash < 0) return undefined;
  const path = line.slice(slash).replace(/ \(deleted\)$/, '');
  if (!TLS_NAME.test(path.slice(path.lastIndexOf('/') + 1))) return undefined;
  const match = /^([0-9a-f]+-[0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]+)\s*$/.exec(line.slice(0, slash));
  if (match === null) return undefined;
  const [, range = '', major = '0', minor = '0', inode = '0'] = match;
  // The kernel writes a newline in a path as \012; such a path only fails to open.
  const utf8 = Buffer.from(path, 'latin1').toString('utf8');
  return { path: utf8, range, dev: makeDev(BigInt(`0x${major}`), BigInt(`0x${minor}`)), inode: BigInt(inode) };
}

/** A device number as stat has it. */
function makeDev(major: bigint, minor: bigint): bigint {
  return ((major & ~0xfffn) << 32n) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | (minor & 0xffn);
}

/**
 * A path in this mount namespace that leads to the very file a process has mapped: the plain path, the path inside the
 * process's root (containers), or the kernel's own link to it (deleted or replaced files). On overlayfs and btrfs the device in
 * maps may differ from stat's, so that the inode number alone decides there.
 */
export async function reachMapped(tgid: number, mapped: MappedFile): Promise<string | undefined> {
  const paths = [mapped.path, `/proc/${tgid}/root${mapped.path}`];
  const seen = await Promise.all(paths.map(identify));
  const sameInode = paths.filter((_, i) => seen[i]?.regular && seen[i].inode === mapped.inode);
  const same = sameInode.find((path) => seen[paths.indexOf(path)]?.dev === mapped.dev) ?? sameInode[0];
  if (same !== undefined) return same;
  const link = `/proc/${tgid}/map_files/${mapped.range}`;
  return (await identify(link))?.regular ? link : undefined;
}

async function eachMapsLine(tgid: number, onLine: (line: string) => void): Promise<void> {
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
  } catch (error) {
    // ENOENT and ESRCH: gone; EACCES: hidden (no CAP_SYS_PTRACE), which `check` reports.
    if (!isErrno(error)) throw error;
  }
}
