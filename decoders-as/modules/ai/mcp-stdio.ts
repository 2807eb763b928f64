// Model Context Protocol over standard input and output: lines of JSON-RPC through two pipes. Calls of tools and their results are told of the process that asks.
//
// A pipe carries one direction, and nothing says which two belong together. A response is for the one open request of its id; when that was so once, the
// two pipes are known to be a pair, and from then on only its requests are looked at. While several requests have the id, none is answered: that is counted.
import { giving } from '../../abi/handover';
import { recordsOut, Status } from '../../abi/module';
import { EventType } from '../../abi/events';
import { Reader } from '../../abi/reader';
import { RecHeader, TlsData } from '../../abi/records';
import { findByte, hash64, hashBytes } from '../../lib/bytes';
import { JsonEnd, JsonKind, jsonKind, jsonLength, jsonMark, jsonParseDecoding, jsonRelease, jsonText } from '../../lib/json';
import { Entry, Table } from '../../lib/table';
import { Answer, callAt, freeAnswer, newAnswer } from './answer';
import { bufAppend, bufAt, bufFailed, bufFree, bufLength, bufSet, bufSetLength } from './buf';
import { counters } from './counters';
import { emit } from './emit';
import { Exchange, makeExchange, Request } from './exchange';
import { FormatId } from './format';
import { Tag } from './handed';
import { answerRoot, isRpc, isRpcAnswer, isToolCall, takeCall, takeCallName, writeCallMeta, writeResultData, writeResultMeta, writeRpcCall } from './mcp';
import { find, isKind } from './nodes';
import { key as keyFor } from './text';

const ID: u64 = keyFor('id');
const PARAMS: u64 = keyFor('params');
/** Longest line that is kept. */
const LINE_LIMIT: u32 = 4 << 20;
const PIPES: u32 = 4096;
const PENDING: u32 = 1024;
/** Open requests that a response is compared with. */
const COMPARED: u32 = 256;

@unmanaged
class Pipe extends Entry {
  /** Offset of the next byte. */
  next: u64 = 0;
  /** A line that is not over. */
  line: usize = 0;
  /** Up to the next line end bytes are passed over. */
  torn: bool = false;
  /** Messages that were told, which numbers them. */
  told: u32 = 0;
  /** Of a pipe of responses: that of their requests; 0: not known. */
  asks: u64 = 0;
}

/** A request that has no response yet. */
@unmanaged
class Pending extends Entry {
  id: u64 = 0;
  pipe: u64 = 0;
  ts: u64 = 0;
  /** Of a tools/call: what names the call in its events, the process and the tool; 0: another method. */
  call: u64 = 0;
  origin: usize = 0;
  name: usize = 0;
}

let pipes: Table = changetype<Table>(0);
let pending: Table = changetype<Table>(0);
let sequence: u64 = 0;
/** Stands for the exchange that these events have none of. */
let carrier: Exchange = changetype<Exchange>(0);

export function initStdio(): void {
  pipes = new Table(PIPES);
  pending = new Table(PENDING);
  carrier = makeExchange();
  carrier.format = FormatId.MCP;
  carrier.state = Request.CANDIDATE;
  carrier.request.seen = true;
  carrier.request.ended = true;
  carrier.response.seen = true;
}

function pipeOf(key: u64): Pipe {
  const found = pipes.find(key);
  if (found) {
    pipes.touch(found);
    return changetype<Pipe>(found);
  }
  if (pipes.count >= pipes.limit) {
    dropPipe(changetype<Pipe>(pipes.oldest));
  }
  const pipe = new Pipe();
  pipe.key = key;
  pipes.insert(changetype<usize>(pipe));
  return pipe;
}

function dropPipe(pipe: Pipe): void {
  pipes.remove(changetype<usize>(pipe));
  bufFree(pipe.line);
  heap.free(changetype<usize>(pipe));
}

/** One pipe.data record. Status.FULL: to be called again with the same one. */
export function takePipe(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed || Reader.length < TlsData.SIZE || TlsData.len(record) > Reader.length - TlsData.SIZE) {
    if (!giving) counters.malformed++;
    return Status.DONE;
  }
  const length = TlsData.len(record);
  const offset = TlsData.offset(record);
  if (giving) return Status.DONE;
  const pipe = pipeOf(hash64(RecHeader.tgid(record), TlsData.ssl(record), TlsData.generation(record)));
  if (offset > pipe.next) {
    // Bytes before it are missing, or it was joined in its middle: what is up to the next line end is no whole message.
    pipe.torn = pipe.next > 0;
    bufSetLength(pipe.line, 0);
    pipe.next = offset;
  }
  const from = record + TlsData.SIZE;
  const stop = from + length;
  while (pipe.next < offset + length) {
    const here = from + <usize>(pipe.next - offset);
    const feed = findByte(here, stop, 10);
    if (feed == stop) {
      keepLine(pipe, here, <u32>(stop - here));
      pipe.next = offset + length;
      return Status.DONE;
    }
    if (!pipe.torn && takeLine(pipe, record, here, <u32>(feed - here)) == Status.FULL) return Status.FULL;
    pipe.torn = false;
    bufSetLength(pipe.line, 0);
    pipe.next += feed + 1 - here;
  }
  return Status.DONE;
}

