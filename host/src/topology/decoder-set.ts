// The decoder modules in use while the daemon runs: swaps, rolls back, pins and switches off, one change after the other, with an audit line for each.

import type { CanaryReport } from '../decode/canary.js';
import { type CompiledDecoder, compileDecoder, DecoderError } from '../decode/decoder-module.js';
import { type DecoderFile, loadDecoder } from '../decode/load.js';
import type { Incident, SwapReport } from '../decode/stage.js';
import { verifyInThread } from '../decode/verify-thread.js';
import { HostError } from '../errors.js';
import type { SourceStats } from '../events/source.js';
import type { DecoderChange } from './shard.js';
import type { ShardAnswer } from './shard-entry.js';
import type { ShardPool } from './shard-pool.js';

export type AuditAction = 'swap' | 'add' | 'rollback' | 'automatic_rollback' | 'off' | 'remove' | 'refused' | 'pin' | 'unpin';

/** A module, to the byte. */
interface Version {
  readonly version: string;
  readonly sha256: string;
}

/** What was done to a module, by whom and why. */
export interface AuditEntry {
  /** ISO 8601. */
  readonly at: string;
  readonly action: AuditAction;
  readonly decoder: string;
  readonly from: Version | null;
  readonly to: Version | null;
  /** Who asked: the control socket, the watched folder, or the daemon itself. */
  readonly by: string;
  readonly why: string | null;
}

/** A module of the chain, as `decoders list` shows it. */
export interface DecoderState {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  /** Size of the file. */
  readonly bytes: number;
  readonly consumes: readonly number[];
  readonly produces: readonly number[];
  /** trial: it was swapped in a moment ago, and the first fault takes it out again. */
  readonly state: 'in use' | 'trial' | 'off';
  readonly pinned: boolean;
  /** Modules that it can be rolled back to, the last one first. */
  readonly previous: readonly Version[];
}

/** What a change did to a shard. */
export interface ShardChange extends SwapReport {
  /** Longest that the shard stood still for one step of it, ms. */
  readonly pause_ms: number;
}

/** What a change did. */
export interface ChangeReport {
  readonly entry: AuditEntry;
  readonly canary: CanaryReport | null;
  /** By shard. */
  readonly shards: readonly ShardChange[];
}

export interface DecoderSetOptions {
  readonly pool: ShardPool;
  readonly decoders: readonly DecoderFile[];
  /** Takes each audit line. */
  readonly audit: (entry: AuditEntry) => void;
  /** Delivers what modules had to tell when they were replaced, behind every batch before and ahead of every one after. */
  readonly deliver: (answer: Promise<ShardAnswer>) => Promise<ShardAnswer>;
  /** How long a new module is tried beside the one in use before it takes its place, ms. */
  readonly canaryMs?: number;
  /** How long the first fault of a new module takes it out again, ms. */
  readonly trialMs?: number;
}

interface Slot {
  current: DecoderFile;
  previous: DecoderFile[];
  pinned: boolean;
  off: boolean;
  trialUntil: number;
  /** When it lost instances, ms. */
  faults: number[];
}

const CANARY_MS = 1000;
const TRIAL_MS = 10_000;
/** Longest call of a module that is new, ms. */
const NEW_MODULE_MS = 250;
/** A module that loses this many instances within a minute is taken out. */
const FAULTS_MOST = 5;
const FAULTS_MS = 60_000;
const PREVIOUS_MOST = 8;
const AUDIT_MOST = 64;
/** Of the buffers of the trial, what a new module may reject although the other did not. */
const REJECTED_SHARE = 0.01;

