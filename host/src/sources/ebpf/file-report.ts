// Remembers which files could not be looked into and which were probed after a process already ran them; bounded, and it decides nothing.
import type { Candidate } from './candidates.js';
import type { RefusalReason } from './tls-file.js';

/** A file that a process runs or maps, or that is installed, and that was not examined: what it says over TLS is not seen. */
export interface UnreadableFile {
  readonly path: string;
  /** `full`: it carries TLS, and the table of probed files has no room. */
  readonly reason: RefusalReason | 'full';
  /** The errno name, or the rule of the format that it breaks. */
  readonly detail: string;
  /** A process that uses it, if one does. */
  readonly tgid: number | undefined;
  /** How often it was looked at. */
  readonly looks: number;
}

/** A file whose probes came on when a process that uses it was running already: the first bytes of that process may be missing. */
export interface LateFile {
  readonly path: string;
  readonly tgid: number;
  /** From its exec, or from its mapping of the file, to the probes, ms; undefined: it ran before the sensor. */
  readonly afterMs: number | undefined;
}

const MAX_UNREADABLE = 256;
const MAX_LATE = 256;
/** What most files of a machine are is no news: no ELF file, one without TLS, a device. */
const ORDINARY: ReadonlySet<string> = new Set(['not_elf', 'no_symbols', 'not_regular', 'attached', 'failed', 'known', 'other_machine']);

export class FileReport {
  readonly #unreadable = new Map<string, UnreadableFile>();
  readonly #late = new Map<string, LateFile>();
  readonly counters = { unreadable: 0, unreadable_forgotten: 0, late: 0, late_forgotten: 0 };

  /** Takes the outcome of a look. A file that could be examined is no longer unreadable. */
  looked({ shown, tgid }: Candidate, outcome: RefusalReason | 'attached' | 'failed' | 'known' | 'full', detail: string): void {
    // A file that is gone is only a loss when a process still maps it, and then it is `unreachable`.
    if (ORDINARY.has(outcome) || outcome === 'gone') {
      if (outcome !== 'known') this.#unreadable.delete(shown);
      return;
    }
    const looks = (this.#unreadable.get(shown)?.looks ?? 0) + 1;
    if (looks === 1) this.counters.unreadable += 1;
    this.#unreadable.delete(shown);
    this.#unreadable.set(shown, { path: shown, reason: outcome as UnreadableFile['reason'], detail, tgid, looks });
    this.counters.unreadable_forgotten += trim(this.#unreadable, MAX_UNREADABLE);
  }

  late(file: LateFile): void {
    this.counters.late += 1;
    this.#late.set(`${file.tgid} ${file.path}`, file);
    this.counters.late_forgotten += trim(this.#late, MAX_LATE);
  }

  /** Newest last; at most 256. */
  get unreadable(): UnreadableFile[] {
    return [...this.#unreadable.values()];
  }

  /** Newest last; at most 256. */
  get lateFiles(): LateFile[] {
    return [...this.#late.values()];
  }
}

/** Drops the oldest entries past a bound. @returns how many. */
function trim(map: Map<string, unknown>, most: number): number {
  let dropped = 0;
  for (const key of map.keys()) {
    if (map.size <= most) break;
    map.delete(key);
    dropped += 1;
  }
  return dropped;
}
