// Reads the ClientHello of a TLS record (RFC 8446, 4.1.2): the server's name, the protocols and the versions that a client offers.
//
// The bytes may be cut anywhere; what is behind the cut is absent, never guessed. Nothing is copied: places point into the bytes given.
import { findByte } from './bytes';

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u32 = 0;
const ALPN: u32 = 16;
const SUPPORTED_VERSIONS: u32 = 43;
/** A host name of the DNS has 253 characters at most. */
const NAME_MAX: u32 = 255;

export namespace ClientHello {
  /** Host name; length 0: none was sent, or it is behind the cut. */
  export let nameAt: usize = 0;
  export let nameLength: u32 = 0;
  /** ALPN list: one length byte before each name. */
  export let alpnAt: usize = 0;
  export let alpnLength: u32 = 0;
  /** Supported versions, two bytes each; length 0: legacyVersion is the only one. */
  export let versionsAt: usize = 0;
  export let versionsLength: u32 = 0;
  export let legacyVersion: u32 = 0;
  /** Not everything was there. */
  export let cut: bool = false;

  let at: usize = 0;
  let end: usize = 0;

  /** @returns false when the bytes do not begin with a ClientHello. */
  export function read(from: usize, length: u32): bool {
    nameLength = 0;
    alpnLength = 0;
    versionsLength = 0;
    legacyVersion = 0;
    cut = false;
    if (length < 11 || load<u8>(from) != HANDSHAKE || load<u8>(from + 1) != 3 || load<u8>(from + 5) != CLIENT_HELLO) return false;
    legacyVersion = bswap(load<u16>(from + 9));
    at = from + 11;
    end = from + length;
    // A hello that does not fit into one record goes on in the next, and so do these bytes: their reading stops at the end of the first.
    const recordEnd = from + 5 + <usize>bswap(load<u16>(from + 3));
    if (recordEnd > end) cut = true;
    else end = recordEnd;
    readBody();
    return true;
  }

  function readBody(): void {
    if (!pass(32)) return;
    if (!passVector(1) || !passVector(2) || !passVector(1)) return;
    // Old clients end here, without extensions.
    if (end - at < 2) return;
    let left = <u32>bswap(load<u16>(at));
    at += 2;
    if (<usize>left > end - at) {
      cut = true;
      left = <u32>(end - at);
    }
    end = at + left;
    while (end - at >= 4) readExtension();
  }

  function readExtension(): void {
    const type = <u32>bswap(load<u16>(at));
    let length = <u32>bswap(load<u16>(at + 2));
    at += 4;
    const whole = <usize>length <= end - at;
    if (!whole) {
      cut = true;
      length = <u32>(end - at);
    }
    if (type == SERVER_NAME) readName(at, length);
    else if (type == ALPN && whole) readAlpn(at, length);
    else if (type == SUPPORTED_VERSIONS && whole) readVersions(at, length);
    at += length;
  }

  /** list length, type 0 (host_name), length, name. */
  function readName(from: usize, length: u32): void {
    if (length < 5 || load<u8>(from + 2) != 0) return;
    const size = <u32>bswap(load<u16>(from + 3));
    if (size == 0 || size > NAME_MAX || size > length - 5) return;
    // A NUL would end the name elsewhere; nothing honest has one.
    if (findByte(from + 5, from + 5 + size, 0) != from + 5 + size) return;
    nameAt = from + 5;
    nameLength = size;
  }

  function readAlpn(from: usize, length: u32): void {
    if (length < 2) return;
    const size = <u32>bswap(load<u16>(from));
    if (size > length - 2) return;
    alpnAt = from + 2;
    alpnLength = size;
  }

  function readVersions(from: usize, length: u32): void {
    if (length < 1) return;
    const size = <u32>load<u8>(from);
    if (size > length - 1 || (size & 1) != 0) return;
    versionsAt = from + 1;
    versionsLength = size;
  }

  /** Passes over n bytes; false: they are not all there. */
  function pass(n: usize): bool {
    if (end - at < n) {
      cut = true;
      at = end;
      return false;
    }
    at += n;
    return true;
  }

  /** Passes over a vector with a length of one or two bytes. */
  function passVector(lengthBytes: usize): bool {
    if (!pass(lengthBytes)) return false;
    const length = lengthBytes == 1 ? <usize>load<u8>(at - 1) : <usize>bswap(load<u16>(at - 2));
    return pass(length);
  }
}

/** 'TLSv1.3' and its kin; '' for a version that is none (GREASE, RFC 8701). */
export function versionName(version: u32): string {
  switch (version) {
    case 0x0300:
      return 'SSLv3';
    case 0x0301:
      return 'TLSv1.0';
    case 0x0302:
      return 'TLSv1.1';
    case 0x0303:
      return 'TLSv1.2';
    case 0x0304:
      return 'TLSv1.3';
  }
  return '';
}
