// `oisp-host replay`: a recording through the same shards as live capture; the same bytes give the same events.
import { loadConfig } from '../config/index.js';
import { paths, version } from '../config/paths.js';
import { loadDecoders } from '../decode/load.js';
import { ReplaySource } from '../sources/replay/index.js';
import { Pipeline } from '../topology/pipeline.js';
import { ShardPool } from '../topology/shard-pool.js';
import { openSink } from './run.js';
import { tellRun } from './summary.js';
import { note } from './terminal.js';

export interface ReplayFlags {
  output?: string;
  format?: string;
  json?: boolean;
  quiet?: boolean;
}

/** @returns the exit code. */
export async function replay(file: string, flags: ReplayFlags): Promise<number> {
  const config = loadConfig(undefined, {
    ...(flags.output !== undefined && { 'output.path': flags.output }),
    ...(flags.format !== undefined && { 'output.format': flags.format }),
  });
  const source = await ReplaySource.open(file);
  const decoders = loadDecoders(paths.decoders);
  const sink = openSink(config, note);
  await sink.open();
  const pool = new ShardPool({ shards: source.shards, decoders, host: source.host, version });
  const pipeline = new Pipeline({ source, pool, sink, log: note, live: false });
  try {
    await pool.load();
    const ended = Promise.withResolvers<void>();
    await pipeline.start((error) => (error ? ended.reject(error) : ended.resolve()));
    const outcome = await ended.promise.then(
      () => undefined,
      (error: Error) => error,
    );
    await pipeline.stop();
    await tellRun({ source, pipeline, pool, sink }, flags);
    if (outcome) throw outcome;
    return sink.stats().dropped > 0 ? 1 : 0;
  } finally {
    await source.stop();
    await sink.close();
    await pool.close();
  }
}
