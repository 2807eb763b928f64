// What the mock answers in every wire format that has an SDK: the same text, call, finish and usage each time, in the shape that the path asks for.
import {
  type Asked,
  answerText,
  anthropicPlain,
  anthropicStream,
  COMPLETION_TOKENS,
  identity,
  openaiPlain,
  openaiStream,
  pieces,
  promptTokens,
  TOOL_ARGUMENTS,
  TOOL_NAME,
} from './answers.js';
import { awsEvent } from './event-stream.js';

export interface WireFormat {
  readonly plain: (asked: Asked) => string;
  readonly stream: (asked: Asked) => (string | Buffer)[];
  readonly streamType: string;
  /** Does the request ask for a stream? */
  readonly streams: (path: string, body: Record<string, unknown>) => boolean;
  readonly modelOf?: (path: string) => string | undefined;
}

const SSE = 'text/event-stream; charset=utf-8';
const byField = (_path: string, body: Record<string, unknown>): boolean => body['stream'] === true;
const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const named = (value: { type: string }): string => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;

// OpenAI Responses

function responseItems(asked: Asked): object[] {
  return asked.tool
    ? [
        {
          type: 'function_call',
          id: identity(asked, 'fc_'),
          call_id: identity(asked, 'call_'),
          name: TOOL_NAME,
          arguments: JSON.stringify(TOOL_ARGUMENTS),
          status: 'completed',
        },
      ]
    : [
        {
          type: 'message',
          id: identity(asked, 'msg_'),
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: answerText(asked), annotations: [] }],
        },
      ];
}

function response(asked: Asked, done: boolean): object {
  const input = promptTokens(asked);
  return {
    id: identity(asked, 'resp_'),
    object: 'response',
    created_at: 1_760_000_000,
    status: done ? 'completed' : 'in_progress',
    error: null,
    incomplete_details: null,
    model: asked.model,
    output: done ? responseItems(asked) : [],
    parallel_tool_calls: true,
    usage: done
      ? {
          input_tokens: input,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: COMPLETION_TOKENS,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: input + COMPLETION_TOKENS,
        }
      : null,
  };
}

function responsesStream(asked: Asked): string[] {
  let sequence_number = 0;
  const event = (value: { type: string; [key: string]: unknown }) => named({ ...value, sequence_number: sequence_number++ } as { type: string });
  const [item] = responseItems(asked) as [{ id: string; [key: string]: unknown }];
  const events = [event({ type: 'response.created', response: response(asked, false) })];
  if (asked.tool) {
    events.push(event({ type: 'response.output_item.added', output_index: 0, item: { ...item, arguments: '', status: 'in_progress' } }));
    for (const delta of pieces(JSON.stringify(TOOL_ARGUMENTS), 5))
      events.push(event({ type: 'response.function_call_arguments.delta', item_id: item.id, output_index: 0, delta }));
    events.push(
      event({ type: 'response.function_call_arguments.done', item_id: item.id, output_index: 0, name: TOOL_NAME, arguments: JSON.stringify(TOOL_ARGUMENTS) }),
    );
  } else {
    const place = { item_id: item.id, output_index: 0, content_index: 0 };
    events.push(
      event({ type: 'response.output_item.added', output_index: 0, item: { ...item, content: [], status: 'in_progress' } }),
      event({ type: 'response.content_part.added', ...place, part: { type: 'output_text', text: '', annotations: [] } }),
    );
    for (const delta of pieces(answerText(asked), 6)) events.push(event({ type: 'response.output_text.delta', ...place, delta, logprobs: [] }));
    events.push(event({ type: 'response.output_text.done', ...place, text: answerText(asked), logprobs: [] }));
  }
  events.push(event({ type: 'response.output_item.done', output_index: 0, item }), event({ type: 'response.completed', response: response(asked, true) }));
  return events;
}

// Gemini

function geminiChunk(asked: Asked, parts: object[], finish?: string): object {
  const promptTokenCount = promptTokens(asked);
  return {
    candidates: [{ content: { role: 'model', parts }, index: 0, ...(finish ? { finishReason: finish } : {}) }],
    usageMetadata: { promptTokenCount, candidatesTokenCount: COMPLETION_TOKENS, totalTokenCount: promptTokenCount + COMPLETION_TOKENS },
    modelVersion: asked.model,
    responseId: identity(asked, ''),
  };
}
const geminiCall = (asked: Asked): object => ({ functionCall: { id: identity(asked, 'call_'), name: TOOL_NAME, args: TOOL_ARGUMENTS } });

// Bedrock Converse

function converseUsage(asked: Asked): object {
  const inputTokens = promptTokens(asked);
  return { inputTokens, outputTokens: COMPLETION_TOKENS, totalTokens: inputTokens + COMPLETION_TOKENS };
}

