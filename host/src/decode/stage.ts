// One place of the chain and the module that stands in it: it is built again after a trap, another takes its place with all it keeps, or it is switched off.
import type { DecoderIdentity } from '../events/raw-event.js';
import { Canary, type CanaryReport } from './canary.js';
import { type CompiledDecoder, DecoderError, type DecoderManifest, DecoderModule } from './decoder-module.js';
import { guarded, TookTooLong } from './guard.js';
import { pass, RELEASE_ALL, type States, statesOf } from './handover.js';
import { CHAIN_LIMITS } from './limits.js';
import { recordEnds } from './record-ends.js';

/** A module file, ready to be instantiated in any thread. */
export interface LoadedDecoder {
  readonly name: string;
  readonly version: string;
  readonly compiled: CompiledDecoder;
}

/** Records of one buffer that an instance may trap on before the rest of it is given up: each costs a new instance. */
const RETRIES = 4;
/** Longest that a module may take to be made, or to take over, ms. */
const SWAP_MS = 2000;
/** Instances that still see things through while others have taken their place. */
const DRAINING_MOST = 3;

/** What a module did since the chain was made; survives a rebuilt instance and a swap. */
export interface ModuleCounters {
  version: string;
  sha256: string;
  /** It traps or hangs too often and was switched off: nothing of what it reads is decoded. */
  off: boolean;
  /** Connections or exchanges that the module before it still sees through. */
  held: number;
  /** Buffers rejected as malformed, and instances lost to a trap or because they did not return. */
  rejected: number;
  traps: number;
  /** Records that an instance trapped on and that were left out; and those behind them that were given up with their buffer. */
  quarantined: number;
  given_up: number;
  /** Buffers whose rest was not decoded because a module behind this one did not return. */
  abandoned: number;
  memory_bytes: number;
  /** The module's own counters (oisp_stats), summed over its instances. */
  counters: Record<string, number>;
}

/** A module lost an instance. */
export interface Incident {
  readonly decoder: string;
  readonly sha256: string;
  /** stopped: it did not return, was stopped in its thread and is switched off there. hang: its thread was replaced. */
  readonly what: 'trap' | 'stopped' | 'hang';
  readonly text: string;
}

/** What a swap did. */
export interface SwapReport {
  /** Bytes of states and claims that were handed over. */
  readonly bytes: number;
  /** What the old module still sees through. */
  readonly held: number;
}

interface Live {
  readonly decoder: LoadedDecoder;
  readonly identity: DecoderIdentity;
  instance: DecoderModule;
}

/** The chain that a stage is part of. */
export interface StageHost {
  /** The stage that has been called last and has not returned. */
  running: Stage | undefined;
  readonly log?: ((line: string) => void) | undefined;
  route(from: Stage, lane: 0 | 1, bytes: Uint8Array, decoder: DecoderIdentity): void;
  incident(incident: Incident): void;
}

type Step = (instance: DecoderModule, sink: (lane: 0 | 1, bytes: Uint8Array) => void) => void;

export class Stage {
  /** Stages that consume what this one puts on lane 0. */
  next: Stage[] = [];
  /** Longest that a call may take, ms; 0: nobody looks (here: see topology/). */
  guardMs = 0;
  #current: Live;
  #off = false;
  #draining: Live[] = [];
  #canary: Canary | undefined;
  readonly #counts = { rejected: 0, traps: 0, quarantined: 0, given_up: 0, abandoned: 0 };
  /** Counters of instances that are gone. */
  readonly #past: Record<string, number> = {};

  /** @throws DecoderError `refused`. */
  constructor(
    decoder: LoadedDecoder,
    private readonly flags: number,
    private readonly host: StageHost,
  ) {
    this.#current = this.#made(decoder);
  }

  get decoder(): LoadedDecoder {
    return this.#current.decoder;
  }

  get manifest(): DecoderManifest {
    return this.#current.instance.manifest;
  }

  /** A source's batch, which is not given again after a trap: some of it has been counted into the ledger of bytes. */
  process(bytes: Uint8Array): void {
    this.#give(bytes);
  }

