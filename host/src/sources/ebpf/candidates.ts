// Lists every file on the machine that may carry a TLS library: what is installed, and every file that a process executes, whatever its name; decides nothing about them and opens none.
import { readlinkSync } from 'node:fs';
import { libraries } from '../../gen/probes.js';
import { runtimePaths } from './known-runtimes.js';
import { libraryPaths } from './ld-cache.js';
import { type MappedFile, mappedFiles, processIds, reachMapped } from './proc-files.js';
import { isErrno } from './tls-file.js';

/** A file to look at. */
export interface Candidate {
  /** Where it can be opened now: may lead through /proc. */
  readonly path: string;
  /** Its name for people. */
  readonly shown: string;
  /** The process that runs or maps it. */
  readonly tgid?: number;
}

/** What is installed: libraries of the linker cache and runtimes in their usual places. Some do not exist. */
export async function installedCandidates(): Promise<Candidate[]> {
  const sonames = libraries.flatMap((library) => library.sonames);
  const paths = [...(await libraryPaths(sonames)), ...(await runtimePaths())];
  return paths.map((path) => ({ path, shown: path }));
}

/**
 * The path of the program of one process, perhaps one inside its container. @returns undefined when it is gone, hidden or a kernel thread.
 * Synchronous, because the kernel answers from memory in a few microseconds and no file system is asked: a turn of the thread pool would
 * cost twenty times as much per exec.
 */
export function programOf(tgid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${tgid}/exe`).replace(/ \(deleted\)$/, '');
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

/** A file of which a process maps code. @returns undefined when no path leads to it, which is so without the right to read map_files. */
export async function candidateOf(tgid: number, mapped: MappedFile): Promise<Candidate | undefined> {
  const path = await reachMapped(tgid, mapped);
  return path === undefined ? undefined : { path, shown: mapped.path, tgid };
}

/** Told of a file that a process maps and that no path leads to. */
export type OnUnreachable = (tgid: number, mapped: MappedFile) => void;

/** Programs and libraries of every running process, each file once. */
export async function* runningCandidates(onUnreachable: OnUnreachable = () => undefined): AsyncGenerator<Candidate> {
  const seen = new Set<string>();
  for (const tgid of await processIds()) {
    for (const mapped of await mappedFiles(tgid)) {
      const key = `${mapped.dev}:${mapped.inode}`;
      if (seen.has(key)) continue;
      const candidate = await candidateOf(tgid, mapped);
      if (candidate !== undefined) {
        seen.add(key);
        yield candidate;
      } else if ((await mappedFiles(tgid)).some((again) => again.range === mapped.range && again.inode === mapped.inode)) {
        // It is still mapped, so that it was not the process that went away.
        seen.add(key);
        onUnreachable(tgid, mapped);
      }
    }
  }
}

/** The installed files, then those of every running process. */
export async function* allCandidates(onUnreachable?: OnUnreachable): AsyncGenerator<Candidate> {
  yield* await installedCandidates();
  yield* runningCandidates(onUnreachable);
}
