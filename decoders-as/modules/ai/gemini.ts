// Gemini's generateContent, of the Gemini API, of Vertex and inside the envelope of its command line: contents and parts, whole, streamed, or as an array of answers.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonText } from '../../lib/json';
import { wideFlag } from '../../lib/json-text';
import {
  addCall,
  Answer,
  callCount,
  Choice,
  choiceAt,
  choiceCount,
  choiceOf,
  knowsTokens,
  noteUnknown,
  setText,
  setTokens,
  TEXT_LIMIT,
  Token,
  tokensOf,
} from './answer';
import { pairArgumentsOf } from './arguments';
import { bufAppend, bufFailed, bufLength } from './buf';
import { noteToken } from './clock';
import { appendDelta } from './delta';
import { Exchange } from './exchange';
import { Format } from './format';
import {
  addPart,
  beginMessages,
  closeContent,
  closeImages,
  closeMessage,
  endMessages,
  noteImage,
  noteUnknownPart,
  openContent,
  openMessage,
  pairNumber,
  pairScalar,
  pairStops,
} from './messages';
import { find, findKind, given, indexOfNode, isKind, isTrue, keyOfNode } from './nodes';
import { hashContent, readError, take } from './openai-chat';
import { addText, close, item, key, openArray, openMap, pairLiteral, pairNode } from './out';
import { Result } from './result';
import { hashNumber, key as keyFor, startsWith } from './text';
import { toolsDone, toolsOpen, writeTool } from './tools';

const REQUEST: u64 = keyFor('request');
const RESPONSE: u64 = keyFor('response');
const CONTENTS: u64 = keyFor('contents');
const PARTS: u64 = keyFor('parts');
const ROLE: u64 = keyFor('role');
const MODEL_ROLE: u64 = keyFor('model');
const TEXT: u64 = keyFor('text');
const THOUGHT: u64 = keyFor('thought');
const NAME: u64 = keyFor('name');
const ID: u64 = keyFor('id');
const ARGS: u64 = keyFor('args');
const OUTPUT: u64 = keyFor('output');
const RESULT: u64 = keyFor('result');
const ERROR: u64 = keyFor('error');
const CANDIDATES: u64 = keyFor('candidates');
const CONTENT: u64 = keyFor('content');

/** The value under a name; JSON of protocol buffers may spell it either way. */
function either(object: usize, camel: string, snake: string): usize {
  const value = find(object, keyFor(camel));
  return value ? value : find(object, keyFor(snake));
}

/** The request proper: the command line puts it into an envelope beside model and project. */
export function geminiRequest(root: usize): usize {
  const inner = findKind(root, REQUEST, JsonKind.OBJECT);
  return inner && findKind(inner, CONTENTS, JsonKind.ARRAY) ? inner : root;
}

/** Whether a body, in an envelope or not, is one of this format: contents that have parts. */
export function isGemini(root: usize): bool {
  const contents = findKind(geminiRequest(root), CONTENTS, JsonKind.ARRAY);
  if (!contents || !jsonLength(contents)) return false;
  return findKind(jsonFirst(contents), PARTS, JsonKind.ARRAY) != 0;
}

/** Whether an answer, or an event of one, is one of this format. */
export function isGeminiAnswer(root: usize): bool {
  const inner = find(root, RESPONSE);
  return findKind(inner ? inner : root, CANDIDATES, JsonKind.ARRAY) != 0;
}

function callOf(part: usize): usize {
  return either(part, 'functionCall', 'function_call');
}

function responseOf(part: usize): usize {
  return either(part, 'functionResponse', 'function_response');
}

/** What joins a call and its response: an id, where there is one; else the name. */
function nameOrId(call: usize): usize {
  const id = findKind(call, ID, JsonKind.STRING);
  return id && jsonLength(id) ? id : findKind(call, NAME, JsonKind.STRING);
}

export class Gemini extends Format {
  name(): string {
    return 'gemini_generate_content';
  }

  fallbackProvider(): string {
    return 'gemini_compatible';
  }

