// Cohere's /v2/chat: requests as in OpenAI chat, answers with content blocks, and stream events with types of their own.
import { jsonFirst, JsonKind, jsonNext } from '../../lib/json';
import { addCall, Answer, Call, Choice, choiceOf, findCall, knowsTokens, noteUnknown, setText, setTokens, Token, tokensOf } from './answer';
import { Exchange } from './exchange';
import { addPart, pairNumber, pairScalar, pairStops } from './messages';
import { find, findKind, indexOfNode, isKind, keyOfNode } from './nodes';
import { OpenAiChat, readFailure, take } from './openai-chat';
import { close, key, openMap } from './out';
import { key as keyFor } from './text';

const ID: u64 = keyFor('id');
const TYPE: u64 = keyFor('type');
const TEXT: u64 = keyFor('text');
const THINKING: u64 = keyFor('thinking');
const CONTENT: u64 = keyFor('content');
const MESSAGE: u64 = keyFor('message');
const DELTA: u64 = keyFor('delta');
const INDEX: u64 = keyFor('index');
const TOOL_CALLS: u64 = keyFor('tool_calls');
const TOOL_PLAN: u64 = keyFor('tool_plan');
const FUNCTION: u64 = keyFor('function');
const ARGUMENTS: u64 = keyFor('arguments');
const FINISH_REASON: u64 = keyFor('finish_reason');
const USAGE: u64 = keyFor('usage');
const DOCUMENT: u64 = keyFor('document');
const DATA: u64 = keyFor('data');
const MESSAGE_START: u64 = keyFor('message-start');
const MESSAGE_END: u64 = keyFor('message-end');
const CONTENT_START: u64 = keyFor('content-start');
const CONTENT_DELTA: u64 = keyFor('content-delta');
const CONTENT_END: u64 = keyFor('content-end');
const PLAN_DELTA: u64 = keyFor('tool-plan-delta');
const CALL_START: u64 = keyFor('tool-call-start');
const CALL_DELTA: u64 = keyFor('tool-call-delta');
const CALL_END: u64 = keyFor('tool-call-end');
const CITATION_START: u64 = keyFor('citation-start');
const CITATION_END: u64 = keyFor('citation-end');

/** Is this the first event of such a stream? */
export function isCohereEvent(root: usize): bool {
  return keyOfNode(find(root, TYPE)) == MESSAGE_START && isKind(find(root, DELTA), JsonKind.OBJECT);
}

export class CohereChat extends OpenAiChat {
  name(): string {
    return 'cohere_chat';
  }

  fallbackProvider(): string {
    return 'cohere_compatible';
  }

