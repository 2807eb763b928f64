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
  /** Of a tool call and of its result: what joins them. */
  readonly call?: string;
}

/** Events of one answer of a shard: one JSON text after the other, in the order of the heads. */
export interface SealedEvents {
  readonly heads: readonly EventHead[];
  /** Where in bytes each text ends. */
  readonly ends: readonly number[];
  readonly bytes: Uint8Array;
}

const encoder = new TextEncoder();

/** @param roomFor gives room for so many bytes, or for more. */
export function sealEvents(events: readonly ShardEvent[], roomFor: (bytes: number) => Uint8Array): SealedEvents {
  const texts = events.map(({ event }) => JSON.stringify(event));
  const units = texts.reduce((sum, text) => sum + text.length, 0);
  // Mostly ASCII: counting the bytes first would take longer than writing them. What does not fit is counted after all.
  let room = roomFor(Math.ceil(units * 1.0625));
  let ends = encode(texts, room);
  if (ends === undefined) {
    giveBack({ bytes: room });
    room = roomFor(texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0));
    ends = encode(texts, room) as number[];
  }
  const heads = events.map(headOf);
  return { heads, ends, bytes: room.subarray(0, ends.at(-1) ?? 0) };
}

/** @returns where each text ends; undefined when there is too little room. */
function encode(texts: readonly string[], room: Uint8Array): number[] | undefined {
  const ends: number[] = [];
  let at = 0;
  for (const text of texts) {
    const { read, written } = encoder.encodeInto(text, room.subarray(at));
    if (read < text.length) return undefined;
    at += written;
    ends.push(at);
  }
  return ends;
}

function headOf({ event: { event_id, event_type, ts, process, data }, exchange }: ShardEvent): EventHead {
  const call = event_type.startsWith('agent.tool_') ? data['call_id'] : undefined;
  return { event_id, event_type, ts, pid: process?.pid, exchange, ...(typeof call === 'string' && { call }) };
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

/** From this size on memory is shared and used again: fresh memory of this size is mapped, and zeroed page by page. */
const SHARED_BYTES = 64 * 1024;
const ROOM_BYTES = 512 * 1024;
/** Rooms kept, and the largest that is; what is needed beyond is forgotten after its use. */
const MOST_ROOMS = 8;
const LARGEST_KEPT = 2 * 1024 * 1024;
/** A room's first word says whether it is lent. */
const HEAD_BYTES = 64;

/** Rooms for the text of events that the thread which reads them gives back, without a message: it is enough that it says so in the room. */
export class LentRooms {
  private readonly rooms: SharedArrayBuffer[] = [];

  room(bytes: number): Uint8Array {
    if (bytes < SHARED_BYTES) return new Uint8Array(bytes);
    const free = this.rooms.find((room) => room.byteLength >= HEAD_BYTES + bytes && Atomics.compareExchange(stateOf(room), 0, 0, 1) === 0);
    const room = free ?? this.add(Math.max(bytes, ROOM_BYTES));
    return new Uint8Array(room, HEAD_BYTES, bytes);
  }

  private add(bytes: number): SharedArrayBuffer {
    const room = new SharedArrayBuffer(HEAD_BYTES + bytes);
    stateOf(room)[0] = 1;
    if (this.rooms.length < MOST_ROOMS && bytes <= LARGEST_KEPT) this.rooms.push(room);
    return room;
  }
}

/** Nobody reads these texts any more. */
export function giveBack({ bytes }: { readonly bytes: Uint8Array }): void {
  if (bytes.buffer instanceof SharedArrayBuffer) Atomics.store(stateOf(bytes.buffer), 0, 0);
}

const stateOf = (room: SharedArrayBuffer): Int32Array => new Int32Array(room, 0, 1);
