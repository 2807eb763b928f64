// The grammar of HTTP/1 lines (RFC 9112): it looks at one line at a time, in place, and keeps no state but what the last line said.
import { isTextAnyCase, startsWithText, findLast, lower } from './bytes';

/** Kinds of start line; REQUEST and RESPONSE are also bits of a set of kinds that are possible. */
export namespace Start {
  export const NONE: u32 = 0;
  export const REQUEST: u32 = 1;
  export const RESPONSE: u32 = 2;
  export const EITHER: u32 = 3;
  /** The first line of HTTP/2 with prior knowledge. */
  export const H2: u32 = 4;
}

/** What the last parseStart() found; positions count from the start of the line. */
export namespace Line {
  /** 10 or 11. */
  export let version: u32 = 0;
  export let methodLength: u32 = 0;
  export let targetAt: u32 = 0;
  export let targetLength: u32 = 0;
  export let status: u32 = 0;
  export let reasonAt: u32 = 0;
  export let reasonLength: u32 = 0;
  /** Not all of it was kept. */
  export let cut: bool = false;
}

const METHOD_MAX: u32 = 24;
/** " HTTP/1.1" */
const VERSION_PART: u32 = 9;
/** "HTTP/1.1 200" */
const STATUS_PART: u32 = 12;

/** 1 for each tchar. */
const TOKEN: usize = makeTokenTable();

function makeTokenTable(): usize {
  const table = heap.alloc(256);
  memory.fill(table, 0, 256);
  const marks = "!#$%&'*+-.^_`|~";
  for (let i = 0; i < marks.length; i++) store<u8>(table + marks.charCodeAt(i), 1);
  for (let c = 48; c < 58; c++) store<u8>(table + c, 1);
  for (let c = 65; c < 91; c++) {
    store<u8>(table + c, 1);
    store<u8>(table + c + 32, 1);
  }
  return table;
}

/** Address of the first byte in [at, end) that may not be in a header name, or end. */
export function tokenEnd(at: usize, end: usize): usize {
  while (at < end && load<u8>(TOKEN + load<u8>(at))) at++;
  return at;
}

function isMethodByte(byte: u32): bool {
  return byte - 65 < 26 || byte == 45 || byte == 95;
}

function isDigit(byte: u32): bool {
  return byte - 48 < 10;
}

/** Bytes of the method that a line begins with, or 0 when it begins with none. */
function methodAt(at: usize, length: u32): u32 {
  let n: u32 = 0;
  const most = min(length, METHOD_MAX + 1);
  while (n < most && isMethodByte(load<u8>(at + n))) n++;
  return n > METHOD_MAX || n == 0 || load<u8>(at) - 65 >= 26 ? 0 : n;
}

/** May a line that begins like this be a start line of one of these kinds? Looks at the first 25 bytes at most, so it holds for every longer prefix. */
export function viableStart(at: usize, length: u32, kinds: u32): bool {
  if (length == 0) return true;
  if (kinds & Start.REQUEST) {
    const n = methodAt(at, length);
    if (n > 0 && (n == length || load<u8>(at + n) == 32)) return true;
  }
  if ((kinds & Start.RESPONSE) == 0) return false;
  const literal = 'HTTP/1.';
  for (let i: u32 = 0; i < min(length, 7); i++) {
    if (<u32>load<u8>(at + i) != <u32>literal.charCodeAt(i)) return false;
  }
  return true;
}

/** 10 or 11 for "HTTP/1.0" and "HTTP/1.1", else 0. */
function versionAt(at: usize): u32 {
  if (!startsWithText(at, 8, 'HTTP/1.')) return 0;
  const minor = <u32>load<u8>(at + 7) - 48;
  return minor < 2 ? 10 + minor : 0;
}

/**
 * Reads a start line of `full` bytes without its CRLF, of which the first `length` are at `at`. `tail` is the address behind the line's last byte:
 * at + length, or elsewhere (with at least 9 bytes before it) when not all of the line is kept.
 */
