// Scans files for TLS stacks when they are asked for, in a thread that lives as long as there is something to scan; remembers each content of a file.
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import type { FileScan } from './scan-file.js';

/** Contents that are remembered; the one asked for longest ago goes first. */
const MAX_KNOWN = 1024;
/** Files that wait to be scanned; more are told as pending, and can be asked for again. */
const MAX_QUEUED = 256;
const HEAP_MB = 64;

interface Job {
  readonly key: string;
  readonly path: string;
  readonly done: (scan: FileScan | undefined) => void;
}

export interface ScannerCounters {
  scans: number;
  scanned_bytes: number;
  known: number;
  forgotten: number;
  queue_full: number;
  /** The thread died, and the file it was at counts as unreadable. */
  failures: number;
}

export class Scanner {
  readonly #known = new Map<string, FileScan>();
  readonly #pending = new Map<string, Promise<FileScan | undefined>>();
  readonly #queue: Job[] = [];
  readonly #counters = { scans: 0, scanned_bytes: 0, forgotten: 0, queue_full: 0, failures: 0 };
  readonly #entry: URL;
  #worker: Worker | undefined;
  #current: Job | undefined;
  #closed = false;

  /** @param entry what the thread runs, for tests of a thread that fails. */
  constructor(entry = new URL('./scan-entry.js', import.meta.url)) {
    this.#entry = entry;
  }

  /**
   * @param path may lead through /proc.
   * @param deadlineMs of performance.now(): a scan that takes longer goes on, and is there the next time.
   * @returns undefined when it is not known yet: too many wait, or the deadline came first.
   */
  async scan(path: string, deadlineMs: number): Promise<FileScan | undefined> {
    const key = await identityOf(path);
    if (typeof key !== 'string') return key;
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#known.delete(key);
      this.#known.set(key, known);
      return known;
    }
    const pending = this.#pending.get(key) ?? this.#enqueue(key, path);
    return pending && (await before(pending, deadlineMs));
  }

  counters(): ScannerCounters {
    return { ...this.#counters, known: this.#known.size };
  }

  /** Ends the thread; what waits is answered as not known. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.splice(0)) job.done(undefined);
    this.#current?.done(undefined);
    this.#current = undefined;
    await this.#end();
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #enqueue(key: string, path: string): Promise<FileScan | undefined> | undefined {
    if (this.#queue.length >= MAX_QUEUED || this.#closed) {
      this.#counters.queue_full += 1;
      return undefined;
    }
    const { promise, resolve } = Promise.withResolvers<FileScan | undefined>();
    this.#pending.set(key, promise);
    this.#queue.push({ key, path, done: resolve });
    this.#next();
    return promise;
  }

  #next(): void {
    if (this.#current !== undefined) return;
    this.#current = this.#queue.shift();
    if (this.#current === undefined) {
      // Its memory is worth more than the 30 ms that the next one takes to start.
      void this.#end();
      return;
    }
    this.#worker ??= this.#start();
    this.#worker.postMessage(this.#current.path);
  }

  #start(): Worker {
    const worker = new Worker(this.#entry, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
    worker.unref();
    worker.on('message', (scan: FileScan) => this.#finish(scan));
    // An exit that was not asked for follows every error.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#counters.failures += 1;
      this.#finish({ stacks: [], crypto: [], stripped: null, scannedBytes: 0, cut: false, refused: 'the scan failed' });
    });
    return worker;
  }

  #finish(scan: FileScan): void {
    const job = this.#current;
    this.#current = undefined;
    if (job === undefined) return;
    this.#counters.scans += 1;
    this.#counters.scanned_bytes += scan.scannedBytes;
    this.#known.set(job.key, scan);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(oldest);
      this.#counters.forgotten += 1;
    }
    this.#pending.delete(job.key);
    job.done(scan);
    this.#next();
  }
}

/** Name of this content of the file, or the scan of a path that leads to none. */
async function identityOf(path: string): Promise<string | FileScan> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}`;
  } catch (error) {
    return { stacks: [], crypto: [], stripped: null, scannedBytes: 0, cut: false, refused: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
}

async function before<T>(promise: Promise<T>, deadlineMs: number): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), Math.max(0, deadlineMs - performance.now()));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
