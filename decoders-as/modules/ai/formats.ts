// The wire formats that exist, and which of them a body is; adding one is a line in each function here and a file of its own.
import { jsonFirst, JsonKind, jsonLength } from '../../lib/json';
import { AnthropicMessages } from './anthropic-messages';
import { bufAt, bufLength } from './buf';
import { Exchange } from './exchange';
import { Format, FormatId } from './format';
import { Gemini, isGemini, isGeminiAnswer } from './gemini';
import { findKind, find, given, isKind, keyOfNode } from './nodes';
import { OpenAiChat } from './openai-chat';
import { OpenAiResponses } from './openai-responses';
import { endsWith, key as keyFor } from './text';

const openAiChat: Format = new OpenAiChat();
const anthropicMessages: Format = new AnthropicMessages();
const openAiResponses: Format = new OpenAiResponses();
const gemini: Format = new Gemini();

const MESSAGES: u64 = keyFor('messages');
const MODEL: u64 = keyFor('model');
const ROLE: u64 = keyFor('role');
const SYSTEM: u64 = keyFor('system');
const ANTHROPIC_VERSION: u64 = keyFor('anthropic_version');
const OBJECT: u64 = keyFor('object');
const TYPE: u64 = keyFor('type');
const MESSAGE: u64 = keyFor('message');
const MESSAGE_START: u64 = keyFor('message_start');
const COMPLETION: u64 = keyFor('chat.completion');
const CHUNK: u64 = keyFor('chat.completion.chunk');
const CONTENT: u64 = keyFor('content');
const CHOICES: u64 = keyFor('choices');
const INPUT: u64 = keyFor('input');
const INSTRUCTIONS: u64 = keyFor('instructions');
const RESPONSE: u64 = keyFor('response');
const OUTPUT: u64 = keyFor('output');

export function formatOf(id: u32): Format {
  if (id == FormatId.ANTHROPIC_MESSAGES) return anthropicMessages;
  if (id == FormatId.GEMINI) return gemini;
  return id == FormatId.OPENAI_RESPONSES ? openAiResponses : openAiChat;
}

function pathEnds(x: Exchange, tail: string): bool {
  return bufLength(x.path) > 0 && endsWith(bufAt(x.path), bufLength(x.path), tail);
}

/** Paths of AI hosts, and of formats, that are no chat request of a format here. */
export function isForeignPath(x: Exchange): bool {
  return (
    pathEnds(x, '/count_tokens') ||
    pathEnds(x, ':counttokens') ||
    pathEnds(x, '/embeddings') ||
    pathEnds(x, '/moderations') ||
    pathEnds(x, '/batches') ||
    pathEnds(x, '/api/chat') ||
    pathEnds(x, '/v2/chat') ||
    pathEnds(x, '/images/generations') ||
    pathEnds(x, '/files')
  );
}

/** @param broken the body is known not to be whole, so that a missing field proves nothing. */
export function formatOfRequest(x: Exchange, root: usize, broken: bool): u32 {
  // A body of embeddings has the same shape: only the path tells.
  if (pathEnds(x, '/responses')) return broken || given(find(root, INPUT)) || given(find(root, INSTRUCTIONS)) ? FormatId.OPENAI_RESPONSES : FormatId.NONE;
  if (isGemini(root) || (broken && (pathEnds(x, ':generatecontent') || pathEnds(x, ':streamgeneratecontent')))) return FormatId.GEMINI;
  const messages = findKind(root, MESSAGES, JsonKind.ARRAY);
  const openAiPath = pathEnds(x, '/chat/completions');
  const anthropicPath = pathEnds(x, '/messages');
  if (!messages && !(broken && (openAiPath || anthropicPath))) return FormatId.NONE;
  if (openAiPath) return FormatId.OPENAI_CHAT;
  if (anthropicPath || x.anthropicVersion) return FormatId.ANTHROPIC_MESSAGES;
  const anthropicBody = given(find(root, ANTHROPIC_VERSION));
  if (!anthropicBody && !isKind(find(root, MODEL), JsonKind.STRING) && !broken) return FormatId.NONE;
  if (!jsonLength(messages) || !isKind(find(jsonFirst(messages), ROLE), JsonKind.STRING)) return FormatId.NONE;
  return anthropicBody || given(find(root, SYSTEM)) ? FormatId.ANTHROPIC_MESSAGES : FormatId.OPENAI_CHAT;
}

/** Format of a response, or of its first stream event, whose request was lost. */
export function formatOfResponse(root: usize): u32 {
  const object = keyOfNode(find(root, OBJECT));
  if ((object == COMPLETION || object == CHUNK) && findKind(root, CHOICES, JsonKind.ARRAY)) return FormatId.OPENAI_CHAT;
  if (object == RESPONSE && findKind(root, OUTPUT, JsonKind.ARRAY)) return FormatId.OPENAI_RESPONSES;
  if (keyOfNode(find(find(root, RESPONSE), OBJECT)) == RESPONSE) return FormatId.OPENAI_RESPONSES;
  if (isGeminiAnswer(root)) return FormatId.GEMINI;
  const type = keyOfNode(find(root, TYPE));
  if (type == MESSAGE && findKind(root, CONTENT, JsonKind.ARRAY) && find(root, ROLE)) return FormatId.ANTHROPIC_MESSAGES;
  if (type == MESSAGE_START && findKind(root, MESSAGE, JsonKind.OBJECT)) return FormatId.ANTHROPIC_MESSAGES;
  return FormatId.NONE;
}
