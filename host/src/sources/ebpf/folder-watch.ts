// Tells when something appears or changes in a folder, through inotify; it opens no file, and it never watches more than it was allowed.
//
// inotify tells of every write to every file of a folder. A folder in which much is going on is left alone for a while and looked at as a
// whole when the watch is set again, so that a busy /tmp costs little.
import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import { isErrno } from './tls-file.js';

export interface FolderListener {
  /** An entry of a watched folder appeared, changed or vanished. */
  onEntry(folder: string, name: string): void;
  /** Entries of the folder may have changed unseen. */
  onUnsure(folder: string): void;
}

export interface FolderBounds {
  readonly folders: number;
  /** Events of one folder in one second before it is left alone for a second. */
  readonly eventsPerSecond: number;
}

export const FOLDER_BOUNDS: FolderBounds = { folders: 512, eventsPerSecond: 200 };
const PAUSE_MS = 1_000;

interface Watched {
  watcher: FSWatcher | undefined;
  windowStart: number;
  events: number;
}

export class FolderWatch {
  readonly #listener: FolderListener;
  readonly #bounds: FolderBounds;
  readonly #folders = new Map<string, Watched>();
  readonly #pauses = new Set<NodeJS.Timeout>();
  readonly counters = { folders_refused: 0, folders_full: 0, pauses: 0, entries: 0 };
  #closed = false;

  constructor(listener: FolderListener, bounds: FolderBounds = FOLDER_BOUNDS) {
    this.#listener = listener;
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#folders.size;
  }

  has(folder: string): boolean {
    return this.#folders.has(folder);
  }

  /** @returns false when it is not watched: no such folder, too many, or the machine has no watches left. All of these are counted. */
  add(folder: string): boolean {
    if (this.#closed) return false;
    if (this.#folders.has(folder)) return true;
    if (this.#folders.size >= this.#bounds.folders) {
      this.counters.folders_full += 1;
      return false;
    }
    const watcher = this.#open(folder);
    if (watcher === undefined) {
      this.counters.folders_refused += 1;
      return false;
    }
    this.#folders.set(folder, { watcher, windowStart: performance.now(), events: 0 });
    return true;
  }

  /** Idempotent. */
  remove(folder: string): void {
    this.#forget(folder);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    for (const pause of this.#pauses) clearTimeout(pause);
    for (const { watcher } of this.#folders.values()) watcher?.close();
    this.#folders.clear();
  }

  #open(folder: string): FSWatcher | undefined {
    try {
      const watcher = watch(folder, { persistent: false, encoding: 'buffer' }, (event, name) => this.#onEvent(folder, event, name));
      watcher.on('error', () => this.#forget(folder));
      return watcher;
    } catch (error) {
      // ENOENT: no such folder; ENOSPC: fs.inotify.max_user_watches is used up; EMFILE: max_user_instances.
      if (isErrno(error)) return undefined;
      throw error;
    }
  }

  #onEvent(folder: string, event: string, raw: Buffer | null): void {
    const watched = this.#folders.get(folder);
    if (watched === undefined || raw === null) return;
    const name = raw.toString();
    this.counters.entries += 1;
    // A watch on a folder that was removed or renamed tells of the folder under its own name, and then never again.
    if (name === basename(folder) && event === 'rename') this.#renew(folder);
    else if (this.#isBusy(watched)) this.#pause(folder, watched);
    else this.#listener.onEntry(folder, name);
  }

  #isBusy(watched: Watched): boolean {
    const now = performance.now();
    if (now - watched.windowStart > 1_000) {
      watched.windowStart = now;
      watched.events = 0;
    }
    watched.events += 1;
    return watched.events > this.#bounds.eventsPerSecond;
  }

  #pause(folder: string, watched: Watched): void {
    this.counters.pauses += 1;
    watched.watcher?.close();
    watched.watcher = undefined;
    const pause = setTimeout(() => {
      this.#pauses.delete(pause);
      this.#renew(folder);
    }, PAUSE_MS).unref();
    this.#pauses.add(pause);
  }

  /** Watches what the name leads to now. */
  #renew(folder: string): void {
    this.#forget(folder);
    this.add(folder);
    this.#listener.onUnsure(folder);
  }

  #forget(folder: string): void {
    this.#folders.get(folder)?.watcher?.close();
    this.#folders.delete(folder);
  }
}
