// Puts processes into the kernel's scope, with the descendants they already have; the kernel adds those to come by itself.

import type { ScopeCell } from './native.js';
import { processIds } from './proc-files.js';
import { readProcess } from './process-snapshot.js';

/** Whose TLS calls are captured. */
export interface ScopeOptions {
  /** Everybody's. pids and comms then have no effect. */
  readonly all: boolean;
  /** Process ids, with all their descendants. */
  readonly pids: readonly number[];
  /** Thread names; 15 bytes are compared. */
  readonly comms: readonly string[];
}

/** The part of the addon that scoping needs. */
export interface ScopePort {
  scopeAdd(tgid: number, cell: ScopeCell): void;
  scopeAddComm(comm: string): void;
  setCaptureAll(all: boolean): void;
}

/** A process forked between two looks has a parent that was in scope by then, so that two quiet rounds are rare and enough. */
const MAX_ROUNDS = 8;

/** Applies the options. Throws what the addon throws (ESRCH for no such process is not an error there). */
export async function applyScope(port: ScopePort, scope: ScopeOptions): Promise<void> {
  port.setCaptureAll(scope.all);
  if (scope.all) return;
  for (const comm of scope.comms) port.scopeAddComm(comm);
  const inScope = new Set<number>();
  const add = (tgid: number): void => {
    inScope.add(tgid);
    port.scopeAdd(tgid, { capture: true, inherit: true, files: true });
  };
  for (const tgid of scope.pids) add(tgid);
  for (let round = 0; round < MAX_ROUNDS && inScope.size > 0; round += 1) {
    const missing = (await descendants(inScope)).filter((tgid) => !inScope.has(tgid));
    if (missing.length === 0) return;
    for (const tgid of missing) add(tgid);
  }
}

/** Every process below one of the roots, by the parents that /proc names now. */
async function descendants(roots: ReadonlySet<number>): Promise<number[]> {
  const children = new Map<number, number[]>();
  for (const tgid of await processIds()) {
    const row = await readProcess(tgid);
    if (row === undefined) continue;
    const siblings = children.get(row.ppid);
    if (siblings === undefined) children.set(row.ppid, [tgid]);
    else siblings.push(tgid);
  }
  const found = new Set<number>();
  const open = [...roots];
  for (let tgid = open.pop(); tgid !== undefined; tgid = open.pop()) {
    for (const child of children.get(tgid) ?? []) {
      if (found.has(child)) continue;
      found.add(child);
      open.push(child);
    }
  }
  return [...found];
}
