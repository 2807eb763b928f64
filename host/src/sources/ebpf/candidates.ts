// Lists every file on the machine that may carry a TLS library; decides nothing about them and opens none.
import { readlinkSync } from 'node:fs';
import { libraries } from '../../gen/probes.js';
import { runtimePaths } from './known-runtimes.js';
import { libraryPaths } from './ld-cache.js';
import { mappedTlsFiles, processIds, reachMapped } from './proc-files.js';
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
 * The program of one process. Nothing when it is gone, hidden or a kernel thread. Synchronous, because the kernel answers from
 * memory in a few microseconds and no file system is asked: a turn of the thread pool would cost twenty times as much per exec.
 */
export function programOf(tgid: number): Candidate[] {
  const path = `/proc/${tgid}/exe`;
  try {
    return [{ path, shown: readlinkSync(path).replace(/ \(deleted\)$/, ''), tgid }];
  } catch (error) {
    if (isErrno(error)) return [];
    throw error;
  }
}

/** The libraries of one process that look like TLS by name. */
export async function librariesOf(tgid: number): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const mapped of await mappedTlsFiles(tgid)) {
    const path = await reachMapped(tgid, mapped);
    if (path !== undefined) found.push({ path, shown: mapped.path, tgid });
  }
  return found;
}

/** The installed files, then those of every running process. */
export async function* allCandidates(): AsyncGenerator<Candidate> {
  yield* await installedCandidates();
  for (const tgid of await processIds()) {
    yield* programOf(tgid);
    yield* await librariesOf(tgid);
  }
}