  /** What another module made: a buffer that this one traps on is given again record by record, and only what it traps on again is left out. */
  feed(bytes: Uint8Array): void {
    const error = this.#give(bytes);
    if (error?.code !== 'trap' || this.#off) return;
    const rest = bytes.subarray(error.done);
    const ends = recordEnds(rest);
    let left = RETRIES;
    this.#again = true;
    ends.forEach((end, i) => {
      const record = rest.subarray(ends[i - 1] ?? 0, end);
      if (left === 0) this.#counts.given_up++;
      else if (this.#run(this.#current, (instance, sink) => instance.process(record, sink))?.code === 'trap') {
        left--;
        this.#counts.quarantined++;
      }
    });
    this.#again = false;
  }
  /** A buffer is given again: what is lost over it has been told. */
  #again = false;

  tick(seconds: number): void {
    this.#all((instance, sink) => instance.tick(seconds, sink));
    this.#canary?.tick(seconds);
  }

  flush(): void {
    this.#all((instance, sink) => instance.flush(sink));
  }

  stats(): ModuleCounters {
    const { decoder, instance } = this.#current;
    const counters = { ...this.#past };
    for (const live of this.#off ? this.#draining : [...this.#draining, this.#current]) addCounters(counters, this.#statsOf(live));
    return {
      version: decoder.version,
      sha256: decoder.compiled.sha256,
      off: this.#off,
      held: this.#held(),
      ...this.#counts,
      memory_bytes: this.#off ? 0 : instance.memoryBytes,
      counters,
    };
  }

  /**
   * Puts another module into this place. What the one before keeps goes over; what it is in the middle of it sees through. One that cannot hand over tells
   * what it knows as if its source had ended.
   * @throws DecoderError `refused` when the new one cannot be made or does not take what it is given: then nothing has changed.
   */
  swap(decoder: LoadedDecoder): SwapReport {
    const made = this.#prepared?.decoder.compiled.sha256 === decoder.compiled.sha256 ? this.#prepared : this.#madeInTime(decoder);
    this.#prepared = undefined;
    const before = this.#current;
    let bytes = 0;
    if (!this.#off) {
      const states = this.#statesFor(made.instance);
      bytes = states?.bytes ?? 0;
      if (states) this.#hand(states, before, made);
      else {
        while (this.#draining.length) this.#endOldest();
        this.#end(before);
      }
    }
    const wasOff = this.#off;
    this.#current = made;
    this.#off = false;
    if (wasOff) this.#claimAgain();
    while (this.#draining.length > DRAINING_MOST) this.#endOldest();
    return { bytes, held: this.#held() };
  }

  /** Makes the instance that the next swap to this module takes, so that the chain does not wait for both at once. @throws DecoderError `refused`. */
  prepare(decoder: LoadedDecoder): void {
    this.#prepared = this.#madeInTime(decoder);
  }
  #prepared: Live | undefined;

  /** Tries a module with what the one in use gets; nothing of what it makes goes anywhere. @param limitMs for each call @throws DecoderError `refused`. */
  startCanary(decoder: LoadedDecoder, limitMs: number): void {
    this.#canary = new Canary(this.#madeInTime(decoder).instance, limitMs);
  }

  endCanary(): CanaryReport | undefined {
    const report = this.#canary?.report();
    this.#canary = undefined;
    return report;
  }

  /** From here on nothing is given to the module; what it was in the middle of is told as far as it was known. */
  turnOff(): void {
    if (this.#off) return;
    this.#end(this.#current);
    this.#off = true;
  }

  #made(decoder: LoadedDecoder): Live {
    const instance = new DecoderModule(decoder.compiled, { ...CHAIN_LIMITS, flags: this.flags }, this.host.log);
    const identity = { name: decoder.name, version: decoder.version, sha256: decoder.compiled.sha256 };
    return { decoder, identity, instance };
  }

  /** A module that nobody trusts yet may never return from its first calls. */
  #madeInTime(decoder: LoadedDecoder): Live {
    let made: Live | undefined;
    try {
      guarded(SWAP_MS, () => {
        made = this.#made(decoder);
      });
    } catch (error) {
      throw error instanceof TookTooLong ? new DecoderError('refused', error.message, { cause: error }) : error;
    }
    return made as Live;
  }

  #held(): number {
    try {
      return this.#draining.reduce((sum, { instance }) => sum + Math.max(0, instance.held()), 0);
    } catch (error) {
      if (!(error instanceof DecoderError)) throw error;
      return 0;
    }
  }

  #all(step: Step): void {
    for (const live of [...this.#draining]) this.#run(live, step);
    if (!this.#off) this.#run(this.#current, step);
    if (this.#draining.length) this.#settle();
  }

  #give(bytes: Uint8Array): DecoderError | undefined {
    for (const live of [...this.#draining]) this.#run(live, (instance, sink) => instance.process(bytes, sink));
    const error = this.#off ? undefined : this.#run(this.#current, (instance, sink) => instance.process(bytes, sink));
    if (this.#draining.length) this.#settle();
    this.#canary?.process(bytes, error);
    return error;
  }

  #run(live: Live, step: Step): DecoderError | undefined {
    const outer = this.host.running;
    this.host.running = this;
    try {
      const call = () => step(live.instance, (lane, bytes) => this.host.route(this, lane, bytes, live.identity));
      if (this.guardMs > 0) guarded(this.guardMs, call);
      else call();
    } catch (error) {
      return this.#failed(live, error);
    } finally {
      this.host.running = outer;
    }
    return undefined;
  }

  #failed(live: Live, error: unknown): DecoderError {
    if (error instanceof TookTooLong) {
      const culprit = this.host.running;
      if (culprit === undefined || culprit === this) this.#stopped(live, error.message);
      else {
        culprit.#stopped(culprit.#current, error.message);
        this.#counts.abandoned++;
      }
      return new DecoderError('trap', error.message, { cause: error });
    }
    if (!(error instanceof DecoderError)) throw error;
    this.host.log?.(`decoder ${live.decoder.name}: ${error.message}`);
    if (error.code === 'rejected') this.#counts.rejected++;
    else this.#rebuild(live, 'trap', error.message);
    return error;
  }

  /** It did not return. What waits would wait as long again for each buffer: it is given none until somebody decides. */
  #stopped(live: Live, text: string): void {
    this.#rebuild(live, 'stopped', text);
    if (live === this.#current) this.#off = true;
  }

  /** A trap costs the instance and the connections it knew; what it had counted is kept. */
  #rebuild(live: Live, what: Incident['what'], text: string): void {
    this.#counts.traps++;
    this.#keepCounters(live);
    if (!this.#again) this.host.incident({ decoder: live.decoder.name, sha256: live.decoder.compiled.sha256, what, text });
    if (live !== this.#current) {
      // Who claimed what is not told apart: all of it becomes free, and the others say again what is theirs.
      this.#draining = this.#draining.filter((other) => other !== live);
      if (!this.#off) this.#current.instance.take(RELEASE_ALL);
    } else live.instance = this.#made(live.decoder).instance;
    this.#claimAgain();
  }

  /** Older instances tell the one in use what they see through. */
  #claimAgain(): void {
    if (this.#off) return;
    for (const live of this.#draining) {
      const states = statesOf(live.instance, this.#current.instance.stateSchema() ?? 0, true);
      if (states) pass(states, this.#current.instance);
    }
  }

  #keepCounters(live: Live): void {
    addCounters(this.#past, this.#statsOf(live));
  }

  /** A module that cannot say what it counted counts nothing. */
  #statsOf({ decoder, instance }: Live): Record<string, number> {
    let told: Record<string, number> = {};
    try {
      guarded(SWAP_MS, () => {
        told = instance.stats();
      });
    } catch (error) {
      if (!(error instanceof DecoderError || error instanceof TookTooLong)) throw error;
      this.host.log?.(`decoder ${decoder.name}: its counters cannot be read: ${error.message}`);
    }
    return told;
  }

  /** What the current instance gives to another; undefined: it cannot. */
  #statesFor(taker: DecoderModule): States | undefined {
    const schema = taker.stateSchema();
    if (schema === undefined || this.#current.instance.stateSchema() === undefined) return undefined;
    try {
      return statesOf(this.#current.instance, schema);
    } catch (error) {
      if (!(error instanceof DecoderError)) throw error;
      this.host.log?.(`decoder ${this.decoder.name}: hands nothing over: ${error.message}`);
      return undefined;
    }
  }

  #hand(states: States, before: Live, made: Live): void {
    try {
      guarded(SWAP_MS, () => pass(states, made.instance));
    } catch (error) {
      // The old one has let go of what it gave: a new instance of it takes that back.
      const again = this.#made(before.decoder);
      pass(states, again.instance);
      this.#draining.push(before);
      this.#current = again;
      throw new DecoderError('refused', `does not take what ${before.decoder.version} hands over: ${(error as Error).message}`, { cause: error });
    }
    this.#draining.push(before);
  }

  /** Passes on what became free, and lets go of who has nothing left. */
  #settle(): void {
    for (const live of [...this.#draining]) {
      try {
        const states = statesOf(live.instance, this.#current.instance.stateSchema() ?? 0);
        if (states && !this.#off) pass(states, this.#current.instance);
        if (live.instance.held() > 0) continue;
      } catch (error) {
        if (!(error instanceof DecoderError)) throw error;
        this.#rebuild(live, 'trap', error.message);
        return;
      }
      this.#keepCounters(live);
      this.#draining = this.#draining.filter((other) => other !== live);
    }
  }

  /** Tells what an instance knows, and lets go of it. */
  #end(live: Live): void {
    this.#run(live, (instance, sink) => instance.flush(sink));
    this.#keepCounters(live);
  }

  #endOldest(): void {
    const oldest = this.#draining.shift();
    if (!oldest) return;
    this.#end(oldest);
    if (this.#off) return;
    const states = statesOf(oldest.instance, this.#current.instance.stateSchema() ?? 0);
    if (states) pass(states, this.#current.instance);
  }
}

function addCounters(into: Record<string, number>, from: Record<string, number>): Record<string, number> {
  for (const [name, value] of Object.entries(from)) into[name] = (into[name] ?? 0) + value;
  return into;
}
