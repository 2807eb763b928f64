// What is known of one request and its response until both are told; an exchange owns its buffers and gives them back in freeExchange, nowhere else.
import { Table, Entry } from '../../lib/table';
import { ByteBuf, hash64 } from '../../lib/bytes';
import { EventStream, eventsFree } from '../../lib/eventstream';
import { Sse, sseFree } from '../../lib/sse';
import { Answer, freeAnswer } from './answer';
import { bufAt, bufFree, bufLength } from './buf';

/** What is done with the bytes of a body. */
export namespace Mode {
  /** Kept until the first byte that is no white space tells. */
  export const UNDECIDED: u32 = 0;
  export const JSON: u32 = 1;
  export const SSE: u32 = 2;
  /** Kept up to TEXT_LIMIT: an error page. */
  export const TEXT: u32 = 3;
  export const DROP: u32 = 4;
  /** Lines of JSON. */
  export const LINES: u32 = 5;
  /** AWS event stream messages. */
  export const EVENTS: u32 = 6;
}

/** Is a body of this mode a stream of events? */
export function isStream(mode: u32): bool {
  return mode == Mode.SSE || mode == Mode.LINES || mode == Mode.EVENTS;
}

/** What the request turned out to be. */
export namespace Request {
  /** Never seen. */
  export const LOST: u32 = 0;
  /** Its body is being collected. */
  export const CANDIDATE: u32 = 1;
  /** Not an AI request: its response is dropped. */
  export const OTHER: u32 = 2;
  /** Told. */
  export const TOLD: u32 = 3;
  /** A message of MCP (mcp.ts). */
  export const RPC: u32 = 4;
}

/** One message of an exchange. */
@unmanaged
export class Side {
  seen: bool = false;
  ended: bool = false;
  /** Bytes past a limit were left out. */
  capped: bool = false;
  mode: u32 = Mode.UNDECIDED;
  version: u32 = 0;
  /** Some header fields are not known. */
  unknownFields: bool = false;
  completeness: u32 = 0;
  headTs: u64 = 0;
  endTs: u64 = 0;
  /** Offset of the next body byte. */
  next: u64 = 0;
  gaps: u32 = 0;
  missing: u64 = 0;
  /** Of these, bytes that were left out because of the rate of the process. */
  shed: u64 = 0;
  wire: u64 = 0;
  origin: usize = 0;
  body: usize = 0;
  /** Instead of `body`: the one part that came so far, still in the in buffer (body.ts). */
  lent: usize = 0;
  lentLength: u32 = 0;
}

/** Made by makeExchange(): every field begins as 0, but provider. */
@unmanaged
export class Exchange extends Entry {
  conn: u64 = 0;
  stream: u32 = 0;
  state: u32 = Request.LOST;
  role: u32 = 0;
  lastTs: u64 = 0;
  request: Side = changetype<Side>(0);
  response: Side = changetype<Side>(0);
  host: usize = 0;
  /** Target without the query string. */
  path: usize = 0;
  authScheme: u32 = 0;
  authHeader: usize = 0;
  authKey: usize = 0;
  anthropicVersion: bool = false;
  plain: bool = false;
  status: u32 = 0;
  /** request-id or x-request-id of the response. */
  headerRequestId: usize = 0;
  /** Names of the connection's TLS, as the program gave them or asked for them. */
  serverName: usize = 0;
  alpnOffered: usize = 0;
  alpn: usize = 0;
  /** FormatId; 0: not known. */
  format: u32 = 0;
  conversation: u64 = 0;
  provider: i32 = -1;
  inferred: bool = false;
  streaming: bool = false;
  /** ai.request was told, and so many of the request's tool results were looked at. */
  asked: bool = false;
  results: u32 = 0;
  requestModel: usize = 0;
  firstTokenTs: u64 = 0;
  /** What cuts a body of mode SSE or LINES, and one of mode EVENTS. */
  sse: Sse = changetype<Sse>(0);
  events: EventStream = changetype<EventStream>(0);
  answer: Answer = changetype<Answer>(0);
  /** The response's body was parsed into the answer. */
  parsed: bool = false;
  /** Events told at the end: 1 the response, then the tool calls. */
  told: u32 = 0;
  /** JsonEnd of a JSON response body. */
  jsonEnd: u32 = 0;
  badEvents: u32 = 0;
  /** Key of the name of the event that the template was learnt from. */
  templateName: u64 = 0;
  /** The delta template (delta.ts). */
  template: usize = 0;
  holeStart: u32 = 0;
  holeEnd: u32 = 0;
  padStart: u32 = 0;
  padEnd: u32 = 0;
  target: usize = 0;
  targetLimit: u32 = 0;
  /** The instance that took this one's place keeps out of it. */
  claimed: bool = false;
}

