// The file a shard's worker thread runs: takes tasks in order, hands them to its Shard. It imports no source, sink or configuration.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { LoadedDecoder } from '../decode/chain.js';
import { REUSED_BYTES, type SealedEvents, sealEvents } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import type { HostContext } from '../events/source.js';
import { shrinkHeap } from './heap.js';
import { Shard, type ShardOutput, type ShardStats } from './shard.js';

/** Tasks of a shard; the queue keeps their order, which is what makes load, flush and stats exact. */
export type ShardTask =
  | { kind: 'load'; decoders: readonly LoadedDecoder[]; host: HostContext; version: string; shard: number }
  | { kind: 'batch'; bytes: Uint8Array<ArrayBuffer>; clockOffsetNs: bigint; kinds: number | undefined; spare: ArrayBuffer | undefined }
  | { kind: 'tick'; seconds: number }
  | { kind: 'flush' }
  | { kind: 'stats' };

export interface ShardAnswer {
  /** The buffer of the batch, on its way back to where it came from. */
  spent?: ArrayBuffer;
  events: SealedEvents;
  notes: DescribedNote[];
  stats?: ShardStats;
  /** Lines for the daemon's log since the last answer; never captured bytes. */
  log: string[];
}

const MAX_LOG_LINES = 32;
/** Buffers kept for later answers. */
const MAX_SPARES = 2;
let shard: Shard | undefined;
let lines: string[] = [];
const spares: ArrayBuffer[] = [];

function log(line: string): void {
  if (lines.length < MAX_LOG_LINES) lines.push(line);
}

function bufferFor(bytes: number): ArrayBuffer {
  if (bytes < REUSED_BYTES) return new ArrayBuffer(bytes);
  const spare = spares.pop();
  return spare !== undefined && spare.byteLength >= bytes ? spare : new ArrayBuffer(2 ** Math.ceil(Math.log2(bytes)));
}

function perform(task: ShardTask): ShardOutput & { stats?: ShardStats } {
  if (task.kind === 'load') {
    const { decoders, host, version, shard: number } = task;
    shard = new Shard({ decoders, host, version, shard: number, log });
    shrinkHeap();
    return { events: [], notes: [] };
  }
  if (!shard) throw new Error(`task ${task.kind} before load`);
  switch (task.kind) {
    case 'batch':
      if (task.spare !== undefined && spares.length < MAX_SPARES) spares.push(task.spare);
      return shard.process(task.bytes, task.clockOffsetNs, task.kinds);
    case 'tick':
      return shard.tick(task.seconds);
    case 'flush':
      return shard.flush();
    case 'stats':
      return { events: [], notes: [], stats: shard.stats() };
  }
}

/** An answer whose bytes move to the main thread instead of being copied. */
class Moved {
  constructor(private readonly answer: ShardAnswer) {}

  get [transferableSymbol](): ArrayBuffer[] {
    const { events, spent } = this.answer;
    return spent === undefined ? [events.bytes.buffer] : [events.bytes.buffer, spent];
  }

  get [valueSymbol](): ShardAnswer {
    return this.answer;
  }
}

/** Runs one task. @returns a ShardAnswer, wrapped for Piscina. */
export default function run(task: ShardTask): unknown {
  const { events, ...answer } = perform(task);
  const log = lines;
  lines = [];
  const spent = task.kind === 'batch' ? { spent: task.bytes.buffer } : {};
  return move(new Moved({ ...answer, events: sealEvents(events, bufferFor), log, ...spent }));
}
