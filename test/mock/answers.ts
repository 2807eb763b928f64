// What the mock server answers: pure functions from a request to the pieces of a reply. Nothing here is random or reads a clock.
import { createHash } from 'node:crypto';

export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  /** Answer with a tool call. */
  readonly tool: boolean;
  /** Add a thinking block (Anthropic). */
  readonly thinking: boolean;
  /** The client asked for usage in the stream (OpenAI). */
  readonly includeUsage: boolean;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  /** Number of the exchange, counted by the server from 1. */
  readonly sequence: number;
}

export const TOOL_NAME = 'get_weather';
export const TOOL_ARGUMENTS = { city: 'Zürich', days: 3, units: ['celsius', 'km/h'], note: 'a "quoted" \\ line\nand 世界' } as const;
const CREATED = 1_760_000_000;
export const COMPLETION_TOKENS = 17;
export const THOUGHT = 'The person asks for something small.';

/** The text of every answer: it tells the client how much the server received, and holds characters of 1 to 4 bytes. */
export function answerText(asked: Asked): string {
  return `Grüße from ${asked.model}: ${asked.bodyBytes} bytes arrived, sha256 ${asked.bodySha256.slice(0, 16)}, 世界 🌍.`;
}

/** Tokens as the mock counts them. */
export function promptTokens(asked: Asked): number {
  return Math.ceil(asked.bodyBytes / 4);
}

/** Ids that tell two exchanges apart and are the same in every run. */
export function identity(asked: Asked, prefix: string): string {
  return `${prefix}${createHash('sha256').update(`${asked.sequence}:${asked.bodySha256}`).digest('hex').slice(0, 24)}`;
}

/** Cuts text into n pieces of about the same length, never inside a surrogate pair. */
export function pieces(text: string, n: number): string[] {
  const points = [...text];
  const size = Math.ceil(points.length / n);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => points.slice(i * size, (i + 1) * size).join(''));
}

function openaiUsage(asked: Asked) {
  const prompt = promptTokens(asked);
  return {
    prompt_tokens: prompt,
    completion_tokens: COMPLETION_TOKENS,
    total_tokens: prompt + COMPLETION_TOKENS,
    prompt_tokens_details: { cached_tokens: 2 },
    completion_tokens_details: { reasoning_tokens: 5 },
  };
}

export function openaiPlain(asked: Asked): string {
  const message = asked.tool
    ? {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: identity(asked, 'call_'), type: 'function', function: { name: TOOL_NAME, arguments: JSON.stringify(TOOL_ARGUMENTS) } }],
      }
    : { role: 'assistant', content: answerText(asked), refusal: null };
  return JSON.stringify({
    id: identity(asked, 'chatcmpl-'),
    object: 'chat.completion',
    created: CREATED,
    model: asked.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: asked.tool ? 'tool_calls' : 'stop' }],
    usage: openaiUsage(asked),
  });
}

/** One string per server-sent event. */
export function openaiStream(asked: Asked): string[] {
  const id = identity(asked, 'chatcmpl-');
  const chunk = (choices: unknown[], more: object = {}) =>
    `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: CREATED, model: asked.model, choices, ...more })}\n\n`;
  const delta = (value: object, finish: string | null = null) => chunk([{ index: 0, delta: value, logprobs: null, finish_reason: finish }]);
  const events = [delta({ role: 'assistant', content: asked.tool ? null : '' })];
  if (asked.tool) {
    const call = { index: 0, id: identity(asked, 'call_'), type: 'function', function: { name: TOOL_NAME, arguments: '' } };
    events.push(delta({ tool_calls: [call] }));
    for (const part of pieces(JSON.stringify(TOOL_ARGUMENTS), 6)) events.push(delta({ tool_calls: [{ index: 0, function: { arguments: part } }] }));
  } else {
    for (const part of pieces(answerText(asked), 7)) events.push(delta({ content: part }));
  }
  events.push(delta({}, asked.tool ? 'tool_calls' : 'stop'));
  if (asked.includeUsage) events.push(chunk([], { usage: openaiUsage(asked) }));
  events.push('data: [DONE]\n\n');
  return events;
}

function anthropicUsage(asked: Asked, output: number) {
  return { input_tokens: promptTokens(asked), cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: output };
}

export function anthropicPlain(asked: Asked): string {
  const content: object[] = [];
  if (asked.thinking) content.push({ type: 'thinking', thinking: THOUGHT, signature: 'bW9jaw==' });
  content.push({ type: 'text', text: answerText(asked) });
  if (asked.tool) content.push({ type: 'tool_use', id: identity(asked, 'toolu_'), name: TOOL_NAME, input: TOOL_ARGUMENTS });
  return JSON.stringify({
    id: identity(asked, 'msg_'),
    type: 'message',
    role: 'assistant',
    model: asked.model,
    content,
    stop_reason: asked.tool ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: anthropicUsage(asked, COMPLETION_TOKENS),
  });
}

/** One string per server-sent event. */
export function anthropicStream(asked: Asked): string[] {
  const event = (value: { type: string; [key: string]: unknown }) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;
  const id = identity(asked, 'msg_');
  const message = {
    id,
    type: 'message',
    role: 'assistant',
    model: asked.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: anthropicUsage(asked, 1),
  };
  const events = [event({ type: 'message_start', message })];
  let index = 0;
  const block = (start: object, deltas: object[]) => {
    events.push(event({ type: 'content_block_start', index, content_block: start }));
    for (const delta of deltas) events.push(event({ type: 'content_block_delta', index, delta }));
    events.push(event({ type: 'content_block_stop', index }));
    index++;
  };
  if (asked.thinking) {
    const thoughts = pieces(THOUGHT, 2).map((thinking) => ({ type: 'thinking_delta', thinking }));
    block({ type: 'thinking', thinking: '', signature: '' }, [...thoughts, { type: 'signature_delta', signature: 'bW9jaw==' }]);
  }
  events.push(event({ type: 'ping' }));
  const texts = pieces(answerText(asked), 4).map((text) => ({ type: 'text_delta', text }));
  block({ type: 'text', text: '' }, texts);
  if (asked.tool) {
    const fragments = ['', ...pieces(JSON.stringify(TOOL_ARGUMENTS), 6)].map((partial_json) => ({ type: 'input_json_delta', partial_json }));
    block({ type: 'tool_use', id: identity(asked, 'toolu_'), name: TOOL_NAME, input: {} }, fragments);
  }
  const delta = { stop_reason: asked.tool ? 'tool_use' : 'end_turn', stop_sequence: null };
  events.push(event({ type: 'message_delta', delta, usage: { output_tokens: COMPLETION_TOKENS } }));
  events.push(event({ type: 'message_stop' }));
  return events;
}

/** What each answer says it cost; the tests compare events with it. */
export function expectedUsage(asked: Pick<Asked, 'bodyBytes'>) {
  const prompt = Math.ceil(asked.bodyBytes / 4);
  return { prompt_tokens: prompt, completion_tokens: COMPLETION_TOKENS, total_tokens: prompt + COMPLETION_TOKENS };
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  429: 'rate_limit_error',
  500: 'api_error',
  529: 'overloaded_error',
};

/** The body of a failed answer in the words of either provider. */
export function errorBody(status: number, anthropic: boolean): string {
  const type = REASONS[status] ?? 'api_error';
  const message = `mock error ${status}`;
  return JSON.stringify(anthropic ? { type: 'error', error: { type, message } } : { error: { message, type, param: null, code: type } });
}
