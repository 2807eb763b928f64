// Puts known agents into scope with all they start, so that their file activity is recorded: those that run, and those that are executed.
//
// An agent that is a native program becomes a rule of the kernel once it was seen or is found installed: its next run is in scope before its
// first system call. A script is in scope a moment after its exec, because only its arguments tell what it is.
import { open, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../../errors.js';
import type { SourceStats } from '../../events/source.js';
import { type AgentRegistry, isInterpreter } from './agents.js';
import { programOf } from './candidates.js';
import { homeDirectories } from './known-runtimes.js';
import type { ScopeCell } from './native.js';
import { readCommandLine } from './process-snapshot.js';
import { descendants, readProcesses } from './process-tree.js';
import type { ScopeRules } from './scope-rules.js';
import { identify, isErrno } from './tls-file.js';

/** The part of the addon that agents need. */
export interface AgentPort {
  scopeAdd(tgid: number, cell: ScopeCell): void;
  scopeRemove(tgid: number): void;
}

/** A process that was recognised. */
export interface SeenAgent {
  readonly tgid: number;
  /** Id of the registry, or the name of capture.agents. */
  readonly agent: string;
  readonly exe: string;
}

const CELL: ScopeCell = { capture: true, inherit: true, files: true };
const MAX_SEEN = 256;
/** Rules of executables that agents may take; what is named in the configuration has room beside them. */
const MAX_RULES = 192;
/** Arguments that are being read. */
const MAX_READING = 64;
const FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/bin', '/snap/bin'] as const;
const HOME_FOLDERS = ['.local/bin', 'bin', '.npm-global/bin', '.bun/bin', '.cargo/bin', 'go/bin', '.opencode/bin', '.claude/local'] as const;

export class AgentWatch {
  readonly #port: AgentPort;
  readonly #rules: ScopeRules;
  readonly #registry: AgentRegistry;
  readonly #seen = new Map<number, SeenAgent>();
  readonly #reading = new Set<Promise<void>>();
  readonly #counters = { recognised: 0, installed: 0, forgotten: 0, dropped: 0, rules_full: 0, problems: 0 };
  #problem: string | undefined;

  constructor(port: AgentPort, rules: ScopeRules, registry: AgentRegistry) {
    this.#port = port;
    this.#rules = rules;
    this.#registry = registry;
  }

  /** Installed agents become rules; running ones are in scope with what they have started. */
  async start(): Promise<void> {
    await this.#run(async () => {
      for (const path of await installedPrograms(new Set(this.#registry.programs))) if (await this.#addRule(path)) this.#counters.installed += 1;
      const rows = await readProcesses();
      const roots = rows.filter(({ tgid, exe, args }) => tgid !== process.pid && exe !== undefined && this.#registry.match(exe, args) !== undefined);
      for (const { tgid, exe = '', args } of roots) await this.#recognised(tgid, exe, this.#registry.match(exe, args) as string);
      for (const tgid of descendants(rows, new Set(roots.map((row) => row.tgid)))) this.#port.scopeAdd(tgid, CELL);
    });
  }

  /** A process has executed a program. Returns at once. */
  onExec(tgid: number): void {
    const exe = programOf(tgid);
    if (exe === undefined) return;
    const agent = this.#registry.match(exe);
    if (agent === undefined && !isInterpreter(exe)) return;
    if (this.#reading.size >= MAX_READING) {
      this.#counters.dropped += 1;
      return;
    }
    void this.#run(() => (agent === undefined ? this.#lookAtScript(tgid, exe) : this.#recognised(tgid, exe, agent)));
  }

  /** The agents seen last, at most 256; some may have ended. */
  get seen(): SeenAgent[] {
    return [...this.#seen.values()];
  }

  get lastProblem(): string | undefined {
    return this.#problem;
  }

  stats(): SourceStats {
    return { ...this.#counters, seen: this.#seen.size };
  }

  /** Resolves when nothing is being looked at. */
  async close(): Promise<void> {
    while (this.#reading.size > 0) await Promise.all(this.#reading);
  }

  #run(job: () => Promise<void>): Promise<void> {
    const running = job().catch((error: unknown) => {
      this.#counters.problems += 1;
      this.#problem = reasonOf(error);
    });
    this.#reading.add(running);
    return running.finally(() => this.#reading.delete(running));
  }

  async #lookAtScript(tgid: number, exe: string): Promise<void> {
    const args = (await readCommandLine(tgid))?.split('\0') ?? [];
    const agent = this.#registry.match(exe, args);
    if (agent !== undefined) await this.#recognised(tgid, exe, agent);
  }

  async #recognised(tgid: number, exe: string, agent: string): Promise<void> {
    this.#port.scopeAdd(tgid, CELL);
    // It may have ended meanwhile: a cell that is left would be that of whoever gets its number.
    if (programOf(tgid) === undefined) {
      this.#port.scopeRemove(tgid);
      return;
    }
    this.#counters.recognised += 1;
    this.#seen.delete(tgid);
    this.#seen.set(tgid, { tgid, agent, exe });
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= MAX_SEEN) break;
      this.#seen.delete(oldest);
      this.#counters.forgotten += 1;
    }
    if (!isInterpreter(exe)) await this.#addRule(exe, tgid);
  }

  /** @param tgid a process that runs it: in a container the path leads to another file here. */
  async #addRule(path: string, tgid?: number): Promise<boolean> {
    if (this.#rules.has(path)) return false;
    if (tgid !== undefined) {
      const [here, run] = [await identify(path), await identify(`/proc/${tgid}/exe`)];
      if (here === undefined || here.inode !== run?.inode || here.dev !== run.dev) return false;
    }
    if (this.#rules.size >= MAX_RULES) {
      this.#counters.rules_full += 1;
      return false;
    }
    return await this.#rules.addExe(path, CELL);
  }
}

/** Native programs of these names in the usual places, without links. */
async function installedPrograms(names: ReadonlySet<string>): Promise<string[]> {
  const folders = [...FOLDERS, ...(await homeDirectories()).flatMap((home) => HOME_FOLDERS.map((folder) => join(home, folder)))];
  const found = new Set<string>();
  for (const folder of folders) {
    for (const name of await namesIn(folder)) {
      if (!names.has(name)) continue;
      const path = await nativeProgram(join(folder, name));
      if (path !== undefined) found.add(path);
    }
  }
  return [...found];
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error)) return [];
    throw error;
  }
}

/** Where the path leads, when that is an ELF file. */
async function nativeProgram(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path);
    if (!(await identify(real))?.regular) return undefined;
    const file = await open(real);
    try {
      const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
      return buffer.readUInt32BE(0) === 0x7f454c46 ? real : undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}
