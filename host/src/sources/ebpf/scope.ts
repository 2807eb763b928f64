// Puts processes into the kernel's scope: those that run already, with the descendants they have, and known agents as they come; the kernel adds the rest by its rules.
import { HostError, reasonOf } from '../../errors.js';
import type { SourceStats } from '../../events/source.js';
import { Gate } from '../../gen/records.js';
import { AgentWatch, type SeenAgent } from './agent-watch.js';
import { AgentRegistry } from './agents.js';
import type { ScopeCell } from './native.js';
import { processIds } from './proc-files.js';
import type { ProcessRow } from './process-snapshot.js';
import { descendants, readProcesses } from './process-tree.js';
import { type CgroupPlace, cgroupPlace, type RulePort, ScopeRules } from './scope-rules.js';
import { type FileIdentity, fileKey, identify } from './tls-file.js';

/** Whose file activity is recorded: that of known agents and of what is named, with their descendants; everybody's in scope; nobody's. */
export type FilesScope = 'agents' | 'all' | 'none';

/** Whose activity is captured. A process is in scope when one of the lists names it. */
export interface ScopeOptions {
  /** Everybody's. The lists then have no effect. */
  readonly all: boolean;
  /** Process ids, with all their descendants. */
  readonly pids: readonly number[];
  /** Thread names; 15 bytes are compared. */
  readonly comms: readonly string[];
  /** Paths of executables, with all descendants of their processes. */
  readonly exes?: readonly string[];
  /** Real user ids, with all descendants. */
  readonly uids?: readonly number[];
  /** Cgroups of the unified hierarchy, with those below them and all descendants. */
  readonly cgroups?: readonly string[];
  /** Default: agents. */
  readonly files?: FilesScope;
  /** Names of further programs that are agents. */
  readonly agents?: readonly string[];
}

/** The part of the addon that scoping needs. */
export interface ScopePort extends RulePort {
  scopeAdd(tgid: number, cell: ScopeCell): void;
  scopeRemove(tgid: number): void;
  scopeAddComm(comm: string): void;
  setCaptureAll(all: boolean): void;
  setFilesAll(all: boolean): void;
  gateAdd(tgid: number, bits: number): void;
}

/** A process forked between two looks has a parent that was in scope by then, so that two quiet rounds are rare and enough. */
const MAX_ROUNDS = 8;

export class Scope {
  readonly #port: ScopePort;
  readonly #options: ScopeOptions;
  readonly #cell: ScopeCell;
  readonly #rules: ScopeRules;
  readonly #agents: AgentWatch | undefined;
  readonly #cgroups: CgroupPlace[] = [];
  #tail: Promise<void> = Promise.resolve();
  #problem: string | undefined;

  constructor(port: ScopePort, options: ScopeOptions) {
    this.#port = port;
    this.#options = options;
    this.#cell = { capture: true, inherit: true, files: options.files !== 'none' };
    this.#rules = new ScopeRules(port, () => this.#again());
    // Where the lists say who is captured, file activity goes with it; where nobody's is wanted, agents are like everybody.
    const wanted = options.all && (options.files ?? 'agents') === 'agents';
    this.#agents = wanted ? new AgentWatch(port, this.#rules, new AgentRegistry(options.agents)) : undefined;
  }