export function parseStart(at: usize, length: u32, tail: usize, full: u64, kinds: u32): u32 {
  if (kinds & Start.RESPONSE && length >= STATUS_PART && parseStatus(at, length)) {
    Line.cut = length < full;
    return Start.RESPONSE;
  }
  if ((kinds & Start.REQUEST) == 0 || length < 4 + VERSION_PART) return Start.NONE;
  const method = methodAt(at, length);
  if (method == 0 || load<u8>(at + method) != 32) return Start.NONE;
  if (startsWithText(at, length, 'PRI * HTTP/2.0') && length == 14) return Start.H2;
  if (load<u8>(tail - VERSION_PART) != 32) return Start.NONE;
  Line.version = versionAt(tail - VERSION_PART + 1);
  Line.methodLength = method;
  Line.targetAt = method + 1;
  const end = <u32>min<u64>(length, full - VERSION_PART);
  Line.cut = end < full - VERSION_PART;
  if (Line.version == 0 || end <= Line.targetAt) return Start.NONE;
  Line.targetLength = end - Line.targetAt;
  for (let p = at + Line.targetAt; p < at + end; p++) {
    const byte = load<u8>(p);
    if (byte <= 32 || byte == 127) return Start.NONE;
  }
  return Start.REQUEST;
}

function parseStatus(at: usize, length: u32): bool {
  Line.version = versionAt(at);
  if (Line.version == 0 || load<u8>(at + 8) != 32) return false;
  const a = <u32>load<u8>(at + 9);
  const b = <u32>load<u8>(at + 10);
  const c = <u32>load<u8>(at + 11);
  if (!isDigit(a) || a == 48 || !isDigit(b) || !isDigit(c)) return false;
  Line.status = a * 100 + b * 10 + c - 5328;
  Line.reasonAt = min(length, STATUS_PART + 1);
  Line.reasonLength = length - Line.reasonAt;
  if (length == STATUS_PART) return true;
  if (load<u8>(at + STATUS_PART) != 32) return false;
  for (let p = at + Line.reasonAt; p < at + length; p++) {
    const byte = load<u8>(p);
    if (byte == 13 || byte == 0) return false;
  }
  return true;
}

/** Do the bytes before `end` end with a method that is in common use? Its length, or 0. */
function knownMethodBefore(from: usize, end: usize): u32 {
  const length = <u32>min<usize>(end - from, 7);
  for (let n: u32 = 3; n <= length; n++) {
    const at = end - n;
    const known =
      n == 3
        ? startsWithText(at, n, 'GET') || startsWithText(at, n, 'PUT')
        : n == 4
          ? startsWithText(at, n, 'POST') || startsWithText(at, n, 'HEAD')
          : n == 5
            ? startsWithText(at, n, 'PATCH') || startsWithText(at, n, 'TRACE')
            : n == 6
              ? startsWithText(at, n, 'DELETE')
              : n == 7 && (startsWithText(at, n, 'OPTIONS') || startsWithText(at, n, 'CONNECT'));
    if (known) return n;
  }
  return 0;
}

/** Where in a line (without its CRLF) whose beginning may be something else a start line begins, or 0: the line holds none up to its end. */
export function findStart(from: usize, end: usize, kinds: u32): usize {
  if (kinds & Start.REQUEST && end - from >= 4 + VERSION_PART && load<u8>(end - VERSION_PART) == 32 && versionAt(end - VERSION_PART + 1)) {
    const space = findLast(from, end - VERSION_PART, 32);
    const method = space ? knownMethodBefore(from, space) : 0;
    if (method && parseStart(space - method, <u32>(end - space) + method, end, end - space + method, Start.REQUEST)) return space - method;
  }
  if ((kinds & Start.RESPONSE) == 0 || end - from < STATUS_PART) return 0;
  for (let at = end - STATUS_PART + 1; at > from; ) {
    at = findLast(from, at, 72);
    if (at == 0) return 0;
    if (parseStart(at, <u32>(end - at), end, end - at, Start.RESPONSE)) return at;
  }
  return 0;
}

/** What a header says about framing. */
export namespace Field {
  export const OTHER: u32 = 0;
  export const CONTENT_LENGTH: u32 = 1;
  export const TRANSFER_ENCODING: u32 = 2;
  export const CONTENT_ENCODING: u32 = 3;
  export const UPGRADE: u32 = 4;
}

export function fieldOf(name: usize, length: usize): u32 {
  if (length == 7) return isTextAnyCase(name, length, 'upgrade') ? Field.UPGRADE : Field.OTHER;
  if (length == 14) return isTextAnyCase(name, length, 'content-length') ? Field.CONTENT_LENGTH : Field.OTHER;
  if (length == 16) return isTextAnyCase(name, length, 'content-encoding') ? Field.CONTENT_ENCODING : Field.OTHER;
  if (length == 17) return isTextAnyCase(name, length, 'transfer-encoding') ? Field.TRANSFER_ENCODING : Field.OTHER;
  return Field.OTHER;
}

