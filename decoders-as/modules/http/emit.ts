// Writes http.head, http.body and http.end into lane 0, each whole or not at all; it reads state and changes only what says how far a body is out.
import { calls, recordsOut } from '../../abi/module';
import { Completeness, Direction, Kind, Role, TlsData } from '../../abi/records';
import { Conn } from './conn';
import { Count, countFault, Fault, faultText } from './counters';
import { Decode, Head, Message } from './message';
import { writeNames } from './names';

/** Most bytes of an http.body before its payload, with some to spare. */
const BODY_HEAD: usize = 64;

/** The http.body that was written last, if it can be made longer: which call, message and place. */
let lastCall: u32 = 0;
let lastMessage: usize = 0;
let lastBin: usize = 0;
let lastEnd: usize = 0;

/** False: no room; nothing was written. */
export function writeHead(conn: Conn, m: Message, head: Head): bool {
  const out = recordsOut;
  const mark = out.begin();
  const start = head.start.ptr;
  out.array(20);
  out.uint(Kind.HTTP_HEAD);
  out.uint(conn.key);
  out.uint(m.stream);
  out.uint(head.isResponse ? 1 : 0);
  out.uint(m.direction);
  out.uint(conn.role);
  out.uint(m.ts);
  out.uint(head.version);
  if (head.isResponse) {
    out.nil();
    out.nil();
    if (head.status) out.uint(head.status);
    else out.nil();
    if (head.version == 20) out.nil();
    else out.str(start + head.reasonAt, head.reasonLength);
  } else {
    out.strOrNil(head.methodLength ? start + head.methodAt : 0, head.methodLength);
    out.strOrNil(head.targetLength ? start + head.targetAt : 0, head.targetLength);
    out.nil();
    out.nil();
  }
  out.array(head.fieldCount * 2);
  out.raw(head.fields.ptr, head.fields.length);
  out.bin(head.origin, TlsData.SIZE);
  out.strOrNil(conn.authority, conn.authorityLength);
  out.boolean(head.cut);
  writeNames(out, conn);
  out.uint(head.unknown);
  return out.commit(mark);
}

/** Appends body bytes to the lane, to the last http.body where that is possible. Returns how many fitted. */
export function writeBody(conn: Conn, m: Message, which: u32, from: usize, n: usize): usize {
  const out = recordsOut;
  if (n == 0) return 0;
  const extend = lastMessage == changetype<usize>(m) && lastEnd == out.at && lastCall == calls;
  const free = out.free;
  const head: usize = extend ? 0 : BODY_HEAD;
  if (free <= head) return 0;
  if (n > free - head) n = free - head;
  if (!extend) {
    out.array(8);
    out.uint(Kind.HTTP_BODY);
    out.uint(conn.key);
    out.uint(m.stream);
    out.uint(which);
    out.uint(m.direction);
    // When bytes came that are decoded at the end of their message is not known of each.
    out.uint(m.decode == Decode.LEND ? 0 : m.lastTs);
    out.uint(m.bodyOffset);
    lastBin = out.openBin();
    lastMessage = changetype<usize>(m);
    lastCall = calls;
  }
  out.append(lastBin, from, n);
  lastEnd = out.at;
  m.bodyOffset += n;
  m.bodyBytes += n;
  Count.bodyOut += n;
  return n;
}

/** What comes next to this body does not follow its last byte. */
export function breakBody(m: Message): void {
  if (lastMessage == changetype<usize>(m)) lastMessage = 0;
}

function completenessOf(m: Message): u32 {
  if (m.fault != Fault.NONE && m.fault < Fault.OTHER_CODING) return Completeness.ERROR;
  if (m.aborted) return Completeness.ABORTED;
  if (m.missing > 0 || m.holed) return Completeness.GAP;
  return m.fault != Fault.NONE ? Completeness.CAPPED : Completeness.FULL;
}

/** False: no room; nothing was written. */
export function writeEnd(conn: Conn, m: Message, which: u32): bool {
  const out = recordsOut;
  const mark = out.begin();
  const completeness = completenessOf(m);
  out.array(13);
  out.uint(Kind.HTTP_END);
  out.uint(conn.key);
  out.uint(m.stream);
  out.uint(which);
  out.uint(m.direction);
  out.uint(m.endTs);
  out.uint(completeness);
  out.uint(m.missing);
  out.uint(m.wire);
  out.uint(m.bodyBytes);
  if (m.fault == Fault.NONE) out.nil();
  else out.text(faultText(m.fault));
  out.uint(m.firstBodyTs);
  out.uint(min(m.shed, m.missing));
  if (!out.commit(mark)) return false;
  breakBody(m);
  if (m.fault != Fault.NONE) countFault(m.fault);
  Count.ends++;
  if (completeness != Completeness.FULL) Count.endsNotFull++;
  return true;
}

/** The http.end of a response that will not be seen, which has no http.head. False: no room; nothing was written. */
export function writeNoResponse(conn: Conn, stream: u64, completeness: u32, fault: u32): bool {
  const out = recordsOut;
  const mark = out.begin();
  out.array(13);
  out.uint(Kind.HTTP_END);
  out.uint(conn.key);
  out.uint(stream);
  out.uint(1);
  out.uint(conn.role == Role.SERVER ? Direction.WRITE : Direction.READ);
  out.uint(conn.lastTs);
  out.uint(completeness);
  out.uint(0);
  out.uint(0);
  out.uint(0);
  out.text(faultText(fault));
  out.uint(0);
  out.uint(0);
  if (!out.commit(mark)) return false;
  countFault(fault);
  Count.ends++;
  Count.endsNotFull++;
  return true;
}
