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
  readonly counters = { twins_dropped: 0 };

  /** Remembers a file. @param path absolute and without links. @returns the folders to watch, the nearest first. */
  learn(path: string): string[] {
    const folders: string[] = [];
    let folder = dirname(path);
    let remainder = basename(path);
    for (let level = 0; level < LEVELS; level += 1) {
      const above = dirname(folder);
      if (above === folder || TOO_WIDE.has(above)) break;
      if (this.#remember(above, remainder)) folders.push(above);
      remainder = join(basename(folder), remainder);
      folder = above;
    }
    return folders;
  }

  /** Paths at which known files would be, now that this folder has an entry of that name. */
  expected(folder: string, name: string): string[] {
    return [...(this.#remainders.get(folder) ?? [])].map((remainder) => join(folder, name, remainder));
  }

  #remember(folder: string, remainder: string): boolean {
    const known = this.#remainders.get(folder);
    if (known?.has(remainder)) return true;
    if (known === undefined ? this.#remainders.size >= MAX_FOLDERS : known.size >= MAX_REMAINDERS) {
      this.counters.twins_dropped += 1;
      return false;
    }
    if (known === undefined) this.#remainders.set(folder, new Set([remainder]));
    else known.add(remainder);
    return true;
  }
}
