// Decides when the probes of a file are on the wrong functions: what they gave was never plausible. It detaches nothing by itself.
import type { ConnectionNote } from '../events/raw-event.js';
import { ConnNote } from '../gen/records.js';

/** Connections in a row that must begin implausibly before probes are given up. One in a thousand plausible beginnings looks uniform. */
export const IMPLAUSIBLE_LIMIT = 3;
/** Files that are watched; the source probes fewer at once. */
const MAX_WATCHED = 1024;

/** Beginnings that speak neither for a probe nor against it: too few bytes, and what one in twenty uniform ones look like too. */
const WEAK: ReadonlySet<unknown> = new Set(['short', 'websocket']);

interface Watched {
  implausible: number;
  plausible: boolean;
}

/** Takes a target's probes off. @returns false when it has none. */
export type Detach = (target: number, why: string) => boolean;

export class ProbeCheck {
  readonly #detach: Detach;
  readonly #watched = new Map<number, Watched>();
  readonly #counters = { watched: 0, detached: 0, forgotten: 0 };

  constructor(detach: Detach) {
    this.#detach = detach;
  }

  /**
   * Only what begins with its connection can speak against a probe: bytes from the middle of a body may be of any kind. One plausible beginning, ever, and the probes stay.
   */
  note({ what, target, detail }: ConnectionNote): void {
    if (target === 0) return;
    if (what === ConnNote.first_plaintext && !WEAK.has(detail['looks'])) this.#of(target).plausible = true;
    if (what !== ConnNote.implausible || detail['from_start'] !== true) return;
    const watched = this.#of(target);
    watched.implausible += 1;
    if (watched.plausible || watched.implausible !== IMPLAUSIBLE_LIMIT) return;
    if (this.#detach(target, `self-check: ${IMPLAUSIBLE_LIMIT} connections began with bytes that are no plaintext`)) this.#counters.detached += 1;
  }

  counters(): { watched: number; detached: number; forgotten: number } {
    return { ...this.#counters, watched: this.#watched.size };
  }

  #of(target: number): Watched {
    let watched = this.#watched.get(target);
    if (watched === undefined) {
      watched = { implausible: 0, plausible: false };
      this.#watched.set(target, watched);
      for (const oldest of this.#watched.keys()) {
        if (this.#watched.size <= MAX_WATCHED) break;
        this.#watched.delete(oldest);
        this.#counters.forgotten += 1;
      }
    }
    return watched;
  }
}
