// A round trip of a tool in both formats: the call, and once its result, linked to it, although the history comes again with the next turn.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS, sha256 } from '../lib/clients.js';
import { eventsOf, mustProbe, ofType, oispHost, ROOT, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

describe('a tool round trip', () => {
  let mock: Mock;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(async () => {
    await mock?.close();
  });

  for (const format of ['openai', 'anthropic']) {
    it(`in the format of ${format}`, { timeout: 60_000 }, async () => {
      const output = join(scratch(`round-trip-${format}`), 'out.jsonl');
      const command = [PROGRAMS.node, join(ROOT, 'test', 'lib', 'clients', 'tool-loop.mjs'), mock.url, format];
      const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
      const ended = await oispHost(['run', '--json', '--output', output, '--', ...command], { env });
      assert.equal(ended.code, 0, ended.stderr);
      const events = eventsOf(output);
      assert.deepEqual([ofType(events, 'ai.request').length, ofType(events, 'ai.response').length], [3, 3]);

      const [call, ...otherCalls] = ofType(events, 'agent.tool_call');
      const [result, ...otherResults] = ofType(events, 'agent.tool_result');
      assert.ok(call && result && otherCalls.length === 0 && otherResults.length === 0);
      const { call_id, result: text, result_hash, result_size_bytes, success, tool, conversation_id } = result.data;
      assert.deepEqual([call_id, text, result_hash, result_size_bytes], [ended.stdout.trim(), 'noon', `sha256:${sha256('noon')}`, 4]);
      assert.equal(success, format === 'anthropic' ? true : undefined, 'only one of the formats says how it went');
      assert.equal((tool as { name: string }).name, (call.data['tool'] as { name: string }).name);
      assert.equal(conversation_id, call.data['conversation_id']);
      assert.deepEqual(result.related_events, [{ event_id: call.event_id, relationship: 'parent' }]);
      assert.equal(result.confidence.completeness, 'full');
    });
  }
});
