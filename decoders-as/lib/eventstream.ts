// Cuts a stream of AWS event stream messages (application/vnd.amazon.eventstream) into events, however the bytes are split; it never looks into payloads.
//
//   u32 total  u32 bytes of headers  u32 crc of these  headers  payload  u32 crc of all before        big endian
//   header: u8 length, name, u8 type (7: text), u16 length, value (other types have lengths of their own)
//
// Checksums are not checked: what came over TCP and TLS is right, and a gap is told by sseGap's counterpart. Behind a gap a message is found by its lengths.
import { startsWithText } from './bytes';
import { SseSink } from './sse';

/** Longest message that is kept. */
export const EVENT_LIMIT: u32 = 1 << 20;
const PRELUDE: u32 = 12;
const LEAST: u32 = 16;
const LONGEST: u32 = 24 << 20;
const TEXT_TYPE: u32 = 7;

@unmanaged
export class EventStream {
  held: usize = 0;
  length: u32 = 0;
  capacity: u32 = 0;
  /** Of a message that is too long, bytes that are still to come. */
  skip: u32 = 0;
  /** Bytes were lost: a message is looked for. */
  lost: bool = false;
  /** Messages dropped because they were over the limit. */
  dropped: u32 = 0;
}

/** The message that is given to the sink is an exception or an error, which its name then is. */
export let eventFailed: bool = false;

/** Bytes held by all parsers together. */
export let eventsHeld: u32 = 0;

export function eventsNew(): EventStream {
  return new EventStream();
}

export function eventsFree(stream: EventStream): void {
  eventsHeld -= stream.capacity;
  if (stream.held) heap.free(stream.held);
  heap.free(changetype<usize>(stream));
}

/** Bytes of the stream were lost here. */
export function eventsGap(stream: EventStream): void {
  stream.length = 0;
  stream.skip = 0;
  stream.lost = true;
}

function u32At(at: usize): u32 {
  return bswap(load<u32>(at));
}

/** Do these twelve bytes begin a message, its headers beginning as they do in practice? */
function plausible(at: usize): bool {
  const total = u32At(at);
  const headers = u32At(at + 4);
  return total >= LEAST + headers && total <= LONGEST && headers < total && headers <= 4096;
}

export function eventsFeed(stream: EventStream, at: usize, length: u32, owner: usize, sink: SseSink): void {
  const end = at + length;
  while (at < end) {
    if (stream.skip) {
      const n = min(stream.skip, <u32>(end - at));
      stream.skip -= n;
      at += n;
      continue;
    }
    const need = stream.length < PRELUDE ? PRELUDE : u32At(stream.held);
    const n = min(need - stream.length, <u32>(end - at));
    keep(stream, at, n);
    at += n;
    if (stream.length < PRELUDE) return;
    if (stream.length == PRELUDE) begin(stream);
    else if (stream.length == u32At(stream.held)) {
      give(stream, owner, sink);
      stream.length = 0;
    }
  }
}

/** The prelude is there. */
function begin(stream: EventStream): void {
  if (!plausible(stream.held)) {
    // One byte further on; only behind a gap can a message begin there.
    stream.lost = true;
    memory.copy(stream.held, stream.held + 1, --stream.length);
    return;
  }
  const total = u32At(stream.held);
  if (total <= EVENT_LIMIT) return;
  stream.dropped++;
  stream.skip = total - PRELUDE;
  stream.length = 0;
}

function keep(stream: EventStream, from: usize, n: u32): void {
  const need = stream.length + n;
  if (need > stream.capacity) {
    let wider = max<u32>(512, stream.capacity);
    while (wider < need) wider <<= 1;
    const held = heap.alloc(wider);
    memory.copy(held, stream.held, stream.length);
    if (stream.held) heap.free(stream.held);
    eventsHeld += wider - stream.capacity;
    stream.held = held;
    stream.capacity = wider;
  }
  memory.copy(stream.held + stream.length, from, n);
  stream.length = need;
}

/** Hands a whole message over, named by its :event-type or :exception-type. */
function give(stream: EventStream, owner: usize, sink: SseSink): void {
  const headers = stream.held + PRELUDE;
  const stop = headers + u32At(stream.held + 4);
  let name: usize = 0;
  let nameLength: u32 = 0;
  eventFailed = false;
  for (let at = headers; at < stop; ) {
    const size = <usize>load<u8>(at);
    const value = at + 1 + size;
    if (value + 3 > stop || load<u8>(value) != TEXT_TYPE) break;
    const length = <u32>bswap(load<u16>(value, 1));
    if (value + 3 + length > stop) break;
    const failed = isHeader(at + 1, <u32>size, ':exception-type') || isHeader(at + 1, <u32>size, ':error-code');
    if (failed || isHeader(at + 1, <u32>size, ':event-type')) {
      name = value + 3;
      nameLength = length;
      eventFailed = failed;
    }
    at = value + 3 + length;
  }
  stream.lost = false;
  sink(owner, stop, <u32>(stream.held + stream.length - 4 - stop), name, nameLength);
}

function isHeader(at: usize, length: u32, name: string): bool {
  return length == <u32>name.length && startsWithText(at, length, name);
}
