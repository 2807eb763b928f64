// The providers' own SDKs: a round trip of a tool with each, plain and streamed, over HTTP/1.1 and HTTP/2, in every content coding. What the events say is what the SDK gave
// its program, field by field.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { type Daemon, eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { type Coding, type Mock, startMock } from '../mock/server.js';

const SDKS = ['openai', 'openai-responses', 'anthropic', 'google', 'bedrock-converse', 'bedrock-invoke', 'ollama', 'cohere', 'mistral'] as const;
const MODES = ['plain', 'stream'] as const;
const WAYS: readonly { version: '1' | '2'; coding?: Coding }[] = [
  { version: '1' },
  { version: '2', coding: 'gzip' },
  { version: '1', coding: 'br' },
  { version: '2', coding: 'zstd' },
];
const RESULT = 'sunny, 24 °C';

interface Turn {
  model: string;
  text: string;
  calls: { name: string; arguments: unknown }[];
  finish: string;
  usage: { input: number; output: number };
}

interface Run {
  readonly pid: number;
  readonly turns: Turn[];
}

interface ResponseData {
  model: { id: string };
  choices: { message: { content: string }; finish_reason?: string }[];
  tool_calls?: { name: string; arguments: unknown }[];
  usage: { prompt_tokens: number; completion_tokens: number };
  finish_reason: string;
  streaming: boolean;
  success: boolean;
}

function runSdk(name: string, url: string, mode: string, version: string): Promise<Run> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
    const child = spawn(PROGRAMS.node, [join(ROOT, 'test', 'lib', 'clients', 'sdk.mjs'), name, url, mode, version], { env, timeout: 60_000 });
    let out = '';
    let err = '';
    child.stdout.on('data', (text: Buffer) => {
      out += text.toString();
    });
    child.stderr.on('data', (text: Buffer) => {
      err += text.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code !== 0) reject(new Error(`${name} ${mode} ended with ${code}: ${err.slice(0, 2000)}`));
      else
        resolve({
          pid: child.pid ?? -1,
          turns: out
            .split('\n')
            .filter((line) => line !== '')
            .map((line) => JSON.parse(line) as Turn),
        });
    });
  });
}

/** What an SDK calls the end of an answer that has calls differs; where it gives the bare reason, that is what is compared. */
function checkTurn(turn: Turn, request: SeenEvent, response: SeenEvent, streamed: boolean, version: string): void {
  const data = response.data as unknown as ResponseData;
  const asked = request.data as { model: { id: string }; streaming: boolean; tools?: { name: string }[] };
  assert.deepEqual([asked.model.id, data.model.id], [turn.model, turn.model]);
  assert.deepEqual([asked.streaming, data.streaming, data.success], [streamed, streamed, true]);
  assert.equal(data.choices[0]?.message.content ?? '', turn.text);
  assert.deepEqual(
    (data.tool_calls ?? []).map((call) => ({ name: call.name, arguments: call.arguments })),
    turn.calls,
  );
  assert.equal(data.finish_reason, turn.finish);
  assert.deepEqual({ input: data.usage.prompt_tokens, output: data.usage.completion_tokens }, turn.usage);
  assert.deepEqual(
    [request.confidence.completeness, response.confidence.completeness],
    ['full', 'full'],
    JSON.stringify([request.confidence, response.confidence]),
  );
  assert.deepEqual(
    [request.ext?.oisp_host?.['http_version'], response.ext?.oisp_host?.['http_version']],
    [version === '2' ? '2' : '1.1', version === '2' ? '2' : '1.1'],
  );
  assert.deepEqual(response.related_events, [{ event_id: request.event_id, relationship: 'parent' }]);
  assert.deepEqual(
    asked.tools?.map((tool) => tool.name),
    ['get_weather'],
  );
}

function checkRun(events: readonly SeenEvent[], run: Run, streamed: boolean, version: string): void {
  const mine = events.filter((event) => event.process?.pid === run.pid);
  const requests = ofType(mine, 'ai.request');
  const responses = ofType(mine, 'ai.response');
  assert.deepEqual([run.turns.length, requests.length, responses.length], [2, 2, 2]);
  run.turns.forEach((turn, i) => {
    checkTurn(turn, requests[i] as SeenEvent, responses[i] as SeenEvent, streamed, version);
  });
  assert.equal(requests[0]?.data['conversation_id'], requests[1]?.data['conversation_id']);
  const [call, ...calls] = ofType(mine, 'agent.tool_call');
  const [result, ...results] = ofType(mine, 'agent.tool_result');
  assert.ok(call && result && calls.length === 0 && results.length === 0);
  assert.deepEqual([(call.data['tool'] as { name: string }).name, call.data['arguments']], [run.turns[0]?.calls[0]?.name, run.turns[0]?.calls[0]?.arguments]);
  assert.equal(result.data['result'], RESULT);
}

describe('SDKs', () => {
  const output = join(scratch('sdks'), 'out.jsonl');
  const runs = new Map<string, Run>();
  const failures = new Map<string, Error>();
  let daemon: Daemon | undefined;
  let events: SeenEvent[] = [];
  const keyOf = (name: string, mode: string, way: (typeof WAYS)[number]): string =>
    `${name}, ${mode}, HTTP/${way.version === '1' ? '1.1' : '2'}, ${way.coding ?? 'not coded'}`;

  before(
    async () => {
      mustProbe();
      daemon = await startDaemon(['--output', output]);
      for (const way of WAYS) {
        const mock: Mock = await startMock({ http2: way.version === '2', ...(way.coding ? { coding: way.coding } : {}) });
        for (const name of SDKS) {
          await Promise.all(
            MODES.map(async (mode) => {
              const key = keyOf(name, mode, way);
              await runSdk(name, mock.url, mode, way.version).then(
                (run) => runs.set(key, run),
                (error: Error) => failures.set(key, error),
              );
            }),
          );
        }
        await mock.close();
      }
      await daemon.stop();
      events = eventsOf(output);
    },
    { timeout: 400_000 },
  );
  after(async () => {
    await daemon?.stop();
  });

  it('every event is valid', () => {
    // The checker of the schemas' own repository, where it lies beside this one.
    const checker = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (existsSync(checker)) assert.match(spawnSync(PROGRAMS.node, [checker, output], { encoding: 'utf8', maxBuffer: 1 << 26 }).stdout, /, 0 invalid/);
    assert.ok(events.length > 0);
  });

  for (const way of WAYS) {
    for (const name of SDKS) {
      for (const mode of MODES) {
        const key = keyOf(name, mode, way);
        it(key, () => {
          const failure = failures.get(key);
          if (failure) throw failure;
          checkRun(events, runs.get(key) as Run, mode === 'stream', way.version);
        });
      }
    }
  }
});