/** A Content-Length of at most 15 digits, or -1. */
export function contentLength(at: usize, length: usize): i64 {
  if (length == 0 || length > 15) return -1;
  let value: i64 = 0;
  for (let i: usize = 0; i < length; i++) {
    const digit = <u32>load<u8>(at + i) - 48;
    if (digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** 0 to 15, or 16 when the byte is no hexadecimal digit. */
export function hexDigit(byte: u32): u32 {
  if (byte - 48 < 10) return byte - 48;
  const letter = lower(byte) - 97;
  return letter < 6 ? letter + 10 : 16;
}

/** What a 101 response goes over to. */
export namespace Upgrade {
  export const OTHER: u32 = 0;
  export const H2C: u32 = 1;
  export const WEBSOCKET: u32 = 2;
}

export function upgradeTo(at: usize, length: usize): u32 {
  if (isTextAnyCase(at, length, 'h2c')) return Upgrade.H2C;
  return isTextAnyCase(at, length, 'websocket') ? Upgrade.WEBSOCKET : Upgrade.OTHER;
}

/** What a list of transfer codings comes to. */
export namespace Transfer {
  export const NONE: u32 = 0;
  /** chunked and nothing else. */
  export const CHUNKED: u32 = 1;
  /** Other codings, then chunked. */
  export const OTHER_CHUNKED: u32 = 2;
  /** No chunked at the end. */
  export const OTHER: u32 = 3;
  export const BAD: u32 = 4;
}

/** Adds one Transfer-Encoding value to what earlier ones came to. */
export function transferCoding(at: usize, length: usize, before: u32): u32 {
  const end = at + length;
  let result = before;
  while (at < end) {
    let stop = at;
    while (stop < end && load<u8>(stop) != 44) stop++;
    const next = stop + 1;
    while (at < stop && isBlank(load<u8>(at))) at++;
    while (stop > at && isBlank(load<u8>(stop - 1))) stop--;
    if (stop > at) {
      if (result == Transfer.CHUNKED || result == Transfer.OTHER_CHUNKED) return Transfer.BAD;
      if (tokenEnd(at, stop) == at || isTextAnyCase(at, stop - at, 'identity')) return Transfer.BAD;
      if (isTextAnyCase(at, stop - at, 'chunked')) result = result == Transfer.NONE ? Transfer.CHUNKED : Transfer.OTHER_CHUNKED;
      else result = Transfer.OTHER;
    }
    at = next;
  }
  return result == Transfer.NONE ? Transfer.BAD : result;
}

export function isBlank(byte: u8): bool {
  return byte == 32 || byte == 9;
}

/** Content codings. Several on top of one another are four bits each, the one applied last, which is undone first, lowest. */
export namespace Coding {
  export const IDENTITY: u32 = 0;
  export const GZIP: u32 = 1;
  export const DEFLATE: u32 = 2;
  export const BR: u32 = 3;
  export const ZSTD: u32 = 4;
  /** One that is not known, or more than four. */
  export const OTHER: u32 = 15;
}

const MOST_CODINGS: u32 = 0xfff;

/** Adds the codings of one Content-Encoding value, a list in the order they were applied, to what earlier ones came to. */
export function contentCoding(at: usize, length: usize, before: u32): u32 {
  const end = at + length;
  let result = before;
  while (at < end) {
    let stop = at;
    while (stop < end && load<u8>(stop) != 44) stop++;
    const next = stop + 1;
    while (at < stop && isBlank(load<u8>(at))) at++;
    while (stop > at && isBlank(load<u8>(stop - 1))) stop--;
    const coding = stop > at ? oneCoding(at, stop - at) : Coding.IDENTITY;
    if (coding == Coding.OTHER || result == Coding.OTHER || (coding && result > MOST_CODINGS)) return Coding.OTHER;
    if (coding) result = (result << 4) | coding;
    at = next;
  }
  return result;
}

function oneCoding(at: usize, length: usize): u32 {
  if (isTextAnyCase(at, length, 'identity')) return Coding.IDENTITY;
  if (isTextAnyCase(at, length, 'gzip') || isTextAnyCase(at, length, 'x-gzip')) return Coding.GZIP;
  if (isTextAnyCase(at, length, 'deflate')) return Coding.DEFLATE;
  if (isTextAnyCase(at, length, 'br')) return Coding.BR;
  return isTextAnyCase(at, length, 'zstd') ? Coding.ZSTD : Coding.OTHER;
}
