// OpenAI chat completions, and what is compatible with them: requests, answers and stream chunks. Fields that are not known are passed over.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonSource, jsonSourceLength, jsonText } from '../../lib/json';
import {
  addCall,
  Answer,
  Call,
  Choice,
  choiceOf,
  findCall,
  noteUnknown,
  setScalar,
  setText,
  setTokens,
  TEXT_LIMIT,
  Token,
  callCount,
  callAt,
  choiceAt,
  choiceCount,
} from './answer';
import { bufAppend, bufFailed, bufLength } from './buf';
import { noteToken } from './clock';
import { appendDelta } from './delta';
import { Exchange } from './exchange';
import { Format } from './format';
import { pairArgumentsOf } from './arguments';
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
import { find, findKind, given, indexOfNode, isKind, keyOfNode, numberOf } from './nodes';
import { close, item, key, openArray, openMap, pairLiteral, pairNode } from './out';
import { Result } from './result';
import { hashNumber, hashText, key as keyFor } from './text';
import { pairToolChoice, toolsDone, toolsOpen, writeTool } from './tools';

const MESSAGES: u64 = keyFor('messages');
const ROLE: u64 = keyFor('role');
const ASSISTANT: u64 = keyFor('assistant');
const TOOL: u64 = keyFor('tool');
const CONTENT: u64 = keyFor('content');
const NAME: u64 = keyFor('name');
const TOOL_CALLS: u64 = keyFor('tool_calls');
const TOOL_CALL_ID: u64 = keyFor('tool_call_id');
const FUNCTION: u64 = keyFor('function');
const FUNCTION_CALL: u64 = keyFor('function_call');
const ARGUMENTS: u64 = keyFor('arguments');
const INPUT: u64 = keyFor('input');
const CUSTOM: u64 = keyFor('custom');
const ID: u64 = keyFor('id');
const TYPE: u64 = keyFor('type');
const TEXT: u64 = keyFor('text');
const IMAGE_URL: u64 = keyFor('image_url');
const INPUT_IMAGE: u64 = keyFor('input_image');
const REFUSAL: u64 = keyFor('refusal');
const TOOLS: u64 = keyFor('tools');
const FUNCTIONS: u64 = keyFor('functions');
const DESCRIPTION: u64 = keyFor('description');
const USER: u64 = keyFor('user');
const SYSTEM: u64 = keyFor('system');
const DEVELOPER: u64 = keyFor('developer');
const MODEL: u64 = keyFor('model');
const CHOICES: u64 = keyFor('choices');
const INDEX: u64 = keyFor('index');
const MESSAGE: u64 = keyFor('message');
const DELTA: u64 = keyFor('delta');
const FINISH_REASON: u64 = keyFor('finish_reason');
const REASONING: u64 = keyFor('reasoning');
const REASONING_CONTENT: u64 = keyFor('reasoning_content');
const USAGE: u64 = keyFor('usage');
const X_GROQ: u64 = keyFor('x_groq');
const ERROR: u64 = keyFor('error');
const OBJECT: u64 = keyFor('object');
const CODE: u64 = keyFor('code');
const DETAIL: u64 = keyFor('detail');
const STOP: u64 = keyFor('stop');
const TOOL_CHOICE: u64 = keyFor('tool_choice');
const TEMPERATURE: u64 = keyFor('temperature');
const TOP_P: u64 = keyFor('top_p');
const MAX_COMPLETION_TOKENS: u64 = keyFor('max_completion_tokens');
const MAX_TOKENS: u64 = keyFor('max_tokens');
const FREQUENCY_PENALTY: u64 = keyFor('frequency_penalty');
const PRESENCE_PENALTY: u64 = keyFor('presence_penalty');
const REASONING_EFFORT: u64 = keyFor('reasoning_effort');
const SEED: u64 = keyFor('seed');
const N: u64 = keyFor('n');
const PARALLEL_TOOL_CALLS: u64 = keyFor('parallel_tool_calls');
const SERVICE_TIER: u64 = keyFor('service_tier');
const VERBOSITY: u64 = keyFor('verbosity');

