// The router of one shard: hands whole buffers from module to module by the kinds they declare, and never looks into a record.

import type { DecoderIdentity } from '../events/raw-event.js';
import type { CanaryReport } from './canary.js';
import { DecoderError, type DecoderManifest } from './decoder-module.js';
import { type Incident, type LoadedDecoder, type ModuleCounters, Stage, type SwapReport } from './stage.js';

/** Kinds below this number come from sources (schema/records.toml). */
const FIRST_DECODER_KIND = 32;
const ALL_KINDS = -1;
/** Incidents that are kept until somebody asks. */
const MOST_INCIDENTS = 64;

/** Takes a lane 1 buffer and which module made it; the view is valid until it returns. */
export type HostSink = (bytes: Uint8Array, decoder: DecoderIdentity) => void;

/** Sees what every module puts out; for people who debug decoders. */
export type ChainTap = (module: string, lane: 0 | 1, bytes: Uint8Array) => void;

export interface ChainOptions {
  readonly log?: (line: string) => void;
  readonly tap?: ChainTap;
  /** Flags of every module, enum init_flag. Default 0. */
  readonly flags?: number;
  /** Told the place of the module that is about to be called, -1 when it has returned: for whoever watches that it does. */
  readonly onCall?: (place: number) => void;
}

/** Not re-entrant. Order is kept: the events of one process() call come out in the order of their records, but for those of a module that is being replaced. */
export class Chain {
  private readonly stages: Stage[] = [];
  private entries: { stage: Stage; kinds: number }[] = [];
  private toHost: HostSink = () => undefined;
  private incidents: Incident[] = [];
  private runningStage: Stage | undefined;

  /** @throws DecoderError `refused` when a module cannot be used or two modules feed each other. */
  constructor(
    decoders: readonly LoadedDecoder[],
    private readonly options: ChainOptions = {},
  ) {
    for (const decoder of decoders) this.stages.push(this.newStage(decoder));
    this.connect();
  }

  /**
   * Decodes a source's batch, at most CHAIN_BUFFER_BYTES long.
   * @param toHost takes lane 1 buffers
   * @param kinds bit k: a record of kind k may be in it; a module that consumes none of these is not given the batch
   */
  process(bytes: Uint8Array, toHost: HostSink, kinds: number = ALL_KINDS): void {
    this.toHost = toHost;
    for (const entry of this.entries) if (entry.kinds & kinds) entry.stage.process(bytes);
  }

  /** @param seconds on the record clock (CLOCK_BOOTTIME). */
  tick(seconds: number, toHost: HostSink): void {
    this.toHost = toHost;
    for (const stage of this.inFlowOrder()) stage.tick(seconds);
  }

  /** The source has ended: everything open is told as far as it is known. */
  flush(toHost: HostSink): void {
    this.toHost = toHost;
    for (const stage of this.inFlowOrder()) stage.flush();
  }

  /** Counters by module name. */
  stats(): Record<string, ModuleCounters> {
    return Object.fromEntries(this.stages.map((stage) => [stage.decoder.name, stage.stats()]));
  }

  /** Puts a module into the place of the one of its name, or beside the others when there is none. What the old one has to tell goes to toHost. @throws DecoderError. */
  swap(decoder: LoadedDecoder, toHost: HostSink): SwapReport {
    this.toHost = toHost;
    const stage = this.find(decoder.name);
    if (stage) {
      const { manifest, decoder: before } = stage;
      const report = stage.swap(decoder);
      if (sameKinds(manifest, stage.manifest)) return report;
      try {
        this.connect();
      } catch (error) {
        stage.swap(before);
        this.connect();
        throw error;
      }
      return report;
    }
    this.stages.push(this.newStage(decoder));
    try {
      this.connect();
    } catch (error) {
      this.stages.pop();
      this.connect();
      throw error;
    }
    return { bytes: 0, held: 0 };
  }

  /** Takes a module away; what it has to tell goes to toHost. */
  remove(name: string, toHost: HostSink): void {
    this.toHost = toHost;
    const index = this.stages.findIndex((stage) => stage.decoder.name === name);
    if (index < 0) return;
    this.stages[index]?.turnOff();
    this.stages.splice(index, 1);
    this.connect();
  }

