// What a running daemon tells of itself, as one value: who it is, what it probes, and all its numbers. Never anything captured.
import type { HostContext, SourceStats } from '../events/source.js';
import type { Target } from '../sources/ebpf/index.js';
import type { AuditEntry, DecoderSet, DecoderState } from './decoder-set.js';
import { collectNumbers, type RunNumbers, type RunParts } from './numbers.js';

export type RunState = 'starting' | 'capturing' | 'stopping';

export interface Status extends RunNumbers {
  readonly version: string;
  readonly pid: number;
  readonly state: RunState;
  /** ISO 8601. */
  readonly started: string;
  readonly uptime_s: number;
  readonly kernel: string;
  readonly arch: string;
  /** What is captured, in words. */
  readonly scope: string;
  /** Where events go. */
  readonly output: string;
  /** Name of the sink. */
  readonly sink_name: string;
  readonly decoders: readonly DecoderState[];
  /** What was changed of them, oldest first. */
  readonly decoder_audit: readonly AuditEntry[];
  /** Files with a TLS library, what of each is probed and why the rest is not. */
  readonly targets: readonly Target[];
  /** What discovery last stumbled over; null: nothing. */
  readonly last_problem: string | null;
  readonly process: ProcessNumbers;
  /** What coverage keeps, checks and scans. */
  readonly coverage: SourceStats;
  /** What was asked over the control socket. */
  readonly control: SourceStats;
}

/** What the daemon itself uses. */
export interface ProcessNumbers {
  readonly cpu_user_s: number;
  readonly cpu_system_s: number;
  readonly resident_bytes: number;
  readonly heap_used_bytes: number;
}

/** What stays the same while the daemon runs, and the parts that are asked. */
export interface StatusParts extends RunParts {
  readonly version: string;
  readonly host: HostContext;
  readonly scope: string;
  readonly output: string;
  readonly decoders: DecoderSet;
  readonly state: () => RunState;
  readonly targets: () => readonly Target[];
  readonly lastProblem: () => string | undefined;
  readonly coverage: () => SourceStats;
  readonly control: () => SourceStats;
}

/** Reads the status of one run. Whoever asks while it is being read gets the same answer: askers cost the shards nothing more. */
export class StatusReader {
  readonly #parts: StatusParts;
  readonly #startedMs = Date.now() - Math.round(process.uptime() * 1000);
  #reading: Promise<Status> | undefined;

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  /** @throws HostError SHARD when a shard is gone. */
  read(): Promise<Status> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<Status> {
    const { version, host, scope, output, decoders, sink, state, targets, lastProblem, coverage, control } = this.#parts;
    const numbers = await collectNumbers(this.#parts, true);
    return {
      version,
      pid: process.pid,
      state: state(),
      started: new Date(this.#startedMs).toISOString(),
      uptime_s: Math.round(process.uptime() * 1000) / 1000,
      kernel: host.kernelVersion,
      arch: host.arch,
      scope,
      output,
      sink_name: sink.id,
      decoders: decoders.list(),
      decoder_audit: decoders.audit(),
      targets: targets(),
      last_problem: lastProblem() ?? null,
      process: processNumbers(),
      coverage: coverage(),
      control: control(),
      ...numbers,
    };
  }
}

function processNumbers(): ProcessNumbers {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return { cpu_user_s: user / 1e6, cpu_system_s: system / 1e6, resident_bytes: rss, heap_used_bytes: heapUsed };
}
