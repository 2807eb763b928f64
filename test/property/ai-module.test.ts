// The law of the ai module, over random exchanges: any cut of the same bytes gives the same events to the byte; and no bytes at all make it trap or grow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { AiBench, aiModule, body, EVENT_STREAM, end, requestHead, responseHead, whole } from '../lib/ai-records.js';

const text = fc.string({ unit: fc.constantFrom('a', 'b ', '\n', '"', '\\', 'é', '世', '😀', '\u0007', '</'), maxLength: 40 });
const args = fc.dictionary(
  fc.constantFrom('path', 'cmd', 'n'),
  fc.oneof(text, fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(null)),
);
const name = fc.constantFrom('bash', 'Read', 'mcp__fs__write_file', 'x');

const openAiMessage = fc.oneof(
  fc.record({
    role: fc.constantFrom('system', 'developer', 'user', 'weird'),
    content: fc.oneof(
      text,
      fc.array(
        text.map((t) => ({ type: 'text', text: t })),
        { maxLength: 3 },
      ),
    ),
  }),
  fc.record({
    role: fc.constant('assistant'),
    content: fc.constant(null),
    tool_calls: fc.array(
      fc.record({
        id: text,
        type: fc.constant('function'),
        function: fc.record({
          name,
          arguments: fc.oneof(
            args,
            args.map((a) => JSON.stringify(a)),
          ),
        }),
      }),
      {
        maxLength: 3,
      },
    ),
  }),
  fc.record({ role: fc.constant('tool'), tool_call_id: text, content: text }),
);
const openAiRequest = fc.record({
  model: fc.constantFrom('gpt-4o', 'claude-x', 'q'),
  stream: fc.boolean(),
  messages: fc.array(openAiMessage, { minLength: 1, maxLength: 5 }),
  temperature: fc.double({ min: 0, max: 2 }),
});
const block = fc.oneof(
  text.map((t) => ({ type: 'text', text: t })),
  fc.record({ type: fc.constant('tool_use'), id: text, name, input: args }),
  fc.record({ type: fc.constant('tool_result'), tool_use_id: text, content: text }),
  fc.constantFrom({ type: 'image' }, { type: 'later_block', x: 1 }),
);
const anthropicRequest = fc.record({
  model: fc.constant('claude-x'),
  max_tokens: fc.nat(9999),
  system: fc.oneof(
    text,
    fc.array(
      text.map((t) => ({ type: 'text', text: t })),
      { maxLength: 2 },
    ),
  ),
  messages: fc.array(fc.record({ role: fc.constantFrom('user', 'assistant'), content: fc.oneof(text, fc.array(block, { maxLength: 4 })) }), {
    minLength: 1,
    maxLength: 4,
  }),
});

const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
const call = fc.record({
  index: fc.nat(2),
  id: fc.option(fc.constantFrom('c1', 'c2'), { nil: undefined }),
  function: fc.record({ name: fc.option(name, { nil: undefined }), arguments: fc.oneof({ weight: 3, arbitrary: text }, args) }),
});
const openAiEvent = fc
  .record({
    id: fc.constant('c'),
    object: fc.constant('chat.completion.chunk'),
    obfuscation: fc.option(text, { nil: undefined }),
    usage: fc.option(fc.constant(usage), { nil: undefined, freq: 9 }),
  })
  .chain((base) =>
    fc
      .record({
        index: fc.nat(1),
        delta: fc.oneof(
          { weight: 4, arbitrary: fc.record({ content: text }) },
          fc.record({ reasoning_content: text }),
          fc.record({ tool_calls: fc.array(call, { maxLength: 2 }) }),
        ),
        finish_reason: fc.constantFrom(null, null, null, 'stop'),
      })
      .map((choice) => ({ ...base, choices: [choice] })),
  );
