// Describes every running process once, from /proc, as sys.proc records; never watches anything.
//
// start_ns is the start time of /proc/PID/stat, which counts ticks of 1/100 s: it is the kernel's start_boottime rounded down to
// 10 ms, so that a reader matches it with the start_ns of kernel records by that tick and not exactly.
import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Packr } from 'msgpackr';
import { ARGS_AREA, COMM_LEN, Kind } from '../../gen/records.js';
import { processIds } from './proc-files.js';
import { isErrno } from './tls-file.js';

/** One process; undefined where the link cannot be read. */
export interface ProcessRow {
  readonly tgid: number;
  readonly ppid: number;
  /** CLOCK_BOOTTIME ns, a multiple of 10 ms. */
  readonly startNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly comm: string;
  readonly exe: string | undefined;
  readonly args: readonly string[];
  readonly cwd: string | undefined;
  readonly cgroup: string | undefined;
}

/** Concatenated sys.proc records. */
export interface SnapshotBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly records: number;
}

export interface Snapshot {
  readonly batches: readonly SnapshotBatch[];
  readonly processes: number;
  /** Processes left out at a bound. */
  readonly skipped: number;
}

export interface SnapshotBounds {
  /** Bytes of one batch at most; more than any single record (20 KiB). */
  readonly batchBytes: number;
  /** Bytes of all batches at most. */
  readonly totalBytes: number;
  readonly processes?: number;
}

const MAX_PROCESSES = 32_768;
/** A tick of /proc is 1/100 s on every Linux that Node runs on. */
const NS_PER_TICK = 10_000_000n;
const PF_KTHREAD = 0x0020_0000;
const SMALL_FILE = 8 << 10;
const SCRATCH = Buffer.alloc(SMALL_FILE);
const MAX_PATH = 4096;
/** Processes read at a time: the thread pool of libuv has four threads. */
const PARALLEL = 8;

/** Reads all processes. Kernel threads and zombies are left out, and so are processes that vanish meanwhile. */
export async function takeSnapshot(bounds: SnapshotBounds): Promise<Snapshot> {
  const ids = await processIds();
  const limit = bounds.processes ?? MAX_PROCESSES;
  const rows = await readRows(ids.slice(0, limit));
  const packer = new SnapshotPacker(bounds);
  for (const row of rows) packer.add(row);
  return packer.finish(Math.max(0, ids.length - limit));
}

async function readRows(ids: readonly number[]): Promise<ProcessRow[]> {
  const rows: ProcessRow[] = [];
  let next = 0;
  const reader = async (): Promise<void> => {
    while (next < ids.length) {
      const row = await readProcess(ids[next++] as number);
      if (row !== undefined) rows.push(row);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, reader));
  return rows.sort((a, b) => a.tgid - b.tgid);
}

/** One process as /proc shows it. @returns undefined for what is gone, a zombie or a kernel thread. */
export async function readProcess(tgid: number): Promise<ProcessRow | undefined> {
  const stat = parseStat(readSmall(`/proc/${tgid}/stat`) ?? '');
  if (stat === undefined) return undefined;
  const status = readSmall(`/proc/${tgid}/status`);
  const uid = realId(status, 'Uid');
  const gid = realId(status, 'Gid');
  // Without its status the process is gone: no id is better than a wrong one.
  if (uid === undefined || gid === undefined) return undefined;
  const cmdline = await readCommandLine(tgid);
  const exe = readLink(`/proc/${tgid}/exe`)?.replace(/ \(deleted\)$/, '');
  const cwd = readLink(`/proc/${tgid}/cwd`);
  const cgroup = cgroupPath(readSmall(`/proc/${tgid}/cgroup`) ?? '');
  const args = splitArgs(cmdline ?? '');
  return { ...stat, tgid, uid, gid, exe, args, cwd, cgroup };
}

