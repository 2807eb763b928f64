// Attaches the probes of a TLS library to a file, once per (device, inode), and remembers what was attached and why the rest was not; never looks for files.
import { reasonOf } from '../../errors.js';
import type { Candidate } from './candidates.js';
import { FileReport } from './file-report.js';
import {
  type Examination,
  examine,
  type FileIdentity,
  type FoundFunction,
  fileKey,
  glance,
  identify,
  type OpenedFile,
  openRegular,
  type RefusalReason,
  SymbolHints,
  sameContent,
  type TlsFile,
} from './tls-file.js';

/** The part of the addon that attaching needs. */
export interface UprobePort {
  attachUprobe(program: string, path: string, fileOffset: number, isReturn: boolean, target: number): number;
  detach(link: number): void;
}

/** One function of a target. detail says why it is not attached: "symbol missing", or the errno name. */
export interface TargetFunction {
  readonly func: string;
  readonly symbol: string;
  readonly attached: boolean;
  readonly detail?: string;
}

/** A file that carries a TLS library, attached or not. */
export interface Target {
  /** From 1, never used twice: what its probes tell in every record (tls_data.target). */
  readonly id: number;
  /** The path by which it was found first; in a container, the path inside it. */
  readonly path: string;
  readonly dev: string;
  readonly inode: string;
  readonly family: string;
  /** What the file claims, hex. Offsets are not shared through it: a file may claim another one's. */
  readonly buildId: string | undefined;
  readonly functions: readonly TargetFunction[];
  /** When its probes came on, ms since the epoch: a process that used it before has said things unseen. */
  readonly sinceMs: number;
}

/** What became of a path. `known`: the same file and content was seen before. `full`: a bound of the table was reached. */
export type AddOutcome = 'attached' | 'failed' | 'known' | 'full' | RefusalReason;

/** An outcome, and why for people. */
interface Added {
  readonly outcome: AddOutcome;
  readonly detail: string;
}

interface Entry {
  readonly identity: FileIdentity;
  readonly target: Target | undefined;
  readonly links: readonly number[];
  /** "func offset" of every function, to tell whether probes fit a changed content. */
  readonly places: string;
}

/** Taking a probe off costs up to 60 ms, so that this many files bound the time that stop() takes as well. Files that are gone make room (reaper.ts). */
const MAX_TARGETS = 256;
const MAX_KNOWN = 16_384;

/** The attach table. Looks at different files may overlap; of one file there is one at a time. */
export class AttachTable {
  readonly #port: UprobePort;
  readonly #entries = new Map<string, Entry>();
  readonly #hints = new SymbolHints();
  /** Files that are being looked at. */
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly report: FileReport;
  #targets = 0;
  #lastId = 0;

  constructor(port: UprobePort, report = new FileReport()) {
    this.#port = port;
    this.report = report;
  }

  /** Whether this content of this file was examined before, with whatever result. */
  knows(identity: FileIdentity): boolean {
    const entry = this.#entries.get(fileKey(identity));
    return entry !== undefined && sameContent(entry.identity, identity);
  }

  /** Examines a file and attaches all functions of its family. Never throws for what the file is. */
  async add(candidate: Candidate): Promise<AddOutcome> {
    const seen = await identify(candidate.path);
    if (seen !== undefined && this.knows(seen)) {
      this.#moved(seen, candidate);
      return 'known';
    }
    const { outcome, detail } = seen === undefined ? { outcome: 'gone' as const, detail: 'no such file' } : await this.#open(candidate);
    this.report.looked(candidate, outcome, detail);
    return outcome;
  }

