// One server-sent event of a response on its way into the answer; it never keeps a node and never fails on what it does not know.
import { base64Decode } from '../../lib/base64';
import { EVENT_LIMIT, eventFailed } from '../../lib/eventstream';
import { JsonEnd, JsonKind, jsonLength, jsonMark, jsonParse, jsonRelease, jsonText } from '../../lib/json';
import { keyOf } from '../../lib/json-key';
import { NAME_LIMIT, newAnswer, setText } from './answer';
import { bufSet } from './buf';
import { counters } from './counters';
import { learn, takeDelta } from './delta';
import { Exchange, Mode, Request } from './exchange';
import { FormatId, StreamEvent } from './format';
import { formatOf, formatOfResponse } from './formats';
import { keepRpc } from './mcp';
import { find, findKind, isKind } from './nodes';
import { isText, key as keyFor } from './text';

const OBFUSCATION: u64 = keyFor('obfuscation');
/** The same in Bedrock's streams. */
const PAD: u64 = keyFor('p');
const MESSAGE: u64 = keyFor('message');
const CHUNK: u64 = keyFor('chunk');
const BYTES: u64 = keyFor('bytes');

function fromLostRequest(x: Exchange, root: usize): bool {
  if (x.format != FormatId.NONE) return true;
  x.format = formatOfResponse(root);
  return x.format != FormatId.NONE;
}

/** The sink of lib/sse.ts. @param owner address of the Exchange. */
export function onStreamEvent(owner: usize, data: usize, length: u32, name: usize, nameLength: u32): void {
  const x = changetype<Exchange>(owner);
  counters.streamEvents++;
  if (x.response.mode != Mode.EVENTS) {
    StreamEvent.name = 0;
    takeEvent(x, data, length);
    return;
  }
  StreamEvent.name = keyOf(name, nameLength);
  if (eventFailed) takeException(x, data, length, name, nameLength);
  else if (StreamEvent.name == CHUNK) takeChunk(x, data, length);
  else takeEvent(x, data, length);
}

/** The stream ends with an exception, whose name is its type. */
function takeException(x: Exchange, data: usize, length: u32, name: usize, nameLength: u32): void {
  if (!changetype<usize>(x.answer)) x.answer = newAnswer();
  const a = x.answer;
  a.failed = true;
  a.errorType = bufSet(a.errorType, name, nameLength, NAME_LIMIT);
  const mark = jsonMark();
  if (jsonParse(data, length, false) == JsonEnd.WHOLE) a.errorMessage = setText(a.errorMessage, find(mark, MESSAGE));
  jsonRelease(mark);
}

/** An event that wraps one of the vendor's own in base64 (Bedrock's invoke): its payload is read in its place. */
function takeChunk(x: Exchange, data: usize, length: u32): void {
  const mark = jsonMark();
  let inner = -1;
  if (jsonParse(data, length, false) == JsonEnd.WHOLE) {
    const bytes = findKind(mark, BYTES, JsonKind.STRING);
    if (bytes) {
      if (chunkArea == 0) chunkArea = heap.alloc(EVENT_LIMIT);
      inner = base64Decode(jsonText(bytes), jsonLength(bytes), chunkArea);
    }
  }
  jsonRelease(mark);
  StreamEvent.name = 0;
  if (inner >= 0) takeEvent(x, chunkArea, inner);
  else {
    counters.badEvents++;
    x.badEvents++;
  }
}
let chunkArea: usize = 0;

function takeEvent(x: Exchange, data: usize, length: u32): void {
  if (x.state == Request.RPC) {
    keepRpc(x, data, length);
    return;
  }
  if (x.templateName == StreamEvent.name && takeDelta(x, data, length)) return;
  x.holeEnd = 0;
  x.templateName = StreamEvent.name;
  if (!length) return;
  if (!changetype<usize>(x.answer)) x.answer = newAnswer();
  if (isText(data, length, '[done]')) {
    x.answer.done = true;
    return;
  }
  const root = jsonMark();
  const end = jsonParse(data, length, false);
  if (end != JsonEnd.WHOLE || !isKind(root, JsonKind.OBJECT)) {
    counters.badEvents++;
    if (x.format != FormatId.NONE) x.badEvents++;
  } else if (fromLostRequest(x, root)) {
    const hole = formatOf(x.format).readEvent(x, root);
    const pad = find(root, OBFUSCATION);
    if (hole) learn(x, data, length, hole, pad ? pad : find(root, PAD));
  }
  jsonRelease(root);
}