  /** Gives a module nothing more; what it has to tell goes to toHost. */
  turnOff(name: string, toHost: HostSink): void {
    this.toHost = toHost;
    this.find(name)?.turnOff();
  }

  /** Stops calls of this module that take longer, in this thread; each call costs a thread as long as it is so. @param limitMs 0: no more */
  guard(name: string, limitMs: number): void {
    const stage = this.find(name);
    if (stage) stage.guardMs = limitMs;
  }

  /** Makes what the next swap to this module takes. @throws DecoderError `refused`. */
  prepare(decoder: LoadedDecoder): void {
    this.find(decoder.name)?.prepare(decoder);
  }

  /** Tries a module beside the one of its name. @throws DecoderError `refused`. */
  startCanary(decoder: LoadedDecoder, limitMs: number): void {
    this.find(decoder.name)?.startCanary(decoder, limitMs);
  }

  /** @returns undefined when none was tried. */
  endCanary(name: string): CanaryReport | undefined {
    return this.find(name)?.endCanary();
  }

  /** Instances lost since this was last asked. */
  takeIncidents(): Incident[] {
    const out = this.incidents;
    this.incidents = [];
    return out;
  }

  private find(name: string): Stage | undefined {
    return this.stages.find((stage) => stage.decoder.name === name);
  }

  private newStage(decoder: LoadedDecoder): Stage {
    const chain = this;
    const { onCall } = this.options;
    return new Stage(decoder, this.options.flags ?? 0, {
      log: this.options.log,
      get running() {
        return chain.runningStage;
      },
      set running(stage) {
        chain.runningStage = stage;
        onCall?.(stage ? chain.stages.indexOf(stage) : -1);
      },
      route: (from, lane, bytes, identity) => this.route(from, lane, bytes, identity),
      incident: (incident) => {
        if (this.incidents.length < MOST_INCIDENTS) this.incidents.push(incident);
      },
    });
  }

  private route(from: Stage, lane: 0 | 1, bytes: Uint8Array, decoder: DecoderIdentity): void {
    this.options.tap?.(decoder.name, lane, bytes);
    if (lane === 1) this.toHost(bytes, decoder);
    else for (const stage of from.next) stage.feed(bytes);
  }

  /** @throws DecoderError `refused` when two modules feed each other; then some may be connected and some not. */
  private connect(): void {
    const manifests = new Map(this.stages.map((stage) => [stage, stage.manifest]));
    const feeds = (a: Stage, b: Stage) =>
      a !== b && manifests.get(b)?.consumes.some((kind) => kind >= FIRST_DECODER_KIND && manifests.get(a)?.produces.includes(kind)) === true;
    for (const stage of this.stages) stage.next = this.stages.filter((other) => feeds(stage, other));
    this.entries = this.stages.map((stage) => ({ stage, kinds: sourceKinds(stage.manifest) })).filter(({ kinds }) => kinds !== 0);
    this.refuseCycles();
  }

  /** Upstream first, so that what one stage gives on flush is decoded by the next before that one is flushed. */
  private inFlowOrder(): Stage[] {
    const out: Stage[] = [];
    const visit = (stage: Stage): void => {
      if (out.includes(stage)) return;
      for (const other of this.stages) if (other.next.includes(stage)) visit(other);
      out.push(stage);
    };
    for (const stage of this.stages) visit(stage);
    return out;
  }

  private refuseCycles(): void {
    const visit = (stage: Stage, path: readonly Stage[]): void => {
      if (path.includes(stage)) throw new DecoderError('refused', `modules feed each other: ${[...path, stage].map((s) => s.decoder.name).join(' -> ')}`);
      for (const next of stage.next) visit(next, [...path, stage]);
    };
    for (const stage of this.stages) visit(stage, []);
  }
}

function sameKinds(a: DecoderManifest, b: DecoderManifest): boolean {
  return String([a.consumes, a.produces.join()]) === String([b.consumes, b.produces.join()]);
}

function sourceKinds({ consumes }: DecoderManifest): number {
  return consumes.filter((kind) => kind < FIRST_DECODER_KIND).reduce((bits, kind) => bits | (1 << kind), 0);
}
