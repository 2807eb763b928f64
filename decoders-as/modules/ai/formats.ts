// The wire formats that exist, and which of them a body is; adding one is a line in each function here and a file of its own.
import { jsonFirst, JsonKind, jsonLength } from '../../lib/json';
import { AnthropicMessages } from './anthropic-messages';
import { BedrockConverse, isConverse, isConverseAnswer, isConverseEvent } from './bedrock-converse';
import { CohereChat, isCohereEvent } from './cohere-chat';
import { Exchange } from './exchange';
import { Format, FormatId, pathEnds } from './format';
import { Gemini, isGemini, isGeminiAnswer } from './gemini';
import { findKind, find, given, isKind, keyOfNode } from './nodes';
import { Ollama } from './ollama';
import { OpenAiChat } from './openai-chat';
import { OpenAiResponses } from './openai-responses';
import { isTaskPath, OpenAiTask, taskInput } from './openai-task';
import { key as keyFor } from './text';

/** MCP is told by mcp.ts; as a format it only has a name. */
class Mcp extends OpenAiTask {
  name(): string {
    return 'mcp';
  }

  fallbackProvider(): string {
    return 'mcp_server';
  }
}

const openAiChat: Format = new OpenAiChat();
const anthropicMessages: Format = new AnthropicMessages();
const openAiResponses: Format = new OpenAiResponses();
const gemini: Format = new Gemini();
const ollama: Format = new Ollama();
const cohereChat: Format = new CohereChat();
const bedrockConverse: Format = new BedrockConverse();
const openAiTask: Format = new OpenAiTask();
const mcp: Format = new Mcp();

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
const PROMPT: u64 = keyFor('prompt');
const CREATED_AT: u64 = keyFor('created_at');
const DONE: u64 = keyFor('done');

export function formatOf(id: u32): Format {
  if (id == FormatId.ANTHROPIC_MESSAGES) return anthropicMessages;
  if (id == FormatId.GEMINI) return gemini;
  if (id == FormatId.OLLAMA) return ollama;
  if (id == FormatId.COHERE_CHAT) return cohereChat;
  if (id == FormatId.BEDROCK_CONVERSE) return bedrockConverse;
  if (id == FormatId.OPENAI_TASK) return openAiTask;
  if (id == FormatId.MCP) return mcp;
  return id == FormatId.OPENAI_RESPONSES ? openAiResponses : openAiChat;
}

/** Paths of AI hosts, and of formats, that ask no model for anything. */
export function isForeignPath(x: Exchange): bool {
  return (
    pathEnds(x, '/count_tokens') ||
    pathEnds(x, ':counttokens') ||
    pathEnds(x, '/count-tokens') ||
    pathEnds(x, '/batches') ||
    pathEnds(x, '/files') ||
    pathEnds(x, '/api/pull') ||
    pathEnds(x, '/api/show')
  );
}

function isOllamaPath(x: Exchange): bool {
  return pathEnds(x, '/api/chat') || pathEnds(x, '/api/generate');
}

/** @param broken the body is known not to be whole, so that a missing field proves nothing. */
export function formatOfRequest(x: Exchange, root: usize, broken: bool): u32 {
  if (isTaskPath(x)) return broken || taskInput(root) ? FormatId.OPENAI_TASK : FormatId.NONE;
  if (isOllamaPath(x) && (broken || (isKind(find(root, MODEL), JsonKind.STRING) && (findKind(root, MESSAGES, JsonKind.ARRAY) || given(find(root, PROMPT)))))) {
    return FormatId.OLLAMA;
  }
  // A body of embeddings has the same shape: only the path tells.
  if (pathEnds(x, '/responses')) return broken || given(find(root, INPUT)) || given(find(root, INSTRUCTIONS)) ? FormatId.OPENAI_RESPONSES : FormatId.NONE;
  if (isGemini(root) || (broken && (pathEnds(x, ':generatecontent') || pathEnds(x, ':streamgeneratecontent')))) return FormatId.GEMINI;
  const messages = findKind(root, MESSAGES, JsonKind.ARRAY);
  if (pathEnds(x, '/v2/chat') && (broken || messages)) return FormatId.COHERE_CHAT;
  if (pathEnds(x, '/converse') || pathEnds(x, '/converse-stream')) return broken || messages ? FormatId.BEDROCK_CONVERSE : FormatId.NONE;
  const openAiPath = pathEnds(x, '/chat/completions');
  const anthropicPath = pathEnds(x, '/messages');
  if (!messages && !(broken && (openAiPath || anthropicPath))) return FormatId.NONE;
  if (openAiPath) return FormatId.OPENAI_CHAT;
  if (anthropicPath || x.anthropicVersion) return FormatId.ANTHROPIC_MESSAGES;
  const anthropicBody = given(find(root, ANTHROPIC_VERSION));
  if (!anthropicBody && isConverse(root)) return FormatId.BEDROCK_CONVERSE;
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
  if (isConverseAnswer(root) || isConverseEvent(root)) return FormatId.BEDROCK_CONVERSE;
  if (isCohereEvent(root)) return FormatId.COHERE_CHAT;
  if (given(find(root, CREATED_AT)) && given(find(root, DONE)) && isKind(find(root, MODEL), JsonKind.STRING)) return FormatId.OLLAMA;
  const type = keyOfNode(find(root, TYPE));
  if (type == MESSAGE && findKind(root, CONTENT, JsonKind.ARRAY) && find(root, ROLE)) return FormatId.ANTHROPIC_MESSAGES;
  if (type == MESSAGE_START && findKind(root, MESSAGE, JsonKind.OBJECT)) return FormatId.ANTHROPIC_MESSAGES;
  return FormatId.NONE;
}
