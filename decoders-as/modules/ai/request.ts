// The end of a request: is it one to a model, and if so ai.request. What it is not is remembered, so that its response is left alone.
import { Status } from '../../abi/module';
import { EventType } from '../../abi/events';
import { RecHeader } from '../../abi/records';
import { hexDigit } from '../../lib/http1';
import { JsonEnd, jsonDeep, jsonKind, JsonKind, jsonMark, jsonParseDecoding, jsonRelease } from '../../lib/json';
import { bufAppend, bufAt, bufLength, bufUnlessBridged } from './buf';
import { counters } from './counters';
import { emit } from './emit';
import { bodyAt, bodyLength, dropBody, Exchange, Mode, Request } from './exchange';
import { FormatId } from './format';
import { formatOf, formatOfRequest } from './formats';
import { isRpc, tellRpc } from './mcp';
import { hasLoss, openReasons, pairAuth, pairCommonMeta, pairExt, pairLimitations, reason, reasonsOf } from './meta';
import { find } from './nodes';
import { close, hexText, item, key, literal, openArray, pairBool, pairLiteral, pairUint } from './out';
import { inferProvider, pairModel, pairProvider } from './provider';
import { tellResults } from './tool-result';
import { hashEnd, hashStart, indexOf, key as keyFor } from './text';
import { NAME_LIMIT, setText } from './answer';

const MODEL: u64 = keyFor('model');

/** Root of the tape of the request at hand, how its parse ended, and whether values lay too deep. */
let root: usize = 0;
let end: u32 = JsonEnd.WHOLE;
let deep: bool = false;

/** The model that is named in the path: Azure's deployments/{model}/, Vertex's models/{model}:, Bedrock's model/{model}/. */
function modelOfPath(x: Exchange): void {
  const at = bufAt(x.path);
  const length = bufLength(x.path);
  if (!length) return;
  let from = indexOf(at, length, '/deployments/');
  let colons = false;
  if (from >= 0) from += 13;
  else {
    from = indexOf(at, length, '/models/');
    if (from >= 0) from += 8;
    else {
      from = indexOf(at, length, '/model/');
      if (from < 0) return;
      from += 7;
      colons = true;
    }
  }
  let to = from;
  while (to < <i32>length && load<u8>(at + to) != 0x2f && (colons || load<u8>(at + to) != 0x3a)) to++;
  x.requestModel = appendUnescaped(x.requestModel, at + from, to - from);
}

/** A piece of a path with its %XX undone (RFC 3986 section 2.1): Bedrock's models may be whole ARNs. */
function appendUnescaped(buf: usize, at: usize, length: u32): usize {
  for (let i: u32 = 0; i < length; i++) {
    store<u8>(oneByte, load<u8>(at + i));
    if (load<u8>(at + i) == 0x25 && i + 2 < length) {
      const high = hexDigit(load<u8>(at + i + 1));
      const low = hexDigit(load<u8>(at + i + 2));
      if (high < 16 && low < 16) {
        store<u8>(oneByte, <u8>((high << 4) | low));
        i += 2;
      }
    }
    buf = bufAppend(buf, oneByte, 1, NAME_LIMIT);
  }
  return buf;
}
const oneByte: usize = memory.data(1);

function conversationOf(x: Exchange): u64 {
  let seed: u64 = 0;
  if (bufLength(x.request.origin) >= RecHeader.SIZE) {
    const header = bufAt(x.request.origin);
    seed = <u64>RecHeader.tgid(header) * 0x9e3779b97f4a7c15 + RecHeader.start_ns(header);
  }
  hashStart(seed);
  formatOf(x.format).hashConversation(root);
  return hashEnd();
}

function writeData(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  key('request_id');
  hexText('req_', x.key);
  key('conversation_id');
  hexText('conv_', x.conversation);
  pairProvider(x);
  pairModel(bufAt(x.requestModel), bufLength(x.requestModel));
  pairLiteral('request_type', format.requestType(x));
  pairBool('streaming', x.streaming);
  format.writeRequest(root);
}

function writeMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  const loss = hasLoss(x.request);
  pairCommonMeta(x, format, loss || x.request.unknownFields || end != JsonEnd.WHOLE);
  openReasons();
  reason('payload_parsed');
  if (x.inferred) reason('provider_inferred_from_model');
  if (deep) reason('request_too_deep');
  reasonsOf(x.request, true, end);
  close();
  writeMissing(x, loss);
  pairLimitations(false);
  pairAuth(x);
  pairExt(x, format, false);
}

function writeMissing(x: Exchange, loss: bool): void {
  if (!loss && !x.request.unknownFields) return;
  key('missing');
  openArray();
  if (x.request.unknownFields && item()) literal('request_headers');
  if (loss && item()) literal('request_body_bytes');
  close();
  if (loss && x.request.missing) pairUint('missing_bytes', x.request.missing);
}

/** Parses the body and tells the request if it is one. Status.FULL: to be called again, nothing has changed. */
export function settleRequest(x: Exchange): i32 {
  if (x.state != Request.CANDIDATE) return Status.DONE;
  const side = x.request;
  const mark = jsonMark();
  root = mark;
  end = jsonParseDecoding(bodyAt(side), bodyLength(side), side.gaps > 0);
  deep = jsonDeep > 0;
  const bare = side.mode != Mode.JSON || jsonKind(root) != JsonKind.OBJECT;
  const broken = hasLoss(side) || (end != JsonEnd.WHOLE && !bare);
  if (!bare && isRpc(root)) {
    const told = tellRpc(x, root);
    jsonRelease(mark);
    if (told == Status.FULL) return told;
    dropBody(side);
    return told;
  }
  x.format = bare && !broken ? FormatId.NONE : formatOfRequest(x, root, broken);
  let status = Status.DONE;
  if (x.format == FormatId.NONE) {
    x.state = Request.OTHER;
    counters.otherRequests++;
  } else status = tell(x);
  jsonRelease(mark);
  if (status == Status.FULL) return status;
  dropBody(side);
  return status;
}

function tell(x: Exchange): i32 {
  if (!x.asked) {
    const status = tellRequest(x);
    if (status == Status.FULL) return status;
    x.asked = true;
  }
  const status = tellResults(x, root);
  if (status == Status.DONE) x.state = Request.TOLD;
  return status;
}

function tellRequest(x: Exchange): i32 {
  const model = find(root, MODEL);
  x.requestModel = bufUnlessBridged(setText(x.requestModel, model), x.request.gaps);
  if (!bufLength(x.requestModel)) modelOfPath(x);
  x.streaming = formatOf(x.format).asksForStream(x, root);
  if (bufLength(x.requestModel)) inferProvider(x, formatOf(x.format), bufAt(x.requestModel), bufLength(x.requestModel));
  x.conversation = conversationOf(x);
  const status = emit(x, EventType.AI_REQUEST, x.request.headTs, x.request.origin, 0, writeData, writeMeta);
  if (status == Status.FULL) return status;
  counters.requests++;
  if (deep) counters.deepValues++;
  if (end != JsonEnd.WHOLE) counters.badJson++;
  return status;
}
