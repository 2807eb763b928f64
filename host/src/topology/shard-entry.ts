// The file a shard's worker thread runs: takes tasks in order, hands them to its Shard. It imports no source, sink or configuration.

import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { CanaryReport } from '../decode/canary.js';
import { DecoderError } from '../decode/decoder-module.js';
import type { Incident, LoadedDecoder, SwapReport } from '../decode/stage.js';
import { LentRooms, type SealedEvents, sealEvents } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import type { HostContext } from '../events/source.js';
import { shrinkHeap } from './heap.js';
import { type DecoderChange, Shard, type ShardOutput, type ShardStats } from './shard.js';

/** Tasks of a shard; the queue keeps their order, which is what makes load, flush and stats exact. */
export type ShardTask =
  | {
      kind: 'load';
      decoders: readonly LoadedDecoder[];
      /** Names of modules that are switched off, and limits in ms of calls of those that are not trusted. */
      off: readonly string[];
      guards: readonly (readonly [string, number])[];
      host: HostContext;
      version: string;
      shard: number;
      flags: number;
      /** Takes the place of the module that is called + 1, 0 for none, and a count of calls. */
      calls: Int32Array;
    }
  | { kind: 'decoders'; change: DecoderChange }
  | { kind: 'batch'; bytes: Uint8Array; clockOffsetNs: bigint; kinds: number | undefined }
  | { kind: 'tick'; seconds: number }
  | { kind: 'flush' }
  | { kind: 'stats' };

export interface ShardAnswer {
  events: SealedEvents;
  notes: DescribedNote[];
  stats?: ShardStats;
  /** Instances of modules lost since the last answer. */
  incidents: Incident[];
  /** Of a change: what it did, or why it was refused. */
  swapped?: SwapReport;
  canary?: CanaryReport;
  refused?: string;
  /** How long the shard stood still for it, ms. */
  pauseMs?: number;
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

type Performed = ShardOutput & Pick<ShardAnswer, 'stats' | 'swapped' | 'canary' | 'refused' | 'pauseMs'>;
const NOTHING: Performed = { events: [], notes: [], incidents: [] };

function load({ decoders, off, guards, host, version, shard: number, flags, calls }: Extract<ShardTask, { kind: 'load' }>): Performed {
  // Written without atomics: who reads it wants to know whether it stays the same for seconds.
  const onCall = (place: number) => {
    calls[0] = place + 1;
    calls[1] = ((calls[1] ?? 0) + 1) | 0;
  };
  shard = new Shard({ decoders, host, version, shard: number, flags, log, onCall });
  for (const name of off) shard.change({ op: 'off', name });
  for (const [name, limitMs] of guards) shard.change({ op: 'guard', name, limitMs });
  shrinkHeap();
  return NOTHING;
}

function change(by: Shard, what: DecoderChange): Performed {
  const began = performance.now();
  try {
    const done = by.change(what);
    return { ...done, pauseMs: performance.now() - began };
  } catch (error) {
    if (!(error instanceof DecoderError)) throw error;
    return { ...NOTHING, refused: error.message };
  }
}

function perform(task: ShardTask): Performed {
  if (task.kind === 'load') return load(task);
  if (!shard) throw new Error(`task ${task.kind} before load`);
  switch (task.kind) {
    case 'batch':
      return shard.process(task.bytes, task.clockOffsetNs, task.kinds);
    case 'tick':
      return shard.tick(task.seconds);
    case 'flush':
      return shard.flush();
    case 'decoders':
      return change(shard, task.change);
    case 'stats':
      return { ...NOTHING, stats: shard.stats() };
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
