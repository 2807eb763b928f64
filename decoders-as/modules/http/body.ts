// Body bytes: fixed length, chunks, or up to the close; plain, inflated or dropped. It never keeps body bytes but in the window of an inflate.
import { hexDigit } from '../../lib/http1';
import { findEither } from '../../lib/bytes';
import { Inflate, Inflated } from '../../lib/inflate';
import { isResponseDir } from './announce';
import { At, Conn, Decode, Dir, endInflate, Now } from './conn';
import { Count, Fault } from './counters';
import { writeBody } from './emit';
import { endMessage } from './lines';

/** Decoded bytes of one compressed message. */
const BODY_MAX: u64 = 64 << 20;

/** Takes n body bytes as far as the lane has room. Returns how many. */
function take(conn: Conn, dir: Dir, at: usize, n: usize): usize {
  if (dir.firstBodyTs == 0) dir.firstBodyTs = Now.ts;
  let took = n;
  if (dir.decode == Decode.PLAIN) {
    took = writeBody(conn, dir, isResponseDir(conn, dir) ? 1 : 0, at, n);
    if (took < n) Now.blocked = true;
  } else if (dir.decode == Decode.INFLATE) {
    const inflate = changetype<Inflate>(dir.inflate);
    inflate.feed(at, at + n);
    pump(conn, dir, inflate);
    if (dir.decode == Decode.INFLATE) took = inflate.input - at;
  } else if (dir.fault == Fault.NONE) dir.fault = dir.dropFault;
  dir.wire += took;
  Count.bodyWire += took;
  return took;
}

/** Goes on with inflated bytes that had no room. */
export function drain(conn: Conn, dir: Dir): void {
  const inflate = changetype<Inflate>(dir.inflate);
  inflate.feed(0, 0);
  pump(conn, dir, inflate);
}

/** Inflates until the input is used (not draining), the lane is full (draining), or nothing is to be decoded any more. */
function pump(conn: Conn, dir: Dir, inflate: Inflate): void {
  while (true) {
    const status = inflate.run();
    const most = min<u64>(inflate.freshLength, BODY_MAX - dir.bodyBytes);
    const gave = writeBody(conn, dir, isResponseDir(conn, dir) ? 1 : 0, inflate.fresh, <usize>most);
    inflate.take(gave);
    if (gave < <usize>most) {
      dir.draining = true;
      Now.blocked = true;
      return;
    }
    if (inflate.freshLength > 0) {
      dropRest(dir, Fault.BODY_LIMIT);
      return;
    }
    if (status == Inflated.ROOM) continue;
    if (status == Inflated.BAD) dropRest(dir, Fault.BAD_DEFLATE);
    else if (status == Inflated.DONE) {
      Count.afterDeflate++;
      dropRest(dir, Fault.NONE);
    }
    dir.draining = false;
    return;
  }
}

function dropRest(dir: Dir, fault: u32): void {
  endInflate(dir);
  dir.decode = Decode.DROP;
  dir.dropFault = Fault.NONE;
  dir.fault = fault;
}

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