function keepLine(pipe: Pipe, at: usize, length: u32): void {
  if (pipe.torn) return;
  pipe.line = bufAppend(pipe.line, at, length, LINE_LIMIT);
  if (!bufFailed) return;
  counters.capped++;
  pipe.torn = true;
  bufSetLength(pipe.line, 0);
}

/** A whole line. Status.FULL: nothing has changed. */
function takeLine(pipe: Pipe, record: usize, at: usize, length: u32): i32 {
  const before = bufLength(pipe.line);
  let from = at;
  let bytes = length;
  if (before) {
    pipe.line = bufAppend(pipe.line, at, length, LINE_LIMIT);
    if (bufFailed) return Status.DONE;
    from = bufAt(pipe.line);
    bytes = before + length;
  }
  const mark = jsonMark();
  let status = Status.DONE;
  if (jsonParseDecoding(from, bytes, false) == JsonEnd.WHOLE && jsonKind(mark) == JsonKind.OBJECT) status = takeMessage(pipe, record, mark);
  jsonRelease(mark);
  if (status == Status.FULL && before) bufSetLength(pipe.line, before);
  return status;
}

function idOf(message: usize): u64 {
  const id = find(message, ID);
  if (!isKind(id, JsonKind.STRING) && !isKind(id, JsonKind.NUMBER)) return 0;
  return (hashBytes(jsonText(id), jsonLength(id)) + jsonKind(id)) | 1;
}

function takeMessage(pipe: Pipe, record: usize, message: usize): i32 {
  const id = idOf(message);
  if (!id) return Status.DONE;
  if (isRpc(message)) return takeRequest(pipe, record, message, id);
  return isRpcAnswer(message) ? takeResponse(pipe, record, message, id) : Status.DONE;
}

function begin(pipe: Pipe, ts: u64, callKey: u64): void {
  carrier.conn = pipe.key;
  carrier.stream = pipe.told;
  carrier.key = callKey;
  carrier.lastTs = ts;
  carrier.answer = newAnswer();
}

function finish(): void {
  freeAnswer(carrier.answer);
  carrier.answer = changetype<Answer>(0);
}

function takeRequest(pipe: Pipe, record: usize, message: usize, id: u64): i32 {
  const ts = RecHeader.ts_ns(record);
  const isCall = isToolCall(message);
  const callKey = hash64(pipe.key, sequence + 1, 4);
  let name: usize = 0;
  if (isCall) {
    begin(pipe, ts, callKey);
    takeCall(carrier, find(message, PARAMS));
    carrier.request.origin = bufSet(carrier.request.origin, record, TlsData.SIZE, 4096);
    const status = emit(carrier, EventType.TOOL_CALL, ts, carrier.request.origin, 0, writeRpcCall, writeCallMeta);
    if (status != Status.FULL) name = bufSet(0, bufAt(callAt(carrier.answer, 0).name), bufLength(callAt(carrier.answer, 0).name), 1024);
    finish();
    if (status == Status.FULL) return status;
    pipe.told++;
    counters.toolCalls++;
  }
  sequence++;
  remember(pipe, record, id, ts, isCall ? callKey : 0, name);
  return Status.DONE;
}

function remember(pipe: Pipe, record: usize, id: u64, ts: u64, call: u64, name: usize): void {
  if (pending.count >= pending.limit) forget(changetype<Pending>(pending.oldest));
  const entry = new Pending();
  entry.key = sequence;
  entry.id = id;
  entry.pipe = pipe.key;
  entry.ts = ts;
  entry.call = call;
  entry.name = name;
  if (call) entry.origin = bufSet(0, record, TlsData.SIZE, 4096);
  pending.insert(changetype<usize>(entry));
}

function forget(entry: Pending): void {
  pending.remove(changetype<usize>(entry));
  bufFree(entry.origin);
  bufFree(entry.name);
  heap.free(changetype<usize>(entry));
}

