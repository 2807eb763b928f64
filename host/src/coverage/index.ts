// The coverage of a running daemon: takes notes and events as they come, and tells of them when asked; the probes it finds wrong it has taken off.
import type { EventHead } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import type { SourceStats } from '../events/source.js';
import type { LateFile, ProcessUses, Target, UnreadableFile } from '../sources/ebpf/index.js';
import { ProbeCheck } from './probe-check.js';
import { makeReport } from './report.js';
import type { CoverageReport } from './row.js';
import { Scanner } from './scanner.js';
import { CoverageTable } from './table.js';

/** What coverage asks of a source. */
export interface CoverageSource {
  fileUses(): AsyncIterable<ProcessUses>;
  targets(): readonly Target[];
  unreadableFiles(): readonly UnreadableFile[];
  lateFiles(): readonly LateFile[];
  detachTarget(id: number, why: string): boolean;
}

export class Coverage {
  readonly #source: CoverageSource;
  readonly #table: CoverageTable;
  readonly #scanner = new Scanner();
  readonly #check: ProbeCheck;
  #reporting: Promise<CoverageReport> | undefined;

  /** @param onDetached told of a file whose probes the self-check took off. */
  constructor(source: CoverageSource, onDetached: (path: string, why: string) => void) {
    this.#source = source;
    this.#table = new CoverageTable((id) => source.targets().find((target) => target.id === id));
    this.#check = new ProbeCheck((id, why) => {
      const path = source.targets().find((target) => target.id === id)?.path;
      const detached = source.detachTarget(id, why);
      if (detached) onDetached(path ?? `file ${id}`, why);
      return detached;
    });
  }

  note(note: DescribedNote): void {
    this.#table.note(note);
    this.#check.note(note);
  }

  event(event: EventHead): void {
    this.#table.event(event);
  }

  /** Whoever asks while a report is being made gets the same one. */
  report(): Promise<CoverageReport> {
    this.#reporting ??= makeReport({
      rows: () => this.#table.rows(),
      processes: () => this.#source.fileUses(),
      targets: () => this.#source.targets(),
      unreadable: () => this.#source.unreadableFiles(),
      late: () => this.#source.lateFiles(),
      scan: (path, deadlineMs) => this.#scanner.scan(path, deadlineMs),
    }).finally(() => {
      this.#reporting = undefined;
    });
    return this.#reporting;
  }

  stats(): SourceStats {
    return { table: { ...this.#table.counters() }, self_check: this.#check.counters(), scanner: { ...this.#scanner.counters() } };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#scanner.close();
  }
}