function conversePlain(asked: Asked): string {
  const content: object[] = [{ text: answerText(asked) }];
  if (asked.tool) content.push({ toolUse: { toolUseId: identity(asked, 'tooluse_'), name: TOOL_NAME, input: TOOL_ARGUMENTS } });
  return JSON.stringify({
    output: { message: { role: 'assistant', content } },
    stopReason: asked.tool ? 'tool_use' : 'end_turn',
    usage: converseUsage(asked),
    metrics: { latencyMs: 12 },
  });
}

function converseStream(asked: Asked): Buffer[] {
  const events = [awsEvent('messageStart', { role: 'assistant', p: 'abc' })];
  const delta = (contentBlockIndex: number, value: object, i: number) =>
    events.push(awsEvent('contentBlockDelta', { contentBlockIndex, delta: value, p: 'abcdefghij'.slice(0, 1 + (i % 9)) }));
  pieces(answerText(asked), 5).forEach((text, i) => {
    delta(0, { text }, i);
  });
  events.push(awsEvent('contentBlockStop', { contentBlockIndex: 0, p: 'ab' }));
  if (asked.tool) {
    events.push(
      awsEvent('contentBlockStart', { contentBlockIndex: 1, start: { toolUse: { toolUseId: identity(asked, 'tooluse_'), name: TOOL_NAME } }, p: 'a' }),
    );
    pieces(JSON.stringify(TOOL_ARGUMENTS), 4).forEach((input, i) => {
      delta(1, { toolUse: { input } }, i);
    });
    events.push(awsEvent('contentBlockStop', { contentBlockIndex: 1, p: 'abcd' }));
  }
  events.push(
    awsEvent('messageStop', { stopReason: asked.tool ? 'tool_use' : 'end_turn', p: 'abcde' }),
    awsEvent('metadata', { usage: converseUsage(asked), metrics: { latencyMs: 12 }, p: 'x' }),
  );
  return events;
}

/** Bedrock's invoke with Anthropic's events in it, each in base64. */
function invokeStream(asked: Asked): Buffer[] {
  return anthropicStream(asked).map((event) =>
    awsEvent('chunk', { bytes: Buffer.from(event.slice(event.indexOf('data: ') + 6).trim()).toString('base64'), p: 'abcdefg' }),
  );
}

// Ollama

function ollamaLine(asked: Asked, message: object, done = false): object {
  const counts = done
    ? {
        done_reason: 'stop',
        total_duration: 5_000_000,
        load_duration: 1000,
        prompt_eval_count: promptTokens(asked),
        prompt_eval_duration: 1000,
        eval_count: COMPLETION_TOKENS,
        eval_duration: 1000,
      }
    : {};
  return { model: asked.model, created_at: '2026-01-01T00:00:00.000000Z', message: { role: 'assistant', content: '', ...message }, done, ...counts };
}
const ollamaCall = { tool_calls: [{ function: { name: TOOL_NAME, arguments: TOOL_ARGUMENTS } }] };
const ollamaPlain = (asked: Asked): string => JSON.stringify(ollamaLine(asked, asked.tool ? ollamaCall : { content: answerText(asked) }, true));
function ollamaStream(asked: Asked): string[] {
  const lines = asked.tool ? [ollamaLine(asked, ollamaCall)] : pieces(answerText(asked), 6).map((content) => ollamaLine(asked, { content }));
  return [...lines, ollamaLine(asked, {}, true)].map((line) => `${JSON.stringify(line)}\n`);
}

// Cohere

function cohereUsage(asked: Asked): object {
  const input_tokens = promptTokens(asked);
  return { billed_units: { input_tokens, output_tokens: COMPLETION_TOKENS }, tokens: { input_tokens, output_tokens: COMPLETION_TOKENS } };
}
const cohereCall = (asked: Asked): object => ({
  id: identity(asked, 'call_'),
  type: 'function',
  function: { name: TOOL_NAME, arguments: JSON.stringify(TOOL_ARGUMENTS) },
});

function coherePlain(asked: Asked): string {
  const message = asked.tool
    ? { role: 'assistant', tool_plan: 'I look it up.', tool_calls: [cohereCall(asked)] }
    : { role: 'assistant', content: [{ type: 'text', text: answerText(asked) }] };
  return JSON.stringify({ id: identity(asked, ''), finish_reason: asked.tool ? 'TOOL_CALL' : 'COMPLETE', message, usage: cohereUsage(asked) });
}

