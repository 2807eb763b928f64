// Hands connections over to the instance that takes this one's place. All are claimed at first; those that are between two messages follow as they are, some
// with each batch, so that a swap takes no longer with more of them, and those in the middle of one when it is over.
import { Claims, defineHandover, giving, Handed, writeClaim } from '../../abi/handover';
import { recordsOut, Status } from '../../abi/module';
import { Direction } from '../../abi/records';
import { Reader, Type } from '../../abi/reader';
import { Field } from '../../lib/hpack';
import { At, claimsOver, Conn, conns, Dir, dropConn, makeConn, Now, setAuthority, tgidOf } from './conn';
import { Count } from './counters';
import { enterDir, framesOf, Step } from './h2-state';
import { OVER_IDS } from './h2-streams';
import { Head, headOf } from './message';
import { NAMES_SIZE } from './names';

const CONN: u32 = Handed.OWN;
/** The frames of one direction; comes behind its connection. */
const FRAMES: u32 = Handed.OWN + 1;
/** Connections that follow at a time. */
const SLICE: u32 = 512;
const CONN_ELEMENTS: u32 = 15;
const DIR_ELEMENTS: u32 = 10;

/** Is this connection another instance's? */
export function isForeign(key: u64): bool {
  return giving ? conns.find(key) == 0 : Claims.has(key);
}

function isBetween(conn: Conn, dir: Dir): bool {
  if (dir.open || dir.draining || dir.seeker) return false;
  if (dir.state == At.OPAQUE) return true;
  if (dir.state == At.START) return dir.lineBytes == 0 && dir.headBytes == 0;
  if (dir.state == At.RESYNC) return true;
  if (dir.state != At.FRAMES) return false;
  const frames = framesOf(dir);
  return frames.step == Step.HEAD && frames.have == 0 && frames.seeker == 0 && frames.block.length == 0 && frames.blockId == 0;
}

function canGo(conn: Conn): bool {
  if (conn.first || conn.fifoCount || conn.streamCount || conn.sweep) return false;
  return isBetween(conn, changetype<Dir>(conn.write)) && isBetween(conn, changetype<Dir>(conn.read));
}

/** Status.FULL: to be called again. */
function give(whole: bool, again: bool): i32 {
  if (again) for (let at = conns.oldest; at; at = changetype<Conn>(at).newer) changetype<Conn>(at).claimed = false;
  if (!giveOver()) return Status.FULL;
  let first = false;
  for (let at = conns.oldest; at; at = changetype<Conn>(at).newer) {
    const conn = changetype<Conn>(at);
    if (conn.claimed) continue;
    if (!writeClaim(Handed.CLAIM, conn.key)) return Status.FULL;
    conn.claimed = true;
    first = true;
  }
  return whole && !first ? giveSome() : Status.DONE;
}

function giveSome(): i32 {
  let left = SLICE;
  for (let at = conns.oldest; at && left > 0; ) {
    const conn = changetype<Conn>(at);
    at = conn.newer;
    if (!canGo(conn)) continue;
    const mark = recordsOut.begin();
    writeClaim(Handed.RELEASE, conn.key);
    writeConn(conn);
    // What has no room goes with the next batch.
    if (!recordsOut.commit(mark)) return Status.DONE;
    conn.claimed = false;
    Count.pending -= changetype<Dir>(conn.write).headBytes + changetype<Dir>(conn.read).headBytes;
    dropConn(conn);
    left--;
  }
  return Status.DONE;
}

/** Claims of connections that are closed. */
function giveOver(): bool {
  for (; claimsOver.length >= 8; claimsOver.length -= 8) {
    if (!writeClaim(Handed.RELEASE, load<u64>(claimsOver.ptr + claimsOver.length - 8))) return false;
  }
  return true;
}

function held(): u32 {
  return conns.count;
}

function binOrNil(at: usize, length: usize): void {
  if (at) recordsOut.bin(at, length);
  else recordsOut.nil();
}

/** Address of bytes, or 0; Reader.length of them. */
function readBinOrNil(): usize {
  if (Reader.peek() != Type.NIL) return Reader.bin();
  Reader.nil();
  return 0;
}

function bits(a: bool, b: bool, c: bool, d: bool, e: bool, f: bool): u32 {
  return <u32>a | ((<u32>b) << 1) | ((<u32>c) << 2) | ((<u32>d) << 3) | ((<u32>e) << 4) | ((<u32>f) << 5);
}

function writeConn(conn: Conn): void {
  const out = recordsOut;
  out.array(1 + CONN_ELEMENTS + 2 * DIR_ELEMENTS);
  out.uint(CONN);
  out.uint(conn.key);
  out.uint(tgidOf(conn));
  out.uint(conn.lastTs);
  out.uint(conn.nextStream);
  out.uint(conn.lastRequestEnd);
  out.uint(conn.role);
  out.uint(conn.socketRole);
  out.uint(bits(conn.firstTold, conn.opened, conn.midway, conn.pipelines, conn.opaque, conn.h2));
  out.uint(bits(conn.lossy, conn.roleGuessed, conn.tunnel, conn.framed, conn.noted, false));
  out.uint(conn.untracked);
  binOrNil(conn.authority, conn.authorityLength);
  binOrNil(conn.names, NAMES_SIZE);
  binOrNil(conn.overIds, OVER_IDS << 2);
  out.uint(conn.overNext);
  out.nil();
  writeDir(changetype<Dir>(conn.write));
  writeDir(changetype<Dir>(conn.read));
  writeFrames(conn, changetype<Dir>(conn.write));
  writeFrames(conn, changetype<Dir>(conn.read));
}

