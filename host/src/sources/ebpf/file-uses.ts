// Says which running process executes which files, when somebody asks; it attaches nothing and opens none of the files.
import { eachMappedFile, type MappedFile, reachMapped } from './proc-files.js';
import type { ProcessRow } from './process-snapshot.js';
import { identify } from './tls-file.js';

/** A file that a process has code of. */
export interface UsedFile {
  /** Its name inside the process's mount namespace. */
  readonly path: string;
  /** As maps has them: on overlayfs and btrfs the device may be another one than stat's. */
  readonly dev: string;
  readonly inode: string;
  /** Where it can be opened now. @returns undefined when no path leads to it. */
  readonly reach: () => Promise<string | undefined>;
  /** Its name no longer leads to it. */
  readonly isDeleted: () => Promise<boolean>;
}

/** A running process and what it executes. */
export interface ProcessUses {
  readonly tgid: number;
  /** CLOCK_BOOTTIME ns, rounded down to 10 ms as /proc does. */
  readonly startNs: bigint;
  readonly uid: number;
  readonly comm: string;
  readonly exe: string | undefined;
  readonly arg0: string | undefined;
  readonly cgroup: string | undefined;
  /** The program first. Empty when hidden. */
  readonly files: readonly UsedFile[];
  /** Its mappings may not be looked at (CAP_SYS_PTRACE). */
  readonly hidden: boolean;
}

/** Processes that are looked at for one report, and files of one process. */
const MAX_PROCESSES = 8192;
const MAX_FILES = 512;

/** Those that vanish meanwhile are left out. @param rows of the processes that are asked about. */
export async function* fileUses(rows: readonly ProcessRow[]): AsyncGenerator<ProcessUses> {
  for (const { tgid, startNs, uid, comm, exe, args, cgroup } of rows.slice(0, MAX_PROCESSES)) {
    const files = new Map<string, MappedFile>();
    const answer = await eachMappedFile(tgid, (mapped) => {
      const key = `${mapped.dev}:${mapped.inode}`;
      if (files.size < MAX_FILES && !files.has(key)) files.set(key, mapped);
    });
    if (answer === 'gone') continue;
    const used = [...files.values()].sort((a, b) => Number(b.path === exe) - Number(a.path === exe)).map((mapped) => usedFile(tgid, mapped));
    yield { tgid, startNs, uid, comm, exe, arg0: args[0], cgroup, files: used, hidden: answer === 'hidden' };
  }
}

function usedFile(tgid: number, mapped: MappedFile): UsedFile {
  const { path, dev, inode } = mapped;
  return {
    path,
    dev: String(dev),
    inode: String(inode),
    reach: () => reachMapped(tgid, mapped),
    // In a container the same path is another file here.
    isDeleted: async () => (await identify(`/proc/${tgid}/root${path}`))?.inode !== inode && (await identify(path))?.inode !== inode,
  };
}
