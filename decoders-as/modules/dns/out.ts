// Writes network.dns events: from a query and its answer, or from a query that got none; it knows no table.
import { DnsType, EventType } from '../../abi/events';
import { eventsOut } from '../../abi/module';
import { Kind, Peer, RecHeader } from '../../abi/records';
import { addressText, ipText } from '../../lib/ip';
import { Message } from './message';
import { Query } from './queries';
import { textAt, textLength } from './text';
import { putResponseCode, putTypeName, putValue, responseCodeName, typeName } from './values';

/** Answers of one event at most; more are counted in ext. */
export const ANSWERS_MAX: u32 = 64;

/** The first elements of an event record: data and meta follow. */
function eventHead(header: usize, ts: u64): void {
  eventsOut.array(9);
  eventsOut.uint(Kind.EVENT);
  eventsOut.text(EventType.NETWORK_DNS);
  eventsOut.uint(ts);
  eventsOut.bin(header, RecHeader.SIZE);
  eventsOut.nil();
  eventsOut.nil();
}

function questionOut(query: Query): void {
  eventsOut.text('query_name');
  eventsOut.str(query.name, query.nameLength);
  eventsOut.text('query_type');
  eventsOut.text(typeName(query.type));
  eventsOut.text('resolver');
  eventsOut.str(ipText, addressText(Peer.family(query.peer), Peer.remote_addr(query.peer)));
}

/** @param whole false when the answer was cut before it was copied. */
export function answered(query: Query, ts: u64, whole: bool): void {
  eventHead(query.header, ts);
  eventsOut.uint(<u32>query.key & 0x7fffffff);
  eventsOut.map(6);
  questionOut(query);
  eventsOut.text('response_code');
  eventsOut.text(responseCodeName(Message.responseCode));
  eventsOut.text('answers');
  const left = answersOut();
  eventsOut.text('latency_ms');
  eventsOut.float(<f64>((ts - query.ts + 500) / 1000) / 1000);

  const partial = Message.truncated || !whole || left != 0;
  eventsOut.map(partial ? 3 : 1);
  if (partial) {
    eventsOut.text('completeness');
    eventsOut.text('partial');
    eventsOut.text('missing');
    eventsOut.array(1);
    eventsOut.text('answers');
  }
  const code = Message.responseCode;
  const odd = responseCodeName(code) == 'other';
  extBegin(query, (odd ? 1 : 0) + (Message.truncated ? 1 : 0) + (left ? 1 : 0));
  if (odd) {
    eventsOut.text('response_code');
    putResponseCode(code);
    eventsOut.str(textAt, textLength);
  }
  if (Message.truncated) {
    eventsOut.text('truncated');
    eventsOut.boolean(true);
  }
  if (left) {
    eventsOut.text('answers_left_out');
    eventsOut.uint(left);
  }
}

/** Returns how many answers were left out: past the limit, or past what could be read. */
function answersOut(): u32 {
  const opened = eventsOut.openArray();
  let count: u32 = 0;
  while (count < Message.answers && count < ANSWERS_MAX && Message.nextRecord()) {
    eventsOut.map(3);
    eventsOut.text('type');
    putTypeName(Message.recordType);
    eventsOut.str(textAt, textLength);
    eventsOut.text('value');
    putValue();
    eventsOut.str(textAt, textLength);
    eventsOut.text('ttl');
    eventsOut.uint(Message.recordTtl);
    count++;
  }
  eventsOut.close(opened, count);
  return Message.answers - count;
}

/** @param why there is no answer: timeout, process_exit, capture_end, evicted. */
export function unanswered(query: Query, ts: u64, why: string): void {
  eventHead(query.header, ts);
  eventsOut.uint(<u32>query.key & 0x7fffffff);
  eventsOut.map(3);
  questionOut(query);
  eventsOut.map(1);
  extBegin(query, 1);
  eventsOut.text('unanswered');
  eventsOut.text(why);
}

/** Opens meta.ext.dns and writes what every event has; `more` pairs follow. */
function extBegin(query: Query, more: u32): void {
  const odd = typeName(query.type) == DnsType.OTHER;
  eventsOut.text('ext');
  eventsOut.map(1);
  eventsOut.text('dns');
  eventsOut.map(1 + (odd ? 1 : 0) + (query.sent > 1 ? 1 : 0) + more);
  eventsOut.text('transport');
  eventsOut.text(query.isStream ? 'tcp' : 'udp');
  if (odd) {
    eventsOut.text('query_type');
    putTypeName(query.type);
    eventsOut.str(textAt, textLength);
  }
  if (query.sent > 1) {
    eventsOut.text('sent');
    eventsOut.uint(query.sent);
  }
}
