// The worker thread of one shard: runs its tasks in order, sees that every call of a module returns, and replaces the thread when one does not.
import { Piscina } from 'piscina';
import type { LoadedDecoder } from '../decode/stage.js';
import { HostError } from '../errors.js';
import type { HostContext } from '../events/source.js';
import type { DecoderChange } from './shard.js';
import type { ShardAnswer, ShardTask } from './shard-entry.js';

export interface ShardThreadOptions {
  readonly shard: number;
  readonly decoders: readonly LoadedDecoder[];
  readonly host: HostContext;
  readonly version: string;
  /** Of the decoder modules, enum init_flag. */
  readonly flags: number;
  /** Longest that one call of a module may take, ms. */
  readonly deadlineMs: number;
  /** The thread was replaced. @param culprit the module that did not return, undefined: the host's own code did not */
  readonly onReplaced: (culprit: LoadedDecoder | undefined) => void;
}

/** What a task's batch was, its bytes are not decoded: the thread was replaced. */
export class TaskLost extends HostError {
  constructor(shard: number, why: string) {
    super('SHARD', `shard ${shard} ${why}`);
    this.name = 'TaskLost';
  }
}

/** Tasks a shard's queue may hold; the source's credit keeps it far below. */
const MAX_QUEUE = 4096;
/** Looks at a thread within one deadline: so many in a row without any progress mean that it hangs. */
const LOOKS = 4;
/** A module that made a thread hang is stopped in its thread from then on, ms. */
const GUARD_MS = 1000;

interface Job {
  readonly task: ShardTask;
  readonly transfer: ArrayBuffer[];
  readonly payloadBytes: number;
  readonly resolve: (answer: ShardAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class ShardThread {
  /** Payload bytes that threads decoded which were replaced since: their counters are gone with them. */
  uncountedBytes = 0;
  replaced = 0;
  #pool: Piscina<ShardTask, ShardAnswer>;
  #jobs: Job[] = [];
  #decoders: LoadedDecoder[];
  readonly #off = new Set<string>();
  readonly #guards = new Map<string, number>();
  /** [place of the module that runs + 1, calls so far], written by the thread. */
  readonly #calls = new Int32Array(new SharedArrayBuffer(8));
  #decodedBytes = 0;
  #answers = 0;
  #seen = '';
  #looks = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(private readonly options: ShardThreadOptions) {
    this.#decoders = [...options.decoders];
    this.#pool = newPool();
    this.#timer = setInterval(() => this.#look(), options.deadlineMs / LOOKS).unref();
  }

  /** @throws TaskLost when the thread was replaced, HostError SHARD when it failed. */
  run(task: ShardTask, { transfer = [], payloadBytes = 0 }: { transfer?: ArrayBuffer[]; payloadBytes?: number } = {}): Promise<ShardAnswer> {
    return new Promise((resolve, reject) => this.#send({ task, transfer, payloadBytes, resolve, reject }));
  }

  load(): Promise<ShardAnswer> {
    return this.run(this.#loading());
  }

  /** Changes a module; a thread that takes this one's place has the change too. @throws HostError DECODER when the module was refused. */
  async change(change: DecoderChange): Promise<ShardAnswer> {
    const answer = await this.run({ kind: 'decoders', change });
    if (answer.refused !== undefined) throw new HostError('DECODER', answer.refused);
    this.#remember(change);
    return answer;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#pool.destroy();
  }

  #loading(): ShardTask {
    const { host, version, shard, flags } = this.options;
    return { kind: 'load', decoders: this.#decoders, off: [...this.#off], guards: [...this.#guards], host, version, shard, flags, calls: this.#calls };
  }

  #remember(change: DecoderChange): void {
    switch (change.op) {
      case 'swap': {
        const at = this.#decoders.findIndex(({ name }) => name === change.decoder.name);
        this.#decoders.splice(at < 0 ? this.#decoders.length : at, 1, change.decoder);
        this.#off.delete(change.decoder.name);
        return;
      }
      case 'remove':
        this.#decoders = this.#decoders.filter(({ name }) => name !== change.name);
        return;
      case 'off':
        this.#off.add(change.name);
        return;
      case 'guard':
        if (change.limitMs > 0) this.#guards.set(change.name, change.limitMs);
        else this.#guards.delete(change.name);
    }
  }

  #send(job: Job): void {
    const pool = this.#pool;
    this.#jobs.push(job);
    pool.run(job.task, { transferList: job.transfer }).then(
      (answer) => {
        if (!this.#take(job, pool)) return;
        this.#answers++;
        this.#decodedBytes += job.payloadBytes;
        job.resolve(answer);
      },
      (error: Error) => {
        if (this.#take(job, pool)) job.reject(new HostError('SHARD', `shard ${this.options.shard} failed: ${error.message}`, undefined, { cause: error }));
      },
    );
  }

  /** @returns false when another thread has taken the place of the one that did the job. */
  #take(job: Job, pool: Piscina<ShardTask, ShardAnswer>): boolean {
    if (pool !== this.#pool) return false;
    const at = this.#jobs.indexOf(job);
    if (at >= 0) this.#jobs.splice(at, 1);
    return at >= 0;
  }

  #look(): void {
    const now = `${this.#calls[1]} ${this.#answers}`;
    // The timer runs late, and once, when this thread or the machine stood still: that is no time in which the other one did nothing.
    this.#looks = this.#jobs.length > 0 && now === this.#seen ? this.#looks + 1 : 0;
    this.#seen = now;
    if (this.#looks >= LOOKS) this.#replace();
  }

  #replace(): void {
    const culprit = this.#decoders[(this.#calls[0] ?? 0) - 1];
    const [hung, ...rest] = this.#jobs;
    const old = this.#pool;
    this.#jobs = [];
    this.#looks = 0;
    this.#calls.fill(0);
    this.uncountedBytes += this.#decodedBytes;
    this.#decodedBytes = 0;
    this.replaced++;
    if (culprit) this.#guards.set(culprit.name, Math.min(GUARD_MS, this.options.deadlineMs / LOOKS));
    this.#pool = newPool();
    void old.destroy();
    hung?.reject(new TaskLost(this.options.shard, `did not return within ${this.options.deadlineMs} ms from ${culprit?.name ?? 'its own code'}`));
    this.#send({ task: this.#loading(), transfer: [], payloadBytes: 0, resolve: () => undefined, reject: (error) => hung?.reject(error) });
    this.options.onReplaced(culprit);
    for (const job of rest) {
      if (job.transfer.some((buffer) => buffer.detached)) job.reject(new TaskLost(this.options.shard, 'was replaced, and the batch with it'));
      else this.#send(job);
    }
  }
}

function newPool(): Piscina<ShardTask, ShardAnswer> {
  return new Piscina<ShardTask, ShardAnswer>({
    filename: new URL('./shard-entry.js', import.meta.url).href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 4,
    stricterFIFO: true,
    maxQueue: MAX_QUEUE,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'sync',
  });
}
