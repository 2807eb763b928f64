// Reads all processes with their parents, and finds who descends from whom; it changes nothing.
import { processIds } from './proc-files.js';
import { type ProcessRow, readProcess } from './process-snapshot.js';

/** Every running process, without kernel threads. */
export async function readProcesses(): Promise<ProcessRow[]> {
  const rows: ProcessRow[] = [];
  for (const tgid of await processIds()) {
    const row = await readProcess(tgid);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

/** Every process below one of the roots, by the parents that /proc named. */
export function descendants(rows: readonly Pick<ProcessRow, 'tgid' | 'ppid'>[], roots: ReadonlySet<number>): number[] {
  const children = new Map<number, number[]>();
  for (const { tgid, ppid } of rows) {
    const siblings = children.get(ppid);
    if (siblings === undefined) children.set(ppid, [tgid]);
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
