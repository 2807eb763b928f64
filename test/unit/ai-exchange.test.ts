// Exchanges of the ai module from first record to last: pairing, loss, limits, expiry, full lanes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InitFlag } from '../../host/src/gen/records.js';
import { AiBench, type AiEvent, aiModule, body, EVENT_STREAM, end, type HeadOptions, requestHead, sse, whole } from '../lib/ai-records.js';

const request = (text: string, extra: Record<string, unknown> = {}) =>
  JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: text }], ...extra });
const answer = (text: string) =>
  JSON.stringify({
    id: `id-${text}`,
    object: 'chat.completion',
    model: 'gpt-4o',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
  });
const types = (events: readonly AiEvent[]) => events.map((event) => event.type);

test('the key leaves in meta.auth and nowhere else', () => {
  const key = ['not', 'a', 'key'].join('-').repeat(3);
  const cases: [string[], Record<string, string>][] = [
    [['Authorization', `Bearer ${key}`], { scheme: 'bearer', header: 'authorization', key }],
    [['X-Api-Key', key], { scheme: 'x-api-key', header: 'x-api-key', key }],
    [['api-key', key], { scheme: 'api-key', header: 'api-key', key }],
    [['x-goog-api-key', key], { scheme: 'api-key', header: 'x-goog-api-key', key }],
    [['authorization', `Basic ${key}`], { scheme: 'basic', header: 'authorization', key }],
    [[], { scheme: 'none' }],
  ];
  for (const [headers, auth] of cases) {
    const { events, raw } = new AiBench().feed(
      whole(0, request('x'), 1000, { headers: ['content-type', 'application/json', ...headers] }),
      whole(1, answer('y')),
    );
    assert.deepEqual(events[0]?.meta.auth, auth);
    assert.equal(raw.toString('latin1').split(key).length - 1, headers.length ? 1 : 0);
  }
  const { events } = new AiBench().feed(whole(0, request('x'), 1000, { target: `/v1/chat/completions?a=1&key=${key}&b=2` }));
  assert.deepEqual(events[0]?.meta.auth, { scheme: 'query', header: 'key', key });
  assert.equal(events[0]?.data.provider.endpoint, 'https://api.openai.com/v1/chat/completions');
});

test('a conversation keeps its id over its turns; another process, prompt or first question has another', () => {
  const id = (text: string, origin?: Buffer) => new AiBench().feed(whole(0, text, 1000, origin ? { origin } : {})).events[0]?.data.conversation_id;
  const turn = (...contents: string[]) =>
    JSON.stringify({ model: 'gpt-4o', messages: contents.map((content, i) => ({ role: ['system', 'user', 'assistant', 'user'][i], content })) });
  const first = id(turn('S', 'q'));
  assert.match(first, /^conv_[0-9a-f]{16}$/);
  assert.equal(id(turn('S', 'q', 'a', 'q2')), first);
  assert.notEqual(id(turn('T', 'q')), first);
  assert.notEqual(id(turn('S', 'r')), first);
  const other = Buffer.alloc(96);
  other.writeUInt32LE(1, 16);
  assert.notEqual(id(turn('S', 'q'), other), first);
});

test('an answer that ends before its request waits for it', () => {
  const bench = new AiBench().feed(requestHead(), body(0, 0, request('x').slice(0, 20)), whole(1, answer('y')));
  assert.deepEqual(bench.events, []);
  bench.feed(body(0, 20, request('x').slice(20)), end(0));
  assert.deepEqual(types(bench.events), ['ai.request', 'ai.response']);
});

test('the server side makes no events and is counted', () => {
  const bench = new AiBench().feed(whole(0, request('x'), 1000, { role: 2 }), whole(1, answer('y'), 1000, { role: 2 }));
  assert.deepEqual(bench.events, []);
  assert.equal(bench.module.stats().server_side_requests, 1);
});

test('the server side is told as such where that is asked for', () => {
  const bench = new AiBench(aiModule({ flags: InitFlag.server_side }));
  for (const [stream, role] of [1, 2].entries()) bench.feed(whole(0, request('x'), 1000, { role, stream }), whole(1, answer('y'), 1000, { role, stream }));
  assert.deepEqual(
    bench.events.map(({ type, meta }) => [type, meta.role]),
    ['client', 'server'].flatMap((role) => ['ai.request', 'ai.response'].map((type) => [type, role])),
  );
});

