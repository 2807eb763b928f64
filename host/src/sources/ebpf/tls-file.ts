// Decides whether one untrusted file carries a TLS library that can be probed, and where; never attaches anything.
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { libraries, type ProbeRow, probes } from '../../gen/probes.js';
import { ElfError, type ElfHead, type ElfReason, readElf, readHead, readPlaces, type SymbolPlace } from './elf.js';

/** What tells one file from another, and one content of it from the next. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/** A function of the library's family: where it is in this file, or undefined when the file does not define it. */
export interface FoundFunction {
  readonly probe: ProbeRow;
  readonly offset: number | undefined;
}

/** A file of a known family, or of several (applications bundle NSS and NSPR): "nss+nspr". */
export interface TlsFile {
  readonly family: string;
  readonly buildId: string | undefined;
  readonly functions: readonly FoundFunction[];
}

/** Why a file is not a target; bounded, so that it can name a counter. */
export type RefusalReason = ElfReason | 'gone' | 'denied' | 'unreachable' | 'not_regular' | 'other_machine' | 'no_symbols';

export type Examination = { readonly tls: TlsFile } | { readonly refused: RefusalReason; readonly detail: string };

/** Key of a file among all mounted ones. */
export function fileKey(identity: Pick<FileIdentity, 'dev' | 'inode'>): string {
  return `${identity.dev}:${identity.inode}`;
}

/** Whether two looks at one inode saw the same content. Not by ctime: a new hard link or mode changes that. */
export function sameContent(a: FileIdentity, b: FileIdentity): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/** dev and inode as stat gives them, without opening. @returns undefined when there is no such file. */
export async function identify(path: string): Promise<(FileIdentity & { readonly regular: boolean }) | undefined> {
  try {
    const s = await stat(path, { bigint: true });
    return { dev: s.dev, inode: s.ino, size: s.size, mtimeNs: s.mtimeNs, regular: s.isFile() };
  } catch (error) {
    if (isErrno(error)) return undefined;
    throw error;
  }
}

/** An opened file. The handle is the caller's to close. */
export interface OpenedFile {
  readonly handle: FileHandle;
  readonly identity: FileIdentity;
}

/**
 * Opens a file that anybody may have put there: only regular files, and without waiting for the other end of a pipe.
 * @returns the open file or the reason it was refused.
 */
export async function openRegular(path: string): Promise<OpenedFile | { readonly refused: RefusalReason; readonly detail: string }> {
  const before = await identify(path);
  if (before === undefined) return { refused: 'gone', detail: 'no such file' };
  // Opening a device can have effects: look first, and look again at what was opened.
  if (!before.regular) return { refused: 'not_regular', detail: 'not a regular file' };
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (!isErrno(error)) throw error;
    return { refused: error.code === 'ENOENT' ? 'gone' : 'denied', detail: error.code ?? error.message };
  }
  const s = await handle.stat({ bigint: true });
  if (s.isFile()) return { handle, identity: { dev: s.dev, inode: s.ino, size: s.size, mtimeNs: s.mtimeNs } };
  await handle.close();
  return { refused: 'not_regular', detail: 'not a regular file' };
}

const WANTED: ReadonlySet<string> = new Set([...probes.map((p) => p.symbol), ...libraries.flatMap((l) => l.evidence)]);
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** Reads an open file's symbols and decides. Never throws for what the file holds. @param hints learn where the symbols stand. */
export async function examine(handle: FileHandle, hints?: SymbolHints): Promise<Examination> {
  try {
    const head = await readHead(handle);
    if (head.machine !== MACHINES[process.arch]) return { refused: 'other_machine', detail: `ELF machine ${head.machine}` };
    const image = await readElf(handle, WANTED, head);
    const tls = tlsFile(head, image.symbols);
    if (tls === undefined) return { refused: 'no_symbols', detail: missingEvidence(image.symbols) };
    hints?.learn(head.buildId, image.places);
    return { tls };
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return { refused: error.reason, detail: error.message };
  }
}

/**
 * A first answer in a few small reads, for a file that claims the build id of one that was examined before. It is true, because everything
 * in it is read from this file, but perhaps not whole: what the other file did not have is not looked for. examine() has the last word.
 * @returns undefined when there is nothing to go by, or the file is not like the other one.
 */
export async function glance(handle: FileHandle, hints: SymbolHints): Promise<TlsFile | undefined> {
  try {
    const head = await readHead(handle);
    const places = hints.places(head.buildId);
    if (places === undefined || head.machine !== MACHINES[process.arch]) return undefined;
    const symbols = await readPlaces(handle, head, places);
    return symbols === undefined ? undefined : tlsFile(head, symbols);
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return undefined;
  }
}

function tlsFile({ buildId }: ElfHead, symbols: ReadonlyMap<string, number>): TlsFile | undefined {
  const found = libraries.filter((l) => l.evidence.every((symbol) => symbols.has(symbol))).map((l) => l.name);
  if (found.length === 0) return undefined;
  const functions = probes.filter((probe) => found.includes(probe.library)).map((probe) => ({ probe, offset: symbols.get(probe.symbol) }));
  return { family: found.join('+'), buildId, functions };
}

const MAX_HINTS = 256;

/** Where symbols stood in the files examined last, by the build id that they claimed: places to look, never offsets to use. At most 256. */
export class SymbolHints {
  readonly #places = new Map<string, ReadonlyMap<string, SymbolPlace>>();

  places(buildId: string | undefined): ReadonlyMap<string, SymbolPlace> | undefined {
    return buildId === undefined ? undefined : this.#places.get(buildId);
  }

  learn(buildId: string | undefined, places: ReadonlyMap<string, SymbolPlace>): void {
    if (buildId === undefined) return;
    this.#places.delete(buildId);
    if (this.#places.size >= MAX_HINTS) for (const oldest of this.#places.keys()) if (this.#places.delete(oldest)) break;
    this.#places.set(buildId, places);
  }
}

function missingEvidence(symbols: ReadonlyMap<string, number>): string {
  return libraries.map((l) => `${l.name}: no ${l.evidence.filter((s) => !symbols.has(s)).join(', ')}`).join('; ');
}

/** Whether an error came from a system call. */
export function isErrno(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
}
