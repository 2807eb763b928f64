// What a run tells when it ends: one line for a person, or every number as one JSON object on standard error.

import type { Sink } from '../events/event.js';
import type { Source } from '../events/source.js';
import type { Recorder } from '../sources/replay/recorder.js';
import { makeLedger } from '../topology/ledger.js';
import type { Pipeline } from '../topology/pipeline.js';
import type { ShardPool } from '../topology/shard-pool.js';
import { bytesText, note, paint } from './terminal.js';

/** What took part in a run, stopped and not yet closed. */
export interface RunParts {
  readonly source: Source;
  readonly pipeline: Pipeline;
  readonly pool: ShardPool;
  readonly sink: Sink;
  readonly recorder?: Recorder | undefined;
}

export async function tellRun({ source, pipeline: ended, pool, sink: target, recorder }: RunParts, flags: { json?: boolean; quiet?: boolean }): Promise<void> {
  const shards = await pool.stats();
  const numbers = {
    ledger: makeLedger(source.stats(), ended.counts, shards),
    source: source.stats(),
    pipeline: ended.counts,
    correlate: ended.correlator.counters(),
    shards,
    sink: target.stats(),
    recorder: recorder?.stats(),
  };
  if (flags.json) {
    process.stderr.write(`${JSON.stringify(numbers)}\n`);
    return;
  }
  const { ledger, pipeline, sink } = numbers;
  const lost = Object.entries(ledger.lost).filter(([, bytes]) => bytes > 0);
  if (!flags.quiet) note(`${pipeline.events} events from ${bytesText(pipeline.payload_bytes)} of plaintext`);
  if (lost.length)
    note(paint(process.stderr, 'yellow', `lost: ${lost.map(([reason, bytes]) => `${bytesText(bytes)} (${reason})`).join(', ')}; the events it touched say so`));
  if (ledger.unseen_calls) note(paint(process.stderr, 'yellow', `${ledger.unseen_calls} TLS calls could not be followed`));
  if (sink.dropped) note(paint(process.stderr, 'red', `${sink.dropped} events could not be written`));
  if (!ledger.balanced) note(paint(process.stderr, 'red', 'the loss ledger does not balance; run with --json to see every bucket'));
}