test('an answer whose request was lost is told when its shape is plain', () => {
  const chunks = sse([{ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'z' }, finish_reason: 'stop' }] }]);
  const start = `event: message_start\ndata: ${JSON.stringify({ type: 'message_start', message: { id: 'm', model: 'claude-x', content: [] } })}\n\n`;
  const rows: [string, string[]][] = [
    [answer('y'), ['content-type', 'application/json']],
    [chunks, EVENT_STREAM],
    [start, EVENT_STREAM],
    [answer('y'), []],
  ];
  for (const [text, headers] of rows) {
    const { events } = new AiBench().feed(whole(1, text, 10, { headers }));
    assert.deepEqual(types(events), ['ai.response'], text);
    assert.equal(events[0]?.meta.completeness, 'partial');
    assert.ok(events[0]?.meta.missing.includes('request'));
    assert.equal(events[0]?.data.conversation_id, undefined);
  }
  for (const text of ['{"object":"list","data":[]}', '[]', 'data: {"jsonrpc":"2.0"}\n\n', 'data: x\n\n', 'hello']) {
    assert.deepEqual(new AiBench().feed(whole(1, text, 10, { headers: [] })).events, [], text);
  }
});

test('flush and tick tell what is known of what is open', () => {
  const bench = new AiBench().feed(requestHead(), body(0, 0, request('x').slice(0, 50)));
  assert.deepEqual(types(bench.flush().events), ['ai.request', 'ai.response']);
  assert.equal(bench.events[0]?.meta.completeness, 'partial');
  const idle = new AiBench().feed(whole(0, request('x')));
  assert.deepEqual(types(idle.tick(800).events), ['ai.request']);
  assert.deepEqual(types(idle.tick(1000).events), ['ai.request', 'ai.response']);
  assert.equal(idle.module.stats().expired, 1);
  assert.equal(idle.module.stats().exchanges_open, 0);
});

test('the oldest exchange gives way when the table is full, and is told', () => {
  const bench = new AiBench(aiModule({ maxConnections: 4 }));
  for (let stream = 0; stream < 10; stream++) bench.feed(whole(0, request(`q${stream}`), 1000, { stream }));
  assert.equal(types(bench.events).filter((type) => type === 'ai.request').length, 10);
  assert.equal(types(bench.events).filter((type) => type === 'ai.response').length, 6);
  const stats = bench.module.stats();
  assert.equal(stats.exchanges_open, 4);
  assert.equal(stats.evicted, 6);
});

test('a full lane loses nothing: the events are those of a wide one, in order', () => {
  const records: Buffer[] = [];
  for (let stream = 0; stream < 40; stream++) {
    const names: HeadOptions = { stream };
    const calls = {
      object: 'chat.completion',
      choices: [
        {
          message: {
            content: 'a'.repeat(60_000),
            tool_calls: [0, 1, 2].map((i) => ({ id: `c${i}`, function: { name: 'bash', arguments: JSON.stringify({ s: 'b'.repeat(40_000) }) } })),
          },
        },
      ],
    };
    records.push(whole(0, request('c'.repeat(80_000)), 16384, names), whole(1, JSON.stringify(calls), 16384, names));
  }
  const batch = Buffer.concat(records);
  const wide = new AiBench().feed(batch);
  const narrow = new AiBench(aiModule({ outBytes: 1 << 20 })).feed(batch);
  assert.equal(wide.events.length, 40 * 5);
  assert.ok(narrow.bytes.length > 10);
  assert.ok(narrow.raw.equals(wide.raw));
});

/** A chat request whose last messages are results of tools. */
const withResults = (ids: readonly string[], text: string, turn = 'a') =>
  JSON.stringify({ model: 'm', messages: [{ role: 'user', content: turn }, ...ids.map((id) => ({ role: 'tool', tool_call_id: id, content: text }))] });

test('results of tools are told once each, also when the lane is full between them', () => {
  const ids = ['1', '2', '3', '4'];
  // Each of ten conversations twice.
  const asked = (stream: number) => whole(0, withResults(ids, 'r'.repeat(60_000), `turn ${stream % 10}`), 16384, { stream });
  const batch = Buffer.concat(Array.from({ length: 20 }, (_, stream) => asked(stream)));
  const wide = new AiBench(aiModule({ outBytes: 16 << 20 })).feed(batch);
  const narrow = new AiBench(aiModule({ outBytes: 1 << 20 })).feed(batch);
  assert.ok(narrow.bytes.length > 3);
  assert.ok(narrow.raw.equals(wide.raw));
  assert.deepEqual(types(wide.events), [...Array(10).fill(['ai.request', ...ids.map(() => 'agent.tool_result')]), ...Array(10).fill('ai.request')].flat());
  assert.deepEqual(
    wide.events.slice(1, 5).map(({ data, index }) => [data['call_id'], index]),
    ids.map((id, i) => [id, i]),
  );
  const { tool_results: told, tool_results_repeated: repeated } = narrow.module.stats();
  assert.deepEqual([told, repeated], [40, 40]);
});