/** The open request that a response is for, or 0: none, or more than one may be. */
function requestOf(pipe: Pipe, id: u64): usize {
  let match: usize = 0;
  let looked: u32 = 0;
  for (let at = pending.newest; at && looked < COMPARED; at = changetype<Entry>(at).older) {
    looked++;
    const entry = changetype<Pending>(at);
    if (entry.id != id || entry.pipe == pipe.key || (pipe.asks && entry.pipe != pipe.asks)) continue;
    if (match) {
      counters.rpcAmbiguous++;
      return 0;
    }
    match = at;
  }
  return match;
}

function takeResponse(pipe: Pipe, record: usize, message: usize, id: u64): i32 {
  const found = requestOf(pipe, id);
  if (!found) return Status.DONE;
  const asked = changetype<Pending>(found);
  if (asked.call) {
    const ts = RecHeader.ts_ns(record);
    begin(pipe, ts, asked.call);
    takeCallName(carrier, asked.name);
    carrier.request.endTs = asked.ts;
    carrier.response.endTs = ts;
    answerRoot(message);
    const status = emit(carrier, EventType.TOOL_RESULT, ts, asked.origin, 1, writeResultData, writeResultMeta);
    finish();
    if (status == Status.FULL) return status;
    pipe.told++;
    counters.toolResults++;
  }
  pipe.asks = asked.pipe;
  forget(asked);
  return Status.DONE;
}

/** Bytes of a line that one record hands over. */
const LINE_PIECE: u32 = 64 << 10;
/** Bytes of the line of the pipe at hand that are given. */
let lineGiven: u32 = 0;
let headGiven: bool = false;

/** False: no room in the lane; call again. */
export function giveStdio(): bool {
  for (let at = pipes.oldest; at; at = pipes.oldest) {
    const pipe = changetype<Pipe>(at);
    if (!givePipe(pipe)) return false;
    headGiven = false;
    lineGiven = 0;
    dropPipe(pipe);
  }
  for (let at = pending.oldest; at; at = pending.oldest) {
    if (!givePending(changetype<Pending>(at))) return false;
    forget(changetype<Pending>(at));
  }
  return true;
}

function givePipe(pipe: Pipe): bool {
  const out = recordsOut;
  if (!headGiven) {
    const mark = out.begin();
    out.array(6);
    out.uint(Tag.PIPE);
    out.uint(pipe.key);
    out.uint(pipe.next);
    out.boolean(pipe.torn);
    out.uint(pipe.told);
    out.uint(pipe.asks);
    if (!out.commit(mark)) return false;
    headGiven = true;
  }
  while (lineGiven < bufLength(pipe.line)) {
    const piece = min(LINE_PIECE, bufLength(pipe.line) - lineGiven);
    const mark = out.begin();
    out.array(3);
    out.uint(Tag.LINE);
    out.uint(pipe.key);
    out.bin(bufAt(pipe.line) + lineGiven, piece);
    if (!out.commit(mark)) return false;
    lineGiven += piece;
  }
  return true;
}

function givePending(entry: Pending): bool {
  const out = recordsOut;
  const mark = out.begin();
  out.array(8);
  out.uint(Tag.PENDING);
  out.uint(entry.key);
  out.uint(entry.id);
  out.uint(entry.pipe);
  out.uint(entry.ts);
  out.uint(entry.call);
  out.bin(bufAt(entry.origin), bufLength(entry.origin));
  out.bin(bufAt(entry.name), bufLength(entry.name));
  return out.commit(mark);
}

/** The elements that the reader is at, of a record of this tag. */
export function takeStdio(tag: u32): void {
  if (tag == Tag.PIPE) {
    const pipe = pipeOf(Reader.uint());
    pipe.next = Reader.uint();
    pipe.torn = Reader.boolean();
    pipe.told = <u32>Reader.uint();
    pipe.asks = Reader.uint();
  } else if (tag == Tag.LINE) {
    const pipe = pipeOf(Reader.uint());
    const at = Reader.bin();
    if (!Reader.failed) keepLine(pipe, at, Reader.length);
  } else if (tag == Tag.PENDING) takePending();
}

function takePending(): void {
  const entry = new Pending();
  entry.key = Reader.uint();
  entry.id = Reader.uint();
  entry.pipe = Reader.uint();
  entry.ts = Reader.uint();
  entry.call = Reader.uint();
  const origin = Reader.bin();
  entry.origin = bufSet(0, origin, Reader.length, 4096);
  const name = Reader.bin();
  entry.name = bufSet(0, name, Reader.length, 1024);
  if (Reader.failed || pending.find(entry.key) || !pending.insert(changetype<usize>(entry))) {
    bufFree(entry.origin);
    bufFree(entry.name);
    heap.free(changetype<usize>(entry));
    Reader.fail();
    return;
  }
  sequence = max(sequence, entry.key);
}
