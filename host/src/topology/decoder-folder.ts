// A folder of decoder modules: each file in it is offered to the chain, at the start and whenever it changes. Who may write there decides what reads plaintext.
import { type FSWatcher, watch } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HostError, reasonOf } from '../errors.js';
import type { DecoderSet } from './decoder-set.js';

/** A file is read when it has been left alone for so long. */
const SETTLE_MS = 300;
/** Longest module file. */
export const MODULE_BYTES_MOST = 16 << 20;
const WRITABLE_BY_OTHERS = 0o022;

export class DecoderFolder {
  #watcher: FSWatcher | undefined;
  readonly #due = new Map<string, NodeJS.Timeout>();

  /** @param say takes lines for the daemon's log. */
  constructor(
    private readonly folder: string,
    private readonly modules: DecoderSet,
    private readonly say: (line: string) => void,
  ) {}

  /** Offers what is there, and watches. @throws HostError CONFIG when the folder is not to be had or others may write to it. */
  async open(): Promise<void> {
    const found = await stat(this.folder).catch((error: unknown) => {
      throw new HostError('CONFIG', `decode.folder ${this.folder}: ${reasonOf(error)}`, 'Make the folder, or leave the setting out.', { cause: error });
    });
    const why = whyNotTrusted(found);
    if (why !== undefined) throw new HostError('CONFIG', `decode.folder ${this.folder} ${why}`, 'chown it to the user of the daemon, and chmod go-w it.');
    this.#watcher = watch(this.folder, (_, name) => {
      if (name?.endsWith('.wasm')) this.#later(name);
    });
    for (const name of (await readdir(this.folder)).sort()) if (name.endsWith('.wasm')) await this.#offer(name);
  }

  close(): void {
    this.#watcher?.close();
    for (const timer of this.#due.values()) clearTimeout(timer);
  }

  #later(name: string): void {
    clearTimeout(this.#due.get(name));
    const timer = setTimeout(() => {
      this.#due.delete(name);
      void this.#offer(name);
    }, SETTLE_MS).unref();
    this.#due.set(name, timer);
  }

  async #offer(name: string): Promise<void> {
    try {
      const bytes = await this.#read(join(this.folder, basename(name)));
      if (bytes) await this.modules.offer(bytes, name, 'the watched folder');
    } catch (error) {
      this.say(`${name} in ${this.folder} is not used: ${(error as Error).message}`);
    }
  }

  /** @returns undefined when it is gone. */
  async #read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = await open(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!file) return undefined;
    try {
      const found = await file.stat();
      const why = found.isFile() ? whyNotTrusted(found) : 'is no file';
      if (why !== undefined) throw new Error(`it ${why}`);
      if (found.size > MODULE_BYTES_MOST) throw new Error(`it is longer than ${MODULE_BYTES_MOST} bytes`);
      return new Uint8Array(await file.readFile());
    } finally {
      await file.close();
    }
  }
}

function whyNotTrusted({ uid, mode }: { uid: number; mode: number }): string | undefined {
  const own = process.geteuid?.() ?? 0;
  if (uid !== 0 && uid !== own) return `belongs to user ${uid}`;
  return mode & WRITABLE_BY_OTHERS ? 'can be written by others' : undefined;
}
