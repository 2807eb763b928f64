// Start lines and headers: what is worth waiting for, where it goes and who asks. A key that is found here leaves only inside the event's meta.
import { elementAt } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { Kind, RecHeader, Role } from '../../abi/records';
import { bufAt, bufLength, bufSet } from './buf';
import { counters } from './counters';
import { Exchange, Mode, Request, Side } from './exchange';
import { isForeignPath } from './formats';
import { AuthScheme } from './meta';
import { findProvider } from './provider';
import { contains, indexOf, isText, startsWith } from './text';

/** Place of the header fields in http.head. */
const HEADERS_ELEMENT: u32 = 12;
const HEADER_LIMIT: u32 = 8192;
const ORIGIN_LIMIT: u32 = 4096;
const NAME_LIMIT: u32 = 512;

/** The head record at hand; addresses lie in the in buffer. */
export namespace Head {
  export let conn: u64 = 0;
  export let stream: u32 = 0;
  export let response: bool = false;
  export let role: u32 = 0;
  export let ts: u64 = 0;
  export let version: u32 = 0;
  export let method: usize = 0;
  export let methodLength: u32 = 0;
  export let target: usize = 0;
  export let targetLength: u32 = 0;
  export let status: u32 = 0;
  export let headers: usize = 0;
  export let headersLength: u32 = 0;
  export let origin: usize = 0;
  export let originLength: u32 = 0;
  export let authority: usize = 0;
  export let authorityLength: u32 = 0;
  /** Address and length of each of the names of TLS: server, offered, selected. */
  export const names: usize = memory.data(3 * 8);
  /** Header fields that are not known (HTTP/2 joined in its middle). */
  export let unknown: u32 = 0;
}

/** Reads the elements after the kind; false: they are not what the ABI says. */
export function readHead(at: usize, end: usize): bool {
  Reader.open(at, end);
  Head.conn = Reader.uint();
  Head.stream = <u32>Reader.uint();
  Head.response = Reader.uint() == 1;
  Reader.uint();
  Head.role = <u32>Reader.uint();
  Head.ts = Reader.uint();
  Head.version = <u32>Reader.uint();
  Head.method = Reader.strOrNil();
  Head.methodLength = Reader.length;
  Head.target = Reader.strOrNil();
  Head.targetLength = Reader.length;
  Head.status = Reader.nil() ? 0 : <u32>Reader.uint();
  Reader.strOrNil();
  const headers = Reader.at;
  const behind = elementAt(HEADERS_ELEMENT + 1);
  if (!behind) return false;
  Head.headers = headers;
  Head.headersLength = <u32>(behind - headers);
  Reader.at = behind;
  Head.origin = Reader.bin();
  Head.originLength = Reader.length;
  Head.authority = Reader.strOrNil();
  Head.authorityLength = Reader.length;
  Reader.boolean();
  readNames(end);
  Head.unknown = Reader.at < end ? <u32>Reader.uint() : 0;
  return !Reader.failed;
}

/** Elements that came later than the others: a head may end before them. */
function readNames(end: usize): void {
  memory.fill(Head.names, 0, 3 * 8);
  for (let i: usize = 0; i < 3 && Reader.at < end; i++) {
    store<u32>(Head.names + i * 8, <u32>Reader.strOrNil());
    store<u32>(Head.names + i * 8, Reader.length, 4);
  }
}

function takeNames(x: Exchange): void {
  x.serverName = keptName(x.serverName, 0);
  x.alpnOffered = keptName(x.alpnOffered, 1);
  x.alpn = keptName(x.alpn, 2);
}

function keptName(buf: usize, index: usize): usize {
  const at = Head.names + index * 8;
  return load<u32>(at) ? bufSet(buf, load<u32>(at), load<u32>(at, 4), NAME_LIMIT) : buf;
}

let contentType: usize = 0;
let contentTypeLength: u32 = 0;
let hostAt: usize = 0;
let hostLength: u32 = 0;