const anthropicEvent = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.nat(2), text).map(([index, t]) => ({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: t } })) },
  fc.tuple(fc.nat(2), text).map(([index, t]) => ({ type: 'content_block_delta', index, delta: { type: 'thinking_delta', thinking: t } })),
  fc.tuple(fc.nat(2), text).map(([index, t]) => ({ type: 'content_block_delta', index, delta: { type: 'input_json_delta', partial_json: t } })),
  fc.tuple(fc.nat(2), name).map(([index, n]) => ({ type: 'content_block_start', index, content_block: { type: 'tool_use', id: 'i', name: n, input: {} } })),
  fc.constantFrom(
    { type: 'message_start', message: { id: 'm', model: 'claude-x', usage: { input_tokens: 1 } } },
    { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 4 } },
    { type: 'message_stop' },
    { type: 'odd' },
    { type: 'error', error: { type: 'e', message: 'm' } },
  ),
);
const place = fc.record({ output_index: fc.nat(2), content_index: fc.nat(1), sequence_number: fc.nat(99) });
const item = fc.oneof(
  fc.record({ type: fc.constant('function_call'), call_id: fc.constantFrom('c1', 'c2'), name, arguments: text }),
  text.map((t) => ({ type: 'message', content: [{ type: 'output_text', text: t }] })),
  text.map((t) => ({ type: 'reasoning', summary: [{ type: 'summary_text', text: t }] })),
  fc.constant({ type: 'odd_call' }),
);
const ended = fc.record({ status: fc.constantFrom('completed', 'failed', 'incomplete', 'in_progress'), output: fc.array(item, { maxLength: 3 }) });
const responsesEvent = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('output_text', 'reasoning_text', 'refusal', 'function_call_arguments'), place, text)
      .map(([what, at, delta]) => ({ type: `response.${what}.delta`, ...at, delta })),
  },
  fc.tuple(fc.constantFrom('added', 'done'), place, item).map(([what, at, i]) => ({ type: `response.output_item.${what}`, ...at, item: i })),
  ended.map((response) => ({ type: `response.${response.status}`, response: { id: 'r', object: 'response', model: 'gpt-5', ...response } })),
  fc.constantFrom({ type: 'error', code: 'c', message: 'm' }, { type: 'odd' }, { type: 'response.odd.done' }),
);
const responsesRequest = fc.record({
  model: fc.constant('gpt-5'),
  instructions: fc.option(text, { nil: undefined }),
  input: fc.oneof(
    text,
    fc.array(
      fc.oneof(
        item,
        text.map((t) => ({ role: 'user', content: t })),
        fc.record({ type: fc.constant('function_call_output'), call_id: fc.constantFrom('c1', 'c2'), output: text }),
      ),
      { maxLength: 5 },
    ),
  ),
});
const part = fc.oneof(
  { weight: 3, arbitrary: text.map((t) => ({ text: t })) },
  text.map((t) => ({ text: t, thought: true })),
  fc.record({ functionCall: fc.record({ name, args, id: fc.option(fc.constantFrom('c1', 'c2'), { nil: undefined }) }) }),
  fc.record({ functionResponse: fc.record({ name, response: args, id: fc.option(fc.constantFrom('c1', 'c2'), { nil: undefined }) }) }),
  fc.constantFrom({ inlineData: { mimeType: 'image/png', data: 'AA==' } }, { later_part: 1 }),
);
const geminiRequest = fc
  .record({
    contents: fc.array(fc.record({ role: fc.constantFrom('user', 'model'), parts: fc.array(part, { maxLength: 4 }) }), { minLength: 1, maxLength: 4 }),
    systemInstruction: fc.option(fc.record({ parts: fc.array(part, { maxLength: 2 }) }), { nil: undefined }),
  })
  .chain((request) => fc.constantFrom<object>(request, { model: 'gemini-x', request }));
const geminiEvent = fc
  .record({
    candidates: fc.array(
      fc.record({
        index: fc.nat(1),
        content: fc.record({ parts: fc.array(part, { maxLength: 3 }) }),
        finishReason: fc.option(fc.constant('STOP'), { nil: undefined }),
      }),
      { maxLength: 2 },
    ),
    usageMetadata: fc.option(fc.record({ promptTokenCount: fc.nat(9), thoughtsTokenCount: fc.nat(9) }), { nil: undefined }),
  })
  .chain((answer) => fc.constantFrom<object>(answer, { response: answer }));
const eol = fc.constantFrom('\n', '\r\n', '\r');
const asStream = (events: readonly unknown[], line: string) => events.map((event) => `data: ${JSON.stringify(event)}${line}${line}`).join('');

interface Case {
  readonly target: string;
  readonly request: string;
  readonly response: string;
}
const exchange: fc.Arbitrary<Case> = fc.oneof(
  fc.record({
    target: fc.constant('/v1/chat/completions'),
    request: openAiRequest.map((r) => JSON.stringify(r)),
    response: fc.tuple(fc.array(openAiEvent, { maxLength: 12 }), eol).map(([events, line]) => asStream(events, line)),
  }),
  fc.record({
    target: fc.constant('/v1/messages'),
    request: anthropicRequest.map((r) => JSON.stringify(r)),
    response: fc.tuple(fc.array(anthropicEvent, { maxLength: 12 }), eol).map(([events, line]) => asStream(events, line)),
  }),
  fc.record({
    target: fc.constant('/v1/responses'),
    request: responsesRequest.map((r) => JSON.stringify(r)),
    response: fc.tuple(fc.array(responsesEvent, { maxLength: 12 }), eol).map(([events, line]) => asStream(events, line)),
  }),
  fc.record({
    target: fc.constant('/v1beta/models/gemini-x:streamGenerateContent'),
    request: geminiRequest.map((r) => JSON.stringify(r)),
    response: fc.tuple(fc.array(geminiEvent, { maxLength: 12 }), eol).map(([events, line]) => asStream(events, line)),
  }),
);

/** One instance a way of cutting: each remembers which results of tools it told, so each must be given the same exchanges. */
const [unCut, cut, byBytes] = [aiModule(), aiModule(), aiModule()];

/** The pieces of `bytes` cut at these places. */
function pieces(bytes: Buffer, cuts: readonly number[]): [number, Buffer][] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return places.slice(0, -1).map((at, i) => [at, bytes.subarray(at, places[i + 1])]);
}

