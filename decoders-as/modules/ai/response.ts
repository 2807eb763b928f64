// The end of a response: its body becomes an answer, the answer ai.response and one agent.tool_call per call. Told in order, and none twice.
import { Status } from '../../abi/module';
import { EventType } from '../../abi/events';
import { Completeness } from '../../abi/records';
import { JsonEnd, jsonMark, jsonParse, jsonRelease } from '../../lib/json';
import { sseEnd } from '../../lib/sse';
import { Answer, callAt, callCount, Choice, choiceAt, choiceCount, knowsTokens, newAnswer, NAME_LIMIT, Token, tokensOf } from './answer';
import { bufAppend, bufAppendLiteral, bufAt, bufLength, bufUnlessBridged } from './buf';
import { counters } from './counters';
import { emit } from './emit';
import { bodyAt, bodyLength, dropBody, Exchange, isStream, Mode, Request } from './exchange';
import { FormatId } from './format';
import { formatOf, formatOfResponse } from './formats';
import { hasLoss, openReasons, pairCommonMeta, pairExt, pairLimitations, reason, reasonsOf } from './meta';
import { bytesText, close, hexText, item, key, literal, number, openArray, openMap, pairBool, pairBuf, pairLiteral, pairUint } from './out';
import { pairArguments } from './arguments';
import { inferProvider, pairModel, pairProvider } from './provider';
import { onStreamEvent } from './stream';
import { keyOf } from '../../lib/json-key';
import { pairCallId, writeCallData, writeCallMeta } from './tool-call';

const PAGE_KEPT: u32 = 1024;
const MILLI: u64 = 1000000;

function answerOf(x: Exchange): Answer {
  if (!changetype<usize>(x.answer)) x.answer = newAnswer();
  return x.answer;
}

function readJsonBody(x: Exchange): void {
  const side = x.response;
  const mark = jsonMark();
  x.jsonEnd = jsonParse(bodyAt(side), bodyLength(side), side.gaps > 0);
  if (x.jsonEnd != JsonEnd.WHOLE) counters.badJson++;
  if (x.format == FormatId.NONE) x.format = formatOfResponse(mark);
  if (x.format != FormatId.NONE) formatOf(x.format).readJson(x, mark);
  jsonRelease(mark);
}

/** Fills the answer from what is left of the body; a second call does nothing. */
function readBody(x: Exchange): void {
  if (x.parsed) return;
  x.parsed = true;
  const a = answerOf(x);
  const side = x.response;
  if (isStream(side.mode)) {
    if (changetype<usize>(x.events)) {
      counters.longEvents += x.events.dropped;
      if (x.events.dropped) a.cut = true;
    }
    if (changetype<usize>(x.sse)) {
      sseEnd(x.sse, changetype<usize>(x), onStreamEvent);
      counters.longEvents += x.sse.dropped;
      if (x.sse.dropped) a.cut = true;
    }
  } else if (side.mode == Mode.JSON) readJsonBody(x);
  else if (bodyLength(side) && x.status >= 400) {
    a.errorMessage = bufAppend(a.errorMessage, bodyAt(side), min(bodyLength(side), PAGE_KEPT), PAGE_KEPT);
  }
  // A client that has read the stream's own end may leave before the framing's.
  if (isStream(side.mode) && side.completeness == Completeness.ABORTED && a.done && side.gaps == 0) side.completeness = Completeness.FULL;
  dropBody(side);
  a.model = bufUnlessBridged(a.model, side.gaps);
  a.id = bufUnlessBridged(a.id, side.gaps);
  counters.unknownTypes += a.unknown;
  if (x.format == FormatId.NONE) return;
  settleOutcome(x, a);
  inferProvider(x, formatOf(x.format), bufAt(a.model), bufLength(a.model));
}

/** The stream, or the body, went on to its own end. */
function isComplete(x: Exchange, a: Answer): bool {
  return a.failed || x.status >= 400 || formatOf(x.format).isDone(x);
}

