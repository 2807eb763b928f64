// Finds the process ids of sys.exec and sys.exit records in a batch; never looks at captured payload.
//
// The main thread must not parse captured bytes: they come from other programs. What is read here does not: the frames of a
// kernel batch are made by the addon (a two-element array, the kind, a bin header) and the id is a fixed field that the kernel
// wrote. Payload is stepped over by its length. The alternative, telling the source from a shard worker, would delay probing a
// new program by a queue of batches.
import { Kind, RecHeaderOffset } from '../../gen/records.js';

const FIXARRAY_2 = 0x92;
const BIN8 = 0xc4;
const BIN16 = 0xc5;
const BIN32 = 0xc6;

/** Told of processes, in the order of the batch. */
export interface ProcessWatcher {
  onExec(tgid: number): void;
  onExit(tgid: number): void;
}

/**
 * Tells the watcher of every sys.exec and sys.exit record.
 * @param bytes concatenated [kind, bin] arrays.
 * @returns false when the walk met something else and stopped there.
 */
export function peekProcesses(bytes: Uint8Array<ArrayBuffer>, watcher: ProcessWatcher): boolean {
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
    if ((kind === Kind.sys_exec || kind === Kind.sys_exit) && head.length >= RecHeaderOffset.SIZE) {
      const tgid = view.getUint32(head.start + RecHeaderOffset.tgid, true);
      if (kind === Kind.sys_exec) watcher.onExec(tgid);
      else watcher.onExit(tgid);
    }
    at = end;
  }
  return true;
}

function binHead(view: DataView, at: number): { start: number; length: number } | undefined {
  const left = view.byteLength - at;
  const tag = view.getUint8(at);
  if (tag === BIN8 && left >= 2) return { start: at + 2, length: view.getUint8(at + 1) };
  if (tag === BIN16 && left >= 3) return { start: at + 3, length: view.getUint16(at + 1) };
  if (tag === BIN32 && left >= 5) return { start: at + 5, length: view.getUint32(at + 1) };
  return undefined;
}
