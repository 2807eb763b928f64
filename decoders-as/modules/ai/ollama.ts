// Ollama's own interface, /api/chat and /api/generate: requests as in OpenAI chat with options of its own, answers as one object or as lines of objects.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonSource, jsonSourceLength, jsonText } from '../../lib/json';
import { addCall, Call, Choice, choiceOf, knowsTokens, setText, setTokens, TEXT_LIMIT, Token, tokensOf, callCount } from './answer';
import { bufAppend, bufFailed } from './buf';
import { noteToken } from './clock';
import { appendDelta } from './delta';
import { Exchange } from './exchange';
import { pathEnds } from './format';
import {
  addPart,
  beginMessages,
  closeContent,
  closeImages,
  closeMessage,
  endMessages,
  noteImage,
  openContent,
  openMessage,
  pairNumber,
  pairScalar,
  pairStops,
} from './messages';
import { find, findKind, given, isKind, isTrue, keyOfNode } from './nodes';
import { OpenAiChat, readFailure, take } from './openai-chat';
import { close, key, openMap, pairNode } from './out';
import { Result } from './result';
import { hashNumber, hashText, key as keyFor } from './text';

const PROMPT: u64 = keyFor('prompt');
const SYSTEM: u64 = keyFor('system');
const IMAGES: u64 = keyFor('images');
const MESSAGES: u64 = keyFor('messages');
const ROLE: u64 = keyFor('role');
const ASSISTANT: u64 = keyFor('assistant');
const TOOL: u64 = keyFor('tool');
const TOOL_NAME: u64 = keyFor('tool_name');
const TOOL_CALLS: u64 = keyFor('tool_calls');
const FUNCTION: u64 = keyFor('function');
const NAME: u64 = keyFor('name');
const ARGUMENTS: u64 = keyFor('arguments');
const CONTENT: u64 = keyFor('content');
const THINKING: u64 = keyFor('thinking');
const MESSAGE: u64 = keyFor('message');
const RESPONSE: u64 = keyFor('response');
const MODEL: u64 = keyFor('model');
const DONE: u64 = keyFor('done');
const DONE_REASON: u64 = keyFor('done_reason');
const STREAM: u64 = keyFor('stream');
const ID: u64 = keyFor('id');
const STOP: u64 = keyFor('stop');

export class Ollama extends OpenAiChat {
  name(): string {
    return 'ollama';
  }

  fallbackProvider(): string {
    return 'ollama';
  }

  requestType(x: Exchange): string {
    return pathEnds(x, '/api/generate') ? 'completion' : 'chat';
  }

  /** A stream unless the request says otherwise. */
  asksForStream(_x: Exchange, root: usize): bool {
    return !isKind(find(root, STREAM), JsonKind.FALSE);
  }

  hashConversation(root: usize): void {
    const prompt = findKind(root, PROMPT, JsonKind.STRING);
    if (!prompt) {
      super.hashConversation(root);
      return;
    }
    const system = findKind(root, SYSTEM, JsonKind.STRING);
    hashNumber(1);
    if (system) hashText(jsonSource(system), jsonSourceLength(system));
    hashNumber(2);
    hashText(jsonSource(prompt), jsonSourceLength(prompt));
  }

  writeRequest(root: usize): void {
    const prompt = findKind(root, PROMPT, JsonKind.STRING);
    if (!prompt) {
      super.writeRequest(root);
      return;
    }
    beginMessages();
    this.writePlain('system', find(root, SYSTEM), 0);
    this.writePlain('user', prompt, find(root, IMAGES));
    endMessages();
    this.writeParameters(root);
    closeImages();
  }

  private writePlain(role: string, text: usize, images: usize): void {
    if (!isKind(text, JsonKind.STRING) || !openMessage(0, role)) return;
    openContent();
    addPart(text);
    closeContent();
    this.noteImages(images);
    closeMessage();
  }

  private noteImages(images: usize): void {
    if (!isKind(images, JsonKind.ARRAY)) return;
    for (let n = jsonLength(images); n > 0; n--) noteImage();
  }

  protected writeMore(m: usize): void {
    this.noteImages(find(m, IMAGES));
    pairNode('name', find(m, TOOL_NAME));
  }

