// Tool servers on standard input and output: calls and results of MCP's own SDK are told, and the ledger has every byte of what is said, live and replayed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { counterOf, statisticsOf } from '../lib/ledger.js';
import { eventsOf, mustProbe, ofType, oispHost, ROOT, type SeenEvent, scratch } from '../lib/run.js';

const clients = join(ROOT, 'test', 'lib', 'clients');
/** 3 requests with 20,000 times their number in padding, and some more. */
const LEAST = 120_000;

describe('tool server', () => {
  before(mustProbe);

  it('is in the ledger, byte by byte', { timeout: 60_000 }, async () => {
    const folder = scratch('tools');
    const recording = join(folder, 'recording');
    const command = [PROGRAMS.node, join(clients, 'mcp-client.mjs'), PROGRAMS.python, join(clients, 'mcp-server.py')];
    const live = await oispHost(['run', '--json', '--record', recording, '--output', '/dev/null', '--', ...command]);
    assert.equal(live.code, 0, live.stderr);
    const statistics = statisticsOf(live.stderr);
    const piped = counterOf(statistics, 'system', 'pipe_bytes');
    assert.ok(piped > LEAST + Number(live.stdout), `${piped} bytes of requests and answers`);
    assert.equal(statistics.source.kernel['emitted']?.bytes, piped, 'and nothing else was captured');
    assert.equal(statistics.ledger.stages.find(({ stage }) => stage === 'decoder')?.out_bytes['pipe_bytes'], piped);
    assert.deepEqual(
      Object.values(statistics.ledger.lost).filter((bytes) => bytes > 0),
      [],
    );

    const again = await oispHost(['replay', '--json', '--output', '/dev/null', recording]);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(counterOf(statisticsOf(again.stderr), 'system', 'pipe_bytes'), piped);
  });

  it('is told by its calls and their results, those of two servers at once apart', { timeout: 60_000 }, async () => {
    const output = join(scratch('mcp-stdio'), 'out.jsonl');
    const command = [PROGRAMS.node, join(clients, 'mcp-stdio.mjs')];
    const ended = await oispHost(['run', '--json', '--output', output, '--', ...command]);
    assert.equal(ended.code, 0, ended.stderr);
    const given = JSON.parse(ended.stdout) as { server: string; city: string; text: string }[];
    assert.equal(given.length, 6);
    const events = eventsOf(output);
    const calls = ofType(events, 'agent.tool_call');
    const results = ofType(events, 'agent.tool_result');
    assert.deepEqual([calls.length, results.length], [6, 6]);
    for (const { city, text } of given) {
      const call = calls.find((event) => (event.data['arguments'] as { city: string }).city === city) as SeenEvent;
      assert.deepEqual(call.data['tool'], { name: 'get_weather', type: 'other', provider: 'mcp' });
      const result = results.find((event) => event.data['result'] === text) as SeenEvent;
      assert.ok(result, text);
      assert.deepEqual([result.data['call_id'], result.data['success'], result.process?.pid], [call.data['call_id'], true, call.process?.pid]);
      assert.deepEqual(result.related_events, [{ event_id: call.event_id, relationship: 'parent' }]);
      assert.deepEqual([call.confidence.completeness, result.confidence.completeness], ['full', 'full']);
    }
    const checker = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (existsSync(checker)) assert.match(spawnSync(PROGRAMS.node, [checker, output], { encoding: 'utf8' }).stdout, /, 0 invalid/);
  });
});
