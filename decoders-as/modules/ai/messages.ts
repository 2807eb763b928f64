// The parts of messages, tools and parameters that formats have in common, as ai.request spells them; it never decides what a field means.
import { jsonFirst, jsonFlags, jsonKind, JsonKind, jsonLength, jsonNext, jsonText } from '../../lib/json';
import { counters } from './counters';
import { given, isKind, keyOfNode, writeNode } from './nodes';
import { addText, close, closeText, contentCut, item, key, nodeText, openArray, openMap, openText, pairBool, pairLiteral, pairUint, textLength } from './out';
import { key as keyFor } from './text';

const SYSTEM: u64 = keyFor('system');
const USER: u64 = keyFor('user');
const ASSISTANT: u64 = keyFor('assistant');
const TOOL: u64 = keyFor('tool');
const FUNCTION: u64 = keyFor('function');
const DEVELOPER: u64 = keyFor('developer');
const MODEL: u64 = keyFor('model');

/** Counts over one request, reset by beginMessages(). */
export let messageCount: u32 = 0;
export let imageCount: u32 = 0;
export let systemSeen: bool = false;
/** Images of the message at hand. */
let images: u32 = 0;
let pieces: u32 = 0;

export function beginMessages(): void {
  messageCount = 0;
  imageCount = 0;
  systemSeen = false;
  key('messages');
  openArray();
}

export function endMessages(): void {
  close();
  pairUint('messages_count', messageCount);
  pairBool('has_system_prompt', systemSeen);
}

/** The schema's role for a role as sent. */
function roleName(role: u64): string {
  if (role == USER) return 'user';
  if (role == ASSISTANT || role == MODEL) return 'assistant';
  if (role == TOOL) return 'tool';
  if (role == SYSTEM || role == DEVELOPER) return 'system';
  if (role == FUNCTION) return 'function';
  return 'user';
}

function isSchemaRole(role: u64): bool {
  return role == USER || role == ASSISTANT || role == TOOL || role == SYSTEM || role == FUNCTION;
}

/** Begins a message; false: left out, because the event is at its cap. A role that the schema lacks is kept as raw_role. */
export function openMessage(roleNode: usize, role: string): bool {
  messageCount++;
  images = 0;
  const raw = keyOfNode(roleNode);
  const name = roleNode ? roleName(raw) : role;
  if (roleNode ? raw == SYSTEM || raw == DEVELOPER : role == 'system') systemSeen = true;
  if (!item()) return false;
  openMap();
  pairLiteral('role', name);
  if (roleNode && isKind(roleNode, JsonKind.STRING) && !isSchemaRole(raw)) {
    key('raw_role');
    nodeText(roleNode);
  }
  return true;
}

export function closeMessage(): void {
  if (images) {
    pairBool('has_images', true);
    pairUint('image_count', images);
  }
  close();
}

export function noteImage(): void {
  images++;
  imageCount++;
}

export function openContent(): void {
  pieces = 0;
  key('content');
  openText();
}

/** Adds a text part; parts are joined by a line feed. */
export function addPart(node: usize): void {
  if (!isKind(node, JsonKind.STRING)) return;
  if (pieces++) addText(newLine, 1, 0);
  addText(jsonText(node), jsonLength(node), jsonFlags(node));
}
const newLine: usize = memory.data<u8>([10]);

export function closeContent(): void {
  pairUint('content_length', closeText());
}

/** Begins the text of a tool's result. */
export function openResult(): void {
  pieces = 0;
  key('result');
  openText();
}

/** Ends it. Its size is told when all of it is there. */
export function closeResult(): void {
  const bytes = textLength();
  closeText();
  if (!contentCut) pairUint('result_size_bytes', bytes);
}

/** Writes a scalar under a name, if there is one. */
export function pairScalar(name: string, node: usize): void {
  if (!given(node)) return;
  const kind = jsonKind(node);
  if (kind > JsonKind.STRING) return;
  key(name);
  writeNode(node);
}

/** Writes a number under a name, if there is one: a parameter of another kind would break the schema. */
export function pairNumber(name: string, node: usize): void {
  if (isKind(node, JsonKind.NUMBER)) pairScalar(name, node);
}

/** Stop sequences: one string or an array of them, always written as an array. */
export function pairStops(node: usize): void {
  if (isKind(node, JsonKind.STRING)) {
    key('stop');
    openArray();
    if (item()) nodeText(node);
    close();
  }
  if (!isKind(node, JsonKind.ARRAY) || !jsonLength(node)) return;
  key('stop');
  openArray();
  for (let at = jsonFirst(node), end = jsonNext(node); at < end; at = jsonNext(at)) {
    if (isKind(at, JsonKind.STRING) && item()) nodeText(at);
  }
  close();
}

export function closeImages(): void {
  pairBool('has_images', imageCount > 0);
  if (imageCount) pairUint('image_count', imageCount);
}

/** A content part of a type that is not known: it is passed over and counted. */
export function noteUnknownPart(): void {
  counters.unknownParts++;
}
