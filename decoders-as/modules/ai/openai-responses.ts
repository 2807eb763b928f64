// OpenAI Responses: items in, items out, whole or as a stream of typed events that carry positions. Items that are not known are passed over and counted.
import { jsonFirst, JsonKind, jsonLength, jsonNext, jsonRawLength, jsonText } from '../../lib/json';
import { addCall, Answer, Call, callCount, Choice, choiceCount, choiceOf, findCall, noteUnknown, setScalar, setText, TEXT_LIMIT, Token } from './answer';
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
} from './messages';
import { find, findKind, given, indexOfNode, isKind, keyOfNode } from './nodes';
import { hashContent, readError, take } from './openai-chat';
import { close, item, key, openArray, openMap, pairLiteral, pairNode } from './out';
import { Result } from './result';
import { endsWith, hashNumber, key as keyFor, startsWith } from './text';
import { pairToolChoice, toolsDone, toolsOpen, writeTool } from './tools';

const INPUT: u64 = keyFor('input');
const INSTRUCTIONS: u64 = keyFor('instructions');
const TYPE: u64 = keyFor('type');
const ROLE: u64 = keyFor('role');
const USER: u64 = keyFor('user');
const CONTENT: u64 = keyFor('content');
const TEXT: u64 = keyFor('text');
const REFUSAL: u64 = keyFor('refusal');
const MESSAGE: u64 = keyFor('message');
const REASONING: u64 = keyFor('reasoning');
const SUMMARY: u64 = keyFor('summary');
const CALL_ID: u64 = keyFor('call_id');
const ID: u64 = keyFor('id');
const NAME: u64 = keyFor('name');
const ARGUMENTS: u64 = keyFor('arguments');
const ACTION: u64 = keyFor('action');
const SERVER_LABEL: u64 = keyFor('server_label');
const OUTPUT: u64 = keyFor('output');
const INPUT_IMAGE: u64 = keyFor('input_image');
const DELTA: u64 = keyFor('delta');
const ITEM: u64 = keyFor('item');
const OUTPUT_INDEX: u64 = keyFor('output_index');
const CONTENT_INDEX: u64 = keyFor('content_index');
const SUMMARY_INDEX: u64 = keyFor('summary_index');
const RESPONSE: u64 = keyFor('response');
const STATUS: u64 = keyFor('status');
const CODE: u64 = keyFor('code');
const ERROR: u64 = keyFor('error');
const OUTPUT_TEXT_DELTA: u64 = keyFor('response.output_text.delta');
const REFUSAL_DELTA: u64 = keyFor('response.refusal.delta');
const REASONING_DELTA: u64 = keyFor('response.reasoning_text.delta');
const SUMMARY_DELTA: u64 = keyFor('response.reasoning_summary_text.delta');
const ARGUMENTS_DELTA: u64 = keyFor('response.function_call_arguments.delta');
const CUSTOM_DELTA: u64 = keyFor('response.custom_tool_call_input.delta');
const MCP_DELTA: u64 = keyFor('response.mcp_call_arguments.delta');
const ITEM_ADDED: u64 = keyFor('response.output_item.added');
const ITEM_DONE: u64 = keyFor('response.output_item.done');
const COMPLETED: u64 = keyFor('response.completed');
const INCOMPLETE: u64 = keyFor('response.incomplete');
const FAILED: u64 = keyFor('response.failed');
const FUNCTION_CALL: u64 = keyFor('function_call');
const CUSTOM_CALL: u64 = keyFor('custom_tool_call');
const MCP_CALL: u64 = keyFor('mcp_call');
const SHELL_CALL: u64 = keyFor('shell_call');
const LOCAL_SHELL_CALL: u64 = keyFor('local_shell_call');
const APPLY_PATCH_CALL: u64 = keyFor('apply_patch_call');
const COMPUTER_CALL: u64 = keyFor('computer_call');

/** Blocks of one item: more than any has. */
const BLOCKS: u32 = 4096;
const newLine: usize = memory.data<u8>([10]);

