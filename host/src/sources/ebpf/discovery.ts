// Finds files to probe, at start and as they come: what is installed, what runs, what is executed and mapped later, what is replaced; never attaches by itself.
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { reasonOf } from '../../errors.js';
import type { SourceStats } from '../../events/source.js';
import type { AddOutcome, Target } from './attach.js';
import { type Candidate, candidateOf, installedCandidates, programOf, runningCandidates } from './candidates.js';
import type { FileReport } from './file-report.js';
import { FOLDER_BOUNDS, FolderWatch } from './folder-watch.js';
import { PendingLooks } from './pending-looks.js';
import { type MappedFile, mappedFiles } from './proc-files.js';
import type { ProcessWatcher } from './process-peek.js';
import { unusedTargets } from './reaper.js';
import { type FileIdentity, fileKey, identify, isErrno, sameContent } from './tls-file.js';
import { TwinFolders } from './twin-folders.js';

/** What discovery gives files to. */
export interface FileTable {
  readonly report: FileReport;
  add(candidate: Candidate): Promise<AddOutcome>;
  targets(): Target[];
  release(id: number): boolean;
}

export interface DiscoveryTimes {
  /** How often installed files are looked at again. Folders are watched, and mappings are told of, so that this is for what both missed. */
  readonly sweepMs: number;
  /** Where a known file is not in a watched folder, how often its path is looked at, ms. */
  readonly unwatchedMs: number;
  /** The first look for files that nobody uses any more, after one was replaced, ms. Doubles up to the sweep while processes hold them. */
  readonly reapMs: number;
  /** Folders that may be watched; absent: as FolderWatch has it. */
  readonly folders?: number;
}

const DEFAULT_TIMES: DiscoveryTimes = { sweepMs: 120_000, unwatchedMs: 1_000, reapMs: 1_000 };
const MAX_QUEUED = 4_096;
/** Mappings of one process that are looked for by number; past it all its mappings are looked at. */
const MAX_INODES = 64;
/** Programs that a process executes one after the other before the first is looked at; past it only the last counts. */
const MAX_PROGRAMS = 4;
/** Looks that run side by side: a file of some 100 MB must not keep the others waiting. */
const LANES = 4;
const MAX_RECENT = 4_096;
const REAP_PATIENCE = 20;
const REAP_PATIENCE_MS = 100;
/** Entries missed in this time are made up for together. */
const UNSURE_MS = 100;
/** A file that changed this recently may not be whole yet. */
const GROWS_MS = 2_000;

/** What is to be looked at of one process. */
interface Queued {
  /** When it executed its program, ms since the epoch. */
  execAtMs: number | undefined;
  /** Its programs, as they were called when it executed them. */
  readonly programs: Set<string>;
  mapAtMs: number;
  /** inode -> device of the mappings told of. */
  readonly inodes: Map<bigint, bigint>;
  all: boolean;
}

/** A file that was looked at, by the number the kernel side knows it by. */
interface Recent {
  readonly path: string;
  readonly identity: FileIdentity;
}

/**
 *     exec record ----> queue by tgid --> /proc/PID/exe ----------> table
 *     mapping record -'               `-> /proc/PID/maps ---------'   |
 *     folder of a known file changed --> pending looks ----------'    `-> its folder is watched
 *
 * Four looks run at a time, so that a burst of new programs costs a queue and not a crowd of open files.
 */
export class Discovery implements ProcessWatcher {
  readonly #table: FileTable;
  readonly #times: DiscoveryTimes;
  readonly #queue = new Map<number, Queued>();
  readonly #recent = new Map<string, Recent>();
  readonly #outcomes: Record<string, number> = {};
  readonly #counters = { execs: 0, maps: 0, maps_known: 0, merged: 0, dropped: 0, sweeps: 0, loss_scans: 0, reaped: 0, unwatched: 0, problems: 0 };
  readonly #folders: FolderWatch;
  readonly #looks: PendingLooks;
  readonly #twins = new TwinFolders();
  readonly #running = new Set<Promise<void>>();
  #lanes = 0;
  #sweep: NodeJS.Timeout | undefined;
  #reap: NodeJS.Timeout | undefined;
  #unwatchedTimer: NodeJS.Timeout | undefined;
  /** Folders that hold a known file. */
  readonly #homes = new Set<string>();
  readonly #unwatched = new Set<string>();
  readonly #unsure = new Set<string>();
  #unsureTimer: NodeJS.Timeout | undefined;
  #scanning = false;
  #closed = false;
  #problem: string | undefined;

