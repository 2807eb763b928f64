// Model Context Protocol over HTTP (JSON-RPC 2.0): a tools/call is told as agent.tool_call, its result as agent.tool_result; all else of the protocol is passed over.
import { Status } from '../../abi/module';
import { EventType } from '../../abi/events';
import {
  JsonEnd,
  jsonFirst,
  JsonKind,
  jsonKind,
  jsonLength,
  jsonMark,
  jsonNext,
  jsonParseDecoding,
  jsonRawLength,
  jsonRelease,
  jsonText,
} from '../../lib/json';
import { wideFlag } from '../../lib/json-text';
import { addCall, callAt, callCount, newAnswer, setScalar, setText, TEXT_LIMIT } from './answer';
import { bufAppend, bufAt, bufLength } from './buf';
import { counters } from './counters';
import { emit } from './emit';
import { bodyAt, bodyLength, dropBody, Exchange, isStream, Request } from './exchange';
import { FormatId } from './format';
import { hasLoss, openReasons, pairCommonMeta, pairExt, pairLimitations, reason } from './meta';
import { addPart, closeResult, openResult } from './messages';
import { find, findKind, given, isKind, isTrue, keyOfNode } from './nodes';
import { addText, close, item, key, literal, openArray, openMap, pairBool, pairBuf, pairLiteral, pairUint } from './out';
import { formatOf } from './formats';
import { key as keyFor } from './text';
import { pairCallId, pairTool, writeCallData } from './tool-call';

const JSONRPC: u64 = keyFor('jsonrpc');
const TWO: u64 = keyFor('2.0');
const METHOD: u64 = keyFor('method');
const TOOLS_CALL: u64 = keyFor('tools/call');
const PARAMS: u64 = keyFor('params');
const NAME: u64 = keyFor('name');
const ARGUMENTS: u64 = keyFor('arguments');
const RESULT: u64 = keyFor('result');
const ERROR: u64 = keyFor('error');
const CODE: u64 = keyFor('code');
const MESSAGE: u64 = keyFor('message');
const CONTENT: u64 = keyFor('content');
const STRUCTURED: u64 = keyFor('structuredContent');
const IS_ERROR: u64 = keyFor('isError');
const TEXT: u64 = keyFor('text');

/** Is this body a message of JSON-RPC that asks for something? */
export function isRpc(root: usize): bool {
  return keyOfNode(find(root, JSONRPC)) == TWO && isKind(find(root, METHOD), JsonKind.STRING);
}

/** Tells the call that a request makes, if it makes one. Status.FULL: to be called again. */
export function tellRpc(x: Exchange, root: usize): i32 {
  x.format = FormatId.MCP;
  if (isToolCall(root) && !x.asked) {
    takeCall(x, find(root, PARAMS));
    if (callCount(x.answer) && emit(x, EventType.TOOL_CALL, x.request.headTs, x.request.origin, 0, writeCallData, writeCallMeta) == Status.FULL)
      return Status.FULL;
    counters.toolCalls++;
    x.asked = true;
  }
  x.state = Request.RPC;
  return Status.DONE;
}

/** Is this a request of JSON-RPC for a tool? */
export function isToolCall(message: usize): bool {
  return keyOfNode(find(message, METHOD)) == TOOLS_CALL;
}

/** Is this what JSON-RPC answers a request with? */
export function isRpcAnswer(message: usize): bool {
  return keyOfNode(find(message, JSONRPC)) == TWO && (given(find(message, RESULT)) || given(find(message, ERROR)));
}

/** Puts a tool's name, a buffer, into the answer of an exchange that has none yet. */
export function takeCallName(x: Exchange, name: usize): void {
  const call = addCall(x.answer, 0, 0);
  if (!call) return;
  call.name = bufAppend(call.name, bufAt(name), bufLength(name), 1024);
  call.mcp = true;
}

/** The message that writeResultData() reads. */
export function answerRoot(message: usize): void {
  root = message;
}

export function writeRpcCall(x: Exchange, _index: u32): void {
  writeCallData(x, 0);
}

