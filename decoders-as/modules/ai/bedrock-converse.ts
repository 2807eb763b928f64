// Amazon Bedrock's Converse, and the bodies of Nova that have its shape: requests, answers and the events of its streams, whose names are beside their data.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonText } from '../../lib/json';
import { wideFlag } from '../../lib/json-text';
import {
  addCall,
  Call,
  Choice,
  choiceAt,
  choiceCount,
  choiceOf,
  findCall,
  knowsTokens,
  noteUnknown,
  setText,
  setTokens,
  TEXT_LIMIT,
  Token,
  tokensOf,
} from './answer';
import { bufAppend, bufFailed, bufLength } from './buf';
import { noteToken } from './clock';
import { appendDelta } from './delta';
import { Exchange } from './exchange';
import { Format, StreamEvent } from './format';
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
  pairStops,
} from './messages';
import { find, findKind, given, indexOfNode, isKind, keyOfNode, writeArguments } from './nodes';
import { hashContent, readFailure, take } from './openai-chat';
import { addText, close, item, key, openArray, openMap, pairBool, pairLiteral, pairNode } from './out';
import { Result } from './result';
import { hashNumber, key as keyFor } from './text';
import { toolsDone, toolsOpen, writeTool } from './tools';

const MESSAGES: u64 = keyFor('messages');
const SYSTEM: u64 = keyFor('system');
const ROLE: u64 = keyFor('role');
const USER: u64 = keyFor('user');
const ASSISTANT: u64 = keyFor('assistant');
const CONTENT: u64 = keyFor('content');
const TEXT: u64 = keyFor('text');
const JSON_KEY: u64 = keyFor('json');
const IMAGE: u64 = keyFor('image');
const TOOL_USE: u64 = keyFor('toolUse');
const TOOL_RESULT: u64 = keyFor('toolResult');
const TOOL_USE_ID: u64 = keyFor('toolUseId');
const REASONING: u64 = keyFor('reasoningContent');
const REASONING_TEXT: u64 = keyFor('reasoningText');
const CACHE_POINT: u64 = keyFor('cachePoint');
const NAME: u64 = keyFor('name');
const INPUT: u64 = keyFor('input');
const STATUS: u64 = keyFor('status');
const ERROR: u64 = keyFor('error');
const OUTPUT: u64 = keyFor('output');
const MESSAGE: u64 = keyFor('message');
const STOP_REASON: u64 = keyFor('stopReason');
const USAGE: u64 = keyFor('usage');
const DELTA: u64 = keyFor('delta');
const START: u64 = keyFor('start');
const INDEX: u64 = keyFor('contentBlockIndex');
const MESSAGE_START: u64 = keyFor('messageStart');
const BLOCK_START: u64 = keyFor('contentBlockStart');
const BLOCK_DELTA: u64 = keyFor('contentBlockDelta');
const BLOCK_STOP: u64 = keyFor('contentBlockStop');
const MESSAGE_STOP: u64 = keyFor('messageStop');
const METADATA: u64 = keyFor('metadata');
const INFERENCE: u64 = keyFor('inferenceConfig');
const TOOL_CONFIG: u64 = keyFor('toolConfig');
const TOOL_SPEC: u64 = keyFor('toolSpec');

const newLine: usize = memory.data<u8>([10]);

/** Messages whose content is an array of blocks that are named by their one key, as no other format has them. */
export function isConverse(root: usize): bool {
  if (given(find(root, INFERENCE)) || given(find(root, TOOL_CONFIG))) return true;
  const list = findKind(root, MESSAGES, JsonKind.ARRAY);
  const content = list && jsonLength(list) ? findKind(jsonFirst(list), CONTENT, JsonKind.ARRAY) : 0;
  if (!content || !jsonLength(content)) return false;
  const block = jsonFirst(content);
  return isKind(block, JsonKind.OBJECT) && !given(find(block, keyFor('type'))) && (given(find(block, TEXT)) || given(find(block, IMAGE)));
}

/** Is it a whole answer of this format? */
export function isConverseAnswer(root: usize): bool {
  return isKind(find(find(root, OUTPUT), MESSAGE), JsonKind.OBJECT) && given(find(root, STOP_REASON));
}

