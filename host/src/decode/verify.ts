// Tries a decoder module before anybody trusts it: the rules of the ABI, and how it bears bytes that mean no good. It may hang: run it where it can be ended.
import { pack } from 'msgpackr';
import { Kind, KindText } from '../gen/records.js';
import { DecoderError, DecoderModule } from './decoder-module.js';
import { CHAIN_LIMITS } from './limits.js';
import { loadDecoder } from './load.js';

export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was found. */
  readonly detail: string;
}

export interface Verdict {
  readonly path: string;
  readonly name?: string;
  readonly version?: string;
  readonly sha256?: string;
  readonly passed: boolean;
  readonly checks: readonly Check[];
}

const BATCHES = 2000;
const RECORDS = 12;
/** Memory that a module may need for what it is given here. */
const MEMORY_MOST = 256 << 20;

/** xorshift32: the same module is always tried with the same bytes. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function randomBytes(below: (n: number) => number, most: number): Buffer {
  const bytes = Buffer.alloc(below(most + 1));
  const text = below(2) === 0;
  for (let i = 0; i < bytes.length; i++) bytes[i] = text ? 32 + below(95) : below(256);
  return bytes;
}

/** A record of a kind, of the shape that the ABI gives it, with contents that nobody chose. */
function recordOf(kind: number, below: (n: number) => number): Buffer {
  const [conn, stream, message] = [below(8), below(4), below(2)];
  const text = () => randomBytes(below, 40).toString('latin1');
  switch (kind) {
    case Kind.http_head:
      return Buffer.from(
        pack([
          kind,
          conn,
          stream,
          message,
          message,
          1,
          below(1e9),
          11,
          message ? null : text(),
          message ? null : text(),
          message ? below(600) : null,
          message ? text() : null,
          [text(), text()],
          randomBytes(below, 200),
          null,
          below(2) === 0,
          null,
          null,
          null,
          below(3),
        ]),
      );
    case Kind.http_body:
      return Buffer.from(pack([kind, conn, stream, message, message, below(1e9), below(5000), randomBytes(below, 3000)]));
    case Kind.http_end:
      return Buffer.from(pack([kind, conn, stream, message, message, below(1e9), below(6), below(9), below(9), below(9), null, 0, 0]));
    default:
      return Buffer.from(pack([kind, randomBytes(below, 400)]));
  }
}

/** Those records that a module does not reject: a rejected one takes what is behind it in its batch along. */
function accepted(module: DecoderModule, records: readonly Buffer[]): Buffer[] {
  return records.filter((record) => {
    try {
      module.process(record, () => undefined);
      return true;
    } catch (error) {
      if (error instanceof DecoderError && error.code === 'rejected') return false;
      throw error;
    }
  });
}

/** Everything that a module gives for these buffers, lane by lane. */
function outputOf(module: DecoderModule, buffers: readonly Uint8Array[]): string {
  const lanes: [Buffer[], Buffer[]] = [[], []];
  const sink = (lane: 0 | 1, bytes: Uint8Array) => void lanes[lane].push(Buffer.from(bytes));
  for (const buffer of buffers) module.process(buffer, sink);
  module.flush(sink);
  return lanes.map((parts) => Buffer.concat(parts).toString('latin1')).join('\n');
}

/** @param bytes of the file, where they are not to be read. @returns what was found; a check that cannot be made because an earlier one failed is left out. */
export function verifyDecoder(path: string, bytes?: Uint8Array<ArrayBuffer>): Verdict {
  const checks: Check[] = [];
  const check = (name: string, work: () => string): boolean => {
    try {
      checks.push({ name, passed: true, detail: work() });
      return true;
    } catch (error) {
      checks.push({ name, passed: false, detail: (error as Error).message });
      return false;
    }
  };
  let file: ReturnType<typeof loadDecoder> | undefined;
  check('imports, exports, ABI version and manifest', () => {
    file = loadDecoder(path, bytes);
    return `${file.name} ${file.version}, ${file.bytes} bytes`;
  });
  if (!file) return { path, passed: false, checks };
  const { compiled, name, version, consumes, produces } = file;
  const fresh = () => new DecoderModule(compiled, CHAIN_LIMITS);
  const below = generator(0x2545f491);

  check('kinds', () => {
    const strange = [...consumes, ...produces].filter((kind) => KindText[kind] === undefined);
    if (strange.length) throw new Error(`there are no kinds ${strange.join(', ')}`);
    if (!consumes.length) throw new Error('it consumes nothing');
    const text = (kinds: readonly number[]) => kinds.map((kind) => KindText[kind]).join(' ') || 'nothing';
    return `${text(consumes)} -> ${text(produces)}`;
  });
  check('initialised as in the daemon', () => `${(fresh().memoryBytes / 1048576).toFixed(1)} MiB of memory`);
  check('batches cut anywhere give the same output', () => {
    const records = accepted(
      fresh(),
      Array.from({ length: 600 }, () => recordOf(consumes[below(consumes.length)] as number, below)),
    );
    const [whole, single] = [outputOf(fresh(), [Buffer.concat(records)]), outputOf(fresh(), records)];
    if (whole !== single) throw new Error('records one by one give another output than all at once');
    return `${records.length} records of 600 that it accepts`;
  });
  check('bytes that mean no good', () => {
    const module = fresh();
    let rejected = 0;
    for (let n = 0; n < BATCHES; n++) {
      const batch = Buffer.concat(Array.from({ length: 1 + below(RECORDS) }, () => recordOf(consumes[below(consumes.length)] as number, below)));
      if (below(2) === 0 && batch.length > 0) batch[below(batch.length)] = below(256);
      const cut = below(4) === 0 ? batch.subarray(0, below(batch.length + 1)) : batch;
      try {
        module.process(cut, () => undefined);
      } catch (error) {
        if (!(error instanceof DecoderError) || error.code !== 'rejected') throw error;
        rejected++;
      }
      if (n % 100 === 0) module.tick(n, () => undefined);
    }
    module.flush(() => undefined);
    module.stats();
    if (module.memoryBytes > MEMORY_MOST) throw new Error(`it has grown to ${module.memoryBytes} bytes`);
    return `${BATCHES} batches, ${rejected} rejected, ${(module.memoryBytes / 1048576).toFixed(1)} MiB of memory`;
  });
  return { path, name, version, sha256: compiled.sha256, passed: checks.every(({ passed }) => passed), checks };
}
