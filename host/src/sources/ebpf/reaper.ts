// Says which probed files are of no use any more: their path leads elsewhere, and no process runs or maps them; it takes no probe off.
//
// A probe keeps its file alive: the disk space of a deleted one, and the mount of a container that has ended.
import { stat } from 'node:fs/promises';
import type { Target } from './attach.js';
import { eachMappedFile, processIds } from './proc-files.js';
import { identify, isErrno } from './tls-file.js';

export interface Unused {
  /** Ids of targets whose file is gone. */
  readonly gone: number[];
  /** Targets whose path leads elsewhere, and that a process still has. */
  readonly held: number;
}

/** Looks at the paths first, and at the processes only when one leads elsewhere. */
export async function unusedTargets(targets: readonly Target[]): Promise<Unused> {
  const moved: Target[] = [];
  for (const target of targets) if (!(await isAt(target))) moved.push(target);
  if (moved.length === 0) return { gone: [], held: 0 };
  const used = await filesInUse(new Set(moved.map(({ inode }) => inode)));
  const gone = used === undefined ? [] : moved.filter(({ inode }) => !used.has(inode));
  return { gone: gone.map(({ id }) => id), held: moved.length - gone.length };
}

async function isAt({ path, dev, inode }: Target): Promise<boolean> {
  const seen = await identify(path);
  return seen !== undefined && String(seen.dev) === dev && String(seen.inode) === inode;
}

/**
 * Those of the inodes that a process executes or maps. Device numbers are left out: those in maps are other ones on overlayfs and btrfs,
 * and to keep a probe that is not needed is the better mistake. @returns undefined without the right to look at other processes; a single one
 * that even this right does not open (one that a security module guards) is left out, as it was when its libraries were looked for.
 */
async function filesInUse(wanted: ReadonlySet<string>): Promise<ReadonlySet<string> | undefined> {
  const used = new Set<string>();
  const answers = { read: 0, gone: 0, hidden: 0 };
  for (const tgid of await processIds()) {
    const answer = await eachMappedFile(tgid, ({ inode }) => {
      if (wanted.has(String(inode))) used.add(String(inode));
    });
    answers[answer] += 1;
    const program = await inodeOfProgram(tgid);
    if (program !== undefined && wanted.has(program)) used.add(program);
    if (used.size === wanted.size) break;
  }
  return answers.hidden > answers.read ? undefined : used;
}

async function inodeOfProgram(tgid: number): Promise<string | undefined> {
  try {
    return String((await stat(`/proc/${tgid}/exe`, { bigint: true })).ino);
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}
