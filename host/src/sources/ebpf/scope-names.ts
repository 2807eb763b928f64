// Says whether a running process is one that the scope names by executable, user or cgroup, as the kernel's rules do for those to come; it changes nothing.
import type { ProcessRow } from './process-snapshot.js';
import type { CgroupPlace } from './scope-rules.js';
import { fileKey, identify } from './tls-file.js';

export interface ScopeNames {
  readonly exes: readonly string[];
  readonly uids: readonly number[];
  readonly cgroups: readonly CgroupPlace[];
}

/** This very process is never named. */
export async function isNamed({ tgid, uid, cgroup }: ProcessRow, { exes, uids, cgroups }: ScopeNames): Promise<boolean> {
  if (tgid === process.pid) return false;
  if (uids.includes(uid)) return true;
  if (cgroup !== undefined && cgroups.some((place) => isBelow(cgroup, place))) return true;
  const run = exes.length === 0 ? undefined : await identify(`/proc/${tgid}/exe`);
  if (run === undefined) return false;
  for (const exe of exes) {
    const named = await identify(exe);
    if (named !== undefined && fileKey(named) === fileKey(run)) return true;
  }
  return false;
}

function isBelow(cgroup: string, { name }: CgroupPlace): boolean {
  return name === '/' || cgroup === name || cgroup.startsWith(`${name}/`);
}
