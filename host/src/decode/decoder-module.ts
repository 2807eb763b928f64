// One instance of one decoder module behind ABI 1: it checks the module, moves bytes in and out, and never looks into them.
import { createHash } from 'node:crypto';
import { unpack } from 'msgpackr';
import { Kind } from '../gen/records.js';
import { undoCodings } from './content-coding.js';

export const ABI_MAJOR = 1;
const PAGE = 65536;
const NAME = /^[a-z][a-z0-9-]{0,31}$/;
const VERSION = /^[\w.+-]{1,32}$/;
/** Counters that a module may have. */
const MOST_COUNTERS = 256;
const ALLOWED_IMPORTS: ReadonlySet<string> = new Set(['env.memory', 'env.abort', 'env.log']);
const REQUIRED_EXPORTS = [
  'oisp_abi',
  'oisp_manifest',
  'oisp_init',
  'oisp_in',
  'oisp_out',
  'oisp_process',
  'oisp_consumed',
  'oisp_resume',
  'oisp_out_len',
  'oisp_tick',
  'oisp_flush',
  'oisp_stats',
  'oisp_last_error',
] as const;

/** Since ABI 1.1, all or none. */
const LEND_EXPORTS = ['oisp_need', 'oisp_lend', 'oisp_lent'] as const;
/** Since ABI 1.2, all or none. */
const HANDOVER_EXPORTS = ['oisp_state_schema', 'oisp_give', 'oisp_take', 'oisp_held'] as const;
const OPTIONAL_EXPORTS = [LEND_EXPORTS, HANDOVER_EXPORTS] as const;

type DecoderExports = Record<(typeof REQUIRED_EXPORTS)[number], (...args: number[]) => number> &
  Partial<Record<(typeof OPTIONAL_EXPORTS)[number][number], (...args: number[]) => number>>;

/** Takes the bytes of one out lane; the view is valid until it returns. */
export type LaneSink = (lane: 0 | 1, bytes: Uint8Array) => void;

export interface DecoderManifest {
  readonly name: string;
  readonly version: string;
  readonly consumes: readonly number[];
  readonly produces: readonly number[];
}

export interface DecoderLimits {
  /** In buffer, bytes: no batch may be longer. */
  readonly inBytes: number;
  /** Each out lane, bytes; one that makes events may be given more than this. */
  readonly outBytes: number;
  readonly eventOutBytes?: number;
  /** Connections the module may hold. */
  readonly maxConnections: number;
  /** Maximum of the module's memory, bytes. */
  readonly memoryBytes: number;
  /** enum init_flag. Default 0. */
  readonly flags?: number;
}

/** A module file, checked: SHA-256 of its bytes and the compiled code. */
export interface CompiledDecoder {
  readonly sha256: string;
  readonly module: WebAssembly.Module;
}

/** Why a module was refused or gave up: `refused` before it ran, `rejected` a batch, `trap` the instance is lost. */
export class DecoderError extends Error {
  /** Of a trap in process(): bytes of the batch that were decoded before, their output taken. */
  done = 0;

  constructor(
    readonly code: 'refused' | 'rejected' | 'trap',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'DecoderError';
  }
}

/** Compiles a module and refuses one with an import that is not allowed or without an export that is needed. */
export function compileDecoder(bytes: Uint8Array<ArrayBuffer>): CompiledDecoder {
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (error) {
    throw new DecoderError('refused', `not a WebAssembly module: ${(error as Error).message}`, { cause: error });
  }
  for (const entry of WebAssembly.Module.imports(module)) {
    const name = `${entry.module}.${entry.name}`;
    if (!ALLOWED_IMPORTS.has(name)) throw new DecoderError('refused', `imports ${name}; only ${[...ALLOWED_IMPORTS].join(', ')} are allowed`);
  }
  const exported = new Set(WebAssembly.Module.exports(module).map((entry) => entry.name));
  for (const name of REQUIRED_EXPORTS) {
    if (!exported.has(name)) throw new DecoderError('refused', `does not export ${name}`);
  }
  for (const group of OPTIONAL_EXPORTS) {
    const some = group.filter((name) => exported.has(name));
    if (some.length > 0 && some.length < group.length) throw new DecoderError('refused', `exports ${some.join(', ')} but not the rest of ${group.join(', ')}`);
  }
  return { sha256: createHash('sha256').update(bytes).digest('hex'), module };
}

/** A live instance. Not re-entrant: a sink must not call back into the same instance. */
export class DecoderModule {
  readonly manifest: DecoderManifest;
  private readonly memory: WebAssembly.Memory;
  private view = new Uint8Array(0);
  private readonly exports: DecoderExports;
  private readonly outBytes: number;
  private readonly inAt: number;
  private readonly outAt: readonly [number, number];

