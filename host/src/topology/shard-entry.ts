// The file a shard's worker thread runs: takes tasks in order, hands them to its Shard. It imports no source, sink or configuration.
import type { LoadedDecoder } from '../decode/chain.js';
import type { HostContext } from '../events/source.js';
import { shrinkHeap } from './heap.js';
import { Shard, type ShardOutput, type ShardStats } from './shard.js';

/** Tasks of a shard; the queue keeps their order, which is what makes load, flush and stats exact. */
export type ShardTask =
  | { kind: 'load'; decoders: readonly LoadedDecoder[]; host: HostContext; version: string; shard: number }
  | { kind: 'batch'; bytes: Uint8Array<ArrayBuffer>; clockOffsetNs: bigint; kinds: number | undefined }
  | { kind: 'tick'; seconds: number }
  | { kind: 'flush' }
  | { kind: 'stats' };

export interface ShardAnswer extends ShardOutput {
  stats?: ShardStats;
  /** Lines for the daemon's log since the last answer; never captured bytes. */
  log: string[];
}

const MAX_LOG_LINES = 32;
let shard: Shard | undefined;
let lines: string[] = [];

function log(line: string): void {
  if (lines.length < MAX_LOG_LINES) lines.push(line);
}

function perform(task: ShardTask): Omit<ShardAnswer, 'log'> {
  if (task.kind === 'load') {
    const { decoders, host, version, shard: number } = task;
    shard = new Shard({ decoders, host, version, shard: number, log });
    shrinkHeap();
    return { events: [], notes: [] };
  }
  if (!shard) throw new Error(`task ${task.kind} before load`);
  switch (task.kind) {
    case 'batch':
      return shard.process(task.bytes, task.clockOffsetNs, task.kinds);
    case 'tick':
      return shard.tick(task.seconds);
    case 'flush':
      return shard.flush();
    case 'stats':
      return { events: [], notes: [], stats: shard.stats() };
  }
}

/** Runs one task. */
export default function run(task: ShardTask): ShardAnswer {
  const answer = perform(task);
  const log = lines;
  lines = [];
  return { ...answer, log };
}
