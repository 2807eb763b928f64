// The bytes of bodies: kept, parsed as they come, or dropped. It decides by the first bytes where the headers did not, and never keeps more than the limits.
import { eventsFeed, eventsGap, eventsNew } from '../../lib/eventstream';
import { linesNew, sseFeed, sseGap, sseNew } from '../../lib/sse';
import { bufAppend, bufAt, bufFailed, bufLength } from './buf';
import { counters } from './counters';
import { borrowingSide, dropBody, endLending, Exchange, isStream, lendBody, Mode, Request, Side } from './exchange';
import { onStreamEvent } from './stream';

/** Longest body that is kept. */
export const MESSAGE_LIMIT: u32 = 8 << 20;
/** Longest body of no known kind that is kept, of an error. */
const PAGE_LIMIT: u32 = 65536;
/** Longest run of white space before a body's first byte. */
const BLANK_LIMIT: u32 = 1024;

/** U+FFFD: what stands for lost bytes, so that a string around them still parses. */
const bridge: usize = memory.data<u8>([0xef, 0xbf, 0xbd]);

/** A body that comes in one piece is read where it lies, if it is at least this long. */
const LEND_LEAST: u32 = 512;

/** Keeps the bytes that a body has in the in buffer, if one has. */
export function returnLent(): void {
  const side = borrowingSide();
  if (!changetype<usize>(side)) return;
  const at = side.lent;
  const length = side.lentLength;
  endLending();
  append(side, at, length, MESSAGE_LIMIT);
}

function keep(side: Side, at: usize, length: u32, limit: u32): void {
  if (side.capped) return;
  if (side.lentLength) returnLent();
  else if (!side.body && length >= LEND_LEAST && length <= limit) {
    returnLent();
    lendBody(side, at, length);
    return;
  }
  append(side, at, length, limit);
}

function append(side: Side, at: usize, length: u32, limit: u32): void {
  const left = limit - min(limit, bufLength(side.body));
  side.body = bufAppend(side.body, at, min(length, left), limit);
  if (length > left || bufFailed) {
    side.capped = true;
    counters.capped++;
  }
}

/** Mode by the first byte that is no white space; UNDECIDED when there is none yet. */
function sniff(at: usize, length: u32, response: bool): u32 {
  for (let i: u32 = 0; i < length; i++) {
    const c: u32 = load<u8>(at + i);
    if (c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09) continue;
    if (c == 0x7b || (response && c == 0x5b)) return Mode.JSON;
    if (!response) return Mode.DROP;
    // data: event: id: retry: a comment, or a byte order mark
    if (c == 0x64 || c == 0x65 || c == 0x3a || c == 0x69 || c == 0x72 || c == 0xef) return Mode.SSE;
    return Mode.TEXT;
  }
  return length < BLANK_LIMIT ? Mode.UNDECIDED : Mode.DROP;
}

function decide(x: Exchange, side: Side, response: bool): void {
  side.mode = sniff(bufAt(side.body), bufLength(side.body), response);
  if (side.mode == Mode.SSE) {
    const held = side.body;
    side.body = 0;
    feed(x, bufAt(held), bufLength(held));
    side.body = held;
    dropBody(side);
  } else if (side.mode == Mode.DROP) dropBody(side);
  else if (side.mode == Mode.TEXT && x.state == Request.LOST) {
    side.mode = Mode.DROP;
    dropBody(side);
  }
}

function feed(x: Exchange, at: usize, length: u32): void {
  const owner = changetype<usize>(x);
  if (x.response.mode == Mode.EVENTS) {
    if (!changetype<usize>(x.events)) x.events = eventsNew();
    eventsFeed(x.events, at, length, owner, onStreamEvent);
    return;
  }
  if (!changetype<usize>(x.sse)) x.sse = x.response.mode == Mode.LINES ? linesNew() : sseNew();
  sseFeed(x.sse, at, length, owner, onStreamEvent);
}

function gap(x: Exchange, side: Side, bytes: u64): void {
  side.gaps++;
  counters.gaps++;
  if (isStream(side.mode)) {
    x.holeEnd = 0;
    feed(x, 0, 0);
    if (side.mode == Mode.EVENTS) eventsGap(x.events);
    else sseGap(x.sse);
  } else if (side.mode == Mode.JSON) keep(side, bridge, 3, MESSAGE_LIMIT);
  side.next += bytes;
}

/** One http.body record. */
export function takeBody(x: Exchange, response: bool, offset: u64, at: usize, length: u32): void {
  const side = response ? x.response : x.request;
  if (side.mode == Mode.DROP || side.ended) return;
  let from = at;
  let bytes = length;
  if (offset > side.next) gap(x, side, offset - side.next);
  else if (offset < side.next) {
    const again = side.next - offset;
    if (again >= <u64>bytes) return;
    from += <usize>again;
    bytes -= <u32>again;
  }
  side.next += bytes;
  if (side.mode == Mode.JSON) keep(side, from, bytes, MESSAGE_LIMIT);
  else if (isStream(side.mode)) feed(x, from, bytes);
  else if (side.mode == Mode.TEXT) {
    if (bufLength(side.body) < PAGE_LIMIT) side.body = bufAppend(side.body, from, min(bytes, PAGE_LIMIT - bufLength(side.body)), PAGE_LIMIT);
  } else undecided(x, side, response, from, bytes);
}

/** A body whose kind is open: byte by byte up to the one that decides, so that it does not matter how the bytes were cut. */
function undecided(x: Exchange, side: Side, response: bool, at: usize, length: u32): void {
  let i: u32 = 0;
  while (i < length && side.mode == Mode.UNDECIDED) {
    keep(side, at + i, 1, MESSAGE_LIMIT);
    i++;
    decide(x, side, response);
  }
  if (i >= length) return;
  side.next -= length - i;
  takeBody(x, response, side.next, at + i, length - i);
}