  /** @param log takes the lines a module logs. Throws DecoderError `refused` or `trap`. */
  constructor(
    compiled: CompiledDecoder,
    private readonly limits: DecoderLimits,
    log: (line: string) => void = () => undefined,
  ) {
    this.memory = new WebAssembly.Memory({ initial: 4, maximum: Math.ceil(limits.memoryBytes / PAGE) });
    const text = (at: number, length: number) => Buffer.from(this.memory.buffer, at >>> 0, length >>> 0).toString('utf8');
    const env = {
      memory: this.memory,
      log: (at: number, length: number) => log(text(at, Math.min(length >>> 0, 1024))),
      abort: (_message: number, _file: number, line: number, column: number) => {
        throw new DecoderError('trap', `abort at ${line}:${column}`);
      },
    };
    let instance: WebAssembly.Instance;
    try {
      instance = new WebAssembly.Instance(compiled.module, { env });
    } catch (error) {
      throw new DecoderError('refused', `cannot be instantiated: ${(error as Error).message}`, { cause: error });
    }
    this.exports = instance.exports as DecoderExports;
    const abi = this.call('oisp_abi');
    if (abi >>> 16 !== ABI_MAJOR) {
      throw new DecoderError('refused', `speaks decoder ABI ${abi >>> 16}.${abi & 0xffff}, this host speaks ${ABI_MAJOR}.x`);
    }
    this.manifest = this.readManifest();
    this.outBytes = this.manifest.produces.includes(Kind.event) ? (limits.eventOutBytes ?? limits.outBytes) : limits.outBytes;
    const code = this.call('oisp_init', limits.inBytes, this.outBytes, limits.flags ?? 0, limits.maxConnections);
    if (code < 0) throw new DecoderError('refused', `oisp_init failed: ${this.lastError()}`);
    this.inAt = this.call('oisp_in') >>> 0;
    this.outAt = [this.call('oisp_out', 0) >>> 0, this.call('oisp_out', 1) >>> 0];
    const size = this.memory.buffer.byteLength;
    if (this.inAt + limits.inBytes > size || this.outAt.some((at) => at + this.outBytes > size))
      throw new DecoderError('refused', 'its buffers do not lie in its memory');
  }

  private readManifest(): DecoderManifest {
    let manifest: Partial<DecoderManifest> | undefined;
    try {
      manifest = unpack(this.prefixed(this.call('oisp_manifest'))) as Partial<DecoderManifest>;
    } catch (error) {
      throw new DecoderError('refused', `its manifest cannot be read: ${(error as Error).message}`, { cause: error });
    }
    const { name, version, consumes, produces } = manifest ?? {};
    const kinds = (list: unknown) => Array.isArray(list) && list.every((kind) => Number.isInteger(kind) && kind >= 0);
    if (typeof name !== 'string' || !NAME.test(name) || typeof version !== 'string' || !VERSION.test(version) || !kinds(consumes) || !kinds(produces))
      throw new DecoderError('refused', 'its manifest has no name, version, consumes and produces as they must be');
    return manifest as DecoderManifest;
  }

  /** Bytes of memory the instance has grown to. */
  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** Decodes whole records. Throws `rejected` when the batch is malformed, `trap` when the instance is lost. */
  process(bytes: Uint8Array, sink: LaneSink): void {
    if (bytes.length > this.limits.inBytes)
      throw new DecoderError('rejected', `a batch of ${bytes.length} bytes exceeds the in buffer of ${this.limits.inBytes}`);
    this.bytes().set(bytes, this.inAt);
    let done = 0;
    try {
      let code = this.processCall(bytes.length);
      for (;;) {
        const given = this.drain(sink) || this.lend();
        if (code < 0) throw new DecoderError('rejected', this.lastError());
        done = this.consumed();
        if (done >= bytes.length) return;
        if (!given) throw new DecoderError('trap', 'stopped without input consumed or output made');
        code = this.call('oisp_resume');
      }
    } catch (error) {
      if (error instanceof DecoderError) error.done = Math.max(0, Math.min(done, bytes.length));
      throw error;
    }
  }

  /** Expires what is idle. @param seconds on the record clock. */
  tick(seconds: number, sink: LaneSink): void {
    do {
      this.call('oisp_tick', seconds);
      this.drain(sink);
    } while (this.lend());
  }

  /** Gives what is known of everything open: the source has ended. */
  flush(sink: LaneSink): void {
    for (let more = 1; more === 1; ) {
      more = this.call('oisp_flush');
      const given = this.drain(sink) || this.lend();
      if (more === 1 && !given) throw new DecoderError('trap', 'oisp_flush asks for more without output');
    }
  }

  /** What its states are called (ABI 1.2); undefined: it cannot hand over. */
  stateSchema(): number | undefined {
    return this.exports.oisp_state_schema ? this.call('oisp_state_schema') : undefined;
  }

  /**
   * Gives up its place: gives what it keeps and begins nothing any more. Called again, it gives what has become free since.
   * @param schema of the instance that takes it @param again to say every claim once more: the taker is another @param sink takes records of the hand-over; the view is valid until it returns
   * @returns false when it cannot give to that schema
   */
  give(schema: number, again: boolean, sink: (bytes: Uint8Array) => void): boolean {
    for (let first = again; ; first = false) {
      const code = this.call('oisp_give', schema, first ? 1 : 0);
      const given = this.drain((lane, bytes) => {
        if (lane === 0) sink(bytes);
      });
      if (code !== 1) return code === 0;
      if (!given) throw new DecoderError('trap', 'oisp_give asks for more without output');
    }
  }