  addResult(content: usize): void {
    if (!isKind(content, JsonKind.ARRAY)) {
      super.addResult(content);
      return;
    }
    for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) {
      const data = find(find(part, DOCUMENT), DATA);
      addPart(isKind(data, JsonKind.STRING) ? data : find(part, TEXT));
    }
  }

  protected addContentPart(part: usize): void {
    const data = find(find(part, DOCUMENT), DATA);
    if (isKind(data, JsonKind.STRING)) addPart(data);
    else super.addContentPart(part);
  }

  protected writeParameters(root: usize): void {
    key('parameters');
    openMap();
    pairNumber('temperature', find(root, keyFor('temperature')));
    pairNumber('top_p', find(root, keyFor('p')));
    pairScalar('top_k', find(root, keyFor('k')));
    pairNumber('max_tokens', find(root, keyFor('max_tokens')));
    pairNumber('frequency_penalty', find(root, keyFor('frequency_penalty')));
    pairNumber('presence_penalty', find(root, keyFor('presence_penalty')));
    pairStops(find(root, keyFor('stop_sequences')));
    pairScalar('seed', find(root, keyFor('seed')));
    pairScalar('safety_mode', find(root, keyFor('safety_mode')));
    close();
  }

  readJson(x: Exchange, root: usize): void {
    readFailure(x, root);
    const a = x.answer;
    a.id = setText(a.id, find(root, ID));
    const message = findKind(root, MESSAGE, JsonKind.OBJECT);
    if (!message) return;
    const choice = choiceOf(a, 0);
    if (!choice) return;
    this.append(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), find(message, TOOL_PLAN));
    const content = findKind(message, CONTENT, JsonKind.ARRAY);
    if (content) for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) this.readBlock(x, choice, b);
    this.readCalls(x, 0, message);
    this.readEnd(x, root);
    a.done = true;
  }

  /** A content block, whole or a piece of one. Gives the node of its text. */
  private readBlock(x: Exchange, choice: Choice, block: usize): usize {
    const text = find(block, TEXT);
    if (this.append(x, changetype<usize>(choice) + offsetof<Choice>('text'), text)) return text;
    const thinking = find(block, THINKING);
    if (this.append(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), thinking)) return thinking;
    if (!text && !thinking) noteUnknown(x.answer, find(block, TYPE));
    return 0;
  }

  /** What a whole answer and message-end have in common. */
  private readEnd(x: Exchange, holder: usize): void {
    const a = x.answer;
    const reason = find(holder, FINISH_REASON);
    const choice = choiceOf(a, 0);
    if (choice && isKind(reason, JsonKind.STRING)) choice.finish = setText(choice.finish, reason);
    const tokens = find(find(holder, USAGE), keyFor('tokens'));
    take(a, Token.PROMPT, find(tokens, keyFor('input_tokens')));
    take(a, Token.COMPLETION, find(tokens, keyFor('output_tokens')));
    take(a, Token.CACHED, find(find(holder, USAGE), keyFor('cached_tokens')));
    total(a);
  }

  readEvent(x: Exchange, root: usize): usize {
    const a = x.answer;
    const typeNode = find(root, TYPE);
    const type = keyOfNode(typeNode);
    const delta = find(root, DELTA);
    const message = find(delta, MESSAGE);
    if (type == MESSAGE_START) a.id = setText(a.id, find(root, ID));
    else if (type == CONTENT_START || type == CONTENT_DELTA) {
      const choice = choiceOf(a, 0);
      const content = find(message, CONTENT);
      return choice && isKind(content, JsonKind.OBJECT) ? this.readBlock(x, choice, content) : 0;
    } else if (type == PLAN_DELTA) {
      const choice = choiceOf(a, 0);
      const plan = find(message, TOOL_PLAN);
      if (choice && this.append(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), plan)) return plan;
    } else if (type == CALL_START || type == CALL_DELTA) return this.readCallEvent(x, find(message, TOOL_CALLS), indexOfNode(find(root, INDEX), 0));
    else if (type == MESSAGE_END) {
      this.readEnd(x, delta);
      a.done = true;
    } else if (type != CONTENT_END && type != CALL_END && type != CITATION_START && type != CITATION_END) {
      readFailure(x, root);
      if (!a.failed) noteUnknown(a, typeNode);
    }
    return 0;
  }

  private readCallEvent(x: Exchange, c: usize, index: u32): usize {
    choiceOf(x.answer, 0);
    let call = findCall(x.answer, 0, index);
    if (!call) call = addCall(x.answer, 0, index);
    if (!call) return 0;
    const id = find(c, ID);
    if (isKind(id, JsonKind.STRING)) {
      call.id = setText(call.id, id);
      call.type = setText(call.type, find(c, TYPE));
      this.fillCall(x, call, find(c, FUNCTION), ARGUMENTS);
      return 0;
    }
    const args = find(find(c, FUNCTION), ARGUMENTS);
    return this.append(x, changetype<usize>(call) + offsetof<Call>('args'), args) ? args : 0;
  }

  finishReason(raw: u64, _calls: bool): string {
    if (raw == keyFor('COMPLETE') || raw == keyFor('STOP_SEQUENCE')) return 'stop';
    if (raw == keyFor('MAX_TOKENS')) return 'length';
    if (raw == keyFor('TOOL_CALL')) return 'tool_calls';
    if (raw == keyFor('ERROR') || raw == keyFor('TIMEOUT')) return 'error';
    return 'other';
  }

  isDone(x: Exchange): bool {
    return x.answer.done;
  }
}

function total(a: Answer): void {
  if (knowsTokens(a, Token.PROMPT) && knowsTokens(a, Token.COMPLETION)) setTokens(a, Token.TOTAL, tokensOf(a, Token.PROMPT) + tokensOf(a, Token.COMPLETION));
}