function takeAuth(x: Exchange, scheme: u32, name: string, key: usize, length: u32): void {
  if (x.authScheme != AuthScheme.NONE) return;
  x.authScheme = scheme;
  for (let i = 0; i < name.length; i++) store<u8>(nameArea + <usize>i, name.charCodeAt(i));
  x.authHeader = bufSet(x.authHeader, nameArea, name.length, 64);
  x.authKey = bufSet(x.authKey, key, length, HEADER_LIMIT);
}
const nameArea: usize = memory.data(64);

function takeAuthorization(x: Exchange, at: usize, length: u32): void {
  let scheme = AuthScheme.NONE;
  let skip: u32 = 0;
  if (startsWith(at, length, 'bearer ')) {
    scheme = AuthScheme.BEARER;
    skip = 7;
  } else if (startsWith(at, length, 'token ')) {
    scheme = AuthScheme.BEARER;
    skip = 6;
  } else if (startsWith(at, length, 'basic ')) {
    scheme = AuthScheme.BASIC;
    skip = 6;
  }
  while (skip < length && load<u8>(at + skip) == 0x20) skip++;
  if (scheme != AuthScheme.NONE && skip < length) takeAuth(x, scheme, 'authorization', at + skip, length - skip);
}

/** One field. Most are none of these: the length of the name tells at once. */
function takeHeader(x: Exchange, name: usize, n: u32, value: usize, v: u32): void {
  switch (n) {
    case 4:
      if (isText(name, n, 'host')) takeHostField(value, v);
      return;
    case 7:
      if (!Head.response && isText(name, n, 'api-key')) takeAuth(x, AuthScheme.API_KEY, 'api-key', value, v);
      return;
    case 9:
      if (!Head.response && isText(name, n, 'x-api-key')) takeAuth(x, AuthScheme.X_API_KEY, 'x-api-key', value, v);
      return;
    case 10:
      if (isText(name, n, ':authority')) takeHostField(value, v);
      else if (Head.response && isText(name, n, 'request-id')) x.headerRequestId = bufSet(x.headerRequestId, value, v, 256);
      return;
    case 12:
      if (isText(name, n, 'content-type')) {
        contentType = value;
        contentTypeLength = v;
      } else if (Head.response && isText(name, n, 'x-request-id')) x.headerRequestId = bufSet(x.headerRequestId, value, v, 256);
      return;
    case 13:
      if (!Head.response && isText(name, n, 'authorization')) takeAuthorization(x, value, v);
      return;
    case 14:
      if (!Head.response && isText(name, n, 'x-goog-api-key')) takeAuth(x, AuthScheme.API_KEY, 'x-goog-api-key', value, v);
      return;
    case 17:
      if (isText(name, n, 'anthropic-version')) x.anthropicVersion = true;
  }
}

function takeHostField(value: usize, length: u32): void {
  hostAt = value;
  hostLength = length;
}

function readHeaders(x: Exchange): void {
  contentTypeLength = 0;
  hostLength = 0;
  Reader.open(Head.headers, Head.headers + Head.headersLength);
  for (let left = Reader.array(); left >= 2; left -= 2) {
    const name = Reader.str();
    const n = Reader.length;
    const value = Reader.str();
    if (Reader.failed) return;
    takeHeader(x, name, n, value, Reader.length);
  }
}

/** The host in lower case: the authority, else the Host header, else the name that TLS asked for. */
function takeHost(x: Exchange): void {
  if (bufLength(x.host)) return;
  if (Head.authorityLength) x.host = bufSet(x.host, Head.authority, Head.authorityLength, 512);
  else if (hostLength) x.host = bufSet(x.host, hostAt, hostLength, 512);
  else if (bufLength(x.serverName)) x.host = bufSet(x.host, bufAt(x.serverName), bufLength(x.serverName), 512);
  const at = bufAt(x.host);
  for (let i: u32 = 0; i < bufLength(x.host); i++) {
    const c: u32 = load<u8>(at + i);
    if (c - 0x41 < 26) store<u8>(at + i, c | 0x20);
  }
  findProvider(x);
}