  /** Tells the kernel the rules, then adds what runs. @throws HostError CONFIG for a rule that cannot be, and what the addon throws. */
  async apply(): Promise<void> {
    const { all, comms, uids = [], exes = [], cgroups = [] } = this.#options;
    this.#port.setCaptureAll(all);
    if (this.#options.files === 'all') await this.#openFiles();
    if (all) {
      await this.#agents?.start();
      return;
    }
    for (const comm of comms) this.#port.scopeAddComm(comm);
    for (const uid of uids) this.#rules.addUid(uid, this.#cell);
    for (const exe of exes) if (!(await this.#rules.addExe(exe, this.#cell)) && this.#rules.lastProblem) throw refused('capture.exes', this.#rules.lastProblem);
    for (const name of cgroups) {
      const place = await cgroupPlace(name);
      if (place === undefined) throw refused('capture.cgroups', `${name}: no unified cgroup hierarchy (cgroup2) is mounted`);
      this.#cgroups.push(place);
      if (!(await this.#rules.addCgroup(place.folder, this.#cell)) && this.#rules.lastProblem) throw refused('capture.cgroups', this.#rules.lastProblem);
    }
    await this.#addRunning();
  }

  /** The running processes that the options name, with their descendants and those of this process; all when everybody is captured. */
  async members(): Promise<ProcessRow[]> {
    const rows = (await readProcesses()).filter(({ tgid }) => tgid !== process.pid);
    if (this.#options.all) return rows;
    const named = new Set<number>([process.pid, ...this.#options.pids]);
    for (const row of rows) if (this.#options.comms.includes(row.comm) || (await this.#names(row))) named.add(row.tgid);
    const members = new Set([...named, ...descendants(rows, named)]);
    return rows.filter(({ tgid }) => members.has(tgid));
  }

  /** A process has executed a program. Returns at once. */
  onExec(tgid: number): void {
    this.#agents?.onExec(tgid);
  }

  /** What a process gets that is named by the host's own doing. */
  get cell(): ScopeCell {
    return this.#cell;
  }

  /** What was last refused, for people. */
  get lastProblem(): string | undefined {
    return this.#problem ?? this.#rules.lastProblem ?? this.#agents?.lastProblem;
  }

  /** Agents that were recognised, at most the last 256. */
  get agents(): SeenAgent[] {
    return this.#agents?.seen ?? [];
  }

  stats(): SourceStats {
    return { ...this.#rules.stats(), agents: this.#agents?.stats() ?? {} };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#agents?.close();
    await this.#rules.close();
    await this.#tail;
  }

  /** A cgroup of a rule has appeared. */
  #again(): void {
    this.#tail = this.#tail
      .then(() => this.#addRunning())
      .catch((error: unknown) => {
        this.#problem = reasonOf(error);
      });
  }

  async #addRunning(): Promise<void> {
    const inScope = new Set<number>();
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const rows = await readProcesses();
      const named: number[] = [];
      for (const row of rows) if (await this.#names(row)) named.push(row.tgid);
      const ids = round === 0 ? [...this.#options.pids, ...named] : named;
      const missing = [...ids, ...descendants(rows, new Set([...inScope, ...ids]))].filter((tgid) => !inScope.has(tgid));
      if (missing.length === 0) return;
      for (const tgid of missing) {
        inScope.add(tgid);
        this.#port.scopeAdd(tgid, this.#cell);
      }
    }
  }

  /** Everybody's file activity, within what is captured: processes that are forked later have it from their parents. */
  async #openFiles(): Promise<void> {
    this.#port.setFilesAll(true);
    for (const tgid of await processIds()) this.#port.gateAdd(tgid, Gate.files);
  }

  async #names({ tgid, uid, cgroup }: ProcessRow): Promise<boolean> {
    const { uids = [], exes = [] } = this.#options;
    if (tgid === process.pid) return false;
    if (uids.includes(uid)) return true;
    if (cgroup !== undefined && this.#cgroups.some((place) => isBelow(cgroup, place))) return true;
    const run = exes.length === 0 ? undefined : await identify(`/proc/${tgid}/exe`);
    if (run === undefined) return false;
    for (const exe of exes) if (isSameFile(await identify(exe), run)) return true;
    return false;
  }
}

function refused(setting: string, reason: string): HostError {
  return new HostError('CONFIG', `${setting}: ${reason}`);
}

function isBelow(cgroup: string, { name }: CgroupPlace): boolean {
  return name === '/' || cgroup === name || cgroup.startsWith(`${name}/`);
}

function isSameFile(a: FileIdentity | undefined, b: FileIdentity): boolean {
  return a !== undefined && fileKey(a) === fileKey(b);
}
