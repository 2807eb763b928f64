// The framing of HTTP/1 bodies: fixed length, chunks with their extensions and trailers, or up to the close; what the bytes become is content.ts's.
import { hexDigit } from '../../lib/http1';
import { findEither } from '../../lib/bytes';
import { At, Conn, Dir } from './conn';
import { take } from './content';
import { Count, Fault } from './counters';
import { endMessage } from './lines';

/** LENGTH and CHUNK_DATA. Returns where it stopped. */
export function counted(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  const took = take(conn, dir, at, <usize>min<u64>(end - at, dir.remaining));
  dir.remaining -= took;
  if (dir.remaining == 0) countedOver(dir);
  return at + took;
}

/** The last byte of a body or chunk of known length was seen, or was lost. */
export function countedOver(dir: Dir): void {
  if (dir.state == At.LENGTH) endMessage(dir, At.START);
  else {
    dir.state = At.CHUNK_END;
    dir.chunkPhase = 0;
  }
}

/** TO_CLOSE. Returns where it stopped. */
export function uncounted(conn: Conn, dir: Dir, at: usize, end: usize): usize {
  return at + take(conn, dir, at, end - at);
}

function framing(dir: Dir, n: usize): void {
  dir.wire += n;
  Count.framing += n;
}

function broken(dir: Dir, fault: u32): void {
  dir.fault = fault;
  endMessage(dir, At.RESYNC);
}

/** Phases of CHUNK_SIZE: in the digits, behind them (blanks and extensions), behind CR. */
const DIGITS: u32 = 0;
const EXTENSION: u32 = 1;
const SIZE_CR: u32 = 2;

/** CHUNK_SIZE, byte by byte. Returns where it stopped. */
export function chunkSize(dir: Dir, at: usize, end: usize): usize {
  const from = at;
  while (at < end && dir.state == At.CHUNK_SIZE) {
    const byte = <u32>load<u8>(at++);
    if (dir.chunkPhase == DIGITS) {
      const digit = hexDigit(byte);
      if (digit < 16 && dir.remaining >> 48 == 0) {
        dir.remaining = (dir.remaining << 4) | digit;
        dir.chunkDigits = 1;
      } else if (digit < 16 || dir.chunkDigits == 0) broken(dir, Fault.BAD_CHUNK_SIZE);
      else if (byte == 13) dir.chunkPhase = SIZE_CR;
      else if (byte == 59 || byte == 32 || byte == 9) dir.chunkPhase = EXTENSION;
      else broken(dir, byte == 10 ? Fault.BARE_LF : Fault.BAD_CHUNK_SIZE);
    } else if (dir.chunkPhase == EXTENSION) {
      if (byte == 13) dir.chunkPhase = SIZE_CR;
      else if (byte == 10) broken(dir, Fault.BARE_LF);
    } else if (byte != 10) broken(dir, Fault.BARE_CR);
    else {
      dir.state = dir.remaining > 0 ? At.CHUNK_DATA : At.TRAILERS;
      dir.chunkPhase = 0;
      dir.chunkDigits = 0;
    }
  }
  framing(dir, at - from);
  return at;
}

/** CHUNK_END: the CRLF behind a chunk. Returns where it stopped. */
export function chunkEnd(dir: Dir, at: usize): usize {
  const byte = <u32>load<u8>(at);
  framing(dir, 1);
  if (byte != (dir.chunkPhase == 0 ? 13 : 10)) broken(dir, Fault.BAD_CHUNK_END);
  else if (dir.chunkPhase == 0) dir.chunkPhase = 1;
  else {
    dir.chunkPhase = DIGITS;
    dir.state = At.CHUNK_SIZE;
  }
  return at + 1;
}

/** Phases of TRAILERS: at the start of a line, behind a CR there, in a line, behind a CR there. */
const LINE_START: u32 = 0;
const EMPTY_CR: u32 = 1;
const IN_LINE: u32 = 2;
const LINE_CR: u32 = 3;

/** TRAILERS: lines that are passed over, up to the empty one. Returns where it stopped. */
export function trailers(dir: Dir, at: usize, end: usize): usize {
  const from = at;
  while (at < end && dir.state == At.TRAILERS) {
    if (dir.chunkPhase == IN_LINE) {
      at = findEither(at, end, 13, 10);
      if (at == end) break;
    }
    const byte = <u32>load<u8>(at++);
    if (dir.chunkPhase == EMPTY_CR || dir.chunkPhase == LINE_CR) {
      if (byte != 10) broken(dir, Fault.BARE_CR);
      else if (dir.chunkPhase == LINE_CR) dir.chunkPhase = LINE_START;
      else endMessage(dir, At.START);
    } else if (byte == 10) broken(dir, Fault.BARE_LF);
    else if (byte == 13) dir.chunkPhase = dir.chunkPhase == LINE_START ? EMPTY_CR : LINE_CR;
    else dir.chunkPhase = IN_LINE;
  }
  framing(dir, at - from);
  return at;
}
