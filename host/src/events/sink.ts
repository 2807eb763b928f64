// Where events end: the one interface between the pipeline and everything that delivers. Types only.
import type { OutgoingEvent } from './outgoing.js';

/**
 * Where events end. write() resolves when the sink can take more and needs the bytes of these no longer; it counts what it could not deliver and never
 * throws for one event.
 */
export interface Sink {
  readonly id: string;
  open(): Promise<void>;
  write(events: readonly OutgoingEvent[]): Promise<void>;
  /** The daemon is stopping: from now on trouble ends in counted drops after a few tries, so that the stop does not hang. */
  stopping(): void;
  /** Delivers what it still holds, then frees everything. Idempotent, safe before open. */
  close(): Promise<void>;
  stats(): { written: number; bytes: number; dropped: number; retries: number };
}