/** Items with which the model asks for a tool that the program, or an MCP server, runs. */
function isCall(type: u64): bool {
  return (
    type == FUNCTION_CALL ||
    type == CUSTOM_CALL ||
    type == MCP_CALL ||
    type == SHELL_CALL ||
    type == LOCAL_SHELL_CALL ||
    type == APPLY_PATCH_CALL ||
    type == COMPUTER_CALL
  );
}

/** function_call_output, shell_call_output and their like. */
function isCallOutput(node: usize): bool {
  return isKind(node, JsonKind.STRING) && endsWith(jsonText(node), jsonLength(node), '_call_output');
}

function isMessage(element: usize): bool {
  const type = find(element, TYPE);
  return keyOfNode(type) == MESSAGE || (!given(type) && given(find(element, ROLE)));
}

/** Name of a call item; tools that the API itself knows have none but their type. */
function nameOf(call: usize): usize {
  const name = findKind(call, NAME, JsonKind.STRING);
  return name ? name : find(call, TYPE);
}

/** The id that its output names. */
function idOf(call: usize): usize {
  const id = findKind(call, CALL_ID, JsonKind.STRING);
  return id ? id : find(call, ID);
}

/** What the tool is called with: JSON text, an object, or 0. */
function argumentsOf(call: usize): usize {
  const args = find(call, ARGUMENTS);
  if (given(args)) return args;
  const input = find(call, INPUT);
  return given(input) ? input : find(call, ACTION);
}

export class OpenAiResponses extends Format {
  name(): string {
    return 'openai_responses';
  }

  fallbackProvider(): string {
    return 'openai_compatible';
  }

  hashConversation(root: usize): void {
    hashNumber(1);
    hashContent(find(root, INSTRUCTIONS));
    hashNumber(2);
    const input = find(root, INPUT);
    if (!isKind(input, JsonKind.ARRAY)) {
      hashContent(input);
      return;
    }
    for (let m = jsonFirst(input), end = jsonNext(input); m < end; m = jsonNext(m)) {
      if (!isMessage(m) || keyOfNode(find(m, ROLE)) != USER) continue;
      hashContent(find(m, CONTENT));
      return;
    }
  }

  writeRequest(root: usize): void {
    beginMessages();
    const instructions = find(root, INSTRUCTIONS);
    if (isKind(instructions, JsonKind.STRING) && jsonLength(instructions) && openMessage(0, 'system')) this.endMessage(instructions);
    const input = find(root, INPUT);
    if (isKind(input, JsonKind.STRING)) {
      if (openMessage(0, 'user')) this.endMessage(input);
    } else if (isKind(input, JsonKind.ARRAY)) {
      for (let m = jsonFirst(input), end = jsonNext(input); m < end; m = jsonNext(m)) if (isKind(m, JsonKind.OBJECT)) this.writeItem(m);
    }
    endMessages();
    this.writeTools(root);
    pairToolChoice(find(root, keyFor('tool_choice')));
    this.writeParameters(root);
    closeImages();
  }

  private writeItem(element: usize): void {
    const type = find(element, TYPE);
    if (isMessage(element)) {
      if (openMessage(find(element, ROLE), 'user')) this.endMessage(find(element, CONTENT));
    } else if (isCall(keyOfNode(type))) {
      if (openMessage(0, 'assistant')) this.writeCall(element);
    } else if (isCallOutput(type)) {
      if (!openMessage(0, 'tool')) return;
      openContent();
      this.addResult(find(element, OUTPUT));
      closeContent();
      pairNode('tool_call_id', find(element, CALL_ID));
      closeMessage();
    } else if (keyOfNode(type) != REASONING) noteUnknownPart();
  }

