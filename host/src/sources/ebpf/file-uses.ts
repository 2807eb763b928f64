// Says which running process uses which file that carries TLS code, when somebody asks; it attaches nothing and opens none of the files.
import { type Candidate, candidateOf } from './candidates.js';
import { mappedFiles, processIds } from './proc-files.js';
import { readProcess } from './process-snapshot.js';
import type { ScopeOptions } from './scope.js';
import { isNamed } from './scope-names.js';
import { cgroupPlace } from './scope-rules.js';
import { identify } from './tls-file.js';

/** A file that a process runs or maps code of. */
export interface UsedFile {
  /** Its name for people; in a container, the path inside it. */
  readonly path: string;
  /** Where it can be opened now. */
  readonly reach: string;
  readonly dev: string;
  readonly inode: string;
  /** Its name no longer leads to it. */
  readonly deleted: boolean;
}

/** A running process and the files of it that can carry TLS; the program is the first. */
export interface ProcessUses {
  readonly tgid: number;
  /** CLOCK_BOOTTIME ns, rounded down to 10 ms as /proc does. */
  readonly startNs: bigint;
  readonly uid: number;
  readonly comm: string;
  readonly exe: string | undefined;
  readonly arg0: string | undefined;
  readonly cgroup: string | undefined;
  readonly files: readonly UsedFile[];
}

/** Processes that are looked at for one report. */
const MAX_PROCESSES = 8192;
const MAX_FILES = 64;

/** The processes in scope, this one left out. Those that vanish meanwhile are left out too. */
export async function* fileUses(scope: ScopeOptions): AsyncGenerator<ProcessUses> {
  const ids = (await processIds()).filter((tgid) => tgid !== process.pid).slice(0, MAX_PROCESSES);
  const inScope = new Set<number>([process.pid, ...scope.pids]);
  const { exes = [], uids = [], cgroups = [] } = scope;
  const places = await Promise.all(cgroups.map(cgroupPlace));
  const names = { exes, uids, cgroups: places.filter((place) => place !== undefined) };
  // Ids grow with age but for a wrap, so that a parent mostly comes first; what is reparented is no descendant any more.
  for (const tgid of ids.sort((a, b) => a - b)) {
    const row = await readProcess(tgid);
    if (row === undefined) continue;
    if (inScope.has(row.ppid) || scope.comms.includes(row.comm) || (!scope.all && (await isNamed(row, names)))) inScope.add(tgid);
    if (!scope.all && !inScope.has(tgid)) continue;
    const { startNs, uid, comm, exe, args, cgroup } = row;
    yield { tgid, startNs, uid, comm, exe, arg0: args[0], cgroup, files: await filesOf(tgid) };
  }
}

async function filesOf(tgid: number): Promise<UsedFile[]> {
  const files: UsedFile[] = [];
  for (const mapped of (await mappedFiles(tgid)).slice(0, MAX_FILES)) {
    const candidate = await candidateOf(tgid, mapped);
    const used = candidate && (await usedFile(candidate));
    if (used !== undefined) files.push(used);
  }
  return files;
}

async function usedFile({ path, shown, tgid }: Candidate): Promise<UsedFile | undefined> {
  const identity = await identify(path);
  if (identity === undefined) return undefined;
  const { dev, inode } = identity;
  const named = (await identify(shown)) ?? (await identify(`/proc/${tgid}/root${shown}`));
  return { path: shown, reach: path, dev: String(dev), inode: String(inode), deleted: named?.inode !== inode };
}
