// The shards: one thread each, so that tasks of a shard run in the order they were given.
import type { LoadedDecoder } from '../decode/stage.js';
import { HostError } from '../errors.js';
import type { HostContext, RecordBatch } from '../events/source.js';
import type { DecoderChange, ShardStats } from './shard.js';
import type { ShardAnswer, ShardTask } from './shard-entry.js';
import { ShardThread } from './shard-thread.js';

export interface ShardPoolOptions {
  readonly shards: number;
  readonly decoders: readonly LoadedDecoder[];
  readonly host: HostContext;
  readonly version: string;
  /** Of the decoder modules, enum init_flag. Default 0. */
  readonly flags?: number;
  /** Longest that one call of a module may take, ms. Default 10 s. */
  readonly deadlineMs?: number;
}

/** The numbers of a shard, with what only its keeper knows. */
export interface PooledStats extends ShardStats {
  /** Threads that did not return from a module and were replaced, and payload bytes that they had decoded: their counters are gone. */
  replaced: number;
  uncounted_bytes: number;
}

const DEADLINE_MS = 10_000;

export class ShardPool {
  /** A shard's thread was replaced: it knows nothing but its modules. @param culprit the module that did not return */
  onReplaced: (shard: number, culprit: LoadedDecoder | undefined) => void = () => undefined;
  private readonly threads: ShardThread[];

  constructor({ shards, decoders, host, version, flags = 0, deadlineMs = DEADLINE_MS }: ShardPoolOptions) {
    this.threads = Array.from(
      { length: shards },
      (_, shard) => new ShardThread({ shard, decoders, host, version, flags, deadlineMs, onReplaced: (culprit) => this.onReplaced(shard, culprit) }),
    );
  }

  get shards(): number {
    return this.threads.length;
  }

  /** Loads the decoders into every shard. @throws HostError DECODER. */
  async load(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.load()));
  }

  /** Decodes a batch. Its bytes are transferred and gone afterwards, unless they lie in shared memory: then they must stay as they are meanwhile. */
  process({ shard, bytes, clockOffsetNs, kinds, payloadBytes }: RecordBatch): Promise<ShardAnswer> {
    const transfer = bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
    return this.thread(shard).run({ kind: 'batch', bytes, clockOffsetNs, kinds }, { transfer, payloadBytes });
  }

  /** @param seconds on the record clock. */
  tick(seconds: number): Promise<ShardAnswer[]> {
    return this.all({ kind: 'tick', seconds });
  }

  flush(): Promise<ShardAnswer[]> {
    return this.all({ kind: 'flush' });
  }

  /** Changes a module in one shard, between two of its batches. @throws HostError DECODER when it is refused: then nothing has changed there. */
  change(shard: number, change: DecoderChange): Promise<ShardAnswer> {
    return this.thread(shard).change(change);
  }

  async stats(): Promise<PooledStats[]> {
    const answers = await this.all({ kind: 'stats' });
    return answers.flatMap(({ stats }, shard) => {
      const { replaced, uncountedBytes } = this.thread(shard);
      return stats ? [{ ...stats, replaced, uncounted_bytes: uncountedBytes }] : [];
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  private all(task: ShardTask): Promise<ShardAnswer[]> {
    return Promise.all(this.threads.map((thread) => thread.run(task)));
  }

  private thread(shard: number): ShardThread {
    const thread = this.threads[shard];
    if (!thread) throw new HostError('SHARD', `there is no shard ${shard}`);
    return thread;
  }
}
