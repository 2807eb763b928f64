// Which response answers which request: a queue of at most 64 open requests per connection; it never looks at bytes.
//
// The rule. Responses come in the order of their requests, so response k answers the oldest request that is open. Bytes of the response stream may be
// missing, and a whole response with them:
//   * a response with no open request gets a stream of its own (its request was lost, or sent before capture began);
//   * the first response after a gap (or a resync) with several requests open answers the newest of them, and the older ones are reported as never
//     answered: a client that does not pipeline sends a request only when it has the response to the one before, so those responses were in the gap;
//   * unless the client is known to pipeline: it sent a request in the same call that ended the one before, or a response that was not behind a gap
//     began while several requests were open. Then the oldest is answered: which responses the gap held is not known.
// Requests past the 64th are reported as never answered at once; the responses to them are still counted off, so that pairing stays in step.
import { Completeness, Role } from '../../abi/records';
import { isText } from '../../lib/bytes';
import { Conn, Dir, fifoSlot, FIFO_MAX, growFifo } from './conn';
import { Fault } from './counters';
import { writeNoResponse } from './emit';
import { Head } from './message';

const HEAD_METHOD: u64 = 1;
const CONNECT_METHOD: u64 = 2;

/** Gives a request its stream and puts it into the queue. False: no room in the lane; nothing happened. */
export function pushRequest(conn: Conn, dir: Dir, head: Head): bool {
  const stream = conn.nextStream;
  if (conn.fifoCount >= FIFO_MAX || conn.untracked > 0) {
    if (!writeNoResponse(conn, stream, Completeness.CAPPED, Fault.MANY_REQUESTS)) return false;
    conn.untracked++;
    conn.pipelines = true;
  } else {
    let entry = stream << 2;
    if (isText(head.start.ptr, head.methodLength, 'HEAD')) entry |= HEAD_METHOD;
    else if (isText(head.start.ptr, head.methodLength, 'CONNECT')) entry |= CONNECT_METHOD;
    if (conn.fifoCount > 0 && conn.lastRequestEnd == dir.ts) conn.pipelines = true;
    growFifo(conn);
    store<u64>(fifoSlot(conn, conn.fifoFirst + conn.fifoCount), entry);
    conn.fifoCount++;
  }
  dir.stream = stream;
  conn.nextStream = stream + 1;
  return true;
}

/** Finds the request that a response answers. False: no room in the lane; call again. */
export function pairResponse(conn: Conn, dir: Dir): bool {
  dir.bodyless = false;
  dir.connect = false;
  while (dir.gapped && conn.fifoCount > 1 && !conn.pipelines) {
    if (!loseOldest(conn, Completeness.GAP)) return false;
  }
  if (conn.fifoCount == 0) {
    if (conn.untracked > 0) conn.untracked--;
    dir.stream = conn.nextStream++;
    return true;
  }
  if (conn.fifoCount > 1 && !dir.gapped) conn.pipelines = true;
  const entry = popOldest(conn);
  dir.stream = entry >> 2;
  dir.bodyless = (entry & HEAD_METHOD) != 0;
  dir.connect = (entry & CONNECT_METHOD) != 0;
  return true;
}

/** Stream of the oldest open request, or of one that was never seen. */
export function oldestRequest(conn: Conn): u64 {
  return conn.fifoCount > 0 ? load<u64>(fifoSlot(conn, conn.fifoFirst)) >> 2 : conn.nextStream;
}

/** Counts off the request of oldestRequest(). */
export function takeOldest(conn: Conn): void {
  if (conn.fifoCount > 0) popOldest(conn);
  else conn.nextStream++;
}

function popOldest(conn: Conn): u64 {
  const entry = load<u64>(fifoSlot(conn, conn.fifoFirst));
  conn.fifoFirst = (conn.fifoFirst + 1) % conn.fifoSlots;
  conn.fifoCount--;
  return entry;
}

/** Reports the oldest open request as never answered. False: no room in the lane; nothing happened. */
export function loseOldest(conn: Conn, completeness: u32): bool {
  const stream = load<u64>(fifoSlot(conn, conn.fifoFirst)) >> 2;
  if (!writeNoResponse(conn, stream, completeness, Fault.NO_RESPONSE)) return false;
  popOldest(conn);
  return true;
}

/** Settles which end the observed process is, from the first start line seen. */
export function roleOf(direction: u32, isResponse: bool): u32 {
  return (direction == 1) == isResponse ? Role.SERVER : Role.CLIENT;
}