/** Keys of claimed exchanges that are over, until the claims are released (handover.ts). */
export const claimsOver: ByteBuf = new ByteBuf(8 << 20);

let table: Table = changetype<Table>(0);
/** What was found last, and is the newest; 0: nothing. */
let found: usize = 0;

export function initExchanges(limit: u32): void {
  table = new Table(limit);
}

export function exchangeCount(): u32 {
  return table.count;
}

export function exchangeKey(conn: u64, stream: u32): u64 {
  return hash64(conn, stream, 1);
}

export function findExchange(conn: u64, stream: u32): usize {
  if (found) {
    const x = changetype<Exchange>(found);
    if (x.conn == conn && x.stream == stream) return found;
  }
  found = table.find(exchangeKey(conn, stream));
  if (found) table.touch(found);
  return found;
}

/** Least recently used, or 0. */
export function oldestExchange(): usize {
  return table.oldest;
}

export function exchangesFull(): bool {
  return table.count >= table.limit;
}

/** An exchange that no table knows. */
export function makeExchange(): Exchange {
  // One piece of memory: the exchange and its two sides.
  const at = heap.alloc(offsetof<Exchange>() + 2 * offsetof<Side>());
  memory.fill(at, 0, offsetof<Exchange>() + 2 * offsetof<Side>());
  const x = changetype<Exchange>(at);
  x.provider = -1;
  x.request = changetype<Side>(at + offsetof<Exchange>());
  x.response = changetype<Side>(at + offsetof<Exchange>() + offsetof<Side>());
  return x;
}

/** A new exchange; the table must have room. */
export function addExchange(conn: u64, stream: u32): usize {
  const x = makeExchange();
  x.key = exchangeKey(conn, stream);
  x.conn = conn;
  x.stream = stream;
  found = changetype<usize>(x);
  table.insert(found);
  return found;
}

function freeSide(side: Side): void {
  bufFree(side.origin);
  dropBody(side);
}

/** The bodies are no longer wanted; what was learnt from them stays. */
export function dropBody(side: Side): void {
  bufFree(side.body);
  side.body = 0;
  side.lent = 0;
  side.lentLength = 0;
  if (borrower == changetype<usize>(side)) borrower = 0;
}

/** The one side whose body still lies in the in buffer, or 0. */
let borrower: usize = 0;

/** Leaves the bytes of a body where they are until returnLent() is called. */
export function lendBody(side: Side, at: usize, length: u32): void {
  side.lent = at;
  side.lentLength = length;
  borrower = changetype<usize>(side);
}

export function borrowingSide(): Side {
  return changetype<Side>(borrower);
}

/** Ends the lending; who calls this has kept the bytes. */
export function endLending(): void {
  const side = changetype<Side>(borrower);
  side.lent = 0;
  side.lentLength = 0;
  borrower = 0;
}

/** Address of the bytes of a body. */
export function bodyAt(side: Side): usize {
  return side.lentLength ? side.lent : bufAt(side.body);
}

export function dropTemplate(x: Exchange): void {
  bufFree(x.template);
  x.template = 0;
}

export function freeExchange(at: usize): void {
  const x = changetype<Exchange>(at);
  if (x.claimed) claimsOver.push(at + offsetof<Exchange>('key'), sizeof<u64>());
  table.remove(at);
  if (found == at) found = 0;
  freeSide(x.request);
  freeSide(x.response);
  bufFree(x.host);
  bufFree(x.path);
  bufFree(x.authHeader);
  bufFree(x.authKey);
  bufFree(x.headerRequestId);
  bufFree(x.serverName);
  bufFree(x.alpnOffered);
  bufFree(x.alpn);
  bufFree(x.requestModel);
  bufFree(x.template);
  if (changetype<usize>(x.sse)) sseFree(x.sse);
  if (changetype<usize>(x.events)) eventsFree(x.events);
  if (changetype<usize>(x.answer)) freeAnswer(x.answer);
  heap.free(at);
}

/** Bytes a body holds. */
export function bodyLength(side: Side): u32 {
  return side.lentLength ? side.lentLength : bufLength(side.body);
}
