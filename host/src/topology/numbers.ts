// Every number a run has, taken at one moment: what `status` shows while it goes on and what is told when it has ended. It changes none.
import type { Sink } from '../events/sink.js';
import type { Source, SourceStats } from '../events/source.js';
import { type Ledger, makeLedger } from './ledger.js';
import type { Pipeline, PipelineStats } from './pipeline.js';
import type { PooledStats, ShardPool } from './shard-pool.js';

/** What takes part in a run. */
export interface RunParts {
  readonly source: Source;
  readonly pipeline: Pipeline;
  readonly pool: ShardPool;
  readonly sink: Sink;
  readonly recorder?: { stats(): SourceStats } | undefined;
}

export interface RunNumbers {
  readonly ledger: Ledger;
  readonly source: SourceStats;
  readonly pipeline: PipelineStats;
  readonly correlate: ReturnType<Pipeline['correlator']['counters']>;
  /** By shard number. */
  readonly shards: readonly PooledStats[];
  readonly sink: ReturnType<Sink['stats']>;
  readonly recorder?: SourceStats;
}

/**
 * @param running the source goes on. All but the shards' numbers are read at once, downstream first; those of the shards come through
 *   their queues, behind every batch that was counted and before the next one. So the stages fit to the byte even under load.
 * @throws HostError SHARD when a shard is gone.
 */
export async function collectNumbers({ source, pipeline, pool, sink, recorder }: RunParts, running: boolean): Promise<RunNumbers> {
  const told = {
    sink: sink.stats(),
    correlate: pipeline.correlator.counters(),
    pipeline: { ...pipeline.counts },
    source: source.stats(),
    ...(recorder && { recorder: recorder.stats() }),
  };
  const shards = await pool.stats();
  // A batch whose shard failed is known to have failed only when its answer came.
  told.pipeline.failed_bytes = pipeline.counts.failed_bytes;
  return { ledger: makeLedger(told.source, told.pipeline, shards, running), ...told, shards };
}