function writeDir(dir: Dir): void {
  const out = recordsOut;
  out.uint(dir.state);
  out.uint(dir.expected);
  out.uint(dir.joined);
  out.uint(dir.kinds);
  out.uint(bits(dir.seen, dir.quiet, dir.gapped, dir.seekOver, dir.holed, false));
  out.uint(dir.lastTs);
  out.uint(dir.lineBytes);
  out.uint(dir.headBytes);
  out.uint(dir.lastByte);
  if (dir.state == At.RESYNC && dir.head) out.bin(changetype<Head>(dir.head).line.ptr, changetype<Head>(dir.head).line.length);
  else out.nil();
}

function writeFrames(conn: Conn, dir: Dir): void {
  if (dir.state != At.FRAMES) return;
  const out = recordsOut;
  const frames = framesOf(dir);
  const table = frames.table;
  out.array(6);
  out.uint(FRAMES);
  out.uint(conn.key);
  out.uint(dir.direction);
  out.uint(frames.longest);
  out.uint(table.max);
  out.array(2 * table.count);
  for (let age = table.count; age > 0; age--) {
    table.read(age - 1);
    binOrNil(Field.nameKnown ? Field.name : 0, Field.nameLength);
    out.bin(Field.value, Field.valueLength);
  }
}

function take(tag: u32, at: usize, end: usize): i32 {
  Reader.open(at, end);
  if (tag == CONN) takeConn();
  else if (tag == FRAMES) takeFrames();
  return Reader.failed ? Status.BAD : Status.DONE;
}

function takeConn(): void {
  const key = Reader.uint();
  const tgid = <u32>Reader.uint();
  const lastTs = Reader.uint();
  if (Reader.failed || conns.find(key) || conns.count >= conns.limit) {
    Reader.fail();
    return;
  }
  Now.newest = max(Now.newest, lastTs);
  const conn = makeConn(key, tgid);
  // It was counted when it was seen first.
  Count.connections--;
  conn.lastTs = lastTs;
  conn.nextStream = Reader.uint();
  conn.lastRequestEnd = Reader.uint();
  conn.role = <u32>Reader.uint();
  conn.socketRole = <u32>Reader.uint();
  const some = <u32>Reader.uint();
  conn.firstTold = (some & 1) != 0;
  conn.opened = (some & 2) != 0;
  conn.midway = (some & 4) != 0;
  conn.pipelines = (some & 8) != 0;
  conn.opaque = (some & 16) != 0;
  conn.h2 = (some & 32) != 0;
  const more = <u32>Reader.uint();
  conn.lossy = (more & 1) != 0;
  conn.roleGuessed = (more & 2) != 0;
  conn.tunnel = (more & 4) != 0;
  conn.framed = (more & 8) != 0;
  conn.noted = (more & 16) != 0;
  conn.untracked = <u32>Reader.uint();
  const authority = readBinOrNil();
  setAuthority(conn, authority, Reader.length);
  const names = readBinOrNil();
  if (names && Reader.length == <u32>NAMES_SIZE) conn.names = copied(names, NAMES_SIZE);
  const over = readBinOrNil();
  if (over && Reader.length == OVER_IDS << 2) conn.overIds = copied(over, OVER_IDS << 2);
  conn.overNext = <u32>Reader.uint();
  Reader.skip();
  takeDir(conn, changetype<Dir>(conn.write));
  takeDir(conn, changetype<Dir>(conn.read));
}

function copied(at: usize, length: usize): usize {
  const to = heap.alloc(length);
  memory.copy(to, at, length);
  return to;
}

function takeDir(conn: Conn, dir: Dir): void {
  const state = <u32>Reader.uint();
  dir.expected = Reader.uint();
  dir.joined = Reader.uint();
  dir.kinds = <u32>Reader.uint();
  const some = <u32>Reader.uint();
  dir.seen = (some & 1) != 0;
  dir.quiet = (some & 2) != 0;
  dir.gapped = (some & 4) != 0;
  dir.seekOver = (some & 8) != 0;
  dir.holed = (some & 16) != 0;
  dir.lastTs = Reader.uint();
  dir.lineBytes = Reader.uint();
  dir.headBytes = Reader.uint();
  dir.lastByte = <u32>Reader.uint();
  const line = readBinOrNil();
  const length = Reader.length;
  if (state == At.START || state == At.OPAQUE || state == At.RESYNC || state == At.FRAMES) dir.state = state;
  else Reader.fail();
  if (Reader.failed) {
    dir.state = At.START;
    dir.lineBytes = 0;
    dir.headBytes = 0;
    return;
  }
  Count.pending += dir.headBytes;
  if (line && !headOf(dir).line.push(line, length)) Reader.fail();
  if (state != At.FRAMES) return;
  enterDir(conn, dir);
  framesOf(dir).step = Step.HEAD;
}

function takeFrames(): void {
  const found = conns.find(Reader.uint());
  const direction = <u32>Reader.uint();
  const longest = <u32>Reader.uint();
  const most = <u32>Reader.uint();
  const texts = Reader.array();
  if (Reader.failed || found == 0 || direction > Direction.WRITE) {
    Reader.fail();
    return;
  }
  const dir = changetype<Conn>(found).dir(direction);
  if (dir.state != At.FRAMES) {
    Reader.fail();
    return;
  }
  const frames = framesOf(dir);
  frames.longest = longest;
  frames.table.setMax(most);
  for (let i: u32 = 0; i + 1 < texts; i += 2) {
    const name = readBinOrNil();
    Field.nameKnown = name != 0;
    Field.name = name;
    Field.nameLength = name ? Reader.length : 0;
    Field.value = Reader.bin();
    Field.valueLength = Reader.length;
    Field.valueKnown = true;
    if (Reader.failed) return;
    frames.table.insert();
  }
}

export function initHandover(): void {
  defineHandover(1, 0, give, take, held);
}
