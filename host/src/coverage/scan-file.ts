// Looks through one untrusted file for TLS stacks: regular files only, one piece in memory at a time, up to a limit of bytes; it runs in a thread of its own.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { OVERLAP, StackFinder, type TlsStack } from './tls-stack.js';

/** What a file says of the TLS in it. */
export interface FileScan {
  /** In the order of how much a program means by having them. */
  readonly stacks: readonly TlsStack[];
  readonly crypto: readonly TlsStack[];
  /** No symbol table: nothing in it has a name. null: no ELF file, or a damaged one. */
  readonly stripped: boolean | null;
  readonly scannedBytes: number;
  /** The file is longer than what was looked at. */
  readonly cut: boolean;
  /** Why nothing was looked at; null when all went well. */
  readonly refused: string | null;
}

/** 512 MiB: above any program known to carry a TLS stack. */
export const MAX_SCAN_BYTES = 512 << 20;
const PIECE = 1 << 20;
const MAX_SECTIONS = 65_536;
const SHDR_SIZE = 64;
const SHT_SYMTAB = 2;

/** Never throws for what the path leads to. @param limit bytes that are looked at. */
export function scanFile(path: string, limit = MAX_SCAN_BYTES): FileScan {
  let fd: number;
  try {
    // Without waiting for the other end of a pipe, and never as the controlling terminal.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    return refused((error as NodeJS.ErrnoException).code ?? String(error));
  }
  try {
    const stat = fstatSync(fd);
    return stat.isFile() ? scanOpen(fd, stat.size, limit) : refused('not a regular file');
  } catch (error) {
    return refused((error as NodeJS.ErrnoException).code ?? String(error));
  } finally {
    closeSync(fd);
  }
}

function refused(reason: string): FileScan {
  return { stacks: [], crypto: [], stripped: null, scannedBytes: 0, cut: false, refused: reason };
}

function scanOpen(fd: number, size: number, limit: number): FileScan {
  const finder = new StackFinder();
  const piece = Buffer.alloc(OVERLAP + PIECE);
  let kept = 0;
  let at = 0;
  while (at < limit) {
    const got = readSync(fd, piece, kept, Math.min(PIECE, limit - at), at);
    if (got === 0) break;
    at += got;
    const length = kept + got;
    finder.add(piece.subarray(0, length));
    kept = Math.min(OVERLAP, length);
    piece.copyWithin(0, length - kept, length);
  }
  return { stacks: finder.stacks(), crypto: finder.crypto(), stripped: isStripped(fd), scannedBytes: at, cut: size > at, refused: null };
}

/** Whether a 64-bit little-endian ELF file has no section of type SYMTAB. */
function isStripped(fd: number): boolean | null {
  const head = Buffer.alloc(64);
  if (readSync(fd, head, 0, 64, 0) < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1) return null;
  const offset = Number(head.readBigUInt64LE(40));
  const count = head.readUInt16LE(60);
  if (offset === 0 || count === 0) return true;
  if (head.readUInt16LE(58) !== SHDR_SIZE || count > MAX_SECTIONS || !Number.isSafeInteger(offset)) return null;
  const sections = Buffer.alloc(count * SHDR_SIZE);
  const got = readSync(fd, sections, 0, sections.length, offset);
  for (let i = 0; i + SHDR_SIZE <= got; i += SHDR_SIZE) if (sections.readUInt32LE(i + 4) === SHT_SYMTAB) return false;
  return got === sections.length ? true : null;
}