/** Hashes the text of a message's content, string or parts. */
export function hashContent(content: usize): void {
  if (isKind(content, JsonKind.STRING)) hashText(jsonSource(content), jsonSourceLength(content));
  if (!isKind(content, JsonKind.ARRAY)) return;
  for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) {
    const text = findKind(part, TEXT, JsonKind.STRING);
    if (text) hashText(jsonSource(text), jsonSourceLength(text));
  }
}

/** error{type, message, code} of a body or a stream event, in any of the usual shapes. */
export function readError(a: Answer, root: usize): bool {
  let error = find(root, ERROR);
  if (!given(error) && keyOfNode(find(root, OBJECT)) == ERROR) error = root;
  if (!given(error)) return false;
  a.failed = true;
  if (isKind(error, JsonKind.STRING)) {
    a.errorMessage = setText(a.errorMessage, error);
    return true;
  }
  a.errorType = setText(a.errorType, find(error, TYPE));
  a.errorMessage = setText(a.errorMessage, find(error, MESSAGE));
  a.errorCode = setScalar(a.errorCode, find(error, CODE));
  return true;
}

/** The error of a whole body; with a status of 400 or more, in shapes of its own too. */
export function readFailure(x: Exchange, root: usize): void {
  const a = x.answer;
  if (readError(a, root) || x.status < 400) return;
  const message = find(root, MESSAGE);
  a.errorMessage = setText(a.errorMessage, given(message) ? message : find(root, DETAIL));
  a.errorType = setText(a.errorType, find(root, TYPE));
  a.errorCode = setScalar(a.errorCode, find(root, CODE));
}

export class OpenAiChat extends Format {
  name(): string {
    return 'openai_chat';
  }

  fallbackProvider(): string {
    return 'openai_compatible';
  }

