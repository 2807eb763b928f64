// Finds sys.exec, sys.map and sys.exit records in a batch: which process, when, which file; never looks at captured payload.
//
// The main thread must not parse captured bytes: they come from other programs. What is read here does not: the frames of a
// kernel batch are made by the addon (a two-element array, the kind, a bin header) and what is read are fixed fields that the
// kernel wrote. Payload is stepped over by its length. The alternative, telling the source from a shard worker, would delay probing a
// new program by a queue of batches.
import { Kind, RecHeaderOffset, SysMapOffset } from '../../gen/records.js';

const FIXARRAY_2 = 0x92;
const BIN8 = 0xc4;
const BIN16 = 0xc5;
const BIN32 = 0xc6;

/** Told of processes, in the order of the batch. */
export interface ProcessWatcher {
  /** @param atMs ms since the epoch. */
  onExec(tgid: number, atMs: number): void;
  /** It mapped code of this file. */
  onMap(tgid: number, file: { readonly dev: bigint; readonly inode: bigint }, atMs: number): void;
  onExit(tgid: number): void;
}

/** The shortest record of each kind that is of interest here. */
const SIZES: Readonly<Record<number, number>> = {
  [Kind.sys_exec]: RecHeaderOffset.SIZE,
  [Kind.sys_exit]: RecHeaderOffset.SIZE,
  [Kind.sys_map]: SysMapOffset.SIZE,
};

/**
 * Tells the watcher of every sys.exec, sys.map and sys.exit record.
 * @param bytes concatenated [kind, bin] arrays.
 * @param clockOffsetNs of the batch: CLOCK_REALTIME - CLOCK_BOOTTIME.
 * @returns false when the walk met something else and stopped there.
 */
export function peekProcesses(bytes: Uint8Array, clockOffsetNs: bigint, watcher: ProcessWatcher): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    // The shortest record: array, kind, bin8 and its length.
    if (at + 4 > bytes.length || bytes[at] !== FIXARRAY_2) return false;
    const kind = bytes[at + 1] as number;
    const head = binHead(view, at + 2);
    if (kind > 0x7f || head === undefined) return false;
    const end = head.start + head.length;
    if (end > bytes.length) return false;
    if (head.length >= (SIZES[kind] ?? Number.POSITIVE_INFINITY)) tell({ view, kind, at: head.start }, clockOffsetNs, watcher);
    at = end;
  }
  return true;
}

function tell({ view, kind, at }: { view: DataView; kind: number; at: number }, clockOffsetNs: bigint, watcher: ProcessWatcher): void {
  const tgid = view.getUint32(at + RecHeaderOffset.tgid, true);
  if (kind === Kind.sys_exit) {
    watcher.onExit(tgid);
    return;
  }
  const atMs = Number((view.getBigUint64(at + RecHeaderOffset.ts_ns, true) + clockOffsetNs) / 1_000_000n);
  if (kind === Kind.sys_exec) watcher.onExec(tgid, atMs);
  else watcher.onMap(tgid, { dev: view.getBigUint64(at + SysMapOffset.dev, true), inode: view.getBigUint64(at + SysMapOffset.inode, true) }, atMs);
}

function binHead(view: DataView, at: number): { start: number; length: number } | undefined {
  const left = view.byteLength - at;
  const tag = view.getUint8(at);
  if (tag === BIN8 && left >= 2) return { start: at + 2, length: view.getUint8(at + 1) };
  if (tag === BIN16 && left >= 3) return { start: at + 3, length: view.getUint16(at + 1) };
  if (tag === BIN32 && left >= 5) return { start: at + 5, length: view.getUint32(at + 1) };
  return undefined;
}
