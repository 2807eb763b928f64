// Hands open queries and half-read streams over to the instance that takes this one's place.
import { defineHandover, Handed } from '../../abi/handover';
import { recordsOut, Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { Queries, Query } from './queries';
import { Stream, Streams } from './streams';

const QUERY: u32 = Handed.OWN;
const STREAM: u32 = Handed.OWN + 1;

/** Status.FULL: to be called again. */
function give(whole: bool, _again: bool): i32 {
  if (!whole) return Status.BAD;
  for (let at = Queries.oldest(); at; at = Queries.oldest()) {
    const mark = recordsOut.begin();
    writeQuery(changetype<Query>(at));
    if (!recordsOut.commit(mark)) return Status.FULL;
    Queries.remove(at);
  }
  for (let at = Streams.oldest(); at; at = Streams.oldest()) {
    const stream = changetype<Stream>(at);
    const mark = recordsOut.begin();
    recordsOut.array(4);
    recordsOut.uint(STREAM);
    recordsOut.uint(stream.key);
    recordsOut.uint(stream.lastNs);
    recordsOut.bin(stream.bytes.ptr, stream.bytes.length);
    if (!recordsOut.commit(mark)) return Status.FULL;
    Streams.drop(at);
  }
  return Status.DONE;
}

function writeQuery(query: Query): void {
  const out = recordsOut;
  out.array(8);
  out.uint(QUERY);
  out.uint(query.key);
  out.uint(query.type);
  out.uint(query.sent);
  out.boolean(query.isStream);
  out.bin(query.name, query.nameLength);
  out.bin(query.header, Query.HEADER);
  out.bin(query.peer, Query.PEER);
}

function take(tag: u32, at: usize, end: usize): i32 {
  Reader.open(at, end);
  if (tag == QUERY) takeQuery();
  else if (tag == STREAM) takeStream();
  return Reader.failed ? Status.BAD : Status.DONE;
}

function takeQuery(): void {
  const key = Reader.uint();
  const type = <u32>Reader.uint();
  const sent = <u32>Reader.uint();
  const isStream = Reader.boolean();
  const name = Reader.bin();
  const nameLength = Reader.length;
  const header = Reader.bin();
  const headerFits = Reader.length == Query.HEADER;
  const peer = Reader.bin();
  if (Reader.failed || !headerFits || Reader.length != Query.PEER || !Queries.hasRoomFor(key)) {
    Reader.fail();
    return;
  }
  const query = Queries.add(key, header, peer, name, nameLength);
  query.type = type;
  query.sent = sent;
  query.isStream = isStream;
}

function takeStream(): void {
  const key = Reader.uint();
  const lastNs = Reader.uint();
  const bytes = Reader.bin();
  if (!Reader.failed && !Streams.take(key, lastNs, bytes, Reader.length)) Reader.fail();
}

function held(): u32 {
  return Queries.count() + Streams.count();
}

export function initHandover(): void {
  defineHandover(1, 0, give, take, held);
}
