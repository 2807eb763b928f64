// The dns decoder: pairs questions that processes send to port 53 with their answers and makes one event of each; it resolves and caches nothing.
//
//   net.dns  datagram ----------------------> message -> query:  kept until its answer, 5 s, or the end of its process
//            piece of a stream -> Streams ---^        -> answer: event
import { defineModule, eventsOut, Status, setError, stat } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { Direction, DnsFlag, Kind, NetDns, RecHeader, SysExit } from '../../abi/records';
import { initHandover } from './handover';
import { Message } from './message';
import { answered, unanswered } from './out';
import { Queries, QUERIES_MAX, Query } from './queries';
import { Streams } from './streams';
import { textAt, textLength } from './text';

export { oisp_give, oisp_held, oisp_state_schema, oisp_take } from '../../abi/handover';
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

/** A lane must take the largest event: 64 answers of 2 KiB at most. */
const MIN_OUT: u32 = 256 * 1024;
const SECOND: u64 = 1000000000;
/** A query without an answer is told after this long: resolvers ask again, or elsewhere, after 5 s. */
const PATIENCE: u64 = 5 * SECOND;
const STREAM_IDLE: u64 = 60 * SECOND;

let queries: u64 = 0;
let repeated: u64 = 0;
let answers: u64 = 0;
let noAnswers: u64 = 0;
let unmatched: u64 = 0;
let evicted: u64 = 0;
let malformed: u64 = 0;
let others: u64 = 0;
/** Bytes of a stream record that were dealt with before a lane was full. */
let pieceDone: u32 = 0;

function onInit(outCap: u32, _flags: u32, _maxConns: u32): i32 {
  if (outCap >= MIN_OUT) return 0;
  setError('out lanes must hold ', MIN_OUT);
  return -1;
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  if (kind != Kind.NET_DNS && kind != Kind.SYS_EXIT) return Status.DONE;
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed) {
    setError('a record without its bytes');
    return Status.BAD;
  }
  const size = Reader.length;
  if (size < (kind == Kind.SYS_EXIT ? SysExit.SIZE : <u32>NetDns.bytes(0))) {
    malformed++;
    return Status.DONE;
  }
  if (kind == Kind.SYS_EXIT) return onExit(record);
  const length = min(NetDns.bytes_len(record), size - <u32>NetDns.bytes(0));
  if (!expire(RecHeader.ts_ns(record))) return Status.FULL;
  if (NetDns.flags(record) & DnsFlag.STREAM) return onPiece(record, length);
  return onMessage(record, NetDns.bytes(record), length, NetDns.len(record) == length);
}

function onPiece(record: usize, length: u32): i32 {
  const stream = Streams.get(record, NetDns.peer(record), NetDns.socket(record), NetDns.direction(record));
  while (true) {
    const message = Streams.message(stream);
    if (message) {
      if (onMessage(record, message, Streams.length, true) == Status.FULL) return Status.FULL;
      Streams.next(stream);
    }
    if (pieceDone >= length) break;
    pieceDone += Streams.add(stream, NetDns.bytes(record) + pieceDone, length - pieceDone);
  }
  pieceDone = 0;
  return Status.DONE;
}

function onMessage(record: usize, at: usize, length: u32, whole: bool): i32 {
  if (!Message.open(at, length)) {
    malformed++;
    return Status.DONE;
  }
  // A server's side of port 53, a notification, an update: no question of this process.
  if (Message.opcode != 0 || Message.isResponse != (NetDns.direction(record) == Direction.READ)) {
    others++;
    return Status.DONE;
  }
  if (!Message.readQuestion()) {
    malformed++;
    return Status.DONE;
  }
  const key = Queries.keyOf(record, NetDns.peer(record), Message.id, Message.questionHash);
  return Message.isResponse ? onAnswer(key, RecHeader.ts_ns(record), whole) : onQuery(key, record);
}

function onQuery(key: u64, record: usize): i32 {
  const known = Queries.find(key);
  if (known) {
    changetype<Query>(known).sent++;
    repeated++;
    return Status.DONE;
  }
  if (Queries.count() >= QUERIES_MAX) {
    if (!giveUp(Queries.oldest(), RecHeader.ts_ns(record), 'evicted')) return Status.FULL;
    evicted++;
  }
  const query = Queries.add(key, record, NetDns.peer(record), textAt, <u32>textLength);
  query.type = Message.questionType;
  query.isStream = (NetDns.flags(record) & DnsFlag.STREAM) != 0;
  queries++;
  return Status.DONE;
}

function onAnswer(key: u64, ts: u64, whole: bool): i32 {
  const query = Queries.find(key);
  if (!query) {
    unmatched++;
    return Status.DONE;
  }
  const mark = eventsOut.begin();
  answered(changetype<Query>(query), ts, whole);
  if (!eventsOut.commit(mark)) return Status.FULL;
  Queries.remove(query);
  answers++;
  return Status.DONE;
}

/** Tells a query that has no answer. False: the lane is full. */
function giveUp(at: usize, ts: u64, why: string): bool {
  const mark = eventsOut.begin();
  unanswered(changetype<Query>(at), ts, why);
  if (!eventsOut.commit(mark)) return false;
  Queries.remove(at);
  noAnswers++;
  return true;
}

/** Tells what has waited too long. False: the lane is full. */
function expire(now: u64): bool {
  while (Queries.oldest() != 0) {
    const query = changetype<Query>(Queries.oldest());
    if (query.ts + PATIENCE > now) break;
    if (!giveUp(Queries.oldest(), query.ts + PATIENCE, 'timeout')) return false;
  }
  Streams.expire(now > STREAM_IDLE ? now - STREAM_IDLE : 0);
  return true;
}

function onExit(record: usize): i32 {
  let at = Queries.oldest();
  while (at != 0) {
    const query = changetype<Query>(at);
    const next = query.newer;
    if (query.tgid == RecHeader.tgid(record) && query.startNs == RecHeader.start_ns(record)) {
      if (!giveUp(at, RecHeader.ts_ns(record), 'process_exit')) return Status.FULL;
    }
    at = next;
  }
  return Status.DONE;
}

function onTick(seconds: u32): void {
  expire(<u64>seconds * SECOND);
}

function onFlush(): bool {
  while (Queries.oldest() != 0) {
    const query = changetype<Query>(Queries.oldest());
    if (!giveUp(Queries.oldest(), query.ts, 'capture_end')) return true;
  }
  return false;
}

function onStats(): void {
  stat('queries', queries);
  stat('queries_open', Queries.count());
  stat('repeated', repeated);
  stat('answers', answers);
  stat('no_answer', noAnswers);
  stat('answers_unmatched', unmatched);
  stat('evicted', evicted);
  stat('other_messages', others);
  stat('malformed', malformed);
  stat('streams_open', Streams.count());
  stat('streams_forgotten', Streams.forgotten);
  stat('invalid_utf8', eventsOut.replaced);
}

defineModule('dns', '0.1.0', [Kind.NET_DNS, Kind.SYS_EXIT], [Kind.EVENT], onInit, onRecord, onTick, onFlush, onStats);
initHandover();
