// The shards as Piscina pools, one single-threaded pool each, so that tasks of a shard run in the order they were given.
import { Piscina } from 'piscina';
import type { LoadedDecoder } from '../decode/chain.js';
import { HostError } from '../errors.js';
import type { HostContext, RecordBatch } from '../events/source.js';
import type { ShardStats } from './shard.js';
import type { ShardAnswer, ShardTask } from './shard-entry.js';

export interface ShardPoolOptions {
  readonly shards: number;
  readonly decoders: readonly LoadedDecoder[];
  readonly host: HostContext;
  readonly version: string;
  /** Of the decoder modules, enum init_flag. Default 0. */
  readonly flags?: number;
}

/** Tasks a shard's queue may hold; the source's credit keeps it far below. */
const MAX_QUEUE = 4096;

export class ShardPool {
  private readonly pools: Piscina<ShardTask, ShardAnswer>[];

  constructor(private readonly options: ShardPoolOptions) {
    const filename = new URL('./shard-entry.js', import.meta.url).href;
    this.pools = Array.from(
      { length: options.shards },
      () =>
        new Piscina<ShardTask, ShardAnswer>({
          filename,
          minThreads: 1,
          maxThreads: 1,
          concurrentTasksPerWorker: 4,
          stricterFIFO: true,
          maxQueue: MAX_QUEUE,
          idleTimeout: Number.POSITIVE_INFINITY,
          atomics: 'sync',
        }),
    );
  }

  /** Loads the decoders into every shard. @throws HostError DECODER. */
  async load(): Promise<void> {
    const { decoders, host, version, flags = 0 } = this.options;
    await this.all((shard) => ({ kind: 'load', decoders, host, version, shard, flags }));
  }

  /** Decodes a batch. Its bytes are transferred and gone afterwards, unless they lie in shared memory: then they must stay as they are meanwhile. */
  process({ shard, bytes, clockOffsetNs, kinds }: RecordBatch): Promise<ShardAnswer> {
    return this.run(shard, { kind: 'batch', bytes, clockOffsetNs, kinds }, bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : []);
  }

  /** @param seconds on the record clock. */
  tick(seconds: number): Promise<ShardAnswer[]> {
    return this.all(() => ({ kind: 'tick', seconds }));
  }

  flush(): Promise<ShardAnswer[]> {
    return this.all(() => ({ kind: 'flush' }));
  }

  async stats(): Promise<ShardStats[]> {
    const answers = await this.all(() => ({ kind: 'stats' }));
    return answers.flatMap(({ stats }) => stats ?? []);
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.destroy()));
  }

  private all(task: (shard: number) => ShardTask): Promise<ShardAnswer[]> {
    return Promise.all(this.pools.map((_, shard) => this.run(shard, task(shard))));
  }

  private async run(shard: number, task: ShardTask, transferList: ArrayBuffer[] = []): Promise<ShardAnswer> {
    const pool = this.pools[shard];
    if (!pool) throw new HostError('SHARD', `there is no shard ${shard}`);
    try {
      return await pool.run(task, { transferList });
    } catch (error) {
      throw new HostError('SHARD', `shard ${shard} failed: ${(error as Error).message}`, undefined, { cause: error });
    }
  }
}