export class DecoderSet {
  readonly #slots = new Map<string, Slot>();
  readonly #entries: AuditEntry[] = [];
  #changes: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(private readonly options: DecoderSetOptions) {
    for (const current of options.decoders) this.#slots.set(current.name, slotOf(current));
  }

  list(): DecoderState[] {
    const now = Date.now();
    return [...this.#slots.values()].map(({ current, previous, pinned, off, trialUntil }) => ({
      ...versionOf(current),
      name: current.name,
      bytes: current.bytes,
      consumes: current.consumes,
      produces: current.produces,
      state: off ? 'off' : trialUntil > now ? 'trial' : 'in use',
      pinned,
      previous: previous.map(versionOf),
    }));
  }

  /** What was changed last, oldest first. */
  audit(): readonly AuditEntry[] {
    return this.#entries;
  }

  stats(): SourceStats {
    const count = (action: AuditAction) => this.#entries.filter((entry) => entry.action === action).length;
    return { off: [...this.#slots.values()].filter(({ off }) => off).length, rollbacks: count('automatic_rollback') };
  }

  /**
   * Puts a module that was verified into the place of the one of its name: tried beside it in one shard first, then shard by shard.
   * @throws HostError DECODER when it is pinned, the same, or refused: then nothing has changed.
   */
  swap(file: DecoderFile, by: string): Promise<ChangeReport> {
    return this.#one(async () => {
      const slot = this.#slots.get(file.name);
      this.#refuse(file, by, slot?.pinned ? `${file.name} is pinned` : undefined, 'Take the pin off with `oisp-host decoders unpin`.');
      if (slot && slot.current.compiled.sha256 === file.compiled.sha256 && !slot.off) this.#refuse(file, by, 'it is the module in use', undefined);
      const canary = slot && !slot.off ? await this.#canary(file) : null;
      this.#refuse(file, by, failureOf(canary), 'The one in use was not touched.');
      const shards = await this.#replace(file, slot?.current, by);
      const next = slotOf(file);
      if (slot) {
        next.previous = [slot.current, ...slot.previous].slice(0, PREVIOUS_MOST);
        next.faults = [];
      }
      next.trialUntil = Date.now() + (this.options.trialMs ?? TRIAL_MS);
      this.#slots.set(file.name, next);
      this.#endTrialLater(file);
      return { entry: this.#tell(slot ? 'swap' : 'add', file.name, slot?.current, file, by, null), canary, shards };
    });
  }

  /**
   * Verifies a module and swaps it in. @param label what it is called until it has said its name @param name that it must have; undefined: any
   * @throws HostError DECODER when it does not keep the rules, or as swap().
   */
  async offer(bytes: Uint8Array<ArrayBuffer>, label: string, by: string, name?: string): Promise<ChangeReport> {
    // Compiled here first: threads share the code of the same bytes, so what the trial makes fast is fast for the shards.
    const warm = compiled(bytes);
    const verdict = await verifyInThread(label, { bytes });
    const failed = verdict.checks.find(({ passed }) => !passed);
    if (failed) {
      const why = `it does not keep the rules: ${failed.name}: ${failed.detail}`;
      this.#tell('refused', verdict.name ?? name ?? label, undefined, undefined, by, why);
      throw new HostError('DECODER', `${label} is refused: ${why}`, 'Try it with `oisp-host decoders verify`.');
    }
    const file = loadDecoder(label, bytes);
    if (file.compiled.sha256 !== warm?.sha256) throw new HostError('DECODER', `${label} changed while it was verified`);
    if (name !== undefined && file.name !== name)
      throw new HostError('DECODER', `the file is a module ${file.name}, not ${name}`, `Say \`oisp-host decoders swap ${file.name} FILE\` if you mean that.`);
    return await this.swap(file, by);
  }

  /** Puts the module before back. @throws HostError DECODER when there is none, or it is pinned. */
  rollback(name: string, by: string): Promise<ChangeReport> {
    return this.#one(async () => {
      const slot = this.#slot(name);
      if (slot.pinned) throw new HostError('DECODER', `${name} is pinned`, 'Take the pin off with `oisp-host decoders unpin`.');
      return await this.#back(name, slot, 'rollback', by, null);
    });
  }

  /** A pinned module is neither swapped nor rolled back. */
  pin(name: string, pinned: boolean, by: string): Promise<ChangeReport> {
    return this.#one(async () => {
      const slot = this.#slot(name);
      slot.pinned = pinned;
      return { entry: this.#tell(pinned ? 'pin' : 'unpin', name, slot.current, slot.current, by, null), canary: null, shards: [] };
    });
  }

  /** A module lost an instance: a new one is rolled back at once, any other when it happens often; without one before it, it is switched off. */
  incident({ decoder, sha256, what, text }: Incident): void {
    const slot = this.#slots.get(decoder);
    if (!slot || slot.current.compiled.sha256 !== sha256 || slot.off) return;
    const now = Date.now();
    slot.faults = [...slot.faults.filter((at) => at > now - FAULTS_MS), now].slice(-FAULTS_MOST);
    const onTrial = slot.trialUntil > now;
    // Another thread took over, and stops the module itself the next time.
    const goesOn = what === 'hang' && !slot.previous.length;
    if (!onTrial && (what === 'trap' || goesOn) && slot.faults.length < FAULTS_MOST) return;
    const why = onTrial ? `${what} while it was new, ${text}` : `${slot.faults.length} faults within ${FAULTS_MS / 1000} s, the last: ${what}, ${text}`;
    void this.#one(async () => {
      if (this.#slots.get(decoder) !== slot || slot.off || this.#closed) return;
      if (slot.previous.length && !slot.pinned) await this.#back(decoder, slot, 'automatic_rollback', 'the daemon', why);
      else if (onTrial && !slot.pinned) await this.#remove(decoder, slot, why);
      else await this.#turnOff(decoder, slot, why);
    }).catch((error: Error) => this.#tell('refused', decoder, slot.current, undefined, 'the daemon', error.message));
  }

  /** Every change that was asked for so far is made. */
  async settled(): Promise<void> {
    await this.#changes;
  }

  /** No change is made after this; one under way is waited for. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#changes;
  }

  #slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (!slot) throw new HostError('DECODER', `there is no decoder ${name}`, `There are ${[...this.#slots.keys()].join(', ')}.`);
    return slot;
  }

  #refuse(file: DecoderFile, by: string, why: string | undefined, hint: string | undefined): void {
    if (why === undefined) return;
    this.#tell('refused', file.name, this.#slots.get(file.name)?.current, file, by, why);
    throw new HostError('DECODER', `${file.name} ${file.version} is refused: ${why}`, hint);
  }

  async #canary(file: DecoderFile): Promise<CanaryReport | null> {
    const { pool, canaryMs = CANARY_MS } = this.options;
    await pool.change(0, { op: 'canary', decoder: loaded(file), limitMs: NEW_MODULE_MS });
    await new Promise((resolve) => setTimeout(resolve, canaryMs));
    const { canary } = await pool.change(0, { op: 'end_canary', name: file.name });
    return canary ?? null;
  }

  /** @throws HostError DECODER when a shard refuses it; those before have the old one again. */
  async #replace(file: DecoderFile, before: DecoderFile | undefined, by: string): Promise<ShardChange[]> {
    const { pool } = this.options;
    const reports: ShardChange[] = [];
    for (let shard = 0; shard < pool.shards; shard++) {
      try {
        reports.push(await this.#put(shard, file, true));
      } catch (error) {
        for (let done = 0; done < shard; done++) {
          if (before) await this.#put(done, before, false);
          else await this.#deliver(done, { op: 'remove', name: file.name });
        }
        this.#refuse(file, by, (error as Error).message, 'The one in use goes on.');
      }
    }
    return reports;
  }

  async #put(shard: number, file: DecoderFile, isNew: boolean): Promise<ShardChange> {
    const prepared = await this.options.pool.change(shard, { op: 'prepare', decoder: loaded(file) });
    const { swapped, pauseMs = 0 } = await this.#deliver(shard, { op: 'swap', decoder: loaded(file) });
    await this.options.pool.change(shard, { op: 'guard', name: file.name, limitMs: isNew ? NEW_MODULE_MS : 0 });
    return { ...(swapped ?? { bytes: 0, held: 0 }), pause_ms: Math.max(prepared.pauseMs ?? 0, pauseMs) };
  }

  #deliver(shard: number, change: DecoderChange): Promise<ShardAnswer> {
    return this.options.deliver(this.options.pool.change(shard, change));
  }

  async #back(name: string, slot: Slot, action: AuditAction, by: string, why: string | null): Promise<ChangeReport> {
    const [file, ...rest] = slot.previous;
    if (!file) throw new HostError('DECODER', `there is no module before this ${name}`, 'A daemon remembers what it has swapped since it started.');
    const shards: ShardChange[] = [];
    for (let shard = 0; shard < this.options.pool.shards; shard++) shards.push(await this.#put(shard, file, false));
    this.#slots.set(name, { ...slotOf(file), previous: rest });
    return { entry: this.#tell(action, name, slot.current, file, by, why), canary: null, shards };
  }

  async #remove(name: string, slot: Slot, why: string): Promise<void> {
    for (let shard = 0; shard < this.options.pool.shards; shard++) await this.#deliver(shard, { op: 'remove', name });
    this.#slots.delete(name);
    this.#tell('remove', name, slot.current, undefined, 'the daemon', why);
  }

  async #turnOff(name: string, slot: Slot, why: string): Promise<void> {
    for (let shard = 0; shard < this.options.pool.shards; shard++) await this.#deliver(shard, { op: 'off', name });
    slot.off = true;
    this.#tell('off', name, slot.current, undefined, 'the daemon', why);
  }

  #endTrialLater(file: DecoderFile): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#one(async () => {
        if (this.#closed || this.#slots.get(file.name)?.current !== file) return;
        for (let shard = 0; shard < this.options.pool.shards; shard++) await this.options.pool.change(shard, { op: 'guard', name: file.name, limitMs: 0 });
      });
    }, this.options.trialMs ?? TRIAL_MS).unref();
    this.#timers.add(timer);
  }

  #tell(action: AuditAction, decoder: string, from: DecoderFile | undefined, to: DecoderFile | undefined, by: string, why: string | null): AuditEntry {
    const entry = { at: new Date().toISOString(), action, decoder, from: from ? versionOf(from) : null, to: to ? versionOf(to) : null, by, why };
    this.#entries.push(entry);
    if (this.#entries.length > AUDIT_MOST) this.#entries.shift();
    this.options.audit(entry);
    return entry;
  }

  /** Makes one change after the other. */
  #one<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(change);
    this.#changes = done.catch(() => undefined);
    return done;
  }
}

