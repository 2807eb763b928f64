// What a complete head means: its place in the exchange, the framing of its body, and the end of its message; it never sees body bytes.
import { Role } from '../../abi/records';
import { Transfer, Upgrade } from '../../lib/http1';
import { Inflate } from '../../lib/inflate';
import { At, Conn, Dir, Now } from './conn';
import { chooseDecoding, decodeKept, isResponse } from './content';
import { Count, countFault, Fault } from './counters';
import { writeEnd, writeHead } from './emit';
import { enterFrames, expectStart } from './h2-state';
import { startUpgraded } from './h2-streams';
import { goOpaque } from './head';
import { endMessage, enterResync } from './lines';
import { endInflate, Head, releaseHead, resetMessage } from './message';
import { oldestRequest, pairResponse, pushRequest, takeOldest } from './pairing';

/** HEAD_READY: gives the message its stream, writes http.head and chooses what its body is. */
export function announce(conn: Conn, dir: Dir): void {
  const head = changetype<Head>(dir.head);
  if (dir.headBytes > 0) {
    Count.pending -= dir.headBytes;
    Count.framing += dir.headBytes;
    dir.wire = dir.headBytes;
    dir.headBytes = 0;
  }
  if (head.isResponse && head.status < 200 && head.status != 101) {
    informational(dir);
    return;
  }
  if (head.isResponse && head.status == 101 && head.upgrade == Upgrade.H2C && dir.fault == Fault.NONE) {
    upgradeToFrames(conn, dir);
    return;
  }
  if (!dir.paired) {
    if (!(head.isResponse ? pairResponse(conn, dir) : pushRequest(conn, dir, head))) {
      Now.blocked = true;
      return;
    }
    dir.paired = true;
    if (dir.fault == Fault.NONE) dir.fault = framingFault(head);
  }
  if (!writeHead(conn, dir, head)) {
    Now.blocked = true;
    return;
  }
  Count.heads++;
  if (head.cut) Count.headsCut++;
  dir.paired = false;
  dir.open = true;
  dir.gapped = false;
  if (dir.fault != Fault.NONE) endMessage(dir, At.RESYNC);
  else chooseBody(dir, head);
  releaseHead(dir);
}

/** The response comes as the first stream of HTTP/2 (RFC 7540 section 3.2). */
function upgradeToFrames(conn: Conn, dir: Dir): void {
  if (conn.fifoCount != 1) conn.lossy = true;
  if (!startUpgraded(conn, oldestRequest(conn))) {
    Now.blocked = true;
    return;
  }
  Count.upgraded++;
  Count.informational++;
  takeOldest(conn);
  enterFrames(conn, true);
  expectStart(changetype<Dir>(conn.write), conn.role == Role.CLIENT);
  expectStart(changetype<Dir>(conn.read), conn.role == Role.SERVER);
  releaseHead(dir);
  resetDir(dir);
}

/** 100 to 199: not the response, which is still to come. */
function informational(dir: Dir): void {
  Count.informational++;
  dir.state = At.START;
  if (dir.fault != Fault.NONE) {
    countFault(dir.fault);
    enterResync(dir);
  }
  releaseHead(dir);
  resetDir(dir);
}

/** Framing headers that contradict one another. */
function framingFault(head: Head): u32 {
  if (head.transfer == Transfer.NONE) return Fault.NONE;
  if (head.length >= 0) return Fault.BOTH_FRAMINGS;
  if (head.version == 10) return Fault.TRANSFER_IN_1_0;
  return head.transfer == Transfer.OTHER && !head.isResponse ? Fault.NOT_CHUNKED : Fault.NONE;
}

function chooseBody(dir: Dir, head: Head): void {
  const status = head.status;
  if (head.isResponse) {
    if (status == 101 || (dir.connect && status < 300)) {
      endMessage(dir, At.OPAQUE);
      return;
    }
    if (dir.bodyless || status == 204 || status == 304) {
      endMessage(dir, At.START);
      return;
    }
  }
  chooseDecoding(dir, head);
  if (head.transfer == Transfer.CHUNKED || head.transfer == Transfer.OTHER_CHUNKED) {
    dir.state = At.CHUNK_SIZE;
  } else if (head.length > 0) {
    dir.remaining = head.length;
    dir.state = At.LENGTH;
  } else if (head.length == 0 || !head.isResponse) {
    endMessage(dir, At.START);
  } else {
    dir.state = At.TO_CLOSE;
  }
}

/** END_READY: writes http.end and goes on to what follows. */
export function finish(conn: Conn, dir: Dir): void {
  if (!decodeKept(conn, dir)) return;
  const response = isResponse(conn, dir);
  const whole = dir.fault == Fault.NONE && !dir.aborted && dir.missing == 0;
  if (whole && dir.inflate && !changetype<Inflate>(dir.inflate).complete) dir.fault = Fault.SHORT_DEFLATE;
  if (!writeEnd(conn, dir, response ? 1 : 0)) {
    Now.blocked = true;
    return;
  }
  if (!response) conn.lastRequestEnd = dir.endTs;
  else if (dir.connect && dir.after == At.OPAQUE) conn.tunnel = true;
  endInflate(dir);
  resetDir(dir);
  dir.state = dir.after;
  if (dir.after == At.RESYNC) enterResync(dir);
  if (dir.after == At.OPAQUE && !conn.opaque) {
    Count.upgraded++;
    goOpaque(conn);
  }
}

function resetDir(dir: Dir): void {
  resetMessage(dir);
  dir.paired = false;
  dir.connect = false;
  dir.bodyless = false;
  dir.remaining = 0;
  dir.chunkDigits = 0;
  dir.chunkPhase = 0;
}