  /** Content, a string or parts, and the end of the message. */
  private endMessage(content: usize): void {
    openContent();
    if (isKind(content, JsonKind.STRING)) addPart(content);
    else if (isKind(content, JsonKind.ARRAY)) {
      for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) {
        if (keyOfNode(find(part, TYPE)) == INPUT_IMAGE) noteImage();
        else if (given(find(part, TEXT))) addPart(find(part, TEXT));
        else if (given(find(part, REFUSAL))) addPart(find(part, REFUSAL));
        else noteUnknownPart();
      }
    }
    closeContent();
    closeMessage();
  }

  private writeCall(call: usize): void {
    key('tool_calls');
    openArray();
    if (item()) {
      openMap();
      pairNode('id', idOf(call));
      pairNode('name', nameOf(call));
      pairNode('type', find(call, TYPE));
      pairArgumentsOf(argumentsOf(call));
      close();
    }
    close();
    closeMessage();
  }

  private writeTools(root: usize): void {
    const tools = findKind(root, keyFor('tools'), JsonKind.ARRAY);
    if (!tools) return;
    const description = keyFor('description');
    toolsOpen();
    for (let t = jsonFirst(tools), end = jsonNext(tools); t < end; t = jsonNext(t)) {
      if (isKind(t, JsonKind.OBJECT)) writeTool(nameOf(t), find(t, description), find(t, TYPE));
    }
    toolsDone();
  }

  private writeParameters(root: usize): void {
    key('parameters');
    openMap();
    pairNumber('temperature', find(root, keyFor('temperature')));
    pairNumber('top_p', find(root, keyFor('top_p')));
    pairNumber('max_tokens', find(root, keyFor('max_output_tokens')));
    pairScalar('reasoning_effort', find(find(root, REASONING), keyFor('effort')));
    pairScalar('verbosity', find(find(root, TEXT), keyFor('verbosity')));
    pairScalar('parallel_tool_calls', find(root, keyFor('parallel_tool_calls')));
    pairScalar('service_tier', find(root, keyFor('service_tier')));
    pairScalar('previous_response_id', find(root, keyFor('previous_response_id')));
    pairScalar('store', find(root, keyFor('store')));
    close();
  }

  /** Calls and their outputs may alternate: what is new stands after the last message. */
  seekResult(root: usize, index: u32): bool {
    const input = findKind(root, INPUT, JsonKind.ARRAY);
    if (!input) return false;
    const end = jsonNext(input);
    let from = jsonFirst(input);
    for (let m = from; m < end; m = jsonNext(m)) if (isMessage(m)) from = jsonNext(m);
    let left = index;
    for (let m = from; m < end; m = jsonNext(m)) {
      const id = findKind(m, CALL_ID, JsonKind.STRING);
      if (!id || !isCallOutput(find(m, TYPE)) || left-- != 0) continue;
      Result.id = id;
      Result.ordinal = 0;
      Result.content = find(m, OUTPUT);
      Result.name = this.nameOfCall(input, keyOfNode(id));
      Result.failed = false;
      Result.succeeded = false;
      return true;
    }
    return false;
  }

  private nameOfCall(input: usize, id: u64): usize {
    for (let m = jsonFirst(input), end = jsonNext(input); m < end; m = jsonNext(m)) {
      if (isCall(keyOfNode(find(m, TYPE))) && keyOfNode(idOf(m)) == id) return nameOf(m);
    }
    return 0;
  }

  addResult(content: usize): void {
    if (isKind(content, JsonKind.STRING)) addPart(content);
    if (!isKind(content, JsonKind.ARRAY)) return;
    for (let part = jsonFirst(content), end = jsonNext(content); part < end; part = jsonNext(part)) addPart(find(part, TEXT));
  }

  readJson(x: Exchange, root: usize): void {
    readError(x.answer, root);
    this.readResponse(x, root);
  }

  /** A response object, whole or as it stands: what streamed events brought already is not taken again. */
  private readResponse(x: Exchange, response: usize): void {
    const a = x.answer;
    a.id = setText(a.id, find(response, ID));
    a.model = setText(a.model, find(response, keyFor('model')));
    this.readUsage(a, findKind(response, keyFor('usage'), JsonKind.OBJECT));
    const status = findKind(response, STATUS, JsonKind.STRING);
    if (!status || keyOfNode(status) == keyFor('in_progress') || keyOfNode(status) == keyFor('queued')) return;
    const output = findKind(response, OUTPUT, JsonKind.ARRAY);
    if (output && !choiceCount(a) && !callCount(a)) {
      let position: u32 = 0;
      for (let m = jsonFirst(output), end = jsonNext(output); m < end; m = jsonNext(m)) this.readItem(x, m, position++, true);
    }
    const choice = choiceOf(a, 0);
    const reason = find(find(response, keyFor('incomplete_details')), keyFor('reason'));
    if (choice) choice.finish = setText(choice.finish, isKind(reason, JsonKind.STRING) ? reason : status);
    a.done = true;
  }

  private readUsage(a: Answer, usage: usize): void {
    take(a, Token.PROMPT, find(usage, keyFor('input_tokens')));
    take(a, Token.COMPLETION, find(usage, keyFor('output_tokens')));
    take(a, Token.TOTAL, find(usage, keyFor('total_tokens')));
    const details = find(usage, keyFor('input_tokens_details'));
    take(a, Token.CACHED, find(details, keyFor('cached_tokens')));
    take(a, Token.CACHE_WRITE, find(details, keyFor('cache_write_tokens')));
    take(a, Token.REASONING, find(find(usage, keyFor('output_tokens_details')), keyFor('reasoning_tokens')));
  }

  /** An item of the output. @param whole false: it has just begun, and its text comes in pieces. */
  private readItem(x: Exchange, element: usize, index: u32, whole: bool): void {
    const typeNode = find(element, TYPE);
    const type = keyOfNode(typeNode);
    if (isCall(type)) this.readCall(x, element, typeNode, index);
    else if (type == MESSAGE) {
      if (whole) this.readParts(x, find(element, CONTENT), index, offsetof<Choice>('text'));
    } else if (type == REASONING) {
      if (!whole) return;
      this.readParts(x, find(element, SUMMARY), index, offsetof<Choice>('reasoning'));
      this.readParts(x, find(element, CONTENT), index, offsetof<Choice>('reasoning'));
    } else if (whole) noteUnknown(x.answer, typeNode);
  }

  private readParts(x: Exchange, parts: usize, index: u32, target: usize): void {
    if (!isKind(parts, JsonKind.ARRAY)) return;
    let block: u32 = 0;
    for (let part = jsonFirst(parts), end = jsonNext(parts); part < end; part = jsonNext(part)) {
      const refusal = find(part, REFUSAL);
      if (isKind(refusal, JsonKind.STRING)) this.append(x, refusal, index * BLOCKS + block, offsetof<Choice>('refusal'));
      else this.append(x, find(part, TEXT), index * BLOCKS + block, target);
      block++;
    }
  }

  private readCall(x: Exchange, element: usize, typeNode: usize, index: u32): void {
    noteToken(x);
    choiceOf(x.answer, 0);
    let call = findCall(x.answer, 0, index);
    if (!call) call = addCall(x.answer, 0, index);
    if (!call) return;
    call.id = setText(call.id, idOf(element));
    call.name = setText(call.name, nameOf(element));
    call.type = setText(call.type, typeNode);
    call.server = setText(call.server, find(element, SERVER_LABEL));
    const args = argumentsOf(element);
    if (bufLength(call.args)) return;
    if (isKind(args, JsonKind.STRING)) appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), args, TEXT_LIMIT);
    else if (isKind(args, JsonKind.OBJECT)) {
      call.args = bufAppend(call.args, jsonText(args), jsonRawLength(args), TEXT_LIMIT);
      if (bufFailed) x.answer.cut = true;
    }
  }

  /** Adds text to a part of the answer; text of another block begins a new line. */
  private append(x: Exchange, node: usize, block: u32, target: usize): void {
    if (!isKind(node, JsonKind.STRING) || !jsonLength(node)) return;
    const choice = choiceOf(x.answer, 0);
    if (!choice) return;
    noteToken(x);
    const reasoning = target == offsetof<Choice>('reasoning');
    const last = reasoning ? choice.reasoningBlock : choice.textBlock;
    const at = changetype<usize>(choice) + target;
    if (last != <i32>block && bufLength(load<usize>(at))) store<usize>(at, bufAppend(load<usize>(at), newLine, 1, TEXT_LIMIT));
    if (reasoning) choice.reasoningBlock = <i32>block;
    else choice.textBlock = <i32>block;
    appendDelta(x, at, node, TEXT_LIMIT);
  }

  /** Every event has a number of its own, so none is like the one before but for its text: the short way is never taken. */
  readEvent(x: Exchange, root: usize): usize {
    const typeNode = find(root, TYPE);
    const type = keyOfNode(typeNode);
    const index = indexOfNode(find(root, OUTPUT_INDEX), 0);
    const block = index * BLOCKS + indexOfNode(find(root, CONTENT_INDEX), indexOfNode(find(root, SUMMARY_INDEX), 0));
    const delta = find(root, DELTA);
    if (type == OUTPUT_TEXT_DELTA) this.append(x, delta, block, offsetof<Choice>('text'));
    else if (type == REFUSAL_DELTA) this.append(x, delta, block, offsetof<Choice>('refusal'));
    else if (type == REASONING_DELTA || type == SUMMARY_DELTA) this.append(x, delta, block, offsetof<Choice>('reasoning'));
    else if (type == ARGUMENTS_DELTA || type == CUSTOM_DELTA || type == MCP_DELTA) this.addArguments(x, delta, index);
    else if (type == ITEM_ADDED) this.readItem(x, find(root, ITEM), index, false);
    else if (type == ITEM_DONE) this.endItem(x, find(root, ITEM), index);
    else if (type == COMPLETED || type == INCOMPLETE || type == FAILED) {
      const response = find(root, RESPONSE);
      readError(x.answer, response);
      this.readResponse(x, response);
    } else if (given(find(root, RESPONSE))) this.readResponse(x, find(root, RESPONSE));
    else if (type == ERROR) this.readFailure(x.answer, root);
    else if (!isKind(typeNode, JsonKind.STRING) || !startsWith(jsonText(typeNode), jsonLength(typeNode), 'response.')) {
      if (!readError(x.answer, root)) noteUnknown(x.answer, typeNode);
    }
    return 0;
  }

  /** The event `error` has its fields beside its type. */
  private readFailure(a: Answer, root: usize): void {
    if (readError(a, root)) return;
    a.failed = true;
    a.errorType = setScalar(a.errorType, find(root, CODE));
    a.errorCode = setScalar(a.errorCode, find(root, CODE));
    a.errorMessage = setText(a.errorMessage, find(root, MESSAGE));
  }

  private addArguments(x: Exchange, piece: usize, index: u32): void {
    let call = findCall(x.answer, 0, index);
    // Its start was lost in a gap: the arguments are still worth having.
    if (!call) call = addCall(x.answer, 0, index);
    if (!call || !isKind(piece, JsonKind.STRING) || !jsonLength(piece)) return;
    noteToken(x);
    appendDelta(x, changetype<usize>(call) + offsetof<Call>('args'), piece, TEXT_LIMIT);
  }

  /** An item is whole: a call names itself and has all its arguments; text has come in pieces, and what is no text is only now worth counting. */
  private endItem(x: Exchange, element: usize, index: u32): void {
    const typeNode = find(element, TYPE);
    const type = keyOfNode(typeNode);
    if (isCall(type)) this.readCall(x, element, typeNode, index);
    else if (type != MESSAGE && type != REASONING) noteUnknown(x.answer, typeNode);
  }

  finishReason(raw: u64, calls: bool): string {
    if (raw == keyFor('completed')) return calls ? 'tool_calls' : 'stop';
    if (raw == keyFor('max_output_tokens')) return 'length';
    if (raw == keyFor('content_filter')) return 'content_filter';
    if (raw == keyFor('failed')) return 'error';
    return 'other';
  }

  isDone(x: Exchange): bool {
    return x.answer.done;
  }
}
