// Joins one source to the shards and the sink: batches in, events out in order, credit back. It decodes nothing itself.
import { uptime } from 'node:os';
import type { Incident, LoadedDecoder } from '../decode/stage.js';
import { HostError } from '../errors.js';
import { giveBack, type OutgoingEvent, openEvents } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import type { Sink } from '../events/sink.js';
import type { RecordBatch, Source } from '../events/source.js';
import { Correlator } from '../transforms/correlate/index.js';
import type { ShardAnswer } from './shard-entry.js';
import type { ShardPool } from './shard-pool.js';
import { TaskLost } from './shard-thread.js';

/** Keeps batches for a later replay. */
export interface BatchRecorder {
  write(batch: RecordBatch): void;
}

export interface PipelineOptions {
  readonly source: Source;
  readonly pool: ShardPool;
  readonly sink: Sink;
  readonly recorder?: BatchRecorder;
  /** Told of what decoders note of connections: for the coverage report, and for verdicts. */
  readonly onNote?: (note: DescribedNote) => void;
  /** Told of every event, linked and about to be delivered. */
  readonly onEvent?: (event: OutgoingEvent) => void;
  /** Told of instances of modules that were lost. */
  readonly onIncident?: (incident: Incident) => void;
  /** A line for the daemon's log. */
  readonly log: (line: string) => void;
  /** Whether idle connections expire by the machine's clock: for live sources only, so that a replay depends on nothing but its bytes. */
  readonly live: boolean;
}

export interface PipelineStats {
  batches: number;
  records: number;
  payload_bytes: number;
  /** Payload bytes of batches whose shard failed: not decoded. */
  failed_bytes: number;
  failed_batches: number;
  events: number;
}

const TICK_MS = 5_000;
/** Threads that may be replaced before the daemon gives up. */
const REPLACED_MOST = 8;
const REPLACED_MS = 60_000;

export class Pipeline {
  readonly counts: PipelineStats = { batches: 0, records: 0, payload_bytes: 0, failed_bytes: 0, failed_batches: 0, events: 0 };
  readonly correlator = new Correlator();
  /** Everything taken so far has been delivered when this settles. */
  private delivered: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private failure: Error | undefined;

  constructor(private readonly options: PipelineOptions) {}

  /** Starts the source. @param onEnd called once when the source ends by itself, or when a shard or the sink fails for good. */
  async start(onEnd: (error?: Error) => void): Promise<void> {
    const { source, live } = this.options;
    this.onEnd = onEnd;
    this.options.pool.onReplaced = (shard, culprit) => this.replaced(shard, culprit);
    await source.start(
      (batch) => this.take(batch),
      (error) => onEnd(error),
    );
    if (live) this.timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  private onEnd: (error?: Error) => void = () => undefined;

  /** Stops the source, decodes and delivers all it had, flushes the decoders. The sink stays open. @throws the first failure of a shard. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.options.source.stop();
    this.options.sink.stopping();
    await this.delivered;
    await this.deliverAll(await this.options.pool.flush());
    if (this.failure) throw this.failure;
  }

  private take(batch: RecordBatch): void {
    this.options.recorder?.write(batch);
    const { shard, records, payloadBytes, slot } = batch;
    const bytes = batch.bytes.length;
    this.counts.batches++;
    this.counts.records += records;
    this.counts.payload_bytes += payloadBytes;
    const answer = this.options.pool.process(batch);
    // Taken up at once, so that a failure is never an unhandled rejection while earlier batches are being delivered.
    const settled = answer.then(
      (value) => ({ value }),
      (error: Error) => ({ error }),
    );
    this.delivered = this.delivered.then(async () => {
      const result = await settled;
      if ('error' in result) this.fail(result.error, payloadBytes);
      else await this.deliver(result.value);
      this.options.source.credit(shard, bytes, slot);
    });
  }

  private tick(): void {
    const answers = this.options.pool.tick(Math.floor(uptime()));
    this.delivered = this.delivered.then(async () => {
      try {
        await this.deliverAll(await answers);
      } catch (error) {
        this.fail(error as Error, 0);
      }
    });
  }

  /** Delivers what a task of a shard gave, in its place among the batches. */
  deliverInTurn(answer: Promise<ShardAnswer>): Promise<ShardAnswer> {
    const settled = answer.then(
      (value) => ({ value }),
      (error: Error) => ({ error }),
    );
    this.delivered = this.delivered.then(async () => {
      const result = await settled;
      if (!('error' in result)) await this.deliver(result.value);
    });
    return answer;
  }

  /** A shard has a new thread, which knows nothing: it is told of the processes again. */
  private replaced(shard: number, culprit: LoadedDecoder | undefined): void {
    const now = Date.now();
    this.replacements = [...this.replacements.filter((at) => at > now - REPLACED_MS), now];
    const text = 'did not return, and its thread was replaced';
    this.options.log(`shard ${shard}: ${culprit?.name ?? 'the host'} ${text}; what it knew of open connections is lost`);
    if (culprit) this.options.onIncident?.({ decoder: culprit.name, sha256: culprit.compiled.sha256, what: 'hang', text });
    if (this.replacements.length > REPLACED_MOST) this.end(new HostError('SHARD', `${REPLACED_MOST} threads were replaced within ${REPLACED_MS / 1000} s`));
    else this.options.source.retell?.(shard);
  }
  private replacements: number[] = [];

  private async deliverAll(answers: readonly ShardAnswer[]): Promise<void> {
    for (const answer of answers) await this.deliver(answer);
  }

  private async deliver({ events, notes, log, incidents }: ShardAnswer): Promise<void> {
    for (const line of log) this.options.log(line);
    for (const incident of incidents) this.options.onIncident?.(incident);
    for (const note of notes) this.options.onNote?.(note);
    const outgoing = openEvents(events);
    if (!outgoing.length) return;
    for (const event of outgoing) this.correlator.add(event);
    this.counts.events += outgoing.length;
    if (this.options.onEvent) for (const event of outgoing) this.options.onEvent(event);
    await this.options.sink.write(outgoing);
    giveBack(events);
  }

  private fail(error: Error, payloadBytes: number): void {
    this.counts.failed_bytes += payloadBytes;
    if (payloadBytes > 0) this.counts.failed_batches++;
    // The thread was replaced, and goes on with the next batch.
    if (!(error instanceof TaskLost)) this.end(error);
  }

  private end(error: Error): void {
    if (this.failure) return;
    this.failure = error;
    this.onEnd(error);
  }
}
