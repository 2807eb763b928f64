// What a model answered, filled by the formats from one JSON body or from many stream events; it knows no format and writes no event.
import { bufAppend, bufAppendText, bufAt, bufCharge, bufFree, bufLength, bufRelease, bufSet } from './buf';
import { jsonFlags, jsonKind, JsonKind, jsonLength, jsonText } from '../../lib/json';

/** Longest text or arguments of one answer. */
export const TEXT_LIMIT: u32 = 8 << 20;
/** Longest id, name, model. */
export const NAME_LIMIT: u32 = 1024;
const MAX_CHOICES: u32 = 128;
const MAX_CALLS: u32 = 1024;
/** What a Choice or Call costs beside its buffers. */
const PART_COST: u32 = 64;

/** Bits of Usage.known: which numbers were given. */
export namespace Token {
  export const PROMPT: u32 = 0;
  export const COMPLETION: u32 = 1;
  export const TOTAL: u32 = 2;
  export const CACHED: u32 = 3;
  export const REASONING: u32 = 4;
  export const INPUT: u32 = 5;
  export const CACHE_CREATION: u32 = 6;
  export const CACHE_READ: u32 = 7;
  export const CACHE_WRITE: u32 = 8;
  export const COUNT: u32 = 9;
}

@unmanaged
export class Choice {
  index: u32 = 0;
  text: usize = 0;
  reasoning: usize = 0;
  refusal: usize = 0;
  /** Finish reason as sent. */
  finish: usize = 0;
  /** Block that the last text came from: text of another one starts a new line. */
  textBlock: i32 = -1;
  reasoningBlock: i32 = -1;
}

@unmanaged
export class Call {
  choice: u32 = 0;
  /** What names the call inside its choice while it streams. */
  slot: u32 = 0;
  id: usize = 0;
  name: usize = 0;
  type: usize = 0;
  /** It goes to an MCP server. */
  mcp: bool = false;
  /** Its name, when it is told. */
  server: usize = 0;
  /** JSON text. */
  args: usize = 0;
}

@unmanaged
export class Answer {
  id: usize = 0;
  model: usize = 0;
  failed: bool = false;
  errorType: usize = 0;
  errorMessage: usize = 0;
  errorCode: usize = 0;
  /** Addresses of Choice and of Call, four bytes each. */
  choices: usize = 0;
  calls: usize = 0;
  /** Something was left out: a limit. */
  cut: bool = false;
  /** Blocks or events of a type that is not known. */
  unknown: u32 = 0;
  /** Their types, one per line. */
  rawTypes: usize = 0;
  /** The format's own sign that the stream is over. */
  done: bool = false;
  tokensKnown: u32 = 0;
  tokens: usize = 0;
}

export function newAnswer(): Answer {
  const a = new Answer();
  a.tokens = heap.alloc(Token.COUNT * 8);
  memory.fill(a.tokens, 0, Token.COUNT * 8);
  return a;
}

export function freeAnswer(a: Answer): void {
  bufRelease((choiceCount(a) + callCount(a)) * PART_COST);
  for (let i: u32 = 0; i < choiceCount(a); i++) {
    const c = choiceAt(a, i);
    bufFree(c.text);
    bufFree(c.reasoning);
    bufFree(c.refusal);
    bufFree(c.finish);
    heap.free(changetype<usize>(c));
  }
  for (let i: u32 = 0; i < callCount(a); i++) {
    const c = callAt(a, i);
    bufFree(c.id);
    bufFree(c.name);
    bufFree(c.type);
    bufFree(c.server);
    bufFree(c.args);
    heap.free(changetype<usize>(c));
  }
  bufFree(a.choices);
  bufFree(a.calls);
  bufFree(a.id);
  bufFree(a.model);
  bufFree(a.errorType);
  bufFree(a.errorMessage);
  bufFree(a.errorCode);
  bufFree(a.rawTypes);
  heap.free(a.tokens);
  heap.free(changetype<usize>(a));
}

export function choiceCount(a: Answer): u32 {
  return bufLength(a.choices) >> 2;
}