function cohereStream(asked: Asked): string[] {
  const events = [
    named({
      id: identity(asked, ''),
      type: 'message-start',
      delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] } },
    } as { type: string }),
  ];
  const add = (value: object) => events.push(named(value as { type: string }));
  if (asked.tool) {
    add({ type: 'tool-plan-delta', delta: { message: { tool_plan: 'I look ' } } });
    add({ type: 'tool-plan-delta', delta: { message: { tool_plan: 'it up.' } } });
    add({
      type: 'tool-call-start',
      index: 0,
      delta: { message: { tool_calls: { id: identity(asked, 'call_'), type: 'function', function: { name: TOOL_NAME, arguments: '' } } } },
    });
    for (const part of pieces(JSON.stringify(TOOL_ARGUMENTS), 4))
      add({ type: 'tool-call-delta', index: 0, delta: { message: { tool_calls: { function: { arguments: part } } } } });
    add({ type: 'tool-call-end', index: 0 });
  } else {
    add({ type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } });
    for (const text of pieces(answerText(asked), 6)) add({ type: 'content-delta', index: 0, delta: { message: { content: { text } } } });
    add({ type: 'content-end', index: 0 });
  }
  add({ type: 'message-end', delta: { finish_reason: asked.tool ? 'TOOL_CALL' : 'COMPLETE', usage: cohereUsage(asked) } });
  return events;
}

/** Mistral's chunks: a call comes whole, and the last one has the usage. */
function mistralStream(asked: Asked): string[] {
  const { usage, choices } = JSON.parse(openaiPlain(asked)) as { usage: object; choices: [{ message: { tool_calls?: object[] }; finish_reason: string }] };
  const chunk = (delta: object, finish_reason: string | null = null, more: object = {}) =>
    data({
      id: identity(asked, ''),
      object: 'chat.completion.chunk',
      created: 1_760_000_000,
      model: asked.model,
      choices: [{ index: 0, delta, finish_reason }],
      ...more,
    });
  const [{ message, finish_reason }] = choices;
  const events = [chunk({ role: 'assistant', content: '' })];
  if (asked.tool) return [...events, chunk({ content: '', tool_calls: message.tool_calls }, finish_reason, { usage }), 'data: [DONE]\n\n'];
  for (const content of pieces(answerText(asked), 5)) events.push(chunk({ content }));
  return [...events, chunk({ content: '' }, finish_reason, { usage }), 'data: [DONE]\n\n'];
}

const pathModel =
  (before: string) =>
  (path: string): string | undefined => {
    const from = path.indexOf(before);
    return from < 0 ? undefined : decodeURIComponent(/^[^/:]+/.exec(path.slice(from + before.length))?.[0] ?? '');
  };
const bedrockModel = (path: string): string | undefined => {
  const found = /\/model\/([^/]+)\//.exec(path)?.[1];
  return found === undefined ? undefined : decodeURIComponent(found);
};
const AWS = 'application/vnd.amazon.eventstream';

/** By the end of the path, without its query. */
const FORMATS: readonly [RegExp, WireFormat][] = [
  [
    /\/chat\/completions$/,
    {
      plain: openaiPlain,
      stream: (asked) => (asked.model.startsWith('mistral') ? mistralStream(asked) : openaiStream(asked)),
      streamType: SSE,
      streams: byField,
    },
  ],
  [/\/v1\/messages$/, { plain: anthropicPlain, stream: anthropicStream, streamType: SSE, streams: byField }],
  [/\/responses$/, { plain: (asked) => JSON.stringify(response(asked, true)), stream: responsesStream, streamType: SSE, streams: byField }],
  [
    /:(generate|streamGenerate)Content$/,
    {
      plain: (asked) => JSON.stringify(geminiChunk(asked, [asked.tool ? geminiCall(asked) : { text: answerText(asked) }], 'STOP')),
      stream: (asked) =>
        asked.tool
          ? [data(geminiChunk(asked, [geminiCall(asked)], 'STOP'))]
          : pieces(answerText(asked), 5).map((text, i) => data(geminiChunk(asked, [{ text }], i === 4 ? 'STOP' : undefined))),
      streamType: SSE,
      streams: (path) => path.includes(':stream'),
      modelOf: pathModel('/models/'),
    },
  ],
  [
    /\/converse(-stream)?$/,
    { plain: conversePlain, stream: converseStream, streamType: AWS, streams: (path) => path.endsWith('-stream'), modelOf: bedrockModel },
  ],
  [
    /\/invoke(-with-response-stream)?$/,
    { plain: anthropicPlain, stream: invokeStream, streamType: AWS, streams: (path) => path.endsWith('-stream'), modelOf: bedrockModel },
  ],
  [/\/api\/chat$/, { plain: ollamaPlain, stream: ollamaStream, streamType: 'application/x-ndjson', streams: (_path, body) => body['stream'] !== false }],
  [/\/v2\/chat$/, { plain: coherePlain, stream: cohereStream, streamType: SSE, streams: byField }],
];

/** The format that a path, without its query, is of. */
export function formatOfPath(path: string): WireFormat | undefined {
  return FORMATS.find(([pattern]) => pattern.test(path))?.[1];
}