interface Wire {
  readonly target: string;
  readonly request: Buffer;
  readonly response: Buffer;
  readonly gap?: number;
}

function run(module: DecoderModule, { target, request, response, gap = 0 }: Wire, cuts: readonly number[]): Buffer {
  const bench = new AiBench(module).feed(requestHead({ target }));
  for (const [at, part] of pieces(request, cuts)) bench.feed(body(0, at, part));
  bench.feed(end(0), responseHead({ headers: EVENT_STREAM }));
  for (const [at, part] of pieces(response, cuts)) bench.feed(body(1, at + gap, part));
  return bench.feed(end(1, gap ? { completeness: 1, missing: gap } : {})).raw;
}

const cutsOf = fc.array(fc.nat(5000), { maxLength: 40 });

test('any cut of any exchange gives the same events, to the byte', () => {
  fc.assert(
    fc.property(exchange, cutsOf, fc.constantFrom(0, 0, 17), ({ target, request, response }, cuts, gap) => {
      const given = { target, request: Buffer.from(request), response: Buffer.from(response), gap };
      const places = Array.from({ length: Math.max(given.request.length, given.response.length) }, (_, i) => i);
      const once = run(unCut, given, []);
      const ways = [run(cut, given, cuts), run(byBytes, given, places)];
      for (const way of ways) assert.ok(way.equals(once));
    }),
    { numRuns: 400 },
  );
});

test('a stream spells the same text the short way and the long way', () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 20 }), fc.boolean(), (parts, padded) => {
      const events = parts.map((content, i) => ({
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta: { content } }],
        ...(padded ? { obfuscation: 'x'.repeat(i % 5) } : {}),
      }));
      const bench = new AiBench(unCut).feed(
        whole(0, '{"model":"m","messages":[{"role":"user","content":"x"}]}'),
        whole(1, asStream(events, '\n'), 1e6, { headers: EVENT_STREAM }),
      );
      const message = bench.events[1]?.data.choices?.[0]?.message;
      assert.equal(message?.content ?? '', parts.join(''));
      assert.equal(message?.content_length ?? 0, [...parts.join('')].length);
    }),
    { numRuns: 500 },
  );
});

/** Bytes with some of them changed, removed or repeated. */
const mutation = fc.array(fc.tuple(fc.nat(5000), fc.nat(2), fc.nat(255)), { minLength: 1, maxLength: 12 });
function mutate(bytes: Buffer, changes: readonly (readonly [number, number, number])[]): Buffer {
  let out = bytes;
  for (const [place, what, byte] of changes) {
    const at = place % (out.length + 1);
    if (what === 0) out = Buffer.concat([out.subarray(0, at), Buffer.from([byte]), out.subarray(at + 1)]);
    else if (what === 1) out = Buffer.concat([out.subarray(0, at), out.subarray(at + byte)]);
    else out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - byte))]);
  }
  return out;
}

test('damaged exchanges never trap, are the same at any cut, and leave nothing behind', () => {
  fc.assert(
    fc.property(exchange, mutation, cutsOf, ({ target, request, response }, changes, cuts) => {
      const given = { target, request: mutate(Buffer.from(request), changes), response: mutate(Buffer.from(response), changes) };
      const once = run(unCut, given, []);
      assert.ok(run(cut, given, cuts).equals(once));
    }),
    { numRuns: 1500 },
  );
  assert.equal(unCut.stats().exchanges_open, 0);
  assert.ok((unCut.stats().bytes_held ?? 0) < 4096);
});

test('random bytes in bodies, and random records, never trap; memory stays where it is', () => {
  const hostile = aiModule({ maxConnections: 8, outBytes: 1 << 20 });
  const bytes = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b));
  const record = fc.oneof(
    fc.tuple(fc.nat(20), fc.constantFrom(0, 1), bytes, fc.nat(400)).map(([stream, side, part, at]) => body(side as 0 | 1, at, part, { stream })),
    fc.tuple(fc.nat(20), fc.constantFrom(0, 1), fc.nat(6)).map(([stream, side, completeness]) => end(side as 0 | 1, { stream, completeness })),
    fc.nat(20).map((stream) => requestHead({ stream })),
    fc.tuple(fc.nat(20), fc.constantFrom(EVENT_STREAM, [], ['content-type', 'application/json'])).map(([stream, headers]) => responseHead({ stream, headers })),
  );
  let peak = 0;
  fc.assert(
    fc.property(fc.array(record, { maxLength: 60 }), (records) => {
      new AiBench(hostile).feed(...records);
      peak ||= hostile.memoryBytes;
    }),
    { numRuns: 800 },
  );
  assert.ok((hostile.stats().exchanges_open ?? 0) <= 8);
  assert.ok(hostile.memoryBytes - peak <= 4 << 20, `memory grew from ${peak} to ${hostile.memoryBytes}`);
  new AiBench(hostile).flush();
  assert.equal(hostile.stats().exchanges_open, 0);
});
