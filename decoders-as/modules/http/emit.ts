// Writes http.head, http.body and http.end into lane 0, each whole or not at all; it reads state and changes only what says how far a body is out.
import { calls, recordsOut } from '../../abi/module';
import { Completeness, Direction, Kind, Role, TlsData } from '../../abi/records';
import { Conn, Dir, Head, originOf } from './conn';
import { Count, countFault, Fault, faultText } from './counters';
import { writeNames } from './names';

/** Most bytes of an http.body before its payload, with some to spare. */
const BODY_HEAD: usize = 64;

/** The http.body that was written last, if it can be made longer: which call, stream and place. */
let lastCall: u32 = 0;
let lastDir: usize = 0;
let lastBin: usize = 0;
let lastEnd: usize = 0;

/** False: no room; nothing was written. */
export function writeHead(conn: Conn, dir: Dir, head: Head): bool {
  const out = recordsOut;
  const mark = out.begin();
  const start = head.start.ptr;
  out.array(19);
  out.uint(Kind.HTTP_HEAD);
  out.uint(conn.key);
  out.uint(dir.stream);
  out.uint(head.isResponse ? 1 : 0);
  out.uint(dir.direction);
  out.uint(conn.role);
  out.uint(dir.ts);
  out.uint(head.version);
  if (head.isResponse) {
    out.nil();
    out.nil();
    out.uint(head.status);
    out.str(start + head.reasonAt, head.reasonLength);
  } else {
    out.str(start, head.methodLength);
    out.str(start + head.targetAt, head.targetLength);
    out.nil();
    out.nil();
  }
  out.array(head.fieldCount * 2);
  out.raw(head.fields.ptr, head.fields.length);
  out.bin(originOf(dir), TlsData.SIZE);
  out.strOrNil(conn.authority, conn.authorityLength);
  out.boolean(head.cut);
  writeNames(out, conn);
  return out.commit(mark);
}

/** Appends body bytes to the lane, to the last http.body where that is possible. Returns how many fitted. */
export function writeBody(conn: Conn, dir: Dir, message: u32, from: usize, n: usize): usize {
  const out = recordsOut;
  if (n == 0) return 0;
  const extend = lastDir == changetype<usize>(dir) && lastEnd == out.at && lastCall == calls;
  const free = out.free;
  const head: usize = extend ? 0 : BODY_HEAD;
  if (free <= head) return 0;
  if (n > free - head) n = free - head;
  if (!extend) {
    out.array(8);
    out.uint(Kind.HTTP_BODY);
    out.uint(conn.key);
    out.uint(dir.stream);
    out.uint(message);
    out.uint(dir.direction);
    out.uint(dir.lastTs);
    out.uint(dir.bodyOffset);
    lastBin = out.openBin();
    lastDir = changetype<usize>(dir);
    lastCall = calls;
  }
  out.append(lastBin, from, n);
  lastEnd = out.at;
  dir.bodyOffset += n;
  dir.bodyBytes += n;
  Count.bodyOut += n;
  return n;
}

/** What comes next to this body does not follow its last byte. */
export function breakBody(dir: Dir): void {
  if (lastDir == changetype<usize>(dir)) lastDir = 0;
}

function completenessOf(dir: Dir): u32 {
  if (dir.fault != Fault.NONE && dir.fault < Fault.BR) return Completeness.ERROR;
  if (dir.aborted) return Completeness.ABORTED;
  if (dir.missing > 0) return Completeness.GAP;
  return dir.fault != Fault.NONE ? Completeness.CAPPED : Completeness.FULL;
}

/** False: no room; nothing was written. */
export function writeEnd(conn: Conn, dir: Dir, message: u32): bool {
  const out = recordsOut;
  const mark = out.begin();
  const completeness = completenessOf(dir);
  out.array(13);
  out.uint(Kind.HTTP_END);
  out.uint(conn.key);
  out.uint(dir.stream);
  out.uint(message);
  out.uint(dir.direction);
  out.uint(dir.endTs);
  out.uint(completeness);
  out.uint(dir.missing);
  out.uint(dir.wire);
  out.uint(dir.bodyBytes);
  if (dir.fault == Fault.NONE) out.nil();
  else out.text(faultText(dir.fault));
  out.uint(dir.firstBodyTs);
  out.uint(min(dir.shed, dir.missing));
  if (!out.commit(mark)) return false;
  breakBody(dir);
  if (dir.fault != Fault.NONE) countFault(dir.fault);
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
