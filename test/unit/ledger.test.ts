// Tests the loss ledger in the two moments it is made: of a run that goes on, where bytes may be under way, and of one that has ended, where none may.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeLedger } from '../../host/src/topology/ledger.js';
import type { PipelineStats } from '../../host/src/topology/pipeline.js';
import { shardStats } from '../lib/status.js';

const cell = (bytes: number) => ({ calls: 1, bytes });
const source = (seen: number, emitted: number, ringFull: number, read: number) => ({
  kernel: { seen: cell(seen), emitted: cell(emitted), truncated: cell(0), ring_full: cell(ringFull), fault: cell(0) },
  ring: { payload_bytes: read },
});
const pipeline = (bytes: number): PipelineStats => ({ batches: 1, records: 1, payload_bytes: bytes, failed_bytes: 0, failed_batches: 0, events: 0 });
const decoded = (bytes: number) => [shardStats({ http: { in_bytes: bytes, framing_bytes: bytes } })];

describe('the ledger', () => {
  it('of a running daemon says what is under way, stage by stage', () => {
    const ledger = makeLedger(source(100, 80, 5, 60), pipeline(50), decoded(50), true);
    assert.equal(ledger.balanced, true);
    assert.deepEqual(
      ledger.stages.map(({ stage, out_bytes }) => [stage, out_bytes['in_flight']]),
      [
        ['kernel', 15],
        ['ring', 20],
        ['batches', 10],
        ['shards', 0],
        ['decoder', 0],
      ],
    );
  });
  it('of a run that has ended takes the same numbers for a loss without a name', () => {
    const ledger = makeLedger(source(100, 80, 5, 60), pipeline(50), decoded(50));
    assert.equal(ledger.balanced, false);
    assert.deepEqual(
      ledger.stages.map(({ balanced }) => balanced),
      [false, false, false, true, true],
    );
  });
  it('of a running daemon does not excuse a stage that passed on more than it was given', () => {
    const ledger = makeLedger(source(100, 80, 30, 60), pipeline(50), decoded(51), true);
    assert.equal(ledger.balanced, false);
    assert.deepEqual(
      ledger.stages.filter(({ balanced }) => !balanced).map(({ stage }) => stage),
      ['kernel', 'shards'],
    );
  });
});