/** "PID (COMM) STATE PPID ...": the name may hold spaces and parentheses, so the last one ends it. */
export function parseStat(text: string): Pick<ProcessRow, 'ppid' | 'startNs' | 'comm'> | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  const fields = text.slice(close + 2).split(' ');
  const [state = '', ppid = ''] = fields;
  const flags = Number(fields[6]);
  const start = fields[19] ?? '';
  if ('ZXx'.includes(state) || (flags & PF_KTHREAD) !== 0 || !/^[0-9]+$/.test(start)) return undefined;
  return { ppid: Number(ppid), startNs: BigInt(start) * NS_PER_TICK, comm: text.slice(open + 1, Math.min(close, open + COMM_LEN)) };
}

function realId(status: string | undefined, key: 'Uid' | 'Gid'): number | undefined {
  const match = new RegExp(`^${key}:\\t([0-9]+)`, 'm').exec(status ?? '');
  return match === null ? undefined : Number(match[1]);
}

function splitArgs(cmdline: string): string[] {
  const args = cmdline.split('\0');
  if (args.at(-1) === '') args.pop();
  return args;
}

/**
 * The path that names the service or container: of the unified hierarchy, or, where that is only "/", the longest path of an
 * older hierarchy that holds a container's id.
 */
export function cgroupPath(text: string): string | undefined {
  const lines = text.split('\n').filter((line) => line !== '');
  const pathOf = (line: string): string => line.split(':').slice(2).join(':');
  const unified = lines.filter((line) => line.startsWith('0::')).map(pathOf)[0];
  if (unified !== undefined && unified !== '/') return unified;
  const containers = lines.map(pathOf).filter((path) => /[0-9a-f]{32}/.test(path));
  const longest = containers.sort((a, b) => b.length - a.length)[0];
  return longest ?? unified ?? lines.map(pathOf)[0];
}

/**
 * The first bytes of a file of /proc that the kernel makes up from memory: synchronous, a few microseconds each, where a turn
 * of the thread pool costs twenty times as much. @returns undefined when it is gone or may not be read.
 */
function readSmall(path: string): string | undefined {
  try {
    const file = openSync(path, 'r');
    try {
      return SCRATCH.toString('utf8', 0, readSync(file, SCRATCH, 0, SMALL_FILE, 0));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

/** The first 4 KiB of the arguments, each ended by a NUL. They stand in the process's own memory, which may have to come from disk: not on the main thread. */
export async function readCommandLine(tgid: number): Promise<string | undefined> {
  try {
    const file = await open(`/proc/${tgid}/cmdline`);
    try {
      const buffer = Buffer.alloc(ARGS_AREA);
      const { bytesRead } = await file.read(buffer, 0, ARGS_AREA, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path).slice(0, MAX_PATH);
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

/** Packs rows into batches within the bounds. */
class SnapshotPacker {
  readonly #packr = new Packr({ useRecords: false });
  readonly #bounds: SnapshotBounds;
  readonly #batches: SnapshotBatch[] = [];
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #total = 0;
  #processes = 0;
  #skipped = 0;

  constructor(bounds: SnapshotBounds) {
    this.#bounds = bounds;
  }

  add(row: ProcessRow): void {
    const { tgid, ppid, startNs, uid, gid, comm, exe, args, cwd, cgroup } = row;
    const record = [Kind.sys_proc, tgid, ppid, startNs, uid, gid, comm, exe ?? null, args, cwd ?? null, cgroup ?? null];
    const packed = Uint8Array.from(this.#packr.pack(record));
    if (packed.length > this.#bounds.batchBytes || this.#total + packed.length > this.#bounds.totalBytes) {
      this.#skipped += 1;
      return;
    }
    if (this.#bytes + packed.length > this.#bounds.batchBytes) this.#close();
    this.#parts.push(packed);
    this.#bytes += packed.length;
    this.#total += packed.length;
    this.#processes += 1;
  }

  finish(skipped: number): Snapshot {
    if (this.#parts.length > 0) this.#close();
    return { batches: this.#batches, processes: this.#processes, skipped: this.#skipped + skipped };
  }

  #close(): void {
    const bytes = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#batches.push({ bytes, records: this.#parts.length });
    this.#parts = [];
    this.#bytes = 0;
  }
}
