// The sinks there are, by the name configuration uses; a new sink is one folder and one line here.
import type { Sink } from '../events/sink.js';
import { ConsoleSink } from './console/index.js';
import { JsonlSink } from './jsonl/index.js';

export type SinkName = keyof typeof sinkMakers;

export interface SinkOptions {
  /** File, or `-` for standard output. */
  readonly output: string;
  /** Told in a sentence when delivery starts to fail and when it works again. */
  readonly onTrouble: (text: string) => void;
}

const sinkMakers = {
  jsonl: ({ output, onTrouble }: SinkOptions): Sink => new JsonlSink(output, onTrouble),
  console: ({ output }: SinkOptions): Sink => new ConsoleSink(output),
} as const;

export function makeSink(name: SinkName, options: SinkOptions): Sink {
  return sinkMakers[name](options);
}