/** undefined: it cannot be compiled, which verification says better. */
function compiled(bytes: Uint8Array<ArrayBuffer>): CompiledDecoder | undefined {
  try {
    return compileDecoder(bytes);
  } catch (error) {
    if (error instanceof DecoderError) return undefined;
    throw error;
  }
}

function slotOf(current: DecoderFile): Slot {
  return { current, previous: [], pinned: false, off: false, trialUntil: 0, faults: [] };
}

const versionOf = ({ version, compiled }: DecoderFile): Version => ({ version, sha256: compiled.sha256 });
/** What a shard needs of it. */
const loaded = ({ name, version, compiled }: DecoderFile) => ({ name, version, compiled });

function failureOf(canary: CanaryReport | null): string | undefined {
  if (!canary) return undefined;
  const { buffers, rejected, failure } = canary;
  if (failure !== null) return `tried beside the one in use, it failed: ${failure}`;
  return rejected > buffers * REJECTED_SHARE ? `tried beside the one in use, it rejected ${rejected} of ${buffers} buffers that the other took` : undefined;
}

/** One line for people. */
export function auditText({ action, decoder, from, to, by, why }: AuditEntry): string {
  const one = (version: Version | null) => (version ? `${version.version} (${version.sha256.slice(0, 12)})` : 'none');
  return `decoder ${decoder}: ${action.replaceAll('_', ' ')}, ${one(from)} -> ${one(to)}, by ${by}${why === null ? '' : `: ${why}`}`;
}
