// Foresees where a program that is unpacked anew for each run, or installed in a folder for each version, will appear: where it was, but for
// one folder's name. It only works with names.
//
//     seen: /tmp/_MEI12ab/lib/libssl.so.3    watched: /tmp          waited for: /tmp/NEW/lib/libssl.so.3
//                                                     /tmp/_MEI12ab             /tmp/_MEI12ab/NEW/libssl.so.3
import { basename, dirname, join } from 'node:path';

/** Folders above a file's own that are watched. */
const LEVELS = 3;
const MAX_FOLDERS = 256;
/** Places below a new folder that are waited for. */
const MAX_REMAINDERS = 16;
/** In these nearly everything is somebody else's. */
const TOO_WIDE: ReadonlySet<string> = new Set([
  '/',
  '/home',
  '/usr',
  '/usr/lib',
  '/usr/lib64',
  '/usr/local',
  '/lib',
  '/lib64',
  '/proc',
  '/sys',
  '/dev',
  '/run',
  '/var',
]);

export class TwinFolders {
  readonly #remainders = new Map<string, Set<string>>();
  readonly counters = { twins_forgotten: 0 };

  /**
   * Remembers a file. @param path absolute and without links.
   * @returns the folders to watch, the nearest first, and those to leave because they were learnt longest ago.
   */
  learn(path: string): { watch: string[]; leave: string[] } {
    const watch: string[] = [];
    const leave: string[] = [];
    let folder = dirname(path);
    let remainder = basename(path);
    for (let level = 0; level < LEVELS; level += 1) {
      const above = dirname(folder);
      if (above === folder || TOO_WIDE.has(above)) break;
      leave.push(...this.#remember(above, remainder));
      watch.push(above);
      remainder = join(basename(folder), remainder);
      folder = above;
    }
    return { watch, leave: leave.filter((one) => !watch.includes(one)) };
  }

  /** Paths at which known files would be, now that this folder has an entry of that name. */
  expected(folder: string, name: string): string[] {
    return [...(this.#remainders.get(folder) ?? [])].map((remainder) => join(folder, name, remainder));
  }

  /** @returns folders that are forgotten. */
  #remember(folder: string, remainder: string): string[] {
    const remainders = this.#remainders.get(folder) ?? new Set();
    this.#remainders.delete(folder);
    this.#remainders.set(folder, remainders);
    remainders.delete(remainder);
    remainders.add(remainder);
    this.counters.twins_forgotten += forget(remainders, MAX_REMAINDERS).length;
    const left = forget(this.#remainders, MAX_FOLDERS);
    this.counters.twins_forgotten += left.length;
    return left;
  }
}

/** Drops the oldest keys past a bound. @returns them. */
function forget(from: Set<string> | Map<string, unknown>, most: number): string[] {
  const dropped: string[] = [];
  for (const key of from.keys()) {
    if (from.size <= most) break;
    from.delete(key);
    dropped.push(key);
  }
  return dropped;
}