  protected writeParameters(root: usize): void {
    const options = find(root, keyFor('options'));
    key('parameters');
    openMap();
    pairNumber('temperature', find(options, keyFor('temperature')));
    pairNumber('top_p', find(options, keyFor('top_p')));
    pairScalar('top_k', find(options, keyFor('top_k')));
    pairNumber('max_tokens', find(options, keyFor('num_predict')));
    pairNumber('frequency_penalty', find(options, keyFor('frequency_penalty')));
    pairNumber('presence_penalty', find(options, keyFor('presence_penalty')));
    pairStops(find(options, STOP));
    pairScalar('seed', find(options, keyFor('seed')));
    pairScalar('num_ctx', find(options, keyFor('num_ctx')));
    pairScalar('think', find(root, keyFor('think')));
    pairScalar('keep_alive', find(root, keyFor('keep_alive')));
    close();
  }

  /** Results have no id but the name of their tool; its place in the history tells two of one tool apart. */
  seekResult(root: usize, index: u32): bool {
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (!list) return false;
    const end = jsonNext(list);
    let from = jsonFirst(list);
    for (let m = from; m < end; m = jsonNext(m)) if (keyOfNode(find(m, ROLE)) == ASSISTANT) from = jsonNext(m);
    let left = index;
    let ordinal: u32 = 0;
    for (let m = jsonFirst(list); m < end; m = jsonNext(m)) {
      if (keyOfNode(find(m, ROLE)) != TOOL) continue;
      ordinal++;
      let name = findKind(m, TOOL_NAME, JsonKind.STRING);
      if (!name) name = findKind(m, NAME, JsonKind.STRING);
      if (m < from || !name || left-- != 0) continue;
      Result.id = name;
      Result.ordinal = ordinal;
      Result.content = find(m, CONTENT);
      Result.name = name;
      Result.failed = false;
      Result.succeeded = false;
      return true;
    }
    return false;
  }

  readJson(x: Exchange, root: usize): void {
    readFailure(x, root);
    this.readLine(x, root);
  }

  readEvent(x: Exchange, root: usize): usize {
    readFailure(x, root);
    this.readLine(x, root);
    return 0;
  }

  private readLine(x: Exchange, root: usize): void {
    const a = x.answer;
    a.model = setText(a.model, find(root, MODEL));
    const message = findKind(root, MESSAGE, JsonKind.OBJECT);
    const choice = message != 0 || given(find(root, RESPONSE)) ? choiceOf(a, 0) : null;
    if (choice) {
      const holder = message ? message : root;
      this.append(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), find(holder, THINKING));
      this.append(x, changetype<usize>(choice) + offsetof<Choice>('text'), find(holder, message ? CONTENT : RESPONSE));
      const calls = findKind(message, TOOL_CALLS, JsonKind.ARRAY);
      if (calls) for (let c = jsonFirst(calls), end = jsonNext(calls); c < end; c = jsonNext(c)) this.addWhole(x, c);
    }
    if (!isTrue(find(root, DONE))) return;
    a.done = true;
    const reason = find(root, DONE_REASON);
    if (choice && isKind(reason, JsonKind.STRING)) choice.finish = setText(choice.finish, reason);
    take(a, Token.PROMPT, find(root, keyFor('prompt_eval_count')));
    take(a, Token.COMPLETION, find(root, keyFor('eval_count')));
    if (knowsTokens(a, Token.PROMPT) && knowsTokens(a, Token.COMPLETION)) setTokens(a, Token.TOTAL, tokensOf(a, Token.PROMPT) + tokensOf(a, Token.COMPLETION));
  }

  /** A call, which always comes whole, its arguments an object. */
  private addWhole(x: Exchange, c: usize): void {
    const body = find(c, FUNCTION);
    if (!isKind(body, JsonKind.OBJECT)) return;
    noteToken(x);
    const call = addCall(x.answer, 0, callCount(x.answer));
    if (!call) return;
    call.id = setText(call.id, find(c, ID));
    call.name = setText(call.name, find(body, NAME));
    const args = find(body, ARGUMENTS);
    if (isKind(args, JsonKind.OBJECT)) {
      call.args = bufAppend(call.args, jsonText(args), jsonRawLength(args), TEXT_LIMIT);
      if (bufFailed) x.answer.cut = true;
    } else if (isKind(args, JsonKind.STRING)) appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), args, TEXT_LIMIT);
  }

  finishReason(raw: u64, calls: bool): string {
    if (raw == STOP) return calls ? 'tool_calls' : 'stop';
    return raw == keyFor('length') ? 'length' : 'other';
  }

  isDone(x: Exchange): bool {
    return x.answer.done;
  }
}
