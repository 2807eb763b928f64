// The main line on real programs: what curl, Python and Node say to an AI service over TLS arrives as events, once each, with everything in its place.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bodies, CALLS, type CallName, CLIENTS, type ClientName, type ClientRun, PATHS, sha256, startClient } from '../lib/clients.js';
import { type Daemon, type Ended, eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { answerText, expectedUsage, TOOL_ARGUMENTS, TOOL_NAME } from '../mock/answers.js';
import { type Mock, startMock } from '../mock/server.js';

const STARTED = ['before', 'after'] as const;
type Started = (typeof STARTED)[number];
const TIMEOUT = { timeout: 120_000 };

interface Exchange {
  call: CallName;
  body: string;
  model: string;
  request: SeenEvent;
  response: SeenEvent;
}

interface RequestData {
  model: { id: string };
  provider: { name: string; endpoint?: string };
  streaming: boolean;
  request_type: string;
  has_system_prompt: boolean;
  messages: { role: string; content: string }[];
  request_id: string;
  tools?: { name: string }[];
}
interface ResponseData {
  request_id: string;
  model: { id: string };
  status_code: number;
  success: boolean;
  choices: { message: { role: string; content?: string }; finish_reason: string }[];
  tool_calls?: { name: string; arguments: unknown }[];
  usage: { prompt_tokens: number; completion_tokens: number };
  finish_reason: string;
}

describe('main line', () => {
  const folder = scratch('main-line');
  const output = join(folder, 'out.jsonl');
  const runs = new Map<string, ClientRun>();
  let mock: Mock;
  let daemon: Daemon | undefined;
  let ended: Ended;
  let events: SeenEvent[];

  before(async () => {
    mustProbe();
    mock = await startMock();
    const begin = async (client: ClientName, started: Started) => {
      const run = await startClient(client, { url: mock.url, folder, marker: `${client}-${started}`, wait: started === 'before' });
      runs.set(run.marker, run);
      return run;
    };
    const early = await Promise.all(CLIENTS.map((client) => begin(client, 'before')));
    daemon = await startDaemon(['--output', output, '--format', 'jsonl']);
    for (const run of early) run.go();
    const late = await Promise.all(CLIENTS.map((client) => begin(client, 'after')));
    await Promise.all([...early, ...late].map((run) => run.finished));
    ended = await daemon.stop();
    events = eventsOf(output);
  }, TIMEOUT);

  after(async () => {
    for (const run of runs.values()) run.go();
    await daemon?.stop();
    await mock?.close();
  });

  it('stops cleanly on SIGTERM', () => {
    assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
  });

  it('gives every event an id of its own', () => {
    assert.equal(new Set(events.map((event) => event.event_id)).size, events.length);
  });

  it('tells each exchange once, from the side of its client', () => {
    const expected = CLIENTS.length * STARTED.length;
    const clients = new Set([...runs.values()].map((run) => run.pid));
    const told = events.filter((event) => event.event_type.startsWith('ai.') || event.event_type.startsWith('agent.'));
    assert.deepEqual(
      told.filter((event) => !clients.has(event.process?.pid ?? -1)).map((event) => [event.event_type, event.process]),
      [],
      'events of processes that are no client',
    );
    assert.equal(ofType(events, 'ai.request').length, expected * CALLS.length);
    assert.equal(ofType(events, 'ai.response').length, expected * CALLS.length);
    assert.equal(ofType(events, 'agent.tool_call').length, expected);
    assert.equal(mock.log.length, expected * CALLS.length, 'exchanges that the server saw');
  });

  it('passes the schemas of OISP v0.1', (t) => {
    const checker = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (!existsSync(checker)) {
      // The checker is no part of this repository; test/unit validates against the schemas that are.
      t.diagnostic('no cross-check beside this checkout');
      return;
    }
    const result = spawnSync(process.execPath, [checker, output], { cwd: ROOT, encoding: 'utf8' });
    assert.equal(result.status, 0, result.stderr + result.stdout);
    assert.match(result.stdout, / 0 invalid/);
  });

  for (const client of CLIENTS) {
    for (const started of STARTED) {
      const marker = `${client}-${started}`;
      describe(`${client} started ${started} the sensor`, () => {
        const exchanges = (): Exchange[] =>
          CALLS.map((call) => {
            const body = bodies(marker)[call];
            const model = (JSON.parse(body) as { model: string }).model;
            const of = (type: string) => ofType(events, type).filter((event) => (event.data as { model?: { id?: string } }).model?.id === model);
            const [request, ...moreRequests] = of('ai.request');
            const [response, ...moreResponses] = of('ai.response');
            assert.ok(request, `an ai.request for ${call}`);
            assert.ok(response, `an ai.response for ${call}`);
            assert.deepEqual([moreRequests.length, moreResponses.length], [0, 0], `${call} is told once`);
            return { call, body, model, request, response };
          });

        it('names the process', () => {
          const run = runs.get(marker);
          assert.ok(run);
          for (const { request, response } of exchanges()) {
            assert.deepEqual([request.process?.pid, request.process?.exe], [run.pid, run.exe]);
            assert.deepEqual([response.process?.pid, response.process?.exe], [run.pid, run.exe]);
          }
        });

        it('names the socket that the server saw', () => {
          for (const { model, request, response } of exchanges()) {
            const port = mock.log.find((exchange) => exchange.model === model)?.peerPort;
            for (const event of [request, response]) {
              const peer = event.ext?.oisp_host?.['peer'] as Record<string, unknown> | undefined;
              assert.ok(peer, event.event_type);
              const { ip, port: remote, local_ip, local_port, protocol, role, since } = peer;
              assert.deepEqual([ip, remote, local_ip, local_port, protocol, role], ['127.0.0.1', mock.port, '127.0.0.1', port, 'tcp', 'client']);
              assert.ok(String(since) < event.ts, `connected at ${String(since)}, before what was said at ${event.ts}`);
            }
          }
        });

        it('has whole requests with the right model and roles', () => {
          for (const { call, body, model, request } of exchanges()) {
            const data = request.data as unknown as RequestData;
            const sent = JSON.parse(body) as { messages: { content: string }[] };
            assert.equal(request.confidence.completeness, 'full');
            assert.equal(data.model.id, model);
            assert.equal(data.streaming, call !== 'plain');
            assert.equal(data.request_type, 'chat');
            assert.equal(data.has_system_prompt, true);
            const roles = data.messages.map((message) => message.role);
            assert.deepEqual(roles.at(-1), 'user');
            if (call !== 'tool') assert.deepEqual(roles, ['system', 'user']);
            assert.equal(data.messages.at(-1)?.content, sent.messages.at(-1)?.content);
            if (call === 'tool')
              assert.deepEqual(
                data.tools?.map((tool) => tool.name),
                [TOOL_NAME],
              );
            if (data.provider.endpoint !== undefined) assert.ok(data.provider.endpoint.includes(PATHS[call]), data.provider.endpoint);
          }
        });

        it('has whole responses with the right usage, finish reason and text', () => {
          for (const { call, body, model, request, response } of exchanges()) {
            const data = response.data as unknown as ResponseData;
            const bytes = Buffer.byteLength(body);
            const usage = expectedUsage({ bodyBytes: bytes });
            assert.equal(response.confidence.completeness, 'full');
            assert.deepEqual([data.status_code, data.success], [200, true]);
            assert.equal(data.model.id, model);
            assert.deepEqual([data.usage.prompt_tokens, data.usage.completion_tokens], [usage.prompt_tokens, usage.completion_tokens], `usage of ${call}`);
            assert.equal(data.choices[0]?.finish_reason, call === 'tool' ? 'tool_calls' : 'stop');
            assert.equal(data.choices[0]?.message.role, 'assistant');
            const asked = { model, bodyBytes: bytes, bodySha256: sha256(body), sequence: 0, stream: false, tool: false, thinking: false, includeUsage: false };
            assert.equal(data.choices[0]?.message.content, answerText(asked));
            assert.equal(data.request_id, (request.data as unknown as RequestData).request_id);
            assert.ok(
              response.related_events?.some((link) => link.event_id === request.event_id),
              'the response links to its request',
            );
          }
        });

        it('has the tool call with joined arguments', () => {
          const exchange = exchanges().find(({ call }) => call === 'tool');
          assert.ok(exchange);
          const pid = runs.get(marker)?.pid;
          const calls = ofType(events, 'agent.tool_call').filter((event) => event.process?.pid === pid);
          assert.equal(calls.length, 1);
          const data = calls[0]?.data as { tool: { name: string }; arguments: unknown; call_id: string };
          assert.equal(data.tool.name, TOOL_NAME);
          assert.deepEqual(data.arguments, TOOL_ARGUMENTS);
          assert.match(data.call_id, /^toolu_[0-9a-f]{24}$/);
          assert.ok(
            calls[0]?.related_events?.some((link) => link.event_id === exchange.response.event_id),
            'the call links to the response that asked for it',
          );
        });
      });
    }
  }
});
