// The http module: tls.data and sock.data to http.head, http.body and http.end for HTTP/1 and HTTP/2, and notes of what a connection's first bytes are and of those
// that hold nothing for others; it decodes no provider's format and makes no events.
import { giving } from '../../abi/handover';
import { defineModule, resuming, setError, Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { CloseFlag, Kind, Peer, RecHeader, Role, SysExit, TlsClose, TlsData, TlsFlag, TlsName } from '../../abi/records';
import { hash64 } from '../../lib/bytes';
import { closeConn, evict } from './closing';
import { Conn, conns, Dir, firstConnOf, heldBytes, makeConn, makeTables, Now, OUT_MIN, setAuthority } from './conn';
import { Count, writeStats } from './counters';
import { noteFirst, sample } from './first-bytes';
import { initHandover, isForeign } from './handover';
import { expireStreams, makeStreamTable, streamCount } from './h2-streams';
import { NAME_HEAD, takeName } from './names';
import { lookAgain, noteDue, writeNote } from './note';
import { feed, gap, joinStream, shed, skip } from './stream';

export {
  oisp_abi,
  oisp_consumed,
  oisp_flush,
  oisp_in,
  oisp_init,
  oisp_last_error,
  oisp_manifest,
  oisp_out,
  oisp_out_len,
  oisp_process,
  oisp_resume,
  oisp_stats,
  oisp_tick,
} from '../../abi/module';
export { oisp_give, oisp_held, oisp_state_schema, oisp_take } from '../../abi/handover';
export { oisp_lend, oisp_lent, oisp_need } from '../../abi/lend';

/** The record at hand, once place() has counted it: after FULL it is placed again. */
let placed: usize = 0;

/** Streams of all HTTP/2 connections together. */
const STREAMS: u32 = 65536;

/** A connection without a record for this long is given up, seconds. */
const IDLE: u64 = 3600;

function onInit(outCap: u32, _flags: u32, maxConns: u32): i32 {
  if (outCap < OUT_MIN) {
    setError('an out lane must hold the largest http.head, bytes: ', OUT_MIN);
    return -1;
  }
  if (maxConns > 1 << 20) {
    setError('more connections than there can be: ', 1 << 20);
    return -1;
  }
  makeTables(maxConns);
  makeStreamTable(min(2 * maxConns, STREAMS));
  return 0;
}

/** The kernel record of at least `size` bytes in the record at hand, or 0. */
function kernelRecord(at: usize, end: usize, size: u32): usize {
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed || Reader.length < size) {
    if (!giving) Count.malformed++;
    return 0;
  }
  Now.record = record;
  Now.ts = RecHeader.ts_ns(record);
  Now.newest = max(Now.newest, Now.ts);
  return record;
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  if (kind == Kind.TLS_DATA || kind == Kind.SOCK_DATA) return tlsData(kernelRecord(at, end, TlsData.SIZE));
  if (kind == Kind.TLS_CLOSE || kind == Kind.SOCK_CLOSE) return tlsClose(kernelRecord(at, end, TlsClose.SIZE));
  if (kind == Kind.TLS_NAME) return tlsName(kernelRecord(at, end, NAME_HEAD));
  if (kind == Kind.SYS_EXIT) return sysExit(kernelRecord(at, end, SysExit.SIZE));
  if (kind == Kind.CONN_INFO) return connInfo(at, end);
  return Status.DONE;
}

/** The connection of that name, made when there is none; 0: no room in the lane to give up another for it. */
function findConn(key: u64, tgid: u32): usize {
  const found = conns.find(key);
  if (found) {
    conns.touch(found);
    return evict(found, 0) ? found : 0;
  }
  if (!evict(0, 1)) return 0;
  return changetype<usize>(makeConn(key, tgid));
}

function tlsData(record: usize): i32 {
  if (record == 0) return Status.DONE;
  const length = TlsData.len(record);
  if (length > Reader.length - TlsData.SIZE || TlsData.direction(record) > 1) {
    if (!resuming && !giving) Count.malformed++;
    return Status.DONE;
  }
  const tgid = RecHeader.tgid(record);
  const key = hash64(tgid, TlsData.ssl(record), TlsData.generation(record));
  if (isForeign(key)) return Status.DONE;
  if (!resuming) placed = 0;
  const found = findConn(key, tgid);
  if (found == 0) return Status.FULL;
  const conn = changetype<Conn>(found);
  const dir = conn.dir(TlsData.direction(record));
  const offset = TlsData.offset(record);
  place(conn, dir, record, offset, length);
  if (!noteFirst(conn, false)) return Status.FULL;
  const known = <u32>min<u64>(dir.expected > offset ? dir.expected - offset : 0, length);
  const from = record + TlsData.SIZE + known;
  Now.from = from;
  const stop = feed(conn, dir, from, record + TlsData.SIZE + length);
  dir.expected += stop - from;
  Count.inBytes += stop - from;
  if (Now.blocked || !shedRest(conn, dir, record, offset + length)) return Status.FULL;
  return !noteDue(conn, record) || writeNote(conn, record) ? Status.DONE : Status.FULL;
}