export function takeCall(x: Exchange, params: usize): void {
  if (!changetype<usize>(x.answer)) x.answer = newAnswer();
  const a = x.answer;
  if (callCount(a)) return;
  const call = addCall(a, 0, 0);
  if (!call) return;
  call.name = setText(call.name, find(params, NAME));
  if (bufLength(x.host)) call.server = bufAppend(call.server, bufAt(x.host), bufLength(x.host), 256);
  call.mcp = true;
  const args = find(params, ARGUMENTS);
  if (isKind(args, JsonKind.OBJECT)) call.args = bufAppend(call.args, jsonText(args), jsonRawLength(args), TEXT_LIMIT);
}

export function writeCallMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  const loss = hasLoss(x.request);
  pairCommonMeta(x, format, loss);
  openReasons();
  reason('mcp_call_observed');
  close();
  pairLimitations(x.answer.cut);
  pairExt(x, format, false);
}

/** One event of a streamed answer: the one that has the result is kept. */
export function keepRpc(x: Exchange, data: usize, length: u32): void {
  const mark = jsonMark();
  const answers = jsonParseDecoding(data, length, false) == JsonEnd.WHOLE && (given(find(mark, RESULT)) || given(find(mark, ERROR)));
  jsonRelease(mark);
  if (answers && !bodyLength(x.response)) x.response.body = bufAppend(x.response.body, data, length, TEXT_LIMIT);
}

let root: usize = 0;

/** Tells what came back for a call. Status.FULL: to be called again. */
export function settleRpc(x: Exchange): i32 {
  if (!x.asked || x.told || !changetype<usize>(x.answer) || !callCount(x.answer)) return Status.DONE;
  const mark = jsonMark();
  root = mark;
  x.jsonEnd = jsonParseDecoding(bodyAt(x.response), bodyLength(x.response), x.response.gaps > 0);
  const status = emit(
    x,
    EventType.TOOL_RESULT,
    x.response.endTs,
    x.response.origin ? x.response.origin : x.request.origin,
    1,
    writeResultData,
    writeResultMeta,
  );
  jsonRelease(mark);
  if (status == Status.FULL) return status;
  x.told = 1;
  counters.toolResults++;
  dropBody(x.response);
  return status;
}

export function writeResultData(x: Exchange, _index: u32): void {
  const call = callAt(x.answer, 0);
  pairTool(call);
  pairCallId('call_id', x, call, 0);
  const result = find(root, RESULT);
  const error = find(root, ERROR);
  const failed = given(error) || isTrue(find(result, IS_ERROR)) || x.status >= 400;
  if (given(result) || failed) pairBool('success', !failed);
  if (failed) writeError(x, error);
  openResult();
  addContent(result);
  closeResult();
  if (x.request.ended && x.response.endTs > x.request.endTs) pairUint('duration_ms', (x.response.endTs - x.request.endTs + 500000) / 1000000);
}

function writeError(x: Exchange, error: usize): void {
  key('error');
  openMap();
  const a = x.answer;
  pairLiteral('type', given(error) ? 'json_rpc_error' : x.status >= 400 ? 'http_error' : 'tool_error');
  a.errorMessage = setText(a.errorMessage, find(error, MESSAGE));
  a.errorCode = setScalar(a.errorCode, find(error, CODE));
  pairBuf('message', a.errorMessage);
  pairBuf('code', a.errorCode);
  close();
}

/** Text parts, joined; without any, the structured content as its JSON. */
function addContent(result: usize): void {
  const content = findKind(result, CONTENT, JsonKind.ARRAY);
  let texts = 0;
  if (content) {
    for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) {
      const text = find(part, TEXT);
      if (!isKind(text, JsonKind.STRING)) continue;
      addPart(text);
      texts++;
    }
  }
  const structured = find(result, STRUCTURED);
  if (texts == 0 && given(structured) && jsonKind(structured) >= JsonKind.ARRAY && jsonLength(structured)) {
    addText(jsonText(structured), jsonRawLength(structured), wideFlag(jsonText(structured), jsonRawLength(structured)));
  }
}

export function writeResultMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  const loss = hasLoss(x.response) || x.jsonEnd != JsonEnd.WHOLE;
  pairCommonMeta(x, format, loss);
  openReasons();
  reason(isStream(x.response.mode) ? 'streaming_reassembled' : 'tool_result_captured');
  close();
  if (loss) {
    key('missing');
    openArray();
    if (item()) literal(x.response.seen ? 'response_body_bytes' : 'response');
    close();
  }
  pairLimitations(false);
  pairExt(x, format, true);
}
