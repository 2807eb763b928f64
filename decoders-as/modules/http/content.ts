// What becomes of the body bytes of a message, whatever its framing: passed on, inflated or dropped. It never keeps body bytes but in the window of an inflate.
import { Lend, lendAsk, lendState, Lent, lentAt, lentHow, lentLength } from '../../abi/lend';
import { Role } from '../../abi/records';
import { ByteBuf } from '../../lib/bytes';
import { Coding, Transfer } from '../../lib/http1';
import { Inflate, Inflated } from '../../lib/inflate';
import { Format } from '../../lib/inflate-wrapping';
import { Conn, Now } from './conn';
import { Count, Fault } from './counters';
import { writeBody } from './emit';
import { Decode, endCoded, endInflate, Head, Message } from './message';

/** Decoded bytes of one compressed message. */
const BODY_MAX: u64 = 64 << 20;
/** Coded bytes that are kept of one message, and what the host may make of them. */
const CODED_MAX: usize = 8 << 20;
const LENT_MAX: usize = 16 << 20;

/** Is this message a response? */
export function isResponse(conn: Conn, m: Message): bool {
  return (conn.role == Role.SERVER) == (m.direction == 1);
}

/** Chooses by its head what becomes of the body. */
export function chooseDecoding(m: Message, head: Head): void {
  const coding = head.coding;
  m.decode = head.unknown > 0 ? Decode.SNIFF : Decode.PLAIN;
  if (head.transfer == Transfer.OTHER || head.transfer == Transfer.OTHER_CHUNKED) {
    m.decode = Decode.DROP;
    m.dropFault = Fault.TRANSFER_CODING;
  } else if (coding == Coding.GZIP || coding == Coding.DEFLATE) {
    m.decode = Decode.INFLATE;
  } else if (coding == Coding.OTHER) {
    m.decode = Decode.DROP;
    m.dropFault = Fault.OTHER_CODING;
  } else if (coding != Coding.IDENTITY) {
    m.decode = Decode.LEND;
    m.codings = coding;
  }
  if (m.decode == Decode.INFLATE) {
    m.inflate = changetype<usize>(new Inflate(coding == Coding.GZIP ? Format.GZIP : Format.DEFLATE));
  }
}

/** Nothing that is read here begins with the first byte of gzip but gzip. */
function sniff(m: Message, first: u8): void {
  m.decode = first == 0x1f ? Decode.INFLATE : Decode.PLAIN;
  if (m.decode == Decode.INFLATE) m.inflate = changetype<usize>(new Inflate(Format.GZIP));
}

/** Takes n body bytes as far as the lane has room. Returns how many. */
export function take(conn: Conn, m: Message, at: usize, n: usize): usize {
  if (m.firstBodyTs == 0) m.firstBodyTs = Now.ts;
  let took = n;
  if (m.decode == Decode.SNIFF) sniff(m, load<u8>(at));
  if (m.decode == Decode.PLAIN) {
    took = writeBody(conn, m, isResponse(conn, m) ? 1 : 0, at, n);
    if (took < n) Now.blocked = true;
  } else if (m.decode == Decode.INFLATE) {
    const inflate = changetype<Inflate>(m.inflate);
    inflate.feed(at, at + n);
    pump(conn, m, inflate);
    if (m.decode == Decode.INFLATE) took = inflate.input - at;
  } else if (m.decode == Decode.LEND) keepCoded(m, at, n);
  else if (m.fault == Fault.NONE) m.fault = m.dropFault;
  m.wire += took;
  Count.bodyWire += took;
  return took;
}

/** Keeps bytes for the host to decode when the message is over. */
function keepCoded(m: Message, at: usize, n: usize): void {
  if (m.codedOver) return;
  if (m.coded == 0) m.coded = changetype<usize>(new ByteBuf(CODED_MAX));
  const kept = changetype<ByteBuf>(m.coded).pushSome(at, n);
  if (kept == n) return;
  m.codedOver = true;
  if (m.fault == Fault.NONE) m.fault = Fault.BODY_LIMIT;
}

/** Bytes of a body are missing: what can be decoded of it ends here. */
export function breakCoding(m: Message): void {
  m.codedOver = true;
  if (m.decode != Decode.INFLATE) return;
  endInflate(m);
  m.decode = Decode.DROP;
}

/** Has the host decode what was kept of a body that is over, and gives it out. False: to be called again, once that is done or there is room. */
export function decodeKept(conn: Conn, m: Message): bool {
  if (m.decode != Decode.LEND || m.coded == 0) return true;
  const owner = changetype<usize>(m);
  const state = lendState(owner);
  if (state != Lend.GIVEN) {
    const coded = changetype<ByteBuf>(m.coded);
    if (state == Lend.NONE) lendAsk(owner, m.codings, coded.ptr, coded.length, LENT_MAX);
    Now.blocked = true;
    return false;
  }
  if (m.codedOut == 0) m.bodyOffset = 0;
  while (m.codedOut < lentLength) {
    const gave = writeBody(conn, m, isResponse(conn, m) ? 1 : 0, lentAt + m.codedOut, lentLength - m.codedOut);
    if (gave == 0) {
      Now.blocked = true;
      return false;
    }
    m.codedOut += gave;
  }
  if (m.fault == Fault.NONE && !m.codedOver) m.fault = faultOf(lentHow, m.aborted);
  endCoded(m);
  m.decode = Decode.DROP;
  return true;
}

function faultOf(how: i32, aborted: bool): u32 {
  if (how == Lent.LIMIT) return Fault.BODY_LIMIT;
  if (how == Lent.BAD) return Fault.BAD_DEFLATE;
  return how == Lent.SHORT && !aborted ? Fault.SHORT_DEFLATE : Fault.NONE;
}

/** Goes on with inflated bytes that had no room. */
export function drain(conn: Conn, m: Message): void {
  const inflate = changetype<Inflate>(m.inflate);
  inflate.feed(0, 0);
  pump(conn, m, inflate);
}

/** Inflates until the input is used (not draining), the lane is full (draining), or nothing is to be decoded any more. */
function pump(conn: Conn, m: Message, inflate: Inflate): void {
  while (true) {
    const status = inflate.run();
    const most = min<u64>(inflate.freshLength, BODY_MAX - m.bodyBytes);
    const gave = writeBody(conn, m, isResponse(conn, m) ? 1 : 0, inflate.fresh, <usize>most);
    inflate.take(gave);
    if (gave < <usize>most) {
      m.draining = true;
      Now.blocked = true;
      return;
    }
    if (inflate.freshLength > 0) {
      dropRest(m, Fault.BODY_LIMIT);
      return;
    }
    if (status == Inflated.ROOM) continue;
    if (status == Inflated.BAD) dropRest(m, Fault.BAD_DEFLATE);
    else if (status == Inflated.DONE) {
      Count.afterDeflate++;
      dropRest(m, Fault.NONE);
    }
    m.draining = false;
    return;
  }
}

function dropRest(m: Message, fault: u32): void {
  endInflate(m);
  m.decode = Decode.DROP;
  m.dropFault = Fault.NONE;
  m.fault = fault;
}