test('results past the bound of a request are counted, and what was told longest ago is forgotten', () => {
  const bench = new AiBench();
  const many = Array.from({ length: 300 }, (_, i) => String(i));
  bench.feed(whole(0, withResults(many, 'r'), 16384, { stream: 0 }));
  assert.equal(types(bench.events).filter((type) => type === 'agent.tool_result').length, 256);
  assert.equal(bench.module.stats().tool_results_left_out, 1);
  // 8192 are remembered: 33 requests of 250 more make the first one's news again.
  for (let turn = 1; turn <= 33; turn++) {
    const ids = Array.from({ length: 250 }, (_, i) => `${turn}.${i}`);
    bench.feed(whole(0, withResults(ids, 'r'), 16384, { stream: turn }));
  }
  const before = bench.module.stats().tool_results;
  bench.feed(whole(0, withResults(['0'], 'r'), 16384, { stream: 40 }), whole(0, withResults(['33.0'], 'r'), 16384, { stream: 41 }));
  assert.equal(bench.module.stats().tool_results, Number(before) + 1);
});

test('the same id in another conversation is another result, and what names no call is none', () => {
  const bench = new AiBench();
  for (const [stream, turn] of ['a', 'b'].entries()) bench.feed(whole(0, withResults(['1'], 'r', turn), 1000, { stream }));
  bench.feed(
    whole(
      0,
      JSON.stringify({
        model: 'm',
        messages: [
          { role: 'user', content: 'c' },
          { role: 'tool', content: 'r' },
        ],
      }),
      1000,
      { stream: 2 },
    ),
  );
  assert.equal(types(bench.events).filter((type) => type === 'agent.tool_result').length, 2);
});

test('an event that fits no lane is cut, and says so', () => {
  const messages = Array.from({ length: 3000 }, (_, i) => ({ role: 'user', content: `${i} ${'é"'.repeat(400)}` }));
  const args = JSON.stringify({ list: Array.from({ length: 200_000 }, (_, i) => i) });
  const calls = {
    object: 'chat.completion',
    choices: [{ message: { content: 'x'.repeat(3_000_000), tool_calls: [{ id: 'c', function: { name: 'bash', arguments: args } }] } }],
  };
  const { events, module } = new AiBench(aiModule({ outBytes: 1 << 20 })).feed(
    whole(0, JSON.stringify({ model: 'm', messages })),
    whole(1, JSON.stringify(calls)),
  );
  assert.deepEqual(types(events), ['ai.request', 'ai.response', 'agent.tool_call']);
  for (const event of events.slice(0, 2)) assert.deepEqual(event.meta.limitations, ['content_cut']);
  assert.equal(events[0]?.data.messages_count, 3000);
  assert.equal(module.stats().events_unfit, 0);
});

test('a body over 8 MiB is capped: what came before is told', () => {
  const bench = new AiBench();
  const text = JSON.stringify({
    model: 'gpt-4o',
    messages: [
      { role: 'user', content: 'start' },
      { role: 'user', content: 'y'.repeat(9 << 20) },
    ],
  });
  const { events, module } = bench.feed(whole(0, text, 65536));
  assert.equal(events[0]?.data.messages[0].content, 'start');
  assert.equal(events[0]?.meta.completeness, 'partial');
  assert.ok(events[0]?.meta.reasons.includes('request_capped'));
  assert.equal(module.stats().capped, 1);
  assert.ok((module.stats().bytes_held ?? 0) < 1024);
});

test('malformed records are a rejected batch, not a trap', () => {
  const { module } = new AiBench();
  const sink = () => undefined;
  assert.throws(() => module.process(Buffer.from([0x92, 32, 1]), sink), { code: 'rejected' });
  assert.throws(() => module.process(Buffer.from([0x91, 34]), sink), { code: 'rejected' });
  assert.throws(() => module.process(Buffer.from([0xc1]), sink), { code: 'rejected' });
  assert.deepEqual(types(new AiBench(module).feed(whole(0, request('x'))).events), ['ai.request']);
});

test('a module with a lane too short for any event refuses to start', () => {
  assert.throws(() => aiModule({ outBytes: 65536 }), { code: 'refused' });
});
