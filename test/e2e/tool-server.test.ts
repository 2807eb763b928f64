// Tool servers on standard input and output: what they say is captured, no decoder reads it yet, and the ledger has every byte of it, live and replayed.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { counterOf, statisticsOf } from '../lib/ledger.js';
import { mustProbe, oispHost, ROOT, scratch } from '../lib/run.js';

const clients = join(ROOT, 'test', 'lib', 'clients');
/** 3 requests with 20,000 times their number in padding, and some more. */
const LEAST = 120_000;

describe('tool server', () => {
  before(mustProbe);

  it('is in the ledger as bytes that no decoder takes', { timeout: 60_000 }, async () => {
    const folder = scratch('tools');
    const recording = join(folder, 'recording');
    const command = [PROGRAMS.node, join(clients, 'mcp-client.mjs'), PROGRAMS.python, join(clients, 'mcp-server.py')];
    const live = await oispHost(['run', '--json', '--record', recording, '--output', '/dev/null', '--', ...command]);
    assert.equal(live.code, 0, live.stderr);
    const statistics = statisticsOf(live.stderr);
    const undecoded = counterOf(statistics, 'system', 'undecoded_bytes');
    assert.ok(undecoded > LEAST + Number(live.stdout), `${undecoded} bytes of requests and answers`);
    assert.equal(statistics.source.kernel['emitted']?.bytes, undecoded, 'and nothing else was captured');
    assert.equal(statistics.ledger.stages.find(({ stage }) => stage === 'decoder')?.out_bytes['no_decoder'], undecoded);
    assert.deepEqual(
      Object.values(statistics.ledger.lost).filter((bytes) => bytes > 0),
      [],
    );

    const again = await oispHost(['replay', '--json', '--output', '/dev/null', recording]);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(counterOf(statisticsOf(again.stderr), 'system', 'undecoded_bytes'), undecoded);
  });
});