/** Is the stream event at hand, or what is inside it, one of this format? */
export function isConverseEvent(root: usize): bool {
  const name = StreamEvent.name;
  if (name == MESSAGE_START || name == BLOCK_START || name == BLOCK_DELTA || name == BLOCK_STOP || name == MESSAGE_STOP) return true;
  return given(find(root, MESSAGE_START)) || given(find(root, BLOCK_DELTA));
}

export class BedrockConverse extends Format {
  name(): string {
    return 'bedrock_converse';
  }

  fallbackProvider(): string {
    return 'aws_bedrock';
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
    const system = findKind(root, SYSTEM, JsonKind.ARRAY);
    if (system && jsonLength(system) && openMessage(0, 'system')) {
      this.writeContent(system);
      closeMessage();
    }
    const list = findKind(root, MESSAGES, JsonKind.ARRAY);
    if (list) {
      for (let m = jsonFirst(list), end = jsonNext(list); m < end; m = jsonNext(m)) if (isKind(m, JsonKind.OBJECT)) this.writeMessage(m);
    }
    endMessages();
    this.writeTools(root);
    this.writeParameters(root);
    closeImages();
  }

  private writeContent(content: usize): void {
    openContent();
    if (isKind(content, JsonKind.STRING)) addPart(content);
    if (isKind(content, JsonKind.ARRAY)) {
      for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
        const text = find(b, TEXT);
        if (isKind(text, JsonKind.STRING)) addPart(text);
        else if (given(find(b, IMAGE))) noteImage();
        else if (!given(find(b, TOOL_USE)) && !given(find(b, TOOL_RESULT)) && !given(find(b, REASONING)) && !given(find(b, CACHE_POINT))) noteUnknownPart();
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
        const result = findKind(b, TOOL_RESULT, JsonKind.OBJECT);
        if (result) this.writeResult(result);
        else others = true;
        if (given(find(b, TOOL_USE))) calls++;
      }
    }
    if (!others || !openMessage(find(m, ROLE), 'user')) return;
    this.writeContent(content);
    if (calls) this.writeCalls(content);
    closeMessage();
  }

  private writeResult(result: usize): void {
    if (!openMessage(0, 'tool')) return;
    openContent();
    this.addResult(find(result, CONTENT));
    closeContent();
    pairNode('tool_call_id', find(result, TOOL_USE_ID));
    if (keyOfNode(find(result, STATUS)) == ERROR) pairBool('is_error', true);
    closeMessage();
  }

  private writeCalls(content: usize): void {
    key('tool_calls');
    openArray();
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
      const use = findKind(b, TOOL_USE, JsonKind.OBJECT);
      if (!use || !item()) continue;
      openMap();
      pairNode('id', find(use, TOOL_USE_ID));
      pairNode('name', find(use, NAME));
      pairLiteral('type', 'function');
      const input = find(use, INPUT);
      if (isKind(input, JsonKind.OBJECT)) {
        key('arguments');
        writeArguments(input);
      } else pairNode('arguments', input);
      close();
    }
    close();
  }

  private writeTools(root: usize): void {
    const config = find(root, TOOL_CONFIG);
    const tools = findKind(config, keyFor('tools'), JsonKind.ARRAY);
    if (!tools) return;
    toolsOpen();
    for (let t = jsonFirst(tools), end = jsonNext(tools); t < end; t = jsonNext(t)) {
      const spec = findKind(t, TOOL_SPEC, JsonKind.OBJECT);
      if (spec) writeTool(find(spec, NAME), find(spec, keyFor('description')), 0);
    }
    toolsDone();
    const choice = findKind(config, keyFor('toolChoice'), JsonKind.OBJECT);
    if (choice) pairLiteral('tool_choice', given(find(choice, keyFor('auto'))) ? 'auto' : given(find(choice, keyFor('any'))) ? 'required' : 'specific');
  }

  private writeParameters(root: usize): void {
    const config = find(root, INFERENCE);
    key('parameters');
    openMap();
    pairNumber('temperature', find(config, keyFor('temperature')));
    pairNumber('top_p', find(config, keyFor('topP')));
    pairNumber('max_tokens', find(config, keyFor('maxTokens')));
    pairStops(find(config, keyFor('stopSequences')));
    close();
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
        const result = findKind(b, TOOL_RESULT, JsonKind.OBJECT);
        const id = findKind(result, TOOL_USE_ID, JsonKind.STRING);
        if (!id || left-- != 0) continue;
        Result.id = id;
        Result.ordinal = 0;
        Result.content = find(result, CONTENT);
        Result.name = this.nameOfCall(find(asked, CONTENT), keyOfNode(id));
        const status = find(result, STATUS);
        Result.failed = keyOfNode(status) == ERROR;
        Result.succeeded = isKind(status, JsonKind.STRING) && !Result.failed;
        return true;
      }
    }
    return false;
  }

  private nameOfCall(content: usize, id: u64): usize {
    if (!isKind(content, JsonKind.ARRAY)) return 0;
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
      const use = findKind(b, TOOL_USE, JsonKind.OBJECT);
      if (use && keyOfNode(find(use, TOOL_USE_ID)) == id) return findKind(use, NAME, JsonKind.STRING);
    }
    return 0;
  }

  /** Blocks of text, or of JSON, which is given as its text. */
  addResult(content: usize): void {
    if (!isKind(content, JsonKind.ARRAY)) return;
    for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) {
      const json = find(b, JSON_KEY);
      if (isKind(json, JsonKind.OBJECT) || isKind(json, JsonKind.ARRAY))
        addText(jsonText(json), jsonRawLength(json), wideFlag(jsonText(json), jsonRawLength(json)));
      else addPart(find(b, TEXT));
    }
  }

  readJson(x: Exchange, root: usize): void {
    readFailure(x, root);
    const a = x.answer;
    const content = findKind(find(find(root, OUTPUT), MESSAGE), CONTENT, JsonKind.ARRAY);
    if (content) {
      let index: u32 = 0;
      for (let b = jsonFirst(content), end = jsonNext(content); b < end; b = jsonNext(b)) this.readBlock(x, b, index++);
    }
    this.readStop(x, root);
    this.readUsage(x, root);
    if (given(find(root, STOP_REASON))) a.done = true;
  }

  /** A content block that is whole. */
  private readBlock(x: Exchange, block: usize, index: u32): void {
    const use = findKind(block, TOOL_USE, JsonKind.OBJECT);
    if (use) {
      const call = this.startCall(x, use, index);
      const input = find(use, INPUT);
      if (call && isKind(input, JsonKind.OBJECT)) {
        call.args = bufAppend(call.args, jsonText(input), jsonRawLength(input), TEXT_LIMIT);
        if (bufFailed) x.answer.cut = true;
      }
      return;
    }
    const reasoning = find(find(find(block, REASONING), REASONING_TEXT), TEXT);
    if (reasoning) this.appendReasoning(x, reasoning, index);
    else if (!this.appendText(x, find(block, TEXT), index)) noteUnknown(x.answer, 0);
  }

  private startCall(x: Exchange, use: usize, index: u32): Call | null {
    noteToken(x);
    choiceOf(x.answer, 0);
    const call = addCall(x.answer, 0, index);
    if (!call) return null;
    call.id = setText(call.id, find(use, TOOL_USE_ID));
    call.name = setText(call.name, find(use, NAME));
    return call;
  }

  private appendText(x: Exchange, node: usize, index: u32): usize {
    const choice = choiceOf(x.answer, 0);
    if (!choice || !isKind(node, JsonKind.STRING) || !jsonLength(node)) return 0;
    noteToken(x);
    if (choice.textBlock != <i32>index && bufLength(choice.text)) choice.text = bufAppend(choice.text, newLine, 1, TEXT_LIMIT);
    choice.textBlock = <i32>index;
    appendDelta(x, changetype<usize>(choice) + offsetof<Choice>('text'), node, TEXT_LIMIT);
    return node;
  }

  private appendReasoning(x: Exchange, node: usize, index: u32): usize {
    const choice = choiceOf(x.answer, 0);
    if (!choice || !isKind(node, JsonKind.STRING) || !jsonLength(node)) return 0;
    noteToken(x);
    if (choice.reasoningBlock != <i32>index && bufLength(choice.reasoning)) choice.reasoning = bufAppend(choice.reasoning, newLine, 1, TEXT_LIMIT);
    choice.reasoningBlock = <i32>index;
    appendDelta(x, changetype<usize>(choice) + offsetof<Choice>('reasoning'), node, TEXT_LIMIT);
    return node;
  }

  private readStop(x: Exchange, holder: usize): void {
    const reason = find(holder, STOP_REASON);
    const choice = isKind(reason, JsonKind.STRING) ? choiceOf(x.answer, 0) : null;
    if (choice) choice.finish = setText(choice.finish, reason);
  }

  private readUsage(x: Exchange, holder: usize): void {
    const a = x.answer;
    const usage = find(holder, USAGE);
    take(a, Token.INPUT, find(usage, keyFor('inputTokens')));
    take(a, Token.COMPLETION, find(usage, keyFor('outputTokens')));
    take(a, Token.CACHE_READ, find(usage, keyFor('cacheReadInputTokens')));
    take(a, Token.CACHE_CREATION, find(usage, keyFor('cacheWriteInputTokens')));
    if (knowsTokens(a, Token.CACHE_READ)) setTokens(a, Token.CACHED, tokensOf(a, Token.CACHE_READ));
    if (!knowsTokens(a, Token.INPUT)) return;
    // As with Anthropic, the input is what was not cached.
    setTokens(a, Token.PROMPT, tokensOf(a, Token.INPUT) + tokensOf(a, Token.CACHE_CREATION) + tokensOf(a, Token.CACHE_READ));
    if (knowsTokens(a, Token.COMPLETION)) setTokens(a, Token.TOTAL, tokensOf(a, Token.PROMPT) + tokensOf(a, Token.COMPLETION));
  }

  readEvent(x: Exchange, root: usize): usize {
    const a = x.answer;
    let name = StreamEvent.name;
    let event = root;
    // Without a name beside it an event is an object whose one key is its name.
    if (name == 0 && isKind(root, JsonKind.OBJECT) && jsonLength(root)) {
      name = keyOfNode(jsonFirst(root));
      event = find(root, name);
    }
    const index = indexOfNode(find(event, INDEX), 0);
    if (name == BLOCK_DELTA) return this.readDelta(x, find(event, DELTA), index);
    if (name == BLOCK_START) {
      const use = findKind(find(event, START), TOOL_USE, JsonKind.OBJECT);
      if (use) this.startCall(x, use, index);
    } else if (name == MESSAGE_STOP) {
      this.readStop(x, event);
    } else if (name == METADATA) {
      this.readUsage(x, event);
      a.done = true;
    } else if (name != MESSAGE_START && name != BLOCK_STOP) noteUnknown(a, 0);
    return 0;
  }

  private readDelta(x: Exchange, delta: usize, index: u32): usize {
    const text = find(delta, TEXT);
    if (text) return this.appendText(x, text, index);
    const reasoning = find(delta, REASONING);
    if (reasoning) return this.appendReasoning(x, find(reasoning, TEXT), index);
    const piece = find(find(delta, TOOL_USE), INPUT);
    if (!isKind(piece, JsonKind.STRING)) {
      noteUnknown(x.answer, 0);
      return 0;
    }
    let call = findCall(x.answer, 0, index);
    if (!call) call = addCall(x.answer, 0, index);
    if (!call || !jsonLength(piece)) return 0;
    noteToken(x);
    appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), piece, TEXT_LIMIT);
    return piece;
  }

  finishReason(raw: u64, _calls: bool): string {
    if (raw == keyFor('end_turn') || raw == keyFor('stop_sequence')) return 'stop';
    if (raw == keyFor('max_tokens') || raw == keyFor('model_context_window_exceeded')) return 'length';
    if (raw == keyFor('tool_use')) return 'tool_calls';
    if (raw == keyFor('guardrail_intervened') || raw == keyFor('content_filtered')) return 'content_filter';
    return 'other';
  }

  /** The reason of the end is as good as the last event, which only has the usage. */
  isDone(x: Exchange): bool {
    const a = x.answer;
    return a.done || (choiceCount(a) > 0 && bufLength(choiceAt(a, 0).finish) > 0);
  }
}