/** The path: the target without its query, and without scheme and host when a proxy was asked. A key in the query is auth. */
function takeTarget(x: Exchange): void {
  let at = Head.target;
  let length = Head.targetLength;
  const question = indexOf(at, length, '?');
  if (question >= 0) {
    const query = at + <usize>question;
    const queryLength = length - <u32>question;
    let key = indexOf(query, queryLength, '?key=');
    if (key < 0) key = indexOf(query, queryLength, '&key=');
    if (key >= 0) {
      let end = <u32>key + 5;
      while (end < queryLength && load<u8>(query + end) != 0x26) end++;
      if (end > <u32>key + 5) takeAuth(x, AuthScheme.QUERY, 'key', query + <usize>key + 5, end - <u32>key - 5);
    }
    length = <u32>question;
  }
  const scheme = indexOf(at, length, '://');
  if (scheme > 0) {
    let from = <u32>scheme + 3;
    while (from < length && load<u8>(at + from) != 0x2f) from++;
    at += from;
    length -= from;
  }
  x.path = bufSet(x.path, at, length, HEADER_LIMIT);
}

function begin(side: Side): void {
  side.seen = true;
  side.headTs = Head.ts;
  side.version = Head.version;
  side.unknownFields = Head.unknown > 0;
  side.origin = bufSet(side.origin, Head.origin, Head.originLength, ORIGIN_LIMIT);
}

/** A request that may be one to a model is collected, any other is only remembered. */
export function takeRequestHead(x: Exchange): void {
  begin(x.request);
  x.plain = Head.originLength >= RecHeader.SIZE && RecHeader.kind(Head.origin) == Kind.SOCK_DATA;
  x.role = Head.role;
  x.state = Request.OTHER;
  x.request.mode = Mode.DROP;
  takeNames(x);
  readHeaders(x);
  takeHost(x);
  if (Head.methodLength && !isText(Head.method, Head.methodLength, 'post')) {
    counters.otherRequests++;
    return;
  }
  takeTarget(x);
  const type = contentTypeLength;
  // A type that says nothing of the content rules nothing out: `curl -d` calls every body a form. The first byte of the body decides.
  const isMedia =
    startsWith(contentType, type, 'multipart/') ||
    startsWith(contentType, type, 'image/') ||
    startsWith(contentType, type, 'audio/') ||
    startsWith(contentType, type, 'video/');
  if (isMedia || isForeignPath(x)) {
    counters.otherRequests++;
    return;
  }
  x.state = Request.CANDIDATE;
  x.request.mode = contains(contentType, type, 'json') ? Mode.JSON : Mode.UNDECIDED;
}

/** How the response's body is read: by its type, else by its first bytes. */
export function takeResponseHead(x: Exchange): void {
  if (x.state == Request.OTHER) {
    x.response.seen = true;
    x.response.mode = Mode.DROP;
    return;
  }
  begin(x.response);
  if (x.role == Role.UNKNOWN) x.role = Head.role;
  takeNames(x);
  x.status = Head.status;
  readHeaders(x);
  takeHost(x);
  if (contains(contentType, contentTypeLength, 'amazon.eventstream')) x.response.mode = Mode.EVENTS;
  else if (contains(contentType, contentTypeLength, 'event-stream')) x.response.mode = Mode.SSE;
  else if (contains(contentType, contentTypeLength, 'ndjson') || contains(contentType, contentTypeLength, 'jsonl')) x.response.mode = Mode.LINES;
  else if (contains(contentType, contentTypeLength, 'json')) x.response.mode = Mode.JSON;
  else if (x.state != Request.LOST || !contentTypeLength) x.response.mode = Mode.UNDECIDED;
  else x.response.mode = Mode.DROP;
}
