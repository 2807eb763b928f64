// Anthropic messages, and what is compatible with them: requests, answers and stream events. Blocks that are not known are passed over and counted.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonText } from '../../lib/json';
import { addCall, Answer, Call, Choice, choiceOf, findCall, knowsTokens, noteUnknown, setText, setTokens, TEXT_LIMIT, Token, tokensOf } from './answer';
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
import { find, findKind, indexOfNode, isKind, isTrue, keyOfNode, writeArguments } from './nodes';
import { hashContent, readError, take } from './openai-chat';
import { close, item, key, openArray, openMap, pairBool, pairNode } from './out';
import { Result } from './result';
import { hashNumber, key as keyFor } from './text';
import { pairToolChoice, toolsDone, toolsOpen, writeTool } from './tools';

const MESSAGES: u64 = keyFor('messages');
const MESSAGE: u64 = keyFor('message');
const SYSTEM: u64 = keyFor('system');
const ROLE: u64 = keyFor('role');
const ASSISTANT: u64 = keyFor('assistant');
const USER: u64 = keyFor('user');
const CONTENT: u64 = keyFor('content');
const TYPE: u64 = keyFor('type');
const TEXT: u64 = keyFor('text');
const IMAGE: u64 = keyFor('image');
const THINKING: u64 = keyFor('thinking');
const REDACTED_THINKING: u64 = keyFor('redacted_thinking');
const TOOL_USE: u64 = keyFor('tool_use');
const SERVER_TOOL_USE: u64 = keyFor('server_tool_use');
const MCP_TOOL_USE: u64 = keyFor('mcp_tool_use');
const TOOL_RESULT: u64 = keyFor('tool_result');
const TOOL_USE_ID: u64 = keyFor('tool_use_id');
const IS_ERROR: u64 = keyFor('is_error');
const ID: u64 = keyFor('id');
const NAME: u64 = keyFor('name');
const INPUT: u64 = keyFor('input');
const MODEL: u64 = keyFor('model');
const USAGE: u64 = keyFor('usage');
const STOP_REASON: u64 = keyFor('stop_reason');
const INDEX: u64 = keyFor('index');
const DELTA: u64 = keyFor('delta');
const CONTENT_BLOCK: u64 = keyFor('content_block');
const MESSAGE_START: u64 = keyFor('message_start');
const BLOCK_START: u64 = keyFor('content_block_start');
const BLOCK_DELTA: u64 = keyFor('content_block_delta');
const BLOCK_STOP: u64 = keyFor('content_block_stop');
const MESSAGE_DELTA: u64 = keyFor('message_delta');
const MESSAGE_STOP: u64 = keyFor('message_stop');
const PING: u64 = keyFor('ping');
const ERROR: u64 = keyFor('error');
const TEXT_DELTA: u64 = keyFor('text_delta');
const INPUT_JSON_DELTA: u64 = keyFor('input_json_delta');
const THINKING_DELTA: u64 = keyFor('thinking_delta');
const SIGNATURE_DELTA: u64 = keyFor('signature_delta');
const CITATIONS_DELTA: u64 = keyFor('citations_delta');
const PARTIAL_JSON: u64 = keyFor('partial_json');
const SERVER_NAME: u64 = keyFor('server_name');

const newLine: usize = memory.data<u8>([10]);

function isCallType(type: u64): bool {
  return type == TOOL_USE || type == SERVER_TOOL_USE || type == MCP_TOOL_USE;
}

export class AnthropicMessages extends Format {
  name(): string {
    return 'anthropic_messages';
  }

  fallbackProvider(): string {
    return 'anthropic_compatible';
  }