  hashConversation(root: usize): void {
    const request = geminiRequest(root);
    hashNumber(1);
    hashContent(find(either(request, 'systemInstruction', 'system_instruction'), PARTS));
    hashNumber(2);
    const list = findKind(request, CONTENTS, JsonKind.ARRAY);
    if (!list) return;
    for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) {
      if (keyOfNode(find(m, ROLE)) == MODEL_ROLE) continue;
      hashContent(find(m, PARTS));
      return;
    }
  }

  writeRequest(root: usize): void {
    const request = geminiRequest(root);
    beginMessages();
    const system = find(either(request, 'systemInstruction', 'system_instruction'), PARTS);
    if (isKind(system, JsonKind.ARRAY) && jsonLength(system) && openMessage(0, 'system')) {
      this.writeParts(system);
      closeMessage();
    }
    const list = findKind(request, CONTENTS, JsonKind.ARRAY);
    if (list) {
      for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) if (isKind(m, JsonKind.OBJECT)) this.writeMessage(m);
    }
    endMessages();
    this.writeTools(request);
    this.writeParameters(request);
    closeImages();
  }

  private writeMessage(m: usize): void {
    const parts = findKind(m, PARTS, JsonKind.ARRAY);
    let calls: u32 = 0;
    let others = parts == 0 || !jsonLength(parts);
    if (parts) {
      for (let p = jsonFirst(parts), end = jsonNext(parts); p < end; p = jsonNext(p)) {
        const response = responseOf(p);
        if (given(response)) this.writeResponse(response);
        else others = true;
        if (given(callOf(p))) calls++;
      }
    }
    if (!others || !openMessage(find(m, ROLE), 'user')) return;
    this.writeParts(parts);
    if (calls) this.writeCalls(parts);
    closeMessage();
  }

  private writeParts(parts: usize): void {
    openContent();
    if (isKind(parts, JsonKind.ARRAY)) {
      for (let p = jsonFirst(parts), end = jsonNext(parts); p < end; p = jsonNext(p)) {
        const text = find(p, TEXT);
        if (isTrue(find(p, THOUGHT)) || given(callOf(p)) || given(responseOf(p))) continue;
        if (isKind(text, JsonKind.STRING)) addPart(text);
        else if (this.isImage(p)) noteImage();
        else noteUnknownPart();
      }
    }
    closeContent();
  }

  private isImage(part: usize): bool {
    let data = either(part, 'inlineData', 'inline_data');
    if (!data) data = either(part, 'fileData', 'file_data');
    const type = either(data, 'mimeType', 'mime_type');
    return isKind(type, JsonKind.STRING) && startsWith(jsonText(type), jsonLength(type), 'image/');
  }

  private writeResponse(response: usize): void {
    if (!openMessage(0, 'tool')) return;
    openContent();
    this.addResult(find(response, RESPONSE));
    closeContent();
    pairNode('tool_call_id', nameOrId(response));
    pairNode('name', find(response, NAME));
    closeMessage();
  }

  private writeCalls(parts: usize): void {
    key('tool_calls');
    openArray();
    for (let p = jsonFirst(parts), end = jsonNext(parts); p < end; p = jsonNext(p)) {
      const call = callOf(p);
      if (!given(call) || !item()) continue;
      openMap();
      pairNode('id', nameOrId(call));
      pairNode('name', find(call, NAME));
      pairLiteral('type', 'function');
      pairArgumentsOf(findKind(call, ARGS, JsonKind.OBJECT));
      close();
    }
    close();
  }

  private writeTools(request: usize): void {
    const tools = findKind(request, keyFor('tools'), JsonKind.ARRAY);
    if (tools) {
      toolsOpen();
      for (let t = jsonFirst(tools), end = jsonNext(tools); t < end; t = jsonNext(t)) {
        const list = either(t, 'functionDeclarations', 'function_declarations');
        if (!isKind(list, JsonKind.ARRAY)) continue;
        for (let f = jsonFirst(list), last = jsonNext(list); f < last; f = jsonNext(f)) writeTool(find(f, NAME), find(f, keyFor('description')), 0);
      }
      toolsDone();
    }
    const mode = keyOfNode(find(either(either(request, 'toolConfig', 'tool_config'), 'functionCallingConfig', 'function_calling_config'), keyFor('mode')));
    if (mode == keyFor('AUTO')) pairLiteral('tool_choice', 'auto');
    else if (mode == keyFor('ANY')) pairLiteral('tool_choice', 'required');
    else if (mode == keyFor('NONE')) pairLiteral('tool_choice', 'none');
  }

  private writeParameters(request: usize): void {
    const config = either(request, 'generationConfig', 'generation_config');
    key('parameters');
    openMap();
    pairNumber('temperature', find(config, keyFor('temperature')));
    pairNumber('top_p', either(config, 'topP', 'top_p'));
    pairScalar('top_k', either(config, 'topK', 'top_k'));
    pairNumber('max_tokens', either(config, 'maxOutputTokens', 'max_output_tokens'));
    pairStops(either(config, 'stopSequences', 'stop_sequences'));
    pairScalar('n', either(config, 'candidateCount', 'candidate_count'));
    pairScalar('seed', find(config, keyFor('seed')));
    pairScalar('thinking_budget_tokens', either(either(config, 'thinkingConfig', 'thinking_config'), 'thinkingBudget', 'thinking_budget'));
    close();
  }

  seekResult(root: usize, index: u32): bool {
    const list = findKind(geminiRequest(root), CONTENTS, JsonKind.ARRAY);
    if (!list) return false;
    const end = jsonNext(list);
    let from = jsonFirst(list);
    for (let m = from; m < end; m = jsonNext(m)) if (keyOfNode(find(m, ROLE)) == MODEL_ROLE) from = jsonNext(m);
    let left = index;
    let ordinal: u32 = 0;
    for (let m = jsonFirst(list); m < end; m = jsonNext(m)) {
      const parts = findKind(m, PARTS, JsonKind.ARRAY);
      if (!parts) continue;
      for (let p = jsonFirst(parts), last = jsonNext(parts); p < last; p = jsonNext(p)) {
        const response = responseOf(p);
        const id = nameOrId(response);
        if (!id) continue;
        ordinal++;
        if (m < from || left-- != 0) continue;
        this.take(response, id, ordinal);
        return true;
      }
    }
    return false;
  }

  /** @param ordinal of the response in the history: without an id, that tells two of one tool apart. */
  private take(response: usize, id: usize, ordinal: u32): void {
    Result.id = id;
    Result.name = findKind(response, NAME, JsonKind.STRING);
    Result.ordinal = id == Result.name ? ordinal : 0;
    Result.content = find(response, RESPONSE);
    Result.failed = given(find(Result.content, ERROR));
    Result.succeeded = !Result.failed && given(find(Result.content, OUTPUT));
  }

  /** A response is an object: what it says under `output`, `result` or `error`, if that is a string, else the JSON of it. */
  addResult(content: usize): void {
    let said = find(content, OUTPUT);
    if (!said) said = find(content, RESULT);
    if (!said) said = find(content, ERROR);
    if (isKind(said, JsonKind.STRING)) addPart(said);
    else if (isKind(content, JsonKind.STRING)) addPart(content);
    else if (isKind(content, JsonKind.OBJECT)) addText(jsonText(content), jsonRawLength(content), wideFlag(jsonText(content), jsonRawLength(content)));
  }

  readJson(x: Exchange, root: usize): void {
    if (!isKind(root, JsonKind.ARRAY)) {
      this.readAnswer(x, root);
      return;
    }
    // Streamed without alt=sse: an array of what would be events.
    for (let c = jsonFirst(root), end = jsonNext(root); c < end; c = jsonNext(c)) this.readAnswer(x, c);
  }

  readEvent(x: Exchange, root: usize): usize {
    this.readAnswer(x, root);
    return 0;
  }

  private readAnswer(x: Exchange, root: usize): void {
    const a = x.answer;
    const inner = findKind(root, RESPONSE, JsonKind.OBJECT);
    const answer = inner ? inner : root;
    if (readError(a, answer)) a.errorType = setText(a.errorType, find(find(answer, ERROR), keyFor('status')));
    a.id = setText(a.id, either(answer, 'responseId', 'response_id'));
    a.model = setText(a.model, either(answer, 'modelVersion', 'model_version'));
    this.readUsage(a, either(answer, 'usageMetadata', 'usage_metadata'));
    const blocked = either(either(answer, 'promptFeedback', 'prompt_feedback'), 'blockReason', 'block_reason');
    if (isKind(blocked, JsonKind.STRING)) this.finish(a, 0, blocked);
    const list = findKind(answer, CANDIDATES, JsonKind.ARRAY);
    if (!list) return;
    let position: u32 = 0;
    for (let c = jsonFirst(list), end = jsonNext(list); c < end; c = jsonNext(c)) this.readCandidate(x, c, position++);
  }

  /** Every event tells all there is so far; tokens of thoughts are counted apart from those of the text, and completion_tokens means both. */
  private readUsage(a: Answer, usage: usize): void {
    if (!isKind(usage, JsonKind.OBJECT)) return;
    take(a, Token.PROMPT, either(usage, 'promptTokenCount', 'prompt_token_count'));
    take(a, Token.COMPLETION, either(usage, 'candidatesTokenCount', 'candidates_token_count'));
    take(a, Token.REASONING, either(usage, 'thoughtsTokenCount', 'thoughts_token_count'));
    take(a, Token.CACHED, either(usage, 'cachedContentTokenCount', 'cached_content_token_count'));
    take(a, Token.TOTAL, either(usage, 'totalTokenCount', 'total_token_count'));
    if (knowsTokens(a, Token.REASONING) && given(either(usage, 'thoughtsTokenCount', 'thoughts_token_count')))
      setTokens(
        a,
        Token.COMPLETION,
        (given(either(usage, 'candidatesTokenCount', 'candidates_token_count')) ? tokensOf(a, Token.COMPLETION) : 0) + tokensOf(a, Token.REASONING),
      );
  }

  private finish(a: Answer, index: u32, reason: usize): void {
    const choice = choiceOf(a, index);
    if (choice) choice.finish = setText(choice.finish, reason);
  }

  private readCandidate(x: Exchange, candidate: usize, position: u32): void {
    const a = x.answer;
    const index = indexOfNode(find(candidate, keyFor('index')), position);
    const parts = findKind(find(candidate, CONTENT), PARTS, JsonKind.ARRAY);
    if (parts) for (let p = jsonFirst(parts), end = jsonNext(parts); p < end; p = jsonNext(p)) this.readPart(x, index, p);
    const reason = either(candidate, 'finishReason', 'finish_reason');
    if (isKind(reason, JsonKind.STRING)) this.finish(a, index, reason);
  }

  private readPart(x: Exchange, index: u32, part: usize): void {
    const a = x.answer;
    const choice = choiceOf(a, index);
    if (!choice) return;
    const text = find(part, TEXT);
    const call = callOf(part);
    if (isKind(text, JsonKind.STRING)) {
      if (!jsonLength(text)) return;
      noteToken(x);
      const target = isTrue(find(part, THOUGHT)) ? offsetof<Choice>('reasoning') : offsetof<Choice>('text');
      appendDelta(x, changetype<usize>(choice) + target, text, TEXT_LIMIT);
    } else if (given(call)) this.readCall(x, index, call);
    else noteUnknown(a, 0);
  }

  private readCall(x: Exchange, index: u32, from: usize): void {
    const a = x.answer;
    noteToken(x);
    const call = addCall(a, index, callCount(a));
    if (!call) return;
    call.id = setText(call.id, nameOrId(from));
    call.name = setText(call.name, find(from, NAME));
    const args = findKind(from, ARGS, JsonKind.OBJECT);
    if (!args) return;
    call.args = bufAppend(call.args, jsonText(args), jsonRawLength(args), TEXT_LIMIT);
    if (bufFailed) a.cut = true;
  }

  finishReason(raw: u64, calls: bool): string {
    if (raw == keyFor('STOP')) return calls ? 'tool_calls' : 'stop';
    if (raw == keyFor('MAX_TOKENS')) return 'length';
    if (raw == keyFor('MALFORMED_FUNCTION_CALL') || raw == keyFor('UNEXPECTED_TOOL_CALL')) return 'error';
    if (raw == keyFor('OTHER') || raw == keyFor('LANGUAGE') || raw == keyFor('FINISH_REASON_UNSPECIFIED')) return 'other';
    // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII and what may come to stand beside them.
    return 'content_filter';
  }

  isDone(x: Exchange): bool {
    const a = x.answer;
    for (let i: u32 = 0; i < choiceCount(a); i++) if (bufLength(choiceAt(a, i).finish)) return true;
    return a.done;
  }
}