  constructor(table: FileTable, times: DiscoveryTimes = DEFAULT_TIMES) {
    this.#table = table;
    this.#times = times;
    this.#looks = new PendingLooks((path) => this.#lookAgain(path), changedLately);
    const listener = { onEntry: (folder: string, name: string) => this.#onEntry(folder, name), onUnsure: (folder: string) => this.#onUnsure(folder) };
    this.#folders = new FolderWatch(listener, times.folders === undefined ? FOLDER_BOUNDS : { ...FOLDER_BOUNDS, folders: times.folders });
  }

  /** Looks at everything installed and running, then keeps looking at what is installed. */
  async scanAll(): Promise<void> {
    await this.#run(async () => {
      for (const candidate of await installedCandidates()) {
        if (this.#closed) return;
        await this.#add(candidate);
      }
      await this.#scanProcesses();
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

  /** A process has executed a program. Returns at once. @param atMs when, ms since the epoch. */
  onExec(tgid: number, atMs: number): void {
    if (this.#closed) return;
    this.#counters.execs += 1;
    const queued = this.#queued(tgid);
    if (queued !== undefined) {
      queued.execAtMs = atMs;
      // Now, for it may be gone before its turn: then its file is looked at for its next run.
      const program = programOf(tgid);
      if (program !== undefined) {
        queued.programs.delete(program);
        if (queued.programs.size >= MAX_PROGRAMS) queued.programs.clear();
        queued.programs.add(program);
      }
    }
    this.#drain();
  }

  /** A process has mapped code of a file that the kernel side did not tell of lately. Returns at once. */
  onMap(tgid: number, file: { readonly dev: bigint; readonly inode: bigint }, atMs: number): void {
    if (this.#closed) return;
    this.#counters.maps += 1;
    const queued = this.#queued(tgid);
    if (queued === undefined) return;
    queued.mapAtMs = atMs;
    if (queued.inodes.size < MAX_INODES) queued.inodes.set(file.inode, file.dev);
    else queued.all = true;
    this.#drain();
  }

  /** A process is gone: there is nothing left to look at. */
  onExit(tgid: number): void {
    this.#queue.delete(tgid);
  }

  /** Records of execs and mappings were lost: what runs is looked at as at the start. One such scan at a time. */
  onLoss(): void {
    if (this.#closed || this.#scanning) return;
    this.#counters.loss_scans += 1;
    void this.#run(() => this.#scanProcesses());
  }

  /** Stops looking; resolves when the looks under way are done. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    clearInterval(this.#unwatchedTimer);
    clearTimeout(this.#reap);
    clearTimeout(this.#unsureTimer);
    this.#folders.close();
    this.#looks.close();
    this.#queue.clear();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Counts by outcome of every look at a file, of the queues, and of what is watched. */
  stats(): SourceStats {
    const watched = { folders: this.#folders.size, ...this.#folders.counters, ...this.#looks.counters, ...this.#twins.counters, pending: this.#looks.size };
    return { ...this.#counters, queued: this.#queue.size, files: { ...this.#outcomes }, watched, report: { ...this.#table.report.counters } };
  }

  /** The last failure that was not a file's own doing, for people. */
  get lastProblem(): string | undefined {
    return this.#problem;
  }

  /** Runs a job. What it throws is counted: the next one must run all the same. */
  #run(job: () => Promise<void>): Promise<void> {
    const running = job().catch((error: unknown) => {
      this.#counters.problems += 1;
      this.#problem = reasonOf(error);
    });
    this.#running.add(running);
    return running.finally(() => this.#running.delete(running));
  }

  /** @param sinceMs when the process of the candidate began to use the file, ms since the epoch; undefined: before the sensor. Without a process it has no meaning. */
  async #add(candidate: Candidate, sinceMs?: number): Promise<AddOutcome> {
    const outcome = await this.#table.add(candidate);
    this.#outcomes[outcome] = (this.#outcomes[outcome] ?? 0) + 1;
    if (this.#closed) return outcome;
    if (outcome === 'attached') {
      this.#tellLate(candidate, sinceMs);
      await this.#watch(candidate);
    } else if (outcome === 'full') {
      this.#reapSoon(this.#times.reapMs);
    }
    return outcome;
  }

  /** The process runs the file already. */
  #tellLate({ shown, tgid }: Candidate, sinceMs: number | undefined): void {
    if (tgid === undefined) return;
    // By now a large file has been read as a whole; its probes may have come on before that.
    const onMs = this.#table.targets().findLast(({ path }) => path === shown)?.sinceMs ?? Date.now();
    const afterMs = sinceMs === undefined ? undefined : Math.max(0, onMs - sinceMs);
    this.#table.report.late({ path: shown, tgid, afterMs });
  }

  #queued(tgid: number): Queued | undefined {
    const queued = this.#queue.get(tgid);
    if (queued !== undefined) {
      this.#counters.merged += 1;
      return queued;
    }
    if (this.#queue.size >= MAX_QUEUED) {
      this.#counters.dropped += 1;
      return undefined;
    }
    const fresh: Queued = { execAtMs: undefined, programs: new Set(), mapAtMs: 0, inodes: new Map(), all: false };
    this.#queue.set(tgid, fresh);
    return fresh;
  }

  #drain(): void {
    while (this.#lanes < Math.min(LANES, this.#queue.size)) {
      this.#lanes += 1;
      void this.#lane();
    }
  }

  async #lane(): Promise<void> {
    // After the batch has been walked: what it tells of one process is looked at together.
    await Promise.resolve();
    for (const [tgid, queued] of this.#queue) {
      this.#queue.delete(tgid);
      await this.#run(() => this.#lookAt(tgid, queued));
    }
    this.#lanes -= 1;
  }

  async #lookAt(tgid: number, { execAtMs, programs, mapAtMs, inodes, all }: Queued): Promise<void> {
    const last = [...programs].at(-1);
    for (const shown of programs) {
      // /proc leads to the last one only, and to that one as long as the process lives.
      const outcome = shown === last ? await this.#add({ path: `/proc/${tgid}/exe`, shown, tgid }, execAtMs) : 'gone';
      if (outcome === 'gone') await this.#add({ path: shown, shown, tgid }, execAtMs);
    }
    for (const [inode, dev] of inodes) if (await this.#isRecent(`${dev}:${inode}`)) inodes.delete(inode);
    if (inodes.size === 0 && !all) return;
    const files = await mappedFiles(tgid);
    const named = files.filter(({ inode }) => inodes.has(inode));
    // On overlayfs a process's maps may tell another inode than the file has: then all that it maps is looked at.
    const wanted = all || named.length < inodes.size ? files : named;
    for (const mapped of wanted) {
      const candidate = await candidateOf(tgid, mapped);
      if (candidate === undefined) {
        this.#unreachable(tgid, mapped);
        continue;
      }
      await this.#add(candidate, mapAtMs);
      const dev = inodes.get(mapped.inode);
      if (dev !== undefined) await this.#remember(`${dev}:${mapped.inode}`, candidate.path);
    }
  }

  async #remember(key: string, path: string): Promise<void> {
    const identity = await identify(path);
    if (identity === undefined) return;
    if (this.#recent.size >= MAX_RECENT) for (const oldest of this.#recent.keys()) if (this.#recent.delete(oldest)) break;
    this.#recent.set(key, { path, identity });
  }

  #unreachable(tgid: number, mapped: MappedFile): void {
    // Of a process that is gone nothing can be said.
    if (programOf(tgid) === undefined) return;
    this.#table.report.looked({ path: mapped.path, shown: mapped.path, tgid }, 'unreachable', 'deleted, or in a mount that cannot be entered');
  }

  /** Whether the numbers are those of a file that was looked at and has not changed: nearly every record is, and costs one stat. */
  async #isRecent(key: string): Promise<boolean> {
    const recent = this.#recent.get(key);
    if (recent === undefined) return false;
    // Not on the main thread: a file system whose server is gone would hold up everything.
    const now = await identify(recent.path);
    if (now !== undefined && fileKey(now) === fileKey(recent.identity) && sameContent(now, recent.identity)) {
      this.#counters.maps_known += 1;
      return true;
    }
    this.#recent.delete(key);
    return false;
  }

  async #scanProcesses(): Promise<void> {
    this.#scanning = true;
    try {
      for await (const candidate of runningCandidates((tgid, mapped) => this.#unreachable(tgid, mapped))) {
        if (this.#closed) return;
        await this.#add(candidate);
      }
    } finally {
      this.#scanning = false;
    }
  }

  #startSweep(): void {
    this.#counters.sweeps += 1;
    void this.#run(async () => {
      for (const candidate of await installedCandidates()) await this.#add(candidate);
      await this.#reapNow();
    });
  }

