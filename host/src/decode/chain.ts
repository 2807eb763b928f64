// The router of one shard: hands whole buffers from module to module by the kinds they declare, and never looks into a record.
import { Kind } from '../gen/records.js';
import { type CompiledDecoder, DecoderError, type DecoderLimits, type DecoderManifest, DecoderModule, type LaneSink } from './decoder-module.js';
import { recordEnds } from './record-ends.js';

/** A module file, ready to be instantiated in any thread. */
export interface LoadedDecoder {
  readonly name: string;
  readonly version: string;
  readonly compiled: CompiledDecoder;
}

/** Kinds below this number come from sources (schema/records.toml). */
const FIRST_DECODER_KIND = 32;
const ALL_KINDS = -1;

const MEBI = 1024 * 1024;
/** Longest buffer a module takes: a source's batch or another module's lane. */
export const CHAIN_BUFFER_BYTES = MEBI;
/** Lane of a module that makes events: one event with 8 MiB of content, with room. */
const EVENT_LANE_BYTES = 24 * MEBI;
const MEMORY_BYTES = 512 * MEBI;
const MAX_CONNECTIONS = 16384;
/** The most a module of the chain is given. */
export const CHAIN_LIMITS: DecoderLimits = {
  inBytes: CHAIN_BUFFER_BYTES,
  outBytes: EVENT_LANE_BYTES,
  maxConnections: MAX_CONNECTIONS,
  memoryBytes: MEMORY_BYTES,
};
/** Records of one buffer that an instance may trap on before the rest of it is given up: each costs a new instance. */
const RETRIES = 4;

/** What a module did since the chain was made; survives a rebuilt instance. */
export interface ModuleCounters {
  version: string;
  sha256: string;
  /** Buffers rejected as malformed, and instances lost to a trap. */
  rejected: number;
  traps: number;
  /** Records that an instance trapped on and that were left out; and those behind them that were given up with their buffer. */
  quarantined: number;
  given_up: number;
  memory_bytes: number;
  /** The module's own counters (oisp_stats), summed over its instances. */
  counters: Record<string, number>;
}

/** Takes a lane 1 buffer and the name of the module that made it; the view is valid until it returns. */
export type HostSink = (bytes: Uint8Array, decoder: string) => void;

/** Sees what every module puts out; for people who debug decoders. */
export type ChainTap = (module: string, lane: 0 | 1, bytes: Uint8Array) => void;

interface Stage {
  readonly decoder: LoadedDecoder;
  instance: DecoderModule;
  manifest: DecoderManifest;
  limits: DecoderLimits;
  /** Bit k: it consumes kind k of a source. */
  sourceKinds: number;
  /** Stages that consume what this one puts on lane 0. */
  next: Stage[];
  rejected: number;
  traps: number;
  quarantined: number;
  givenUp: number;
  /** Counters of instances that are gone. */
  past: Record<string, number>;
}

export interface ChainOptions {
  readonly log?: (line: string) => void;
  readonly tap?: ChainTap;
  /** Flags of every module, enum init_flag. Default 0. */
  readonly flags?: number;
}

/** Not re-entrant. Order is kept: the events of one process() call come out in the order of their records. */
export class Chain {
  private readonly stages: Stage[];
  private readonly entries: Stage[];
  private toHost: HostSink = () => undefined;

  /** @throws DecoderError `refused` when a module cannot be used or two modules feed each other. */
  constructor(
    decoders: readonly LoadedDecoder[],
    private readonly options: ChainOptions = {},
  ) {
    this.stages = decoders.map((decoder) => this.newStage(decoder));
    for (const stage of this.stages) {
      stage.next = this.stages.filter(
        (other) => other !== stage && other.manifest.consumes.some((kind) => kind >= FIRST_DECODER_KIND && stage.manifest.produces.includes(kind)),
      );
    }
    this.entries = this.stages.filter((stage) => stage.sourceKinds !== 0);
    this.refuseCycles();
  }

  /**
   * Decodes a source's batch, at most CHAIN_BUFFER_BYTES long.
   * @param toHost takes lane 1 buffers
   * @param kinds bit k: a record of kind k may be in it; a module that consumes none of these is not given the batch
   */
  process(bytes: Uint8Array, toHost: HostSink, kinds: number = ALL_KINDS): void {
    this.toHost = toHost;
    for (const stage of this.entries) if (stage.sourceKinds & kinds) this.run(stage, (instance, sink) => instance.process(bytes, sink));
  }

  /** @param seconds on the record clock (CLOCK_BOOTTIME). */
  tick(seconds: number, toHost: HostSink): void {
    this.toHost = toHost;
    for (const stage of this.inFlowOrder()) this.run(stage, (instance, sink) => instance.tick(seconds, sink));
  }