  /** Every target, in the order of discovery. */
  targets(): Target[] {
    return [...this.#entries.values()].flatMap((entry) => (entry.target === undefined ? [] : [entry.target]));
  }

  /** Takes the probes off one target and keeps them off: its file stays known. @param detail why, for people. @returns false when there is no such target. */
  detachTarget(id: number, detail: string): boolean {
    for (const [key, entry] of this.#entries) {
      if (entry.target?.id !== id) continue;
      this.#detach(entry.links);
      const functions = entry.target.functions.map(({ func, symbol }) => ({ func, symbol, attached: false, detail }));
      this.#entries.set(key, { ...entry, links: [], target: { ...entry.target, functions } });
      return true;
    }
    return false;
  }

  /** Takes the probes off one target and forgets its file, as if it had never been seen. @returns false when there is no such target. */
  release(id: number): boolean {
    for (const [key, entry] of this.#entries) {
      if (entry.target?.id !== id) continue;
      this.#forget(key);
      return true;
    }
    return false;
  }

  /** Takes all probes off the files. Links of a sensor that is stopped are gone already. */
  detachAll(): void {
    for (const entry of this.#entries.values()) this.#detach(entry.links);
    this.#entries.clear();
    this.#targets = 0;
  }

  /** A package manager writes a file under another name and then renames it: the name it has last is the one by which it can be found. */
  #moved(identity: FileIdentity, { path, shown }: Candidate): void {
    const entry = this.#entries.get(fileKey(identity));
    // Through a process the name may be one inside its container.
    if (entry?.target === undefined || path !== shown || entry.target.path === path) return;
    this.#entries.set(fileKey(identity), { ...entry, target: { ...entry.target, path } });
  }

  async #open(candidate: Candidate): Promise<Added> {
    const opened = await openRegular(candidate.path);
    if ('refused' in opened) return { outcome: opened.refused, detail: opened.detail };
    const key = fileKey(opened.identity);
    try {
      while (this.#busy.has(key)) await this.#busy.get(key);
      if (this.knows(opened.identity)) {
        this.#moved(opened.identity, candidate);
        return { outcome: 'known', detail: '' };
      }
      const look = this.#addOpened(candidate, opened);
      // Whoever waits looks again for himself: what went wrong here is told to this caller alone.
      this.#busy.set(
        key,
        look.catch(() => undefined),
      );
      return await look.finally(() => this.#busy.delete(key));
    } finally {
      await opened.handle.close();
    }
  }

  async #addOpened(candidate: Candidate, opened: OpenedFile): Promise<Added> {
    const { handle, identity } = opened;
    const key = fileKey(identity);
    // A second file like one that was examined before is probed at once where its symbols are seen to stand; to read all of a file of some
    // 100 MB takes a moment in which its first bytes would go by.
    const like = this.#entries.has(key) ? undefined : await glance(handle, this.#hints);
    const first = like === undefined ? undefined : this.#commit(candidate, opened, { tls: like });
    const last = this.#commit(candidate, opened, await examine(handle, this.#hints));
    return first?.outcome === 'attached' && last.outcome === 'known' ? first : last;
  }

  /** Makes what is attached to a file what was found in it. */
  #commit(candidate: Candidate, { handle, identity }: OpenedFile, examination: Examination): Added {
    const key = fileKey(identity);
    const before = this.#entries.get(key);
    if ('refused' in examination) {
      this.#forget(key);
      this.#remember({ identity, target: undefined, links: [], places: '' });
      return { outcome: examination.refused, detail: examination.detail };
    }
    const { tls } = examination;
    const places = tls.functions.map(({ probe, offset }) => `${probe.func} ${offset}`).join();
    if (before?.places === places) {
      this.#entries.set(key, { ...before, identity });
      this.#moved(identity, candidate);
      return { outcome: 'known', detail: '' };
    }
    this.#forget(key);
    // Not remembered: when a file that is gone has made room, the next look finds it.
    if (this.#targets >= MAX_TARGETS) return { outcome: 'full', detail: `${MAX_TARGETS} files are probed` };
    // By descriptor, so that the file that was examined is the one that is probed whatever its path leads to by now: an
    // offset of one file put into another would be a breakpoint in the middle of an instruction.
    const id = ++this.#lastId;
    const { links, functions } = this.#attach(tls.functions, `/proc/self/fd/${handle.fd}`, id);
    this.#remember({ identity, target: { id, ...describe(candidate.shown, identity, tls, functions) }, links, places });
    return links.length > 0 ? { outcome: 'attached', detail: '' } : { outcome: 'failed', detail: functions.find((f) => f.detail)?.detail ?? '' };
  }

  #attach(found: readonly FoundFunction[], path: string, id: number): { links: number[]; functions: TargetFunction[] } {
    const links: number[] = [];
    const functions = found.map(({ probe: { func, symbol, entry, exit }, offset }): TargetFunction => {
      if (offset === undefined) return { func, symbol, attached: false, detail: 'symbol missing' };
      const own: number[] = [];
      try {
        // The return first: a return without its entry is ignored, an entry without its return leaves a stale frame.
        if (exit !== undefined) own.push(this.#port.attachUprobe(exit, path, offset, true, id));
        if (entry !== undefined) own.push(this.#port.attachUprobe(entry, path, offset, false, id));
      } catch (error) {
        this.#detach(own);
        return { func, symbol, attached: false, detail: reasonOf(error) };
      }
      links.push(...own);
      return { func, symbol, attached: true };
    });
    return { links, functions };
  }

  #detach(links: readonly number[]): void {
    for (const link of links.toReversed()) this.#port.detach(link);
  }

  /** A file that was rewritten in place has other offsets: its old probes go. */
  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#detach(entry.links);
    if (entry.target !== undefined) this.#targets -= 1;
    this.#entries.delete(key);
  }

  #remember(entry: Entry): void {
    if (this.#entries.size >= MAX_KNOWN) {
      // Forgetting a file that is no target only costs looking at it again.
      for (const [key, old] of this.#entries) {
        if (old.target !== undefined) continue;
        this.#entries.delete(key);
        break;
      }
    }
    if (entry.target !== undefined) this.#targets += 1;
    this.#entries.set(fileKey(entry.identity), entry);
  }
}

function describe(path: string, identity: FileIdentity, tls: TlsFile, functions: readonly TargetFunction[]): Omit<Target, 'id'> {
  const { family, buildId } = tls;
  return { path, dev: String(identity.dev), inode: String(identity.inode), family, buildId, functions, sinceMs: Date.now() };
}