/** Compares where a record begins with where its stream had got to: joined, gap, duplicate. Done twice it does nothing the second time. */
function place(conn: Conn, dir: Dir, record: usize, offset: u64, length: u32): void {
  if (TlsData.flags(record) & TlsFlag.OPENED) conn.opened = true;
  if (conn.socketRole == Role.UNKNOWN) conn.socketRole = Peer.role(TlsData.peer(record));
  if (!dir.seen) joinStream(conn, dir, offset);
  if (placed != record && offset >= dir.expected) sample(conn, record, length, offset > dir.expected);
  if (offset > dir.expected) {
    const resumed = (TlsData.flags(record) & TlsFlag.RESUMED) != 0;
    if (resumed && conn.noted) lookAgain(conn);
    missed(conn, dir, offset - dir.expected, resumed);
  } else if (offset < dir.expected && placed != record) {
    const known = min<u64>(dir.expected - offset, length);
    Count.duplicate += known;
    Count.inBytes += known;
  }
  placed = record;
  dir.lastTs = Now.ts;
  conn.lastTs = Now.ts;
}

function tlsClose(record: usize): i32 {
  if (record == 0) return Status.DONE;
  const key = hash64(RecHeader.tgid(record), TlsClose.ssl(record), TlsClose.generation(record));
  if (isForeign(key)) return Status.DONE;
  const found = conns.find(key);
  if (found == 0) {
    if (!resuming) Count.unknownClose++;
    return Status.DONE;
  }
  const conn = changetype<Conn>(found);
  const skipped = (TlsClose.flags(record) & CloseFlag.SKIPPED) != 0;
  tailGap(conn, changetype<Dir>(conn.write), TlsClose.write_bytes(record), skipped);
  tailGap(conn, changetype<Dir>(conn.read), TlsClose.read_bytes(record), skipped);
  return closeConn(conn, true) ? Status.DONE : Status.FULL;
}

/** A call that was cut because its process was over its rate: what follows its last chunk is known to be missing. False: no room in the lane. */
function shedRest(conn: Conn, dir: Dir, record: usize, end: u64): bool {
  if (!(TlsData.flags(record) & TlsFlag.SHED)) return true;
  // Given again after FULL, the record finds its stream further on already.
  if (dir.expected == end) shed(conn, dir, TlsData.call_len(record) - TlsData.call_off(record) - TlsData.len(record));
  feed(conn, dir, 0, 0);
  return !Now.blocked;
}

/** The next n bytes of a stream did not come: they were lost, or left out because nobody wanted them. */
function missed(conn: Conn, dir: Dir, n: u64, skipped: bool): void {
  if (skipped) skip(conn, dir, n);
  else gap(conn, dir, n);
}

/** What a stream has past the last byte seen did not come. */
function tailGap(conn: Conn, dir: Dir, length: u64, skipped: bool): void {
  if (!dir.seen && conn.midway) return;
  dir.seen = true;
  if (length > dir.expected) missed(conn, dir, length - dir.expected, skipped);
}

function sysExit(record: usize): i32 {
  if (record == 0) return Status.DONE;
  const tgid = RecHeader.tgid(record);
  for (let at = firstConnOf(tgid); at != 0; at = firstConnOf(tgid)) {
    if (!closeConn(changetype<Conn>(at), false)) return Status.FULL;
  }
  return Status.DONE;
}

function tlsName(record: usize): i32 {
  if (record == 0) return Status.DONE;
  const length = Reader.length - NAME_HEAD;
  const tgid = RecHeader.tgid(record);
  const key = hash64(tgid, TlsName.ssl(record), TlsName.generation(record));
  if (isForeign(key)) return Status.DONE;
  const found = findConn(key, tgid);
  if (found == 0) return Status.FULL;
  if (!takeName(changetype<Conn>(found), record, length) && !resuming) Count.malformed++;
  return Status.DONE;
}

function connInfo(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const tgid = Reader.uint();
  const ssl = Reader.uint();
  const generation = Reader.uint();
  const authority = Reader.strOrNil();
  const length = Reader.length;
  if (Reader.failed) {
    if (!resuming && !giving) Count.malformed++;
    return Status.DONE;
  }
  const key = hash64(tgid, ssl, generation);
  if (isForeign(key)) return Status.DONE;
  const found = findConn(key, <u32>tgid);
  if (found == 0) return Status.FULL;
  setAuthority(changetype<Conn>(found), authority, length);
  return Status.DONE;
}

function onTick(seconds: u32): void {
  expireStreams(<u64>seconds * 1000000000);
  while (conns.oldest != 0) {
    const conn = changetype<Conn>(conns.oldest);
    if (conn.lastTs + IDLE * 1000000000 > <u64>seconds * 1000000000) return;
    if (!closeConn(conn, false)) return;
    Count.expired++;
  }
}

function onFlush(): bool {
  while (conns.oldest != 0) {
    if (!closeConn(changetype<Conn>(conns.oldest), false)) return true;
  }
  return false;
}

function onStats(): void {
  writeStats(conns.count, streamCount(), heldBytes());
}

defineModule(
  'http',
  '0.1.0',
  [Kind.TLS_DATA, Kind.TLS_CLOSE, Kind.TLS_NAME, Kind.SOCK_DATA, Kind.SOCK_CLOSE, Kind.SYS_EXIT, Kind.CONN_INFO],
  [Kind.HTTP_HEAD, Kind.HTTP_BODY, Kind.HTTP_END, Kind.CONN_NOTE],
  onInit,
  onRecord,
  onTick,
  onFlush,
  onStats,
);
initHandover();