function settleOutcome(x: Exchange, a: Answer): void {
  if (!x.response.seen && !a.failed) setFailure(a, 'response_not_seen', 'the connection ended, or the capture did, before a response was seen');
  else if (x.status >= 400) {
    a.failed = true;
    if (!bufLength(a.errorType)) a.errorType = bufAppendLiteral(a.errorType, 'http_error', NAME_LIMIT);
  } else if (x.response.completeness == Completeness.ABORTED && !isComplete(x, a)) {
    setFailure(a, 'response_cut_off', 'the connection ended before the response did');
  }
}

function setFailure(a: Answer, type: string, message: string): void {
  a.failed = true;
  a.errorType = bufAppendLiteral(a.errorType, type, NAME_LIMIT);
  a.errorMessage = bufAppendLiteral(a.errorMessage, message, NAME_LIMIT);
}

function isPartial(x: Exchange): bool {
  return (
    hasLoss(x.response) ||
    x.response.unknownFields ||
    x.answer.cut ||
    x.badEvents > 0 ||
    x.jsonEnd != JsonEnd.WHOLE ||
    x.state == Request.LOST ||
    !isComplete(x, x.answer)
  );
}

function finishOf(x: Exchange, choice: Choice): string {
  return formatOf(x.format).finishReason(keyOf(bufAt(choice.finish), bufLength(choice.finish)), callCount(x.answer) > 0);
}

function writeChoice(x: Exchange, choice: Choice): void {
  openMap();
  pairUint('index', choice.index);
  key('message');
  openMap();
  pairLiteral('role', 'assistant');
  key('content');
  const length = bytesText(bufAt(choice.text), bufLength(choice.text));
  pairUint('content_length', length);
  pairBuf('reasoning', choice.reasoning);
  pairBuf('refusal', choice.refusal);
  close();
  if (bufLength(choice.finish)) {
    pairLiteral('finish_reason', finishOf(x, choice));
    pairBuf('raw_finish_reason', choice.finish);
  }
  close();
}

function writeCalls(x: Exchange): void {
  const a = x.answer;
  const n = callCount(a);
  if (n) {
    key('tool_calls');
    openArray();
    for (let i: u32 = 0; i < n; i++) {
      if (!item()) break;
      const call = callAt(a, i);
      openMap();
      pairCallId('id', x, call, i);
      pairBuf('name', call.name);
      if (!pairBuf('type', call.type)) pairLiteral('type', 'function');
      pairArguments(bufAt(call.args), bufLength(call.args));
      close();
    }
    close();
  }
  pairUint('tool_calls_count', n);
}

function pairTokens(a: Answer, name: string, which: u32): void {
  if (!knowsTokens(a, which)) return;
  const value = tokensOf(a, which);
  key(name);
  number(value, <i64>value, value == Math.trunc(value) && Math.abs(value) < 4294967296.0);
}

function writeUsage(a: Answer): void {
  if (!a.tokensKnown) return;
  key('usage');
  openMap();
  pairTokens(a, 'prompt_tokens', Token.PROMPT);
  pairTokens(a, 'completion_tokens', Token.COMPLETION);
  pairTokens(a, 'total_tokens', Token.TOTAL);
  pairTokens(a, 'cached_tokens', Token.CACHED);
  pairTokens(a, 'reasoning_tokens', Token.REASONING);
  pairTokens(a, 'input_tokens', Token.INPUT);
  pairTokens(a, 'cache_creation_input_tokens', Token.CACHE_CREATION);
  pairTokens(a, 'cache_read_input_tokens', Token.CACHE_READ);
  pairTokens(a, 'cache_write_tokens', Token.CACHE_WRITE);
  close();
}

function writeError(a: Answer): void {
  if (!a.failed) return;
  key('error');
  openMap();
  pairBuf('type', a.errorType);
  pairBuf('message', a.errorMessage);
  pairBuf('code', a.errorCode);
  close();
}

