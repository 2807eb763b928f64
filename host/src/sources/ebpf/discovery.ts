// Finds files to probe, at start and as programs come: what is installed, what runs, what is executed later; never attaches by itself.
import { reasonOf } from '../../errors.js';
import type { SourceStats } from '../../events/source.js';
import type { AddOutcome } from './attach.js';
import { allCandidates, type Candidate, installedCandidates, librariesOf, programOf } from './candidates.js';
import type { ProcessWatcher } from './process-peek.js';

/** What discovery gives files to. */
export interface FileTable {
  add(candidate: Candidate): Promise<AddOutcome>;
}

export interface DiscoveryTimes {
  /** When the mappings of a new program are looked at, ms after its exec. The loader is done after the first, late dlopen by the last. */
  readonly rescanMs: readonly number[];
  /**
   * How often installed files are looked at again: a package upgrade makes a new inode. A process that starts later is looked at when it
   * starts, so this is for those that run already; it is the larger part of what an idle daemon costs (about 30 ms of CPU time a sweep).
   */
  readonly sweepMs: number;
}

const DEFAULT_TIMES: DiscoveryTimes = { rescanMs: [100, 1_000, 5_000], sweepMs: 120_000 };
const MAX_QUEUED_EXECS = 4_096;
const MAX_RESCANS = 4_096;
const TICK_MS = 50;

interface Rescan {
  readonly dueMs: number;
  readonly round: number;
}

/**
 *     exec record -> queue (by tgid) -> /proc/PID/exe -> table
 *                                    `-> rescans ------> /proc/PID/maps -> table   (100 ms, 1 s, 5 s later)
 *
 * One job runs at a time, so that a burst of new programs costs a queue and not a crowd of open files.
 */
export class Discovery implements ProcessWatcher {
  readonly #table: FileTable;
  readonly #times: DiscoveryTimes;
  readonly #execs = new Set<number>();
  readonly #rescans = new Map<number, Rescan>();
  readonly #outcomes: Record<string, number> = {};
  readonly #counters = { execs: 0, execs_merged: 0, execs_dropped: 0, rescans: 0, rescans_dropped: 0, sweeps: 0, problems: 0 };
  #tail: Promise<void> = Promise.resolve();
  #draining = false;
  #timer: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;
  #problem: string | undefined;

  constructor(table: FileTable, times: DiscoveryTimes = DEFAULT_TIMES) {
    this.#table = table;
    this.#times = times;
  }

  /** Looks at everything installed and running, then keeps looking at what is installed. */
  async scanAll(): Promise<void> {
    await this.#run(async () => {
      for await (const candidate of allCandidates()) {
        if (this.#closed) return;
        await this.#add(candidate);
      }
    });
    if (this.#closed) return;
    this.#sweep = setInterval(() => this.#startSweep(), this.#times.sweepMs).unref();
  }

  /** Looks at single files, for example the program that is about to be started. */
  async addFiles(candidates: readonly Candidate[]): Promise<void> {
    await this.#run(async () => {
      for (const candidate of candidates) await this.#add(candidate);
    });
  }

  /** A process has executed a program. Returns at once. */
  onExec(tgid: number): void {
    if (this.#closed) return;
    this.#counters.execs += 1;
    if (this.#execs.has(tgid)) this.#counters.execs_merged += 1;
    else if (this.#execs.size >= MAX_QUEUED_EXECS) this.#counters.execs_dropped += 1;
    else this.#execs.add(tgid);
    this.#drain();
  }

  /** A process is gone: there is nothing left to look at. Most new processes are, long before their first rescan. */
  onExit(tgid: number): void {
    this.#execs.delete(tgid);
    this.#rescans.delete(tgid);
  }

  /** Stops looking; resolves when the job under way is done. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    clearTimeout(this.#timer);
    this.#execs.clear();
    this.#rescans.clear();
    await this.#tail;
  }

  /** Counts by outcome of every look at a file, and of the queues. */
  stats(): SourceStats {
    return { ...this.#counters, queued: this.#execs.size, waiting: this.#rescans.size, files: { ...this.#outcomes } };
  }

  /** The last failure that was not a file's own doing, for people. */
  get lastProblem(): string | undefined {
    return this.#problem;
  }

  /** Runs a job after those before it. What a job throws is counted: the next one must run all the same. */
  #run(job: () => Promise<void>): Promise<void> {
    this.#tail = this.#tail.then(job).catch((error: unknown) => {
      this.#counters.problems += 1;
      this.#problem = reasonOf(error);
    });
    return this.#tail;
  }

  async #add(candidate: Candidate): Promise<void> {
    const outcome = await this.#table.add(candidate);
    this.#outcomes[outcome] = (this.#outcomes[outcome] ?? 0) + 1;
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    void this.#run(async () => {
      try {
        for (const tgid of this.#execs) {
          this.#execs.delete(tgid);
          for (const candidate of programOf(tgid)) await this.#add(candidate);
          this.#scheduleRescan(tgid, 0);
        }
      } finally {
        this.#draining = false;
      }
    });
  }

  #scheduleRescan(tgid: number, round: number): void {
    const delay = this.#times.rescanMs[round];
    if (delay === undefined || this.#closed) return;
    if (this.#rescans.size >= MAX_RESCANS && !this.#rescans.has(tgid)) {
      this.#counters.rescans_dropped += 1;
      return;
    }
    const before = round === 0 ? 0 : (this.#times.rescanMs[round - 1] ?? 0);
    this.#rescans.set(tgid, { dueMs: performance.now() + delay - before, round });
    this.#startTimer();
  }

  #startTimer(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#run(() => this.#rescanDue()).then(() => {
        if (this.#rescans.size > 0) this.#startTimer();
      });
    }, TICK_MS).unref();
  }

  async #rescanDue(): Promise<void> {
    const now = performance.now();
    for (const [tgid, { dueMs, round }] of this.#rescans) {
      if (dueMs > now) continue;
      this.#rescans.delete(tgid);
      this.#counters.rescans += 1;
      for (const candidate of await librariesOf(tgid)) await this.#add(candidate);
      this.#scheduleRescan(tgid, round + 1);
    }
  }

  #startSweep(): void {
    this.#counters.sweeps += 1;
    void this.#run(async () => {
      for (const candidate of await installedCandidates()) await this.#add(candidate);
    });
  }
}
