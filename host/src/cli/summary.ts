// What a run tells when it ends: one line for a person, or every number as one JSON object on standard error.
import { collectNumbers, type RunParts } from '../topology/numbers.js';
import { bytesText, note, paint } from './terminal.js';

/** @param parts stopped and not yet closed. */
export async function tellRun(parts: RunParts, flags: { json?: boolean; quiet?: boolean }): Promise<void> {
  const numbers = await collectNumbers(parts, false);
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