  hashConversation(root: usize): void {
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (!list) return;
    for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) {
      const role = keyOfNode(find(m, ROLE));
      if (role != SYSTEM && role != DEVELOPER && role != USER) continue;
      hashNumber(role == USER ? 2 : 1);
      hashContent(find(m, CONTENT));
      if (role == USER) return;
    }
  }

  writeRequest(root: usize): void {
    beginMessages();
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (list) {
      for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) if (isKind(m, JsonKind.OBJECT)) this.writeMessage(m);
    }
    endMessages();
    this.writeTools(root);
    const choice = find(root, TOOL_CHOICE);
    pairToolChoice(given(choice) ? choice : find(root, FUNCTION_CALL));
    this.writeParameters(root);
    closeImages();
  }

  seekResult(root: usize, index: u32): bool {
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (!list) return false;
    const end = jsonNext(list);
    let asked: usize = 0;
    let from = jsonFirst(list);
    for (let m = from; m < end; m = jsonNext(m)) {
      if (keyOfNode(find(m, ROLE)) != ASSISTANT) continue;
      asked = m;
      from = jsonNext(m);
    }
    let left = index;
    for (let m = from; m < end; m = jsonNext(m)) {
      const id = findKind(m, TOOL_CALL_ID, JsonKind.STRING);
      if (!id || keyOfNode(find(m, ROLE)) != TOOL || left-- != 0) continue;
      Result.id = id;
      Result.ordinal = 0;
      Result.content = find(m, CONTENT);
      const name = this.nameOfCall(find(asked, TOOL_CALLS), keyOfNode(id));
      Result.name = name ? name : findKind(m, NAME, JsonKind.STRING);
      Result.failed = false;
      Result.succeeded = false;
      return true;
    }
    return false;
  }

  protected nameOfCall(calls: usize, id: u64): usize {
    if (!isKind(calls, JsonKind.ARRAY)) return 0;
    for (let call = jsonFirst(calls), end = jsonNext(calls); call < end; call = jsonNext(call)) {
      if (keyOfNode(find(call, ID)) != id) continue;
      const custom = findKind(call, CUSTOM, JsonKind.OBJECT);
      return findKind(custom ? custom : find(call, FUNCTION), NAME, JsonKind.STRING);
    }
    return 0;
  }

  addResult(content: usize): void {
    if (isKind(content, JsonKind.STRING)) addPart(content);
    if (!isKind(content, JsonKind.ARRAY)) return;
    for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) addPart(find(part, TEXT));
  }

  protected writeMessage(m: usize): void {
    if (!openMessage(find(m, ROLE), 'user')) return;
    const content = find(m, CONTENT);
    if (isKind(content, JsonKind.STRING)) {
      openContent();
      addPart(content);
      closeContent();
    } else if (isKind(content, JsonKind.ARRAY)) {
      openContent();
      for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) this.addContentPart(part);
      closeContent();
    }
    pairNode('tool_call_id', find(m, TOOL_CALL_ID));
    pairNode('name', find(m, NAME));
    this.writeMore(m);
    pairNode('refusal', find(m, REFUSAL));
    const calls = findKind(m, TOOL_CALLS, JsonKind.ARRAY);
    if (calls && jsonLength(calls)) this.writeCalls(calls);
    closeMessage();
  }

  /** What else a message has, in formats that go beyond this one. */
  protected writeMore(_m: usize): void {}

  protected addContentPart(part: usize): void {
    if (isKind(part, JsonKind.STRING)) {
      addPart(part);
      return;
    }
    const type = keyOfNode(find(part, TYPE));
    const text = find(part, TEXT);
    if (isKind(text, JsonKind.STRING)) addPart(text);
    else if (type == IMAGE_URL || type == INPUT_IMAGE) noteImage();
    else if (type == REFUSAL) addPart(find(part, REFUSAL));
    else noteUnknownPart();
  }

  protected writeCalls(calls: usize): void {
    key('tool_calls');
    openArray();
    for (let call = jsonFirst(calls), end = jsonNext(calls); call < end; call = jsonNext(call)) {
      if (!isKind(call, JsonKind.OBJECT) || !item()) continue;
      const custom = findKind(call, CUSTOM, JsonKind.OBJECT);
      const body = custom ? custom : find(call, FUNCTION);
      openMap();
      pairNode('id', find(call, ID));
      pairNode('name', find(body, NAME));
      if (!pairNode('type', find(call, TYPE))) pairLiteral('type', 'function');
      pairArgumentsOf(find(body, custom ? INPUT : ARGUMENTS));
      close();
    }
    close();
  }

  protected writeTools(root: usize): void {
    let tools = findKind(root, TOOLS, JsonKind.ARRAY);
    const bare = tools == 0;
    if (bare) tools = findKind(root, FUNCTIONS, JsonKind.ARRAY);
    if (!tools) return;
    toolsOpen();
    for (let t = jsonFirst(tools), end = jsonNext(tools); t < end; t = jsonNext(t)) {
      if (!isKind(t, JsonKind.OBJECT)) continue;
      const type = find(t, TYPE);
      let body = bare ? t : findKind(t, FUNCTION, JsonKind.OBJECT);
      if (!body) body = findKind(t, CUSTOM, JsonKind.OBJECT);
      if (!body) body = t;
      writeTool(find(body, NAME), find(body, DESCRIPTION), bare ? 0 : type);
    }
    toolsDone();
  }

  protected writeParameters(root: usize): void {
    key('parameters');
    openMap();
    pairNumber('temperature', find(root, TEMPERATURE));
    pairNumber('top_p', find(root, TOP_P));
    const most = find(root, MAX_COMPLETION_TOKENS);
    pairNumber('max_tokens', given(most) ? most : find(root, MAX_TOKENS));
    pairNumber('frequency_penalty', find(root, FREQUENCY_PENALTY));
    pairNumber('presence_penalty', find(root, PRESENCE_PENALTY));
    pairStops(find(root, STOP));
    pairScalar('reasoning_effort', find(root, REASONING_EFFORT));
    pairScalar('seed', find(root, SEED));
    pairScalar('n', find(root, N));
    pairScalar('parallel_tool_calls', find(root, PARALLEL_TOOL_CALLS));
    pairScalar('service_tier', find(root, SERVICE_TIER));
    pairScalar('verbosity', find(root, VERBOSITY));
    close();
  }

  readJson(x: Exchange, root: usize): void {
    const a = x.answer;
    readFailure(x, root);
    this.readCommon(x, root);
    const choices = findKind(root, CHOICES, JsonKind.ARRAY);
    if (!choices) return;
    let position: u32 = 0;
    for (let c = jsonFirst(choices), end = jsonNext(choices); c < end; c = jsonNext(c)) this.readChoice(x, c, find(c, MESSAGE), position++);
    a.done = true;
  }

  protected readCommon(x: Exchange, root: usize): void {
    const a = x.answer;
    if (!bufLength(a.id)) a.id = setText(a.id, find(root, ID));
    if (!bufLength(a.model)) a.model = setText(a.model, find(root, MODEL));
    let usage = findKind(root, USAGE, JsonKind.OBJECT);
    if (!usage) usage = findKind(find(root, X_GROQ), USAGE, JsonKind.OBJECT);
    if (usage) this.readUsage(a, usage);
  }

  protected readUsage(a: Answer, usage: usize): void {
    take(a, Token.PROMPT, find(usage, keyFor('prompt_tokens')));
    take(a, Token.COMPLETION, find(usage, keyFor('completion_tokens')));
    take(a, Token.TOTAL, find(usage, keyFor('total_tokens')));
    const prompt = find(usage, keyFor('prompt_tokens_details'));
    take(a, Token.CACHED, find(usage, keyFor('prompt_cache_hit_tokens')));
    take(a, Token.CACHED, find(prompt, keyFor('cached_tokens')));
    take(a, Token.CACHE_WRITE, find(prompt, keyFor('cache_write_tokens')));
    take(a, Token.REASONING, find(find(usage, keyFor('completion_tokens_details')), keyFor('reasoning_tokens')));
  }

  /** One choice of a body or of a chunk. Gives the node of the one text it brought, or 0 when it brought more or nothing. */
  protected readChoice(x: Exchange, c: usize, message: usize, position: u32): usize {
    const a = x.answer;
    if (!isKind(c, JsonKind.OBJECT)) return 0;
    const choice = choiceOf(a, indexOfNode(find(c, INDEX), position));
    if (!choice) return 0;
    let only: usize = 0;
    let pieces = 0;
    const finish = find(c, FINISH_REASON);
    if (given(finish)) {
      choice.finish = setText(choice.finish, finish);
      pieces++;
    }
    const content = find(message, CONTENT);
    if (isKind(content, JsonKind.ARRAY)) {
      pieces++;
      for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) {
        const text = find(part, TEXT);
        if (isKind(text, JsonKind.STRING)) this.append(x, changetype<usize>(choice) + offsetof<Choice>('text'), text);
        else noteUnknown(a, find(part, TYPE));
      }
    }
    let reasoning = findKind(message, REASONING_CONTENT, JsonKind.STRING);
    if (!reasoning) reasoning = findKind(message, REASONING, JsonKind.STRING);
    if (this.append(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), reasoning)) {
      only = reasoning;
      pieces++;
    }
    if (this.append(x, changetype<usize>(choice) + offsetof<Choice>('refusal'), find(message, REFUSAL))) pieces += 2;
    if (this.append(x, changetype<usize>(choice) + offsetof<Choice>('text'), content)) {
      only = content;
      pieces++;
    }
    if (given(find(message, TOOL_CALLS)) || given(find(message, FUNCTION_CALL))) {
      pieces += 2;
      this.readCalls(x, choice.index, message);
    }
    return pieces == 1 ? only : 0;
  }

  protected append(x: Exchange, target: usize, node: usize): bool {
    if (!isKind(node, JsonKind.STRING) || !jsonLength(node)) return false;
    noteToken(x);
    appendDelta(x, target, node, TEXT_LIMIT);
    return true;
  }

  protected readCalls(x: Exchange, choice: u32, message: usize): void {
    const calls = findKind(message, TOOL_CALLS, JsonKind.ARRAY);
    if (calls) {
      for (let c = jsonFirst(calls), end = jsonNext(calls); c < end; c = jsonNext(c)) if (isKind(c, JsonKind.OBJECT)) this.readCall(x, choice, c);
    }
    const old = findKind(message, FUNCTION_CALL, JsonKind.OBJECT);
    if (!old) return;
    let call = findCall(x.answer, choice, 0);
    if (!call) call = addCall(x.answer, choice, 0);
    if (call) this.fillCall(x, call, old, ARGUMENTS);
  }

  protected readCall(x: Exchange, choice: u32, c: usize): void {
    const a = x.answer;
    const id = find(c, ID);
    // Without an index a call comes whole; an id begins a new one.
    const slot = indexOfNode(find(c, INDEX), isKind(id, JsonKind.STRING) || !callCount(a) ? callCount(a) : callAt(a, callCount(a) - 1).slot);
    let call = findCall(a, choice, slot);
    if (!call) call = addCall(a, choice, slot);
    if (!call) return;
    if (isKind(id, JsonKind.STRING) && jsonLength(id)) call.id = setText(call.id, id);
    const type = find(c, TYPE);
    if (isKind(type, JsonKind.STRING) && jsonLength(type)) call.type = setText(call.type, type);
    const custom = findKind(c, CUSTOM, JsonKind.OBJECT);
    this.fillCall(x, call, custom ? custom : find(c, FUNCTION), custom ? INPUT : ARGUMENTS);
  }

  protected fillCall(x: Exchange, call: Call, body: usize, argsKey: u64): void {
    noteToken(x);
    const name = find(body, NAME);
    if (isKind(name, JsonKind.STRING) && jsonLength(name)) call.name = setText(call.name, name);
    const args = find(body, argsKey);
    if (isKind(args, JsonKind.STRING)) appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), args, TEXT_LIMIT);
    else if (isKind(args, JsonKind.OBJECT)) {
      call.args = bufAppend(call.args, jsonText(args), jsonRawLength(args), TEXT_LIMIT);
      if (bufFailed) x.answer.cut = true;
    }
  }

  readEvent(x: Exchange, root: usize): usize {
    const failed = readError(x.answer, root);
    this.readCommon(x, root);
    const choices = findKind(root, CHOICES, JsonKind.ARRAY);
    if (!choices) {
      if (!failed) noteUnknown(x.answer, find(root, TYPE));
      return 0;
    }
    let only: usize = 0;
    let position: u32 = 0;
    for (let c = jsonFirst(choices), end = jsonNext(choices); c < end; c = jsonNext(c)) only = this.readChoice(x, c, find(c, DELTA), position++);
    return failed || position != 1 || given(find(root, USAGE)) || given(find(root, X_GROQ)) ? 0 : only;
  }

  finishReason(raw: u64, _calls: bool): string {
    if (raw == STOP) return 'stop';
    if (raw == keyFor('length')) return 'length';
    if (raw == TOOL_CALLS || raw == FUNCTION_CALL) return 'tool_calls';
    if (raw == keyFor('content_filter')) return 'content_filter';
    if (raw == ERROR) return 'error';
    return 'other';
  }

  /** Some servers send no [DONE]: a finish reason is as good. */
  isDone(x: Exchange): bool {
    const a = x.answer;
    for (let i: u32 = 0; i < choiceCount(a); i++) if (bufLength(choiceAt(a, i).finish)) return true;
    return a.done;
  }
}

/** Keeps a token count, if it is a number. */
export function take(a: Answer, which: u32, node: usize): void {
  if (isKind(node, JsonKind.NUMBER)) setTokens(a, which, numberOf(node, 0));
}
