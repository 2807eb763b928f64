// Looks at paths a moment later, and again while a file is still being written or may yet come; it knows nothing of what is looked for.
import type { AddOutcome } from './attach.js';

/** Waits before the looks at a path that may come, ms: a program that is unpacked is there after the first ones, or a second later. */
const MAY_COME_MS = [3, 5, 10, 20, 40, 80, 160, 320, 640, 1_280] as const;
/** A file that has just appeared or changed. */
const SETTLE_MS = 2;
const GROWING_MS = 25;
/** For how long a file may grow. */
const GROWING_FOR_MS = 10_000;
/** What a file is while it is being written. */
const GROWING: ReadonlySet<AddOutcome> = new Set<AddOutcome>(['not_elf', 'truncated', 'malformed', 'no_symbols']);
const MAX_PENDING = 256;

interface Pending {
  dueMs: number;
  attempt: number;
  readonly mayCome: boolean;
  growingUntilMs: number | undefined;
}

export class PendingLooks {
  readonly #look: (path: string) => Promise<AddOutcome>;
  readonly #grows: (path: string) => Promise<boolean>;
  readonly #pending = new Map<string, Pending>();
  readonly counters = { looks: 0, looks_dropped: 0 };
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #closed = false;

  /**
   * @param look takes a path, and says what it found there.
   * @param grows whether a file that was of no use changed so recently that it may not be whole.
   */
  constructor(look: (path: string) => Promise<AddOutcome>, grows: (path: string) => Promise<boolean>) {
    this.#look = look;
    this.#grows = grows;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Whether everything that is known to have changed was looked at. */
  get settled(): boolean {
    return !this.#looking && [...this.#pending.values()].every(({ mayCome }) => mayCome);
  }

  /** @param mayCome the path need not exist yet. @returns false when there are too many already, which is counted. */
  expect(path: string, mayCome: boolean): boolean {
    if (this.#closed) return true;
    const pending = this.#pending.get(path);
    if (pending === undefined && this.#pending.size >= MAX_PENDING) {
      this.counters.looks_dropped += 1;
      return false;
    }
    // A path that is waited for has shown a sign of life when it is heard of again.
    if (pending === undefined || !mayCome) {
      const dueMs = performance.now() + (mayCome ? MAY_COME_MS[0] : SETTLE_MS);
      this.#pending.set(path, { dueMs, attempt: 0, mayCome, growingUntilMs: pending?.growingUntilMs });
    }
    this.#schedule();
    return true;
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#pending.clear();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#pending.size === 0) return;
    const next = Math.min(...[...this.#pending.values()].map(({ dueMs }) => dueMs));
    this.#timer = setTimeout(() => void this.#runDue(), Math.max(1, next - performance.now())).unref();
  }

  async #runDue(): Promise<void> {
    // Looks that were asked for meanwhile are scheduled at the end.
    if (this.#looking) return;
    const now = performance.now();
    const due = [...this.#pending].filter(([, { dueMs }]) => dueMs <= now);
    // Out of the way while it is looked at, so that what is heard meanwhile is a look of its own.
    for (const [path] of due) this.#pending.delete(path);
    this.#looking = true;
    for (const [path, pending] of due) {
      this.counters.looks += 1;
      await this.#again(path, pending, await this.#look(path));
    }
    this.#looking = false;
    this.#schedule();
  }

  async #again(path: string, pending: Pending, outcome: AddOutcome): Promise<void> {
    if (this.#closed || this.#pending.has(path)) return;
    const now = performance.now();
    if (outcome === 'gone') {
      const wait = pending.mayCome ? MAY_COME_MS[pending.attempt + 1] : undefined;
      if (wait !== undefined) this.#pending.set(path, { ...pending, dueMs: now + wait, attempt: pending.attempt + 1 });
      return;
    }
    // Nobody tells of a change in a folder that is not watched, so that a pause of the writer looks like the end.
    const maybe = GROWING.has(outcome) || (pending.mayCome && outcome === 'known');
    const until = pending.growingUntilMs ?? now + GROWING_FOR_MS;
    if (!maybe || now >= until || !(await this.#grows(path))) return;
    // It may have been heard of meanwhile.
    if (!this.#closed && !this.#pending.has(path)) this.#pending.set(path, { ...pending, dueMs: now + GROWING_MS, growingUntilMs: until });
  }
}
