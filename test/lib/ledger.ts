// What a run's statistics say of its bytes, as the tests read them; it asserts only that the ledger balances.
import assert from 'node:assert/strict';
import { jsonLine } from './run.js';

export interface Statistics {
  ledger: {
    stages: { stage: string; in_bytes: number; out_bytes: Record<string, number>; balanced: boolean }[];
    lost: Record<string, number>;
    balanced: boolean;
  };
  source: {
    kernel: Record<string, { calls: number; bytes: number }>;
    verdicts: { given: number; failed: number };
    rate_limited: Record<string, { calls: number; bytes: number }>;
  };
  shards: { modules: Record<string, { counters: Record<string, number> }> }[];
}

/** The statistics of a run with --json. Throws when its ledger does not balance. */
export function statisticsOf(stderr: string): Statistics {
  const statistics = jsonLine<Statistics>(stderr, 'ledger');
  assert.equal(statistics.ledger.balanced, true, JSON.stringify(statistics.ledger));
  return statistics;
}

/** A counter of a decoder module, over all shards. */
export const counterOf = ({ shards }: Statistics, module: string, name: string): number =>
  shards.reduce((sum, { modules }) => sum + (modules[module]?.counters[name] ?? 0), 0);