  /** The source has ended: everything open is told as far as it is known. */
  flush(toHost: HostSink): void {
    this.toHost = toHost;
    for (const stage of this.inFlowOrder()) this.run(stage, (instance, sink) => instance.flush(sink));
  }

  /** Counters by module name. */
  stats(): Record<string, ModuleCounters> {
    const out: Record<string, ModuleCounters> = {};
    for (const stage of this.stages) {
      out[stage.decoder.name] = {
        version: stage.decoder.version,
        sha256: stage.decoder.compiled.sha256,
        rejected: stage.rejected,
        traps: stage.traps,
        quarantined: stage.quarantined,
        given_up: stage.givenUp,
        memory_bytes: stage.instance.memoryBytes,
        counters: addCounters({ ...stage.past }, stage.instance.stats()),
      };
    }
    return out;
  }

  /** Version and hash of the module that makes events, by module: part of every event. */
  identities(): { name: string; version: string; sha256: string }[] {
    return this.stages.map(({ decoder }) => ({ name: decoder.name, version: decoder.version, sha256: decoder.compiled.sha256 }));
  }

  private newStage(decoder: LoadedDecoder): Stage {
    const limits = {
      inBytes: CHAIN_BUFFER_BYTES,
      outBytes: CHAIN_BUFFER_BYTES,
      maxConnections: MAX_CONNECTIONS,
      memoryBytes: MEMORY_BYTES,
      flags: this.options.flags ?? 0,
    };
    let instance = new DecoderModule(decoder.compiled, limits, this.options.log);
    const makesEvents = instance.manifest.produces.includes(Kind.event);
    if (makesEvents) {
      limits.outBytes = EVENT_LANE_BYTES;
      instance = new DecoderModule(decoder.compiled, limits, this.options.log);
    }
    return {
      decoder,
      instance,
      manifest: instance.manifest,
      limits,
      sourceKinds: sourceKinds(instance.manifest),
      next: [],
      rejected: 0,
      traps: 0,
      quarantined: 0,
      givenUp: 0,
      past: {},
    };
  }

  private run(stage: Stage, step: (instance: DecoderModule, sink: LaneSink) => void): DecoderError | undefined {
    try {
      step(stage.instance, (lane, bytes) => this.route(stage, lane, bytes));
    } catch (error) {
      if (!(error instanceof DecoderError)) throw error;
      this.options.log?.(`decoder ${stage.decoder.name}: ${error.message}`);
      if (error.code === 'rejected') stage.rejected++;
      else this.rebuild(stage);
      return error;
    }
    return undefined;
  }

  /**
   * Gives what one module made to another. A buffer that it traps on is given again, record by record, to the new instance: only what it traps on again is left
   * out. A source's batch is not: some of it has been counted into the ledger of bytes already, so the rest of it is lost, and named there.
   */
  private feed(stage: Stage, bytes: Uint8Array): void {
    const error = this.run(stage, (instance, sink) => instance.process(bytes, sink));
    if (error?.code !== 'trap') return;
    const rest = bytes.subarray(error.done);
    const ends = recordEnds(rest);
    let left = RETRIES;
    ends.forEach((end, i) => {
      const record = rest.subarray(ends[i - 1] ?? 0, end);
      if (left === 0) stage.givenUp++;
      else if (this.run(stage, (instance, sink) => instance.process(record, sink))?.code === 'trap') {
        left--;
        stage.quarantined++;
      }
    });
  }

  private route(from: Stage, lane: 0 | 1, bytes: Uint8Array): void {
    this.options.tap?.(from.decoder.name, lane, bytes);
    if (lane === 1) this.toHost(bytes, from.decoder.name);
    else for (const stage of from.next) this.feed(stage, bytes);
  }

  /** A trap costs the instance and the connections it knew; what it had counted is kept. */
  private rebuild(stage: Stage): void {
    stage.traps++;
    try {
      addCounters(stage.past, stage.instance.stats());
    } catch (error) {
      this.options.log?.(`decoder ${stage.decoder.name}: its counters are lost with it: ${(error as Error).message}`);
    }
    stage.instance = new DecoderModule(stage.decoder.compiled, stage.limits, this.options.log);
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

function sourceKinds({ consumes }: DecoderManifest): number {
  return consumes.filter((kind) => kind < FIRST_DECODER_KIND).reduce((bits, kind) => bits | (1 << kind), 0);
}

function addCounters(into: Record<string, number>, from: Record<string, number>): Record<string, number> {
  for (const [name, value] of Object.entries(from)) into[name] = (into[name] ?? 0) + value;
  return into;
}