  hashConversation(root: usize): void {
    hashNumber(1);
    hashContent(find(root, SYSTEM));
    hashNumber(2);
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (!list) return;
    for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) {
      if (keyOfNode(find(m, ROLE)) != USER) continue;
      hashContent(find(m, CONTENT));
      return;
    }
  }

  writeRequest(root: usize): void {
    beginMessages();
    const system = find(root, SYSTEM);
    if ((isKind(system, JsonKind.STRING) || isKind(system, JsonKind.ARRAY)) && jsonLength(system)) this.writeSystem(system);
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (list) {
      for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) if (isKind(m, JsonKind.OBJECT)) this.writeMessage(m);
    }
    endMessages();
    this.writeTools(root);
    pairToolChoice(find(root, keyFor('tool_choice')));
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
      const content = findKind(m, CONTENT, JsonKind.ARRAY);
      if (!content) continue;
      for (let b = jsonFirst(content), last = jsonNext(content); b < last; b = jsonNext(b)) {
        const id = findKind(b, TOOL_USE_ID, JsonKind.STRING);
        if (!id || keyOfNode(find(b, TYPE)) != TOOL_RESULT || left-- != 0) continue;
        Result.id = id;
        Result.ordinal = 0;
        Result.content = find(b, CONTENT);
        Result.name = this.nameOfCall(find(asked, CONTENT), keyOfNode(id));
        Result.failed = isTrue(find(b, IS_ERROR));
        Result.succeeded = !Result.failed;
        return true;
      }
    }
    return false;
  }

  private nameOfCall(content: usize, id: u64): usize {
    if (!isKind(content, JsonKind.ARRAY)) return 0;
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
      if (isCallType(keyOfNode(find(b, TYPE))) && keyOfNode(find(b, ID)) == id) return findKind(b, NAME, JsonKind.STRING);
    }
    return 0;
  }

  addResult(content: usize): void {
    if (isKind(content, JsonKind.STRING)) addPart(content);
    if (!isKind(content, JsonKind.ARRAY)) return;
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) if (keyOfNode(find(b, TYPE)) == TEXT) addPart(find(b, TEXT));
  }

  private writeSystem(system: usize): void {
    if (!openMessage(0, 'system')) return;
    this.writeContent(system);
    closeMessage();
  }

  /** Text of a string or of text blocks; images are counted, blocks that have their own place are passed over. */
  private writeContent(content: usize): void {
    openContent();
    if (isKind(content, JsonKind.STRING)) addPart(content);
    else if (isKind(content, JsonKind.ARRAY)) {
      for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
        const type = keyOfNode(find(b, TYPE));
        if (type == TEXT) addPart(find(b, TEXT));
        else if (type == IMAGE) noteImage();
        else if (type != TOOL_RESULT && type != THINKING && type != REDACTED_THINKING && !isCallType(type)) noteUnknownPart();
      }
    }
    closeContent();
  }

  /** One message: the tool results in it become messages of their own, before what else it says. */
  private writeMessage(m: usize): void {
    const content = find(m, CONTENT);
    let others = true;
    let calls: u32 = 0;
    if (isKind(content, JsonKind.ARRAY) && jsonLength(content)) {
      others = false;
      for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
        const type = keyOfNode(find(b, TYPE));
        if (type == TOOL_RESULT) this.writeResult(b);
        else others = true;
        if (isCallType(type)) calls++;
      }
    }
    if (!others || !openMessage(find(m, ROLE), 'user')) return;
    this.writeContent(content);
    if (calls) this.writeCalls(content);
    closeMessage();
  }

  private writeResult(block: usize): void {
    if (!openMessage(0, 'tool')) return;
    this.writeContent(find(block, CONTENT));
    pairNode('tool_call_id', find(block, TOOL_USE_ID));
    if (isTrue(find(block, IS_ERROR))) pairBool('is_error', true);
    closeMessage();
  }

  private writeCalls(content: usize): void {
    key('tool_calls');
    openArray();
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
      const type = find(b, TYPE);
      if (!isCallType(keyOfNode(type)) || !item()) continue;
      openMap();
      pairNode('id', find(b, ID));
      pairNode('name', find(b, NAME));
      pairNode('type', type);
      const input = find(b, INPUT);
      if (isKind(input, JsonKind.OBJECT)) {
        key('arguments');
        writeArguments(input);
      } else pairNode('arguments', input);
      close();
    }
    close();
  }

  private writeTools(root: usize): void {
    const tools = findKind(root, keyFor('tools'), JsonKind.ARRAY);
    if (!tools) return;
    const description = keyFor('description');
    toolsOpen();
    for (let t = jsonFirst(tools), end = jsonNext(tools); t < end; t = jsonNext(t)) {
      if (isKind(t, JsonKind.OBJECT)) writeTool(find(t, NAME), find(t, description), find(t, TYPE));
    }
    toolsDone();
  }

  private writeParameters(root: usize): void {
    key('parameters');
    openMap();
    pairNumber('temperature', find(root, keyFor('temperature')));
    pairNumber('top_p', find(root, keyFor('top_p')));
    pairScalar('top_k', find(root, keyFor('top_k')));
    pairNumber('max_tokens', find(root, keyFor('max_tokens')));
    pairStops(find(root, keyFor('stop_sequences')));
    pairScalar('service_tier', find(root, keyFor('service_tier')));
    const thinking = findKind(root, THINKING, JsonKind.OBJECT);
    if (thinking) {
      pairScalar('thinking', find(thinking, TYPE));
      pairScalar('thinking_budget_tokens', find(thinking, keyFor('budget_tokens')));
    }
    close();
  }

  readJson(x: Exchange, root: usize): void {
    readError(x.answer, root);
    this.readMessage(x, root);
    const content = findKind(root, CONTENT, JsonKind.ARRAY);
    if (!content) return;
    let position: u32 = 0;
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) this.startBlock(x, b, position++);
    x.answer.done = true;
  }

  /** What a whole message and message_start have in common. */
  private readMessage(x: Exchange, message: usize): void {
    const a = x.answer;
    a.id = setText(a.id, find(message, ID));
    a.model = setText(a.model, find(message, MODEL));
    this.readUsage(a, find(message, USAGE));
    this.readStop(x, message);
  }

  private readStop(x: Exchange, holder: usize): void {
    const reason = find(holder, STOP_REASON);
    if (!isKind(reason, JsonKind.STRING)) return;
    const choice = choiceOf(x.answer, 0);
    if (choice) choice.finish = setText(choice.finish, reason);
  }

  /**
   * prompt_tokens counts every token of the prompt, as OpenAI does: input_tokens (which here are the uncached ones only), cache_creation_input_tokens
   * and cache_read_input_tokens together. Later numbers replace earlier ones: message_delta's are cumulative.
   */
  private readUsage(a: Answer, usage: usize): void {
    if (!isKind(usage, JsonKind.OBJECT)) return;
    take(a, Token.INPUT, find(usage, keyFor('input_tokens')));
    take(a, Token.CACHE_CREATION, find(usage, keyFor('cache_creation_input_tokens')));
    take(a, Token.CACHE_READ, find(usage, keyFor('cache_read_input_tokens')));
    take(a, Token.COMPLETION, find(usage, keyFor('output_tokens')));
    const details = find(usage, keyFor('output_tokens_details'));
    take(a, Token.REASONING, find(details, keyFor('thinking_tokens')));
    take(a, Token.REASONING, find(details, keyFor('reasoning_tokens')));
    if (knowsTokens(a, Token.CACHE_READ)) setTokens(a, Token.CACHED, tokensOf(a, Token.CACHE_READ));
    if (!knowsTokens(a, Token.INPUT)) return;
    setTokens(a, Token.PROMPT, tokensOf(a, Token.INPUT) + tokensOf(a, Token.CACHE_CREATION) + tokensOf(a, Token.CACHE_READ));
    if (knowsTokens(a, Token.COMPLETION)) setTokens(a, Token.TOTAL, tokensOf(a, Token.PROMPT) + tokensOf(a, Token.COMPLETION));
  }

  /** A block as it begins in a stream, or as a whole. */
  private startBlock(x: Exchange, block: usize, index: u32): void {
    const typeNode = find(block, TYPE);
    const type = keyOfNode(typeNode);
    if (type == TEXT) this.appendText(x, find(block, TEXT), index);
    else if (type == THINKING) this.appendThinking(x, find(block, THINKING), index);
    else if (isCallType(type)) this.startCall(x, block, typeNode, index);
    else if (type != REDACTED_THINKING) noteUnknown(x.answer, typeNode);
  }

  private startCall(x: Exchange, block: usize, typeNode: usize, index: u32): void {
    const a = x.answer;
    noteToken(x);
    choiceOf(a, 0);
    const call = addCall(a, 0, index);
    if (!call) return;
    call.id = setText(call.id, find(block, ID));
    call.name = setText(call.name, find(block, NAME));
    call.type = setText(call.type, typeNode);
    call.server = setText(call.server, find(block, SERVER_NAME));
    const input = find(block, INPUT);
    // While streaming it begins as an empty object and comes in pieces.
    if (!isKind(input, JsonKind.OBJECT) || !jsonLength(input)) return;
    call.args = bufAppend(call.args, jsonText(input), jsonRawLength(input), TEXT_LIMIT);
    if (bufFailed) a.cut = true;
  }

  private appendText(x: Exchange, node: usize, index: u32): usize {
    if (!isKind(node, JsonKind.STRING) || !jsonLength(node)) return 0;
    const choice = choiceOf(x.answer, 0);
    if (!choice) return 0;
    noteToken(x);
    if (choice.textBlock != <i32>index && bufLength(choice.text)) choice.text = bufAppend(choice.text, newLine, 1, TEXT_LIMIT);
    choice.textBlock = <i32>index;
    appendDelta(x, changetype<usize>(choice) + offsetof<Choice>('text'), node, TEXT_LIMIT);
    return node;
  }

  private appendThinking(x: Exchange, node: usize, index: u32): usize {
    if (!isKind(node, JsonKind.STRING) || !jsonLength(node)) return 0;
    const choice = choiceOf(x.answer, 0);
    if (!choice) return 0;
    noteToken(x);
    if (choice.reasoningBlock != <i32>index && bufLength(choice.reasoning)) choice.reasoning = bufAppend(choice.reasoning, newLine, 1, TEXT_LIMIT);
    choice.reasoningBlock = <i32>index;
    appendDelta(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), node, TEXT_LIMIT);
    return node;
  }

  readEvent(x: Exchange, root: usize): usize {
    const typeNode = find(root, TYPE);
    const type = keyOfNode(typeNode);
    if (type == BLOCK_DELTA) return this.readDelta(x, find(root, DELTA), indexOfNode(find(root, INDEX), 0));
    if (type == BLOCK_START) this.startBlock(x, find(root, CONTENT_BLOCK), indexOfNode(find(root, INDEX), 0));
    else if (type == MESSAGE_START) this.readMessage(x, find(root, MESSAGE));
    else if (type == MESSAGE_DELTA) {
      this.readStop(x, find(root, DELTA));
      this.readUsage(x.answer, find(root, USAGE));
    } else if (type == MESSAGE_STOP) x.answer.done = true;
    else if (!readError(x.answer, root) && type != PING && type != BLOCK_STOP) noteUnknown(x.answer, typeNode);
    return 0;
  }

  private readDelta(x: Exchange, delta: usize, index: u32): usize {
    const typeNode = find(delta, TYPE);
    const type = keyOfNode(typeNode);
    if (type == TEXT_DELTA) return this.appendText(x, find(delta, TEXT), index);
    if (type == THINKING_DELTA) return this.appendThinking(x, find(delta, THINKING), index);
    if (type == INPUT_JSON_DELTA) {
      const piece = find(delta, PARTIAL_JSON);
      let call = findCall(x.answer, 0, index);
      // Its start was lost in a gap: the arguments are still worth having.
      if (!call) call = addCall(x.answer, 0, index);
      if (!call || !isKind(piece, JsonKind.STRING) || !jsonLength(piece)) return 0;
      noteToken(x);
      appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), piece, TEXT_LIMIT);
      return piece;
    }
    if (type != SIGNATURE_DELTA && type != CITATIONS_DELTA) noteUnknown(x.answer, typeNode);
    return 0;
  }

  finishReason(raw: u64, _calls: bool): string {
    if (raw == keyFor('end_turn') || raw == keyFor('stop_sequence')) return 'stop';
    if (raw == keyFor('max_tokens')) return 'length';
    if (raw == TOOL_USE) return 'tool_calls';
    if (raw == keyFor('refusal')) return 'content_filter';
    return 'other';
  }

  isDone(x: Exchange): bool {
    return x.answer.done;
  }
}
