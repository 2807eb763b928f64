// One shard: decoder chain, then enrich, redact and digest, in the thread that calls it. What it returns may leave the shard.
import type { CanaryReport } from '../decode/canary.js';
import type { ChainTap } from '../decode/chain.js';
import type { Incident, LoadedDecoder, ModuleCounters, SwapReport } from '../decode/stage.js';
import { type DecodeCounters, DecodeWorker } from '../decode/worker.js';
import type { ShardEvent } from '../events/event.js';
import type { ConnectionNote, DescribedNote, HostRecords, RawEvent } from '../events/raw-event.js';
import type { HostContext } from '../events/source.js';
import { addDigests } from '../transforms/digest/index.js';
import { Enricher } from '../transforms/enrich/index.js';
import { type RedactCounters, Redactor } from '../transforms/redact/index.js';
import { Scrubber } from '../transforms/redact/scrubber.js';

export interface ShardOptions {
  readonly decoders: readonly LoadedDecoder[];
  readonly host: HostContext;
  /** Version of this build. */
  readonly version: string;
  readonly shard: number;
  readonly log?: (line: string) => void;
  readonly tap?: ChainTap;
  /** Of the decoder modules, enum init_flag. Default 0. */
  readonly flags?: number;
  /** As of the chain. */
  readonly onCall?: (place: number) => void;
}

export interface ShardStats {
  modules: Record<string, ModuleCounters>;
  host: DecodeCounters;
  enrich: ReturnType<Enricher['counters']>;
  redact: RedactCounters;
  /** Notes that did not fit into one answer. */
  notes_dropped: number;
}

/** What a call of the shard gave: events, redacted and in order, and what the decoders noted of connections. */
export interface ShardOutput {
  events: ShardEvent[];
  notes: DescribedNote[];
  /** Instances of modules that were lost. */
  incidents: Incident[];
}

/** What is changed of the modules of a shard while it runs. */
export type DecoderChange =
  | { op: 'swap'; decoder: LoadedDecoder }
  | { op: 'prepare'; decoder: LoadedDecoder }
  | { op: 'remove'; name: string }
  | { op: 'off'; name: string }
  | { op: 'guard'; name: string; limitMs: number }
  | { op: 'canary'; decoder: LoadedDecoder; limitMs: number }
  | { op: 'end_canary'; name: string };

/** Notes of one call; more are counted. */
const MAX_NOTES = 4096;

/** Process records reach every shard, so that each knows who its connections belong to; only shard 0 tells of them. */
const TELLS_OF_PROCESSES = 0;

export class Shard {
  private readonly decoder: DecodeWorker;
  private readonly enricher: Enricher;
  private readonly redactor = new Redactor();
  private readonly records: HostRecords;
  private clockOffsetNs = 0n;
  private out: ShardOutput = { events: [], notes: [], incidents: [] };
  private notesDropped = 0;

  constructor(private readonly options: ShardOptions) {
    const { log, tap, flags, onCall } = options;
    this.decoder = new DecodeWorker(options.decoders, {
      ...(log && { log }),
      ...(tap && { tap }),
      ...(onCall && { onCall }),
      ...(flags !== undefined && { flags }),
    });
    this.enricher = new Enricher({ host: options.host, version: options.version, shard: options.shard });
    this.records = {
      event: (raw) => this.take(raw),
      processStart: (start) => this.enricher.processStart(start),
      processEnd: (end) => this.enricher.processEnd(end),
      connectionNote: (note) => {
        if (this.out.notes.length < MAX_NOTES) this.out.notes.push(this.describe(note));
        else this.notesDropped++;
      },
    };
  }

  /** Decodes one batch. @param clockOffsetNs CLOCK_REALTIME - CLOCK_BOOTTIME. @param kinds as in RecordBatch. */
  process(batch: Uint8Array, clockOffsetNs: bigint, kinds?: number): ShardOutput {
    this.clockOffsetNs = clockOffsetNs;
    this.decoder.process(batch, this.records, kinds);
    return this.taken();
  }

  /** @param seconds on the record clock. */
  tick(seconds: number): ShardOutput {
    this.decoder.tick(seconds, this.records);
    return this.taken();
  }

  /** The source has ended: tells what is known of everything open. */
  flush(): ShardOutput {
    this.decoder.flush(this.records);
    return this.taken();
  }

  /** Changes a module between two batches. @throws DecoderError `refused`; then nothing has changed. */
  change(change: DecoderChange): ShardOutput & { swapped?: SwapReport; canary?: CanaryReport } {
    const { chain } = this.decoder;
    const sink = this.decoder.sinkFor(this.records);
    switch (change.op) {
      case 'swap': {
        const swapped = chain.swap(change.decoder, sink);
        return { ...this.taken(), swapped };
      }
      case 'end_canary': {
        const canary = chain.endCanary(change.name);
        return { ...this.taken(), ...(canary && { canary }) };
      }
      case 'prepare':
        chain.prepare(change.decoder);
        break;
      case 'remove':
        chain.remove(change.name, sink);
        break;
      case 'off':
        chain.turnOff(change.name, sink);
        break;
      case 'guard':
        chain.guard(change.name, change.limitMs);
        break;
      case 'canary':
        chain.startCanary(change.decoder, change.limitMs);
    }
    return this.taken();
  }

  stats(): ShardStats {
    return { ...this.decoder.stats(), enrich: this.enricher.counters(), redact: structuredClone(this.redactor.counters), notes_dropped: this.notesDropped };
  }

  private describe(note: ConnectionNote): DescribedNote {
    const process = this.enricher.processOf(note.tgid, note.startNs);
    const arg0 = process?.cmdline_args?.[0];
    return {
      ...note,
      atMs: wallMs(note.ts + this.clockOffsetNs),
      startedMs: wallMs(note.startNs + this.clockOffsetNs),
      exe: process?.exe ?? null,
      arg0: arg0 === undefined ? null : new Scrubber().scrub(arg0),
      container: process?.container_id ?? null,
    };
  }

  private take(raw: RawEvent): void {
    if (raw.conn === null && this.options.shard !== TELLS_OF_PROCESSES) return;
    const enriched = this.enricher.event(raw, this.clockOffsetNs);
    const event = this.redactor.redact(enriched.event, raw.meta.auth);
    if (event) this.out.events.push({ event: addDigests(event), exchange: enriched.exchange });
  }

  private taken(): ShardOutput {
    const out = this.out;
    this.out = { events: [], notes: [], incidents: [] };
    out.incidents = this.decoder.chain.takeIncidents();
    return out;
  }
}

const wallMs = (ns: bigint): number => Number(ns / 1_000_000n);
