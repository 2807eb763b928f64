// What a run tells when it ends: one line for a person, or every number as one JSON object on standard error.

import type { Sink } from '../events/event.js';
import type { SourceStats } from '../events/source.js';
import type { Ledger } from '../topology/ledger.js';
import type { PipelineStats } from '../topology/pipeline.js';
import type { ShardStats } from '../topology/shard.js';
import type { Correlator } from '../transforms/correlate/index.js';
import { bytesText, note, paint } from './terminal.js';

export interface RunNumbers {
  readonly ledger: Ledger;
  readonly source: SourceStats;
  readonly pipeline: PipelineStats;
  readonly correlate: ReturnType<Correlator['counters']>;
  readonly shards: readonly ShardStats[];
  readonly sink: ReturnType<Sink['stats']>;
  readonly recorder: unknown;
}

export function tellRun(numbers: RunNumbers, flags: { json?: boolean; quiet?: boolean }): void {
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
