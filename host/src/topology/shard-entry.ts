// The file a shard's worker thread runs: takes tasks in order, hands them to its Shard. It imports no source, sink or configuration.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { LoadedDecoder } from '../decode/chain.js';
import { LentRooms, type SealedEvents, sealEvents } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import type { HostContext } from '../events/source.js';
import { shrinkHeap } from './heap.js';
import { Shard, type ShardOutput, type ShardStats } from './shard.js';

/** Tasks of a shard; the queue keeps their order, which is what makes load, flush and stats exact. */
export type ShardTask =
  | { kind: 'load'; decoders: readonly LoadedDecoder[]; host: HostContext; version: string; shard: number; flags: number }
  | { kind: 'batch'; bytes: Uint8Array; clockOffsetNs: bigint; kinds: number | undefined }
  | { kind: 'tick'; seconds: number }
  | { kind: 'flush' }
  | { kind: 'stats' };

export interface ShardAnswer {
  events: SealedEvents;
  notes: DescribedNote[];
  stats?: ShardStats;
  /** Lines for the daemon's log since the last answer; never captured bytes. */
  log: string[];
}

const MAX_LOG_LINES = 32;
let shard: Shard | undefined;
let lines: string[] = [];
const rooms = new LentRooms();
const roomFor = (bytes: number): Uint8Array => rooms.room(bytes);

function log(line: string): void {
  if (lines.length < MAX_LOG_LINES) lines.push(line);
}

function perform(task: ShardTask): ShardOutput & { stats?: ShardStats } {
  if (task.kind === 'load') {
    const { decoders, host, version, shard: number, flags } = task;
    shard = new Shard({ decoders, host, version, shard: number, flags, log });
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

/** An answer whose bytes move to the main thread instead of being copied. */
class Moved {
  constructor(private readonly answer: ShardAnswer) {}

  get [transferableSymbol](): ArrayBuffer[] {
    const { buffer } = this.answer.events.bytes;
    return buffer instanceof ArrayBuffer ? [buffer] : [];
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
  return move(new Moved({ ...answer, events: sealEvents(events, roomFor), log }));
}
