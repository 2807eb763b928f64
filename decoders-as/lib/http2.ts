// Frames of HTTP/2 (RFC 9113): their heads, and whether nine bytes can be one; it keeps nothing.

export const FRAME_HEAD: u32 = 9;
/** Longest payload that needs no leave of the other side (section 4.2). */
export const FRAME_DEFAULT: u32 = 16384;
/** Longest payload there can be. */
export const FRAME_MOST: u32 = (1 << 24) - 1;

/** What the client says first (section 3.4). */
export const PREFACE: string = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export namespace Frame {
  export const DATA: u32 = 0;
  export const HEADERS: u32 = 1;
  export const PRIORITY: u32 = 2;
  export const RST_STREAM: u32 = 3;
  export const SETTINGS: u32 = 4;
  export const PUSH_PROMISE: u32 = 5;
  export const PING: u32 = 6;
  export const GOAWAY: u32 = 7;
  export const WINDOW_UPDATE: u32 = 8;
  export const CONTINUATION: u32 = 9;
}

export namespace FrameFlag {
  export const END_STREAM: u32 = 0x01;
  /** Of SETTINGS and PING. */
  export const ACK: u32 = 0x01;
  export const END_HEADERS: u32 = 0x04;
  export const PADDED: u32 = 0x08;
  export const PRIORITY: u32 = 0x20;
}

/** Of SETTINGS: the longest frame that its sender takes. */
export const SETTING_MAX_FRAME: u32 = 5;

export function frameLength(at: usize): u32 {
  return bswap(load<u32>(at)) >> 8;
}

export function frameType(at: usize): u32 {
  return load<u8>(at, 3);
}

export function frameFlags(at: usize): u32 {
  return load<u8>(at, 4);
}

export function frameStream(at: usize): u32 {
  return bswap(load<u32>(at, 5)) & 0x7fffffff;
}

/** Does the section of its type let a frame have this length and stream? Types that are not known may have any. */
export function frameFits(type: u32, flags: u32, length: u32, stream: u32): bool {
  switch (type) {
    case Frame.DATA:
    case Frame.HEADERS:
      return stream != 0 && length >= least(flags, type);
    case Frame.PRIORITY:
      return stream != 0 && length == 5;
    case Frame.RST_STREAM:
      return stream != 0 && length == 4;
    case Frame.SETTINGS:
      return stream == 0 && (flags & FrameFlag.ACK ? length == 0 : length % 6 == 0);
    case Frame.PUSH_PROMISE:
      return stream != 0 && length >= (flags & FrameFlag.PADDED ? 5 : 4);
    case Frame.PING:
      return stream == 0 && length == 8;
    case Frame.GOAWAY:
      return stream == 0 && length >= 8;
    case Frame.WINDOW_UPDATE:
      return length == 4;
    case Frame.CONTINUATION:
      return stream != 0;
  }
  return true;
}

function least(flags: u32, type: u32): u32 {
  return (flags & FrameFlag.PADDED ? 1 : 0) + (type == Frame.HEADERS && flags & FrameFlag.PRIORITY ? 5 : 0);
}

/** Flags that each type defines, a byte each. */
const defined: usize = memory.data<u8>([0x09, 0x2d, 0, 0, 0x01, 0x0c, 0x01, 0, 0, 0x04]);

/** Is this the head of a frame as senders write it? Stricter than frameFits: known type, only its own flags, no reserved bit, a stream of the first 2^24. */
export function looksLikeFrame(at: usize, longest: u32): bool {
  const type = frameType(at);
  const flags = frameFlags(at);
  const length = frameLength(at);
  if (type > Frame.CONTINUATION || length > longest || load<u8>(at, 5) != 0 || flags & ~(<u32>load<u8>(defined + type))) return false;
  return frameFits(type, flags, length, frameStream(at));
}
