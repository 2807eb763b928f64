// What a shard knows of processes, built only from records, so that a replay knows the same; bounded, and it never asks the kernel.
import type { ProcessContext, ProcessRef } from '../../events/event.js';
import type { ProcessEnd, ProcessStart } from '../../events/raw-event.js';
import { ProcHow } from '../../gen/records.js';
import { containerId } from './container.js';

/** /proc gives start times in ticks of 1/100 s; a snapshot's start time is that much too early at most. */
const SNAPSHOT_ROUNDING_NS = 10_000_000n;
const MAX_ANCESTORS = 16;
/** Entries looked at, oldest first, for one that has ended before the oldest of all is evicted. */
const EVICTION_LOOK = 64;

interface Entry {
  tgid: number;
  ppid: number;
  startNs: bigint;
  /** Whether startNs was rounded down to a tick. */
  rounded: boolean;
  comm: string;
  exe: string | null;
  args: string[] | null;
  cwd: string | null;
  cgroup: string | null;
  ended: boolean;
}

export interface ProcessTableCounters {
  entries: number;
  /** Entries pushed out at the bound. */
  evicted: number;
  /** Lookups of processes the table did not know. */
  unknown: number;
}

export class ProcessTable {
  private readonly entries = new Map<number, Entry>();
  private evicted = 0;
  private unknown = 0;

  /** @param maxEntries processes kept, ended ones included (events about a process may follow its end). */
  constructor(private readonly maxEntries = 32768) {}

  start(start: ProcessStart): void {
    const known = this.entries.get(start.tgid);
    const rounded = start.how === ProcHow.snapshot;
    if (rounded && known && !known.ended) return;
    const parent = start.how === ProcHow.fork ? this.entries.get(start.ppid) : undefined;
    // Re-inserted, so that the map's order is the order of last start: the oldest is evicted first.
    this.entries.delete(start.tgid);
    this.entries.set(start.tgid, {
      tgid: start.tgid,
      ppid: start.ppid,
      startNs: start.startNs,
      rounded,
      comm: start.comm,
      exe: start.exe ?? parent?.exe ?? null,
      args: start.args ?? parent?.args ?? null,
      cwd: start.cwd ?? parent?.cwd ?? null,
      cgroup: start.cgroup ?? parent?.cgroup ?? null,
      ended: false,
    });
    if (this.entries.size > this.maxEntries) this.evictOne();
  }

  end(end: ProcessEnd): void {
    const entry = this.entries.get(end.tgid);
    if (entry && sameStart(entry, end.startNs)) entry.ended = true;
  }

  /** @returns what is known of the process, or undefined for one never seen (or another one that had this pid). */
  describe(tgid: number, startNs: bigint): ProcessContext | undefined {
    const entry = this.entries.get(tgid);
    if (!entry || !sameStart(entry, startNs)) {
      this.unknown++;
      return undefined;
    }
    const ancestors = this.ancestors(entry);
    const container = entry.cgroup === null ? undefined : containerId(entry.cgroup);
    const [parent] = ancestors;
    return {
      pid: tgid,
      ppid: entry.ppid,
      ...refOf(entry),
      ...(entry.args && { cmdline_args: [...entry.args] }),
      ...(entry.cwd !== null && { cwd: entry.cwd }),
      ...(parent && { parent }),
      ...(ancestors.length > 0 && { ancestors: ancestors.map(({ cmdline: _, ...rest }) => rest) }),
      ...(container !== undefined && { container_id: container }),
      ...(entry.cgroup !== null && { cgroup: entry.cgroup }),
    };
  }

  counters(): ProcessTableCounters {
    return { entries: this.entries.size, evicted: this.evicted, unknown: this.unknown };
  }

  private ancestors(entry: Entry): ProcessRef[] {
    const out: ProcessRef[] = [];
    let child = entry;
    while (out.length < MAX_ANCESTORS) {
      const parent = this.entries.get(child.ppid);
      // A "parent" younger than its child is another process that got the pid.
      if (!parent || parent === child || parent.startNs > child.startNs + SNAPSHOT_ROUNDING_NS) break;
      out.push({ pid: parent.tgid, ...refOf(parent) });
      child = parent;
    }
    return out;
  }

  private evictOne(): void {
    this.evicted++;
    let victim: number | undefined;
    let looked = 0;
    for (const [tgid, entry] of this.entries) {
      victim ??= tgid;
      if (entry.ended) victim = tgid;
      if (entry.ended || ++looked === EVICTION_LOOK) break;
    }
    if (victim !== undefined) this.entries.delete(victim);
  }
}

function sameStart(entry: Entry, startNs: bigint): boolean {
  if (startNs === 0n || entry.startNs === startNs) return true;
  return entry.rounded && startNs > entry.startNs && startNs - entry.startNs < SNAPSHOT_ROUNDING_NS;
}

function refOf(entry: Entry): Omit<ProcessRef, 'pid'> {
  const name = entry.exe === null ? entry.comm : entry.exe.slice(entry.exe.lastIndexOf('/') + 1);
  return {
    ...(entry.exe !== null && { exe: entry.exe }),
    name: name || entry.comm,
    ...(entry.args && { cmdline: entry.args.join(' ') }),
  };
}