/** Whole milliseconds from one time to another, rounded; 0 when they are the other way round. */
function milliseconds(from: u64, to: u64): u64 {
  return to > from ? (to - from + MILLI / 2) / MILLI : 0;
}

function writeTimes(x: Exchange): void {
  if (!x.request.ended || x.state == Request.LOST) return;
  pairUint('latency_ms', milliseconds(x.request.endTs, x.response.endTs));
  if (x.firstTokenTs) pairUint('time_to_first_token_ms', milliseconds(x.request.endTs, x.firstTokenTs));
}

function writeChoices(x: Exchange): void {
  const a = x.answer;
  if (choiceCount(a)) {
    key('choices');
    openArray();
    for (let i: u32 = 0; i < choiceCount(a); i++) if (item()) writeChoice(x, choiceAt(a, i));
    close();
  }
}

function writeFinish(x: Exchange): void {
  const a = x.answer;
  const first = choiceCount(a) ? choiceAt(a, 0) : null;
  if (first && bufLength(first.finish)) {
    pairLiteral('finish_reason', finishOf(x, first));
    pairBuf('raw_finish_reason', first.finish);
  } else if (a.failed) pairLiteral('finish_reason', 'error');
}

function writeData(x: Exchange, _index: u32): void {
  const a = x.answer;
  key('request_id');
  hexText('req_', x.key);
  if (x.state != Request.LOST) {
    key('conversation_id');
    hexText('conv_', x.conversation);
  }
  if (!pairBuf('provider_request_id', a.id)) pairBuf('provider_request_id', x.headerRequestId);
  pairProvider(x);
  const model = bufLength(a.model) ? a.model : x.requestModel;
  pairModel(bufAt(model), bufLength(model));
  if (x.status) pairUint('status_code', x.status);
  pairBool('success', !a.failed);
  writeError(a);
  writeChoices(x);
  writeCalls(x);
  writeUsage(a);
  writeTimes(x);
  writeFinish(x);
  pairBool('streaming', isStream(x.response.mode));
}

function writeMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  pairCommonMeta(x, format, isPartial(x));
  openReasons();
  reason(isStream(x.response.mode) ? 'streaming_reassembled' : 'payload_parsed');
  if (x.answer.tokensKnown) reason('usage_from_api');
  if (x.inferred) reason('provider_inferred_from_model');
  reasonsOf(x.response, false, x.jsonEnd);
  if (x.response.seen && !isComplete(x, x.answer)) reason('response_without_end');
  if (x.badEvents) reason('stream_event_invalid');
  close();
  writeMissing(x);
  pairLimitations(x.answer.cut);
  pairExt(x, format, true);
}

function writeMissing(x: Exchange): void {
  const loss = hasLoss(x.response);
  const lost = x.state == Request.LOST;
  const unknown = x.response.unknownFields;
  if (!loss && !lost && !unknown) return;
  key('missing');
  openArray();
  if (lost && item()) literal('request');
  if (unknown && item()) literal('response_headers');
  if (loss && item()) literal(x.response.seen ? 'response_body_bytes' : 'response');
  close();
  if (x.response.missing) pairUint('missing_bytes', x.response.missing);
}

/** Tells the response. Status.FULL: to be called again, what was told stays told. */
export function settleResponse(x: Exchange): i32 {
  readBody(x);
  if (x.format == FormatId.NONE) return Status.DONE;
  const side = x.response;
  const origin = side.origin ? side.origin : x.request.origin;
  if (x.told == 0) {
    if (emit(x, EventType.AI_RESPONSE, side.endTs, origin, 0, writeData, writeMeta) == Status.FULL) return Status.FULL;
    x.told = 1;
    counters.responses++;
    if (x.state == Request.LOST) counters.orphans++;
  }
  const calls = callCount(x.answer);
  while (x.told <= calls) {
    if (emit(x, EventType.TOOL_CALL, side.endTs, origin, x.told - 1, writeCallData, writeCallMeta) == Status.FULL) return Status.FULL;
    x.told++;
    counters.toolCalls++;
  }
  return Status.DONE;
}
