// Keeps the kernel's rules of scope true to the names they were given by: an executable that is replaced has another inode, a service that is
// started again another cgroup. It looks at no process.
import { existsSync, statSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { reasonOf } from '../../errors.js';
import type { SourceStats } from '../../events/source.js';
import { FOLDER_BOUNDS, FolderWatch } from './folder-watch.js';
import { type KernelIdentity, kernelIdentity } from './kernel-identity.js';
import type { ScopeCell } from './native.js';
import { isErrno } from './tls-file.js';

/** The part of the addon that rules need. */
export interface RulePort {
  scopeAddExe(dev: bigint, inode: bigint, cell: ScopeCell): void;
  scopeAddUid(uid: number, cell: ScopeCell): void;
  scopeAddCgroup(id: bigint, cell: ScopeCell): void;
  scopeRemoveExe(dev: bigint, inode: bigint): void;
  scopeRemoveCgroup(id: bigint): void;
}

interface Rule {
  readonly kind: 'exe' | 'cgroup';
  readonly path: string;
  readonly cell: ScopeCell;
  /** Takes back what the kernel was told last, and the words for comparing it. */
  told: { readonly words: string; readonly undo: () => void } | undefined;
}

const MAX_FOLDERS = 128;

export class ScopeRules {
  readonly #port: RulePort;
  readonly #onCgroup: (path: string) => void;
  readonly #rules = new Map<string, Rule>();
  /** Folder -> rules to look at when something changes in it. */
  readonly #concerned = new Map<string, Set<Rule>>();
  readonly #folders: FolderWatch;
  readonly #counters = { uids: 0, renewed: 0, missing: 0, refused: 0, unwatched: 0 };
  #tail: Promise<void> = Promise.resolve();
  #closed = false;
  #problem: string | undefined;

  /** @param onCgroup told when a cgroup of a rule has appeared: processes may be in it already. */
  constructor(port: RulePort, onCgroup: (path: string) => void) {
    this.#port = port;
    this.#onCgroup = onCgroup;
    const look = (folder: string): void => this.#onFolder(folder);
    this.#folders = new FolderWatch({ onEntry: look, onUnsure: look }, { ...FOLDER_BOUNDS, folders: MAX_FOLDERS });
  }

  /** @param path of the executable, which need not exist yet. @returns whether the kernel knows the rule now. */
  async addExe(path: string, cell: ScopeCell): Promise<boolean> {
    return await this.#add({ kind: 'exe', path, cell, told: undefined });
  }

  /** @param path of the folder in the mounted unified hierarchy, which need not exist yet. */
  async addCgroup(path: string, cell: ScopeCell): Promise<boolean> {
    return await this.#add({ kind: 'cgroup', path, cell, told: undefined });
  }

  addUid(uid: number, cell: ScopeCell): void {
    this.#port.scopeAddUid(uid, cell);
    this.#counters.uids += 1;
  }

  has(path: string): boolean {
    return this.#rules.has(path);
  }

  get size(): number {
    return this.#rules.size;
  }

  /** What was last refused, for people. */
  get lastProblem(): string | undefined {
    return this.#problem;
  }

  stats(): SourceStats {
    return { rules: this.#rules.size, ...this.#counters, folders: this.#folders.size };
  }

  /** Idempotent. The kernel keeps what it was told. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#folders.close();
    await this.#tail;
  }

  async #add(rule: Rule): Promise<boolean> {
    if (this.#rules.has(rule.path)) return true;
    this.#rules.set(rule.path, rule);
    await this.#tell(rule);
    // A full map is for whoever asked; a name that leads nowhere may lead somewhere later.
    if (rule.told === undefined && existsSync(rule.path)) this.#rules.delete(rule.path);
    return rule.told !== undefined;
  }

  /** Looks where the name leads now, and tells the kernel when that has changed. */
  async #tell(rule: Rule): Promise<void> {
    const folders = [nearestFolder(dirname(rule.path))];
    const found = rule.kind === 'exe' ? await fileOf(rule.path, folders) : cgroupOf(rule.path);
    for (const folder of folders) this.#concern(folder, rule);
    if (this.#closed || found?.words === rule.told?.words) {
      if (found === undefined) this.#counters.missing += 1;
      return;
    }
    const again = rule.told !== undefined;
    rule.told?.undo();
    rule.told = undefined;
    if (found === undefined) return;
    try {
      rule.told = { words: found.words, undo: found.tell(this.#port, rule.cell) };
      if (again) this.#counters.renewed += 1;
    } catch (error) {
      this.#counters.refused += 1;
      this.#problem = `${rule.path}: ${reasonOf(error)}`;
      return;
    }
    if (rule.kind === 'cgroup') this.#onCgroup(rule.path);
  }

  #concern(folder: string, rule: Rule): void {
    const rules = this.#concerned.get(folder);
    if (rules !== undefined) rules.add(rule);
    else if (this.#folders.add(folder)) this.#concerned.set(folder, new Set([rule]));
    else this.#counters.unwatched += 1;
  }

  #onFolder(folder: string): void {
    this.#tail = this.#tail.then(async () => {
      try {
        for (const rule of this.#concerned.get(folder) ?? []) await this.#tell(rule);
      } catch (error) {
        this.#counters.refused += 1;
        this.#problem = reasonOf(error);
      }
    });
  }
}

interface Found {
  readonly words: string;
  /** @returns how to take it back. */
  tell(port: RulePort, cell: ScopeCell): () => void;
}

/** @param folders gets the folder of the file that a link leads to. */
async function fileOf(path: string, folders: string[]): Promise<Found | undefined> {
  let identity: KernelIdentity;
  try {
    const real = await realpath(path);
    if (dirname(real) !== dirname(path)) folders.push(dirname(real));
    const known = await kernelIdentity(real);
    if (known === undefined) return undefined;
    identity = known;
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
  const { dev, inode } = identity;
  return {
    words: `${dev}:${inode}`,
    tell: (port, cell) => {
      port.scopeAddExe(dev, inode, cell);
      return () => port.scopeRemoveExe(dev, inode);
    },
  };
}

function cgroupOf(path: string): Found | undefined {
  try {
    const s = statSync(path, { bigint: true });
    if (!s.isDirectory()) return undefined;
    return {
      words: String(s.ino),
      tell: (port, cell) => {
        port.scopeAddCgroup(s.ino, cell);
        return () => port.scopeRemoveCgroup(s.ino);
      },
    };
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

function nearestFolder(folder: string): string {
  let near = folder;
  while (!existsSync(near) && dirname(near) !== near) near = dirname(near);
  return near;
}

/** A cgroup: its path in the unified hierarchy, and its folder. */
export interface CgroupPlace {
  readonly name: string;
  readonly folder: string;
}

/** @param given a path in the unified hierarchy ("/system.slice/x.service") or in the file system. @returns undefined when no unified hierarchy is mounted. */
export async function cgroupPlace(given: string): Promise<CgroupPlace | undefined> {
  const mount = unifiedMount(await readFile('/proc/self/mounts', 'utf8'));
  if (mount === undefined) return undefined;
  const name = join('/', given === mount || given.startsWith(`${mount}/`) ? given.slice(mount.length) : given, '.');
  return { name, folder: join(mount, name) };
}

/** The first mount of type cgroup2 in /proc/PID/mounts. */
export function unifiedMount(mounts: string): string | undefined {
  const line = mounts.split('\n').find((one) => one.split(' ')[2] === 'cgroup2');
  return line?.split(' ')[1]?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