  /** Watches where a file is and where its like will be. A file inside a container is left to the records: its image does not change. */
  async #watch({ path, shown }: Candidate): Promise<void> {
    const [here, opened] = [await identify(shown), await identify(path)];
    if (here === undefined || opened === undefined || fileKey(here) !== fileKey(opened)) {
      // Inside a container, or gone already.
      this.#reapSoon(this.#times.reapMs);
      return;
    }
    const real = await realpath(shown);
    const folder = dirname(real);
    if (this.#folders.add(folder)) this.#homes.add(folder);
    else this.#lookOften(real);
    const { watch, leave } = this.#twins.learn(real);
    for (const above of leave) if (!this.#homes.has(above)) this.#folders.remove(above);
    for (const above of watch) this.#folders.add(above);
    // It may have been replaced before the watch was there.
    this.#looks.expect(real, false);
  }

  #onEntry(folder: string, name: string): void {
    // Of a folder that is only watched for twins, entries themselves are of no interest: a busy /tmp is one.
    if (this.#homes.has(folder)) this.#expect(folder, `${folder}/${name}`, false);
    for (const path of this.#twins.expected(folder, name)) this.#expect(folder, path, true);
    if (this.#table.targets().some(({ path }) => path === `${folder}/${name}`)) this.#reapSoon(this.#times.reapMs);
  }

  #expect(folder: string, path: string, mayCome: boolean): void {
    if (!this.#looks.expect(path, mayCome)) this.#onUnsure(folder);
  }

  /** What is known to be in a folder is looked at directly, once for all that was missed in a moment. */
  #onUnsure(folder: string): void {
    this.#unsure.add(folder);
    if (!this.#folders.has(folder)) this.#homes.delete(folder);
    if (this.#closed) return;
    this.#unsureTimer ??= setTimeout(() => {
      this.#unsureTimer = undefined;
      const folders = new Set(this.#unsure);
      this.#unsure.clear();
      void this.#run(async () => {
        for (const { path } of this.#table.targets()) if (folders.has(dirname(path))) await this.#add({ path, shown: path });
      });
      this.#reapSoon(this.#times.reapMs);
    }, UNSURE_MS).unref();
  }

  async #lookAgain(path: string): Promise<AddOutcome> {
    let outcome: AddOutcome = 'gone';
    await this.#run(async () => {
      outcome = await this.#add({ path, shown: path });
    });
    return outcome;
  }

  /** No watch is to be had: the path itself is looked at, which costs a few microseconds. */
  #lookOften(path: string): void {
    this.#unwatched.add(path);
    this.#counters.unwatched = this.#unwatched.size;
    this.#unwatchedTimer ??= setInterval(() => {
      const known = new Set(this.#table.targets().map((target) => target.path));
      for (const one of this.#unwatched) {
        // As many as there are targets at most: a path that none has any more is left.
        if (known.has(one)) this.#looks.expect(one, false);
        else this.#unwatched.delete(one);
      }
      this.#counters.unwatched = this.#unwatched.size;
    }, this.#times.unwatchedMs).unref();
  }

  /** @param patience how often it may be put off because a file that has just been renamed is not yet known by its new name. */
  #reapSoon(waitMs: number, patience = REAP_PATIENCE): void {
    if (this.#closed || this.#reap !== undefined) return;
    this.#reap = setTimeout(() => {
      this.#reap = undefined;
      if (!this.#looks.settled && patience > 0) {
        this.#reapSoon(Math.min(waitMs, REAP_PATIENCE_MS), patience - 1);
        return;
      }
      void this.#run(async () => {
        const held = await this.#reapNow();
        if (held > 0) this.#reapSoon(Math.min(waitMs * 2, this.#times.sweepMs));
      });
    }, waitMs).unref();
  }

  /** @returns how many replaced files a process still has. */
  async #reapNow(): Promise<number> {
    const { gone, held } = await unusedTargets(this.#table.targets());
    for (const id of gone) if (!this.#closed && this.#table.release(id)) this.#counters.reaped += 1;
    return held;
  }
}

async function changedLately(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).ctimeMs < GROWS_MS;
  } catch (error) {
    if (isErrno(error)) return false;
    throw error;
  }
}