  /** Takes whole records of a hand-over, as many as fit into the in buffer. @throws DecoderError `rejected`. */
  take(bytes: Uint8Array): void {
    this.bytes().set(bytes, this.inAt);
    if (this.call('oisp_take', bytes.length) < 0) throw new DecoderError('rejected', this.lastError());
  }

  /** Connections, exchanges or whatever it calls so that it still has to see through. */
  held(): number {
    return this.call('oisp_held');
  }

  /** Longest batch, bytes. */
  get inBytes(): number {
    return this.limits.inBytes;
  }

  /** The module's counters. */
  stats(): Record<string, number> {
    const length = this.call('oisp_stats');
    let told: unknown;
    try {
      told = unpack(Buffer.from(new Uint8Array(this.memory.buffer, this.outAt[1], length)));
    } catch (error) {
      throw new DecoderError('trap', `oisp_stats: ${(error as Error).message}`, { cause: error });
    }
    const counters = Object.entries(told ?? {}).filter(([, value]) => typeof value === 'bigint' || Number.isFinite(value));
    return Object.fromEntries(counters.slice(0, MOST_COUNTERS).map(([name, value]) => [name, Number(value)]));
  }

  /** Decodes what the module asks to have decoded. @returns whether it asked. */
  private lend(): boolean {
    if (!this.exports.oisp_need) return false;
    const at = this.call('oisp_need') >>> 0;
    if (at === 0) return false;
    if (at + 16 > this.memory.buffer.byteLength) throw new DecoderError('trap', 'points outside its memory');
    const view = new DataView(this.memory.buffer);
    const [codings, from, length, limit] = [0, 4, 8, 12].map((offset) => view.getUint32(at + offset, true)) as [number, number, number, number];
    if (from + length > this.memory.buffer.byteLength || limit > this.limits.memoryBytes)
      throw new DecoderError('trap', 'asks to have bytes decoded that it does not have');
    const { bytes, how } = undoCodings(codings, this.bytes().subarray(from, from + length), limit);
    const to = this.call('oisp_lend', bytes.length) >>> 0;
    if (to === 0 || to + bytes.length > this.memory.buffer.byteLength) throw new DecoderError('trap', 'has no room for what it asked to have decoded');
    this.bytes().set(bytes, to);
    if (this.call('oisp_lent', bytes.length, how) !== 0) throw new DecoderError('trap', 'does not take what it asked to have decoded');
    return true;
  }

  private drain(sink: LaneSink): boolean {
    let given = false;
    for (const lane of [0, 1] as const) {
      const length = this.outLength(lane);
      if (length > this.outBytes) throw new DecoderError('trap', `claims ${length} bytes in out lane ${lane} of ${this.outBytes}`);
      if (length === 0) continue;
      given = true;
      sink(lane, this.bytes().subarray(this.outAt[lane], this.outAt[lane] + length));
    }
    return given;
  }

  /** The whole memory. Growth detaches a view, so it is made again then. */
  private bytes(): Uint8Array {
    if (this.view.buffer !== this.memory.buffer) this.view = new Uint8Array(this.memory.buffer);
    return this.view;
  }

  private lastError(): string {
    return this.prefixed(this.call('oisp_last_error')).toString('utf8');
  }

  /** @throws DecoderError `trap` when it does not lie in the memory. */
  private prefixed(at: number): Buffer {
    const start = at >>> 0;
    const size = this.memory.buffer.byteLength;
    const length = start + 4 <= size ? Math.min(new DataView(this.memory.buffer).getUint32(start, true), PAGE) : PAGE;
    if (start + 4 + length > size) throw new DecoderError('trap', 'points outside its memory');
    return Buffer.from(new Uint8Array(this.memory.buffer, start + 4, length));
  }

  private call(name: keyof DecoderExports, ...args: number[]): number {
    try {
      return (this.exports[name] as (...args: number[]) => number)(...args);
    } catch (error) {
      throw asTrap(name, error);
    }
  }

  // The three calls below are made for every batch: named one by one, so that each is a direct call into the module.

  private processCall(length: number): number {
    try {
      return this.exports.oisp_process(length);
    } catch (error) {
      throw asTrap('oisp_process', error);
    }
  }

  private consumed(): number {
    try {
      return this.exports.oisp_consumed();
    } catch (error) {
      throw asTrap('oisp_consumed', error);
    }
  }

  private outLength(lane: 0 | 1): number {
    try {
      return this.exports.oisp_out_len(lane);
    } catch (error) {
      throw asTrap('oisp_out_len', error);
    }
  }
}

/** What an instance throws means that it is lost. */
function asTrap(name: string, error: unknown): DecoderError {
  return error instanceof DecoderError ? error : new DecoderError('trap', `${name}: ${(error as Error).message}`, { cause: error });
}
