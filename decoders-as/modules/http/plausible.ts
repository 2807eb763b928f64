// Tells plaintext from ciphertext by the first bytes of a connection, for the check that a probe is on the right function; it keeps nothing.
//
// A known beginning is plaintext at once. Else 256 bytes decide: ciphertext is uniform, and nothing that programs say first is (text, numbers with
// zeros, tables). The test is chi-square over byte values: 255 on average for uniform bytes, with a standard deviation of 22.6; above 345 they are
// not uniform (4 deviations), and text or protobuf is above 1000. Compressed data is as uniform as ciphertext, so its known beginnings count.
import { startsWithText } from '../../lib/bytes';

/** Bytes that known beginnings are looked for in. */
export const BEGIN: u32 = 16;
/** Bytes that decide when the beginning is not known. */
export const SAMPLE: u32 = 256;
/** Sum of the squares of how often each byte value occurs in SAMPLE bytes: this minus SAMPLE is chi-square. */
const UNIFORM_BELOW: u32 = 256 + 345;

/** What a beginning looks like. */
export namespace Looks {
  /** Not known (yet). */
  export const UNKNOWN: u32 = 0;
  export const HTTP1: u32 = 1;
  export const H2: u32 = 2;
  export const WEBSOCKET: u32 = 3;
  /** Sixteen printable characters: SMTP, IMAP, SSH and all that begins with a line. */
  export const TEXT: u32 = 4;
  /** TLS inside TLS. */
  export const TLS: u32 = 5;
  export const COMPRESSED: u32 = 6;
  /** None of these, and not uniform. */
  export const BINARY: u32 = 7;
  /** Over before there was enough to tell. */
  export const SHORT: u32 = 8;
  export const UNIFORM: u32 = 9;
}

export function looksText(looks: u32): string {
  switch (looks) {
    case Looks.HTTP1:
      return 'http/1';
    case Looks.H2:
      return 'h2';
    case Looks.WEBSOCKET:
      return 'websocket';
    case Looks.TEXT:
      return 'text';
    case Looks.TLS:
      return 'tls';
    case Looks.COMPRESSED:
      return 'compressed';
    case Looks.BINARY:
      return 'binary';
    case Looks.SHORT:
      return 'short';
  }
  return 'uniform';
}

/** What the first BEGIN bytes look like. */
export function looksOfBeginning(at: usize): u32 {
  if (startsWithText(at, BEGIN, 'PRI * HTTP/2.0')) return Looks.H2;
  if (isHttp1(at)) return Looks.HTTP1;
  if (load<u8>(at) == 0x16 && load<u8>(at, 1) == 3 && load<u8>(at, 2) <= 4) return Looks.TLS;
  // gzip and zstd
  if ((load<u16>(at) == 0x8b1f && load<u8>(at, 2) == 8) || load<u32>(at) == 0xfd2fb528) return Looks.COMPRESSED;
  for (let i: usize = 0; i < BEGIN; i++) if (!isPrintable(load<u8>(at + i))) return Looks.UNKNOWN;
  return Looks.TEXT;
}

function isPrintable(byte: u32): bool {
  return byte - 0x20 < 0x5f || byte == 9 || byte == 10 || byte == 13;
}

/** "METHOD /", "METHOD http", "HTTP/1." */
function isHttp1(at: usize): bool {
  if (startsWithText(at, BEGIN, 'HTTP/1.')) return true;
  let i: usize = 0;
  while (i < BEGIN - 2 && <u32>load<u8>(at + i) - 0x41 < 26) i++;
  if (i < 3 || load<u8>(at + i) != 0x20) return false;
  const target = load<u8>(at + i + 1);
  return target == 0x2f || target == 0x68 || target == 0x2a || startsWithText(at, BEGIN, 'CONNECT ');
}

/** What SAMPLE bytes look like whose beginning is not known. */
export function looksOfSample(at: usize): u32 {
  if (isH2Frames(at)) return Looks.H2;
  if (!isUniform(at)) return Looks.BINARY;
  return isWebSocketFrames(at) ? Looks.WEBSOCKET : Looks.UNIFORM;
}

const counts: usize = memory.data(256 * 2);

function isUniform(at: usize): bool {
  memory.fill(counts, 0, 512);
  let squares: u32 = 0;
  for (let i: usize = 0; i < SAMPLE; i++) {
    const count = counts + ((<usize>load<u8>(at + i)) << 1);
    const before = load<u16>(count);
    squares += 2 * <u32>before + 1;
    store<u16>(count, before + 1);
  }
  return squares < UNIFORM_BELOW;
}

/** Frames of HTTP/2 end to end, as far as the sample goes: a connection that was joined in its middle, or the server's side. */
function isH2Frames(at: usize): bool {
  let from: u32 = 0;
  while (from + 9 <= SAMPLE) {
    const length = ((<u32>load<u8>(at + from)) << 16) | ((<u32>load<u8>(at + from, 1)) << 8) | load<u8>(at + from, 2);
    const type: u32 = load<u8>(at + from, 3);
    if (length > 1 << 14 || type > 9 || load<u8>(at + from, 5) & 0x80) return false;
    from += 9 + length;
  }
  return true;
}

/** The same for WebSocket, whose payload is masked or compressed: one beginning in twenty of uniform bytes passes for it. */
function isWebSocketFrames(at: usize): bool {
  let from: u32 = 0;
  while (from + 14 <= SAMPLE) {
    const first: u32 = load<u8>(at + from);
    const second: u32 = load<u8>(at + from, 1);
    const opcode = first & 0x0f;
    if (first & 0x30 || (opcode > 2 && opcode - 8 > 2)) return false;
    let length: u32 = second & 0x7f;
    let head: u32 = second & 0x80 ? 6 : 2;
    if (length == 126) {
      length = ((<u32>load<u8>(at + from, 2)) << 8) | load<u8>(at + from, 3);
      head += 2;
      if (length < 126) return false;
    } else if (length == 127) {
      if (load<u32>(at + from, 2) != 0) return false;
      length = bswap<u32>(load<u32>(at + from, 6));
      head += 8;
      if (length < 1 << 16 || length > 1 << 30) return false;
    }
    from += head + length;
  }
  return true;
}