export function callCount(a: Answer): u32 {
  return bufLength(a.calls) >> 2;
}

export function choiceAt(a: Answer, i: u32): Choice {
  return changetype<Choice>(<usize>load<u32>(bufAt(a.choices) + ((<usize>i) << 2)));
}

export function callAt(a: Answer, i: u32): Call {
  return changetype<Call>(<usize>load<u32>(bufAt(a.calls) + ((<usize>i) << 2)));
}

const slotArea: usize = memory.data(4);

function remember(list: usize, address: usize): usize {
  store<u32>(slotArea, <u32>address);
  return bufAppend(list, slotArea, 4, TEXT_LIMIT);
}

/** The choice of that index, made when it is new; null past the limit. */
export function choiceOf(a: Answer, index: u32): Choice | null {
  const n = choiceCount(a);
  for (let i: u32 = 0; i < n; i++) if (choiceAt(a, i).index == index) return choiceAt(a, i);
  if (n >= MAX_CHOICES || !bufCharge(PART_COST)) {
    a.cut = true;
    return null;
  }
  const c = new Choice();
  c.index = index;
  a.choices = remember(a.choices, changetype<usize>(c));
  if (choiceCount(a) > n) return c;
  heap.free(changetype<usize>(c));
  bufRelease(PART_COST);
  a.cut = true;
  return null;
}

/** The call of that slot in that choice, or null. */
export function findCall(a: Answer, choice: u32, slot: u32): Call | null {
  for (let i = <i32>callCount(a) - 1; i >= 0; i--) {
    const c = callAt(a, i);
    if (c.slot == slot && c.choice == choice) return c;
  }
  return null;
}

/** A new call; null past the limit. */
export function addCall(a: Answer, choice: u32, slot: u32): Call | null {
  const n = callCount(a);
  if (n >= MAX_CALLS || !bufCharge(PART_COST)) {
    a.cut = true;
    return null;
  }
  const c = new Call();
  c.choice = choice;
  c.slot = slot;
  a.calls = remember(a.calls, changetype<usize>(c));
  if (callCount(a) > n) return c;
  heap.free(changetype<usize>(c));
  bufRelease(PART_COST);
  a.cut = true;
  return null;
}

/** A buffer that holds the string node's text; the old one when the node is no string. */
export function setText(buf: usize, node: usize): usize {
  if (!node || jsonKind(node) != JsonKind.STRING) return buf;
  return bufAppendText(resetBuf(buf), jsonText(node), min(jsonLength(node), NAME_LIMIT), jsonFlags(node), NAME_LIMIT * 3);
}

function resetBuf(buf: usize): usize {
  if (buf) store<u32>(buf, 0);
  return buf;
}

/** The text of a string node, or the text of a number, as a string: error codes come as both. */
export function setScalar(buf: usize, node: usize): usize {
  if (!node || jsonKind(node) != JsonKind.NUMBER) return setText(buf, node);
  return bufSet(buf, jsonText(node), jsonLength(node), NAME_LIMIT);
}

export function setTokens(a: Answer, which: u32, value: f64): void {
  store<f64>(a.tokens + ((<usize>which) << 3), value);
  a.tokensKnown |= 1 << which;
}

export function tokensOf(a: Answer, which: u32): f64 {
  return load<f64>(a.tokens + ((<usize>which) << 3));
}

export function knowsTokens(a: Answer, which: u32): bool {
  return (a.tokensKnown & (1 << which)) != 0;
}

/** Notes a block or event whose type is not known. */
export function noteUnknown(a: Answer, typeNode: usize): void {
  a.unknown++;
  if (!typeNode || jsonKind(typeNode) != JsonKind.STRING || jsonLength(typeNode) > 64) return;
  if (bufLength(a.rawTypes)) a.rawTypes = bufAppend(a.rawTypes, newLine, 1, NAME_LIMIT);
  a.rawTypes = bufAppendText(a.rawTypes, jsonText(typeNode), jsonLength(typeNode), jsonFlags(typeNode), NAME_LIMIT);
}
const newLine: usize = memory.data<u8>([10]);
