// The loss ledger: every payload byte a probe saw is in exactly one bucket of each stage, and each stage's sum is checked against the one before.
import type { SourceStats } from '../events/source.js';
import type { PipelineStats } from './pipeline.js';
import type { PooledStats } from './shard-pool.js';

/** One stage: what came in must equal the sum of where it went. */
export interface LedgerStage {
  readonly stage: string;
  readonly in_bytes: number;
  readonly out_bytes: Readonly<Record<string, number>>;
  readonly balanced: boolean;
}

export interface Ledger {
  readonly stages: readonly LedgerStage[];
  /** Payload bytes that no event can hold, by reason; bytes cut by a limit included. */
  readonly lost: Readonly<Record<string, number>>;
  /** TLS calls whose length was never learnt, so that no stage counts their bytes. */
  readonly unseen_calls: number;
  readonly balanced: boolean;
}

/** What the http module does with a payload byte: the buckets of its oisp_stats that sum up to in_bytes. */
const DECODE_BUCKETS = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'] as const;

const numberAt = (stats: SourceStats, ...path: string[]): number => {
  let at: number | SourceStats | undefined = stats;
  for (const name of path) at = typeof at === 'object' ? at[name] : undefined;
  return typeof at === 'number' ? at : 0;
};

/** Buckets whose bytes are on their way and will be in another one later; all others only grow. */
export const HELD_BUCKETS: ReadonlySet<string> = new Set(['in_flight', 'pending_bytes']);

/**
 * @param source a live source's statistics have a `kernel` part; a recording's have not.
 * @param running numbers of a source that goes on, taken downstream first: what a stage has not passed on yet is its bucket
 *   `in_flight`. More passed on than taken in stays an imbalance.
 */
export function makeLedger(source: SourceStats, pipeline: PipelineStats, shards: readonly PooledStats[], running = false): Ledger {
  const stage = running ? runningStage : endedStage;
  const kernel = (bucket: string, what: 'bytes' | 'calls') => numberAt(source, 'kernel', bucket, what);
  const counter = (module: string, name: string) => shards.reduce((sum, shard) => sum + (shard.modules[module]?.counters[name] ?? 0), 0);
  const http = (name: string) => counter('http', name);
  const stages: LedgerStage[] = [];
  if (source['kernel'] !== undefined) {
    stages.push(
      stage(
        'kernel',
        kernel('seen', 'bytes'),
        Object.fromEntries(['emitted', 'truncated', 'ring_full', 'fault', 'skipped', 'passed_by', 'shed'].map((bucket) => [bucket, kernel(bucket, 'bytes')])),
      ),
    );
    stages.push(stage('ring', kernel('emitted', 'bytes'), { read: numberAt(source, 'ring', 'payload_bytes') }));
    stages.push(stage('batches', numberAt(source, 'ring', 'payload_bytes'), { handed_over: pipeline.payload_bytes }));
  }
  // What came through pipes is counted by the system module.
  const piped = counter('system', 'pipe_bytes');
  // Decoded by threads that were replaced: what became of it in detail is not known any more.
  const uncounted = shards.reduce((sum, shard) => sum + shard.uncounted_bytes, 0);
  const decoded = http('in_bytes') + piped + uncounted;
  // An instance that is lost takes the rest of its buffer with it; only then may the decoder have counted less than it was given.
  const trapped = shards.some(hasFaults) ? pipeline.payload_bytes - pipeline.failed_bytes - decoded : 0;
  stages.push(stage('shards', pipeline.payload_bytes, { decoder: decoded, failed: pipeline.failed_bytes, decoder_trap: trapped }));
  stages.push(
    stage('decoder', decoded, {
      ...Object.fromEntries(DECODE_BUCKETS.map((bucket) => [bucket, http(bucket)])),
      pipe_bytes: piped,
      ...(uncounted > 0 && { uncounted_bytes: uncounted }),
    }),
  );
  const lost = {
    ring_full: kernel('ring_full', 'bytes'),
    fault: kernel('fault', 'bytes'),
    truncated: kernel('truncated', 'bytes'),
    passed_by: kernel('passed_by', 'bytes'),
    shed: kernel('shed', 'bytes'),
    shard_failed: pipeline.failed_bytes,
    decoder_trap: trapped,
  };
  return { stages, lost, unseen_calls: kernel('frame_lost', 'calls') + kernel('conn_lost', 'calls'), balanced: stages.every(({ balanced }) => balanced) };
}

/** Has a module lost an instance, or is it off, that counts payload into the ledger? */
function hasFaults({ modules }: PooledStats): boolean {
  return [modules['http'], modules['system']].some((one) => one !== undefined && (one.traps > 0 || one.abandoned > 0 || one.off));
}

function runningStage(name: string, inBytes: number, outBytes: Record<string, number>): LedgerStage {
  const sum = Object.values(outBytes).reduce((total, bytes) => total + bytes, 0);
  return endedStage(name, inBytes, { ...outBytes, in_flight: Math.max(0, inBytes - sum) });
}

function endedStage(name: string, inBytes: number, outBytes: Record<string, number>): LedgerStage {
  const sum = Object.values(outBytes).reduce((total, bytes) => total + bytes, 0);
  return { stage: name, in_bytes: inBytes, out_bytes: outBytes, balanced: sum === inBytes };
}
