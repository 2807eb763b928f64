// Events between their shard and the sinks: JSON text that is not read on the way, and of each event the few fields that the main thread does read.
import type { OispEvent, RelatedEvent, ShardEvent } from './event.js';

/** What the main thread knows of an event without reading its text. */
export interface EventHead {
  readonly event_id: string;
  readonly event_type: string;
  readonly ts: string;
  readonly pid: number | undefined;
  /** `conn:stream` of the exchange it belongs to, or null. */
  readonly exchange: string | null;
}

/** Events of one answer of a shard: one JSON text after the other, in the order of the heads. */
export interface SealedEvents {
  readonly heads: readonly EventHead[];
  /** Where in bytes each text ends. */
  readonly ends: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Buffers from this size on are worth being used again: fresh memory of this size is mapped, and zeroed page by page. */
export const REUSED_BYTES = 256 * 1024;

/** @param buffer gives room for so many bytes, or for more. */
export function sealEvents(events: readonly ShardEvent[], buffer: (bytes: number) => ArrayBuffer): SealedEvents {
  const texts = events.map(({ event }) => JSON.stringify(event));
  const total = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const room = Buffer.from(buffer(total), 0, total);
  let at = 0;
  const ends = texts.map((text) => (at += room.write(text, at, 'utf8')));
  const heads = events.map(({ event: { event_id, event_type, ts, process }, exchange }) => ({ event_id, event_type, ts, pid: process?.pid, exchange }));
  return { heads, ends, bytes: new Uint8Array(room.buffer, 0, total) };
}

export function openEvents({ heads, ends, bytes }: SealedEvents): OutgoingEvent[] {
  return heads.map((head, i) => new OutgoingEvent(head, bytes.subarray(ends[i - 1] ?? 0, ends[i])));
}

/** One event on its way to the sinks. Its bytes are lent: they are used again once every sink's write() is over. */
export class OutgoingEvent {
  private readonly related: RelatedEvent[] = [];

  constructor(
    readonly head: EventHead,
    private readonly text: Uint8Array,
  ) {}

  relate(link: RelatedEvent): void {
    this.related.push(link);
  }

  /** Its JSON text, in parts. */
  parts(): Uint8Array[] {
    if (this.related.length === 0) return [this.text];
    return [this.text.subarray(0, -1), Buffer.from(`,"related_events":${JSON.stringify(this.related)}}`)];
  }

  /** The event itself, for a sink that shows it to a person. */
  parse(): OispEvent {
    return JSON.parse(Buffer.concat(this.parts()).toString()) as OispEvent;
  }
}
