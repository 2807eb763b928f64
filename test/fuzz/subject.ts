// The decoders under search: one chain that lives as long as the search, each round a process and connection of its own, so that what one round leaves behind shows in the next.
import { join } from 'node:path';
import { Chain } from '../../host/src/decode/chain.js';
import { type DecoderFile, loadDecoder } from '../../host/src/decode/load.js';
import { readLane } from '../lib/ai-records.js';
import { type ConnName, connInfo, sysExit, tlsClose, tlsData } from '../lib/records.js';
import { ROOT } from '../lib/run.js';
import type { Vector } from '../lib/vector.js';
import type { Random } from './random.js';

const MS = 1_000_000;
const LEDGER = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'];

type Cut = (left: number) => number;

/** Names that are made of the connection, by the order in which they come. */
function normalised(lanes: readonly Buffer[]): string {
  const names = new Map<string, string>();
  const events = lanes.flatMap((lane) => readLane(lane)).map(({ origin: _, ...rest }) => rest);
  const text = JSON.stringify(events, (key, value: unknown) => (typeof value === 'bigint' || key === 'conn' ? undefined : value));
  return text.replaceAll(/\b(req|conv|call)_[0-9a-f]{16}\b/g, (name) => {
    if (!names.has(name)) names.set(name, `${name.slice(0, name.indexOf('_'))}_${names.size}`);
    return names.get(name) as string;
  });
}

export class Subject {
  readonly #decoders: DecoderFile[];
  readonly #chain: Chain;
  readonly #wholes = new Map<string, string>();
  #tgid = 1000;
  #unbalanced = 0;

  constructor() {
    this.#decoders = ['http', 'ai'].map((name) => loadDecoder(join(ROOT, 'dist', 'decoders', `${name}.wasm`)));
    this.#chain = new Chain(this.#decoders, { log: () => undefined });
  }

  /** The events of a vector whose bytes come as they stand. */
  whole(vector: Vector): string {
    let text = this.#wholes.get(vector.path);
    if (text === undefined) {
      text = this.#replay(vector, (left) => left);
      this.#wholes.set(vector.path, text);
    }
    return text;
  }

  /** The same of a random cut. */
  recut(vector: Vector, random: Random): string {
    const most = random.pick([2, 5, 20, 100, 1000, 20_000]);
    return this.#replay(vector, () => 1 + random.below(most));
  }

  /** The same, with modules that are replaced between any two records, each about eight times. */
  swapped(vector: Vector, random: Random): string {
    const most = random.pick([5, 100, 1000]);
    const records = vector.segments.reduce((sum, { bytes }) => sum + 1 + (2 * bytes.length) / most, 0);
    const once = Math.max(1, Math.round(records / 8));
    const swap = (take: (bytes: Uint8Array) => void) => {
      for (const decoder of this.#decoders) if (random.once(once)) this.#chain.swap(decoder, take);
    };
    return this.#replay(vector, () => 1 + random.below(most), swap);
  }

  #replay(vector: Vector, size: Cut, before: (take: (bytes: Uint8Array) => void) => void = () => undefined): string {
    const conn = this.#conn();
    const lanes: Buffer[] = [];
    const take = (bytes: Uint8Array) => lanes.push(Buffer.from(bytes));
    this.#chain.process(connInfo(vector.options.authority ?? 'api.openai.com', conn), take);
    const offsets = { request: 0, response: 0 };
    const gap = vector.options.gap;
    let ts = 1000 * MS;
    for (const { side, bytes } of vector.segments) {
      const start = offsets[side];
      const lostFrom = gap?.side === side ? vector[side].indexOf(gap.after) + Buffer.byteLength(gap.after) : -1;
      const lostTo = lostFrom + (gap?.bytes ?? 0);
      for (let at = start; at < start + bytes.length; ) {
        if (at >= lostFrom && at < lostTo) {
          at = lostTo;
          continue;
        }
        const stop = Math.min(at + size(bytes.length), start + bytes.length, at < lostFrom ? lostFrom : Number.POSITIVE_INFINITY);
        const payload = bytes.subarray(at - start, stop - start);
        before(take);
        this.#chain.process(tlsData({ conn, side: side === 'request' ? 'write' : 'read', offset: at, bytes: payload, ts }), take);
        at = stop;
      }
      offsets[side] += bytes.length;
      ts += 250 * MS;
    }
    if (vector.options.close !== false) this.#chain.process(tlsClose(offsets.response, offsets.request, conn, ts), take);
    this.#chain.process(sysExit(conn.tgid, ts), take);
    return normalised(lanes);
  }

  #conn(): ConnName {
    this.#tgid = this.#tgid >= 1 << 22 ? 1000 : this.#tgid + 1;
    return { tgid: this.#tgid, ssl: this.#tgid * 64, generation: this.#tgid };
  }

  /** The segments of a vector with damage, and pieces of another between them. */
  damage(vector: Vector, other: Vector, random: Random): { pieces: Buffer[]; sides: ('request' | 'response')[] } {
    const pieces = vector.segments.map(({ bytes }) => Buffer.from(bytes));
    const sides = vector.segments.map(({ side }) => side);
    for (let n = 1 + random.below(4); n > 0; n--) {
      const i = random.below(pieces.length);
      const piece = pieces[i] as Buffer;
      if (piece.length === 0) continue;
      const at = random.below(piece.length);
      const length = 1 + random.below(Math.min(200, piece.length - at));
      const part = piece.subarray(at, at + length);
      switch (random.below(6)) {
        case 0:
          piece[at] = (piece[at] as number) ^ (1 << random.below(8));
          break;
        case 1:
          pieces[i] = Buffer.concat([piece.subarray(0, at), piece.subarray(at + length)]);
          break;
        case 2:
          pieces[i] = Buffer.concat([piece.subarray(0, at), part, part, piece.subarray(at + length)]);
          break;
        case 3: {
          const from = random.pick(other.segments).bytes;
          const start = random.below(from.length);
          pieces[i] = Buffer.concat([piece.subarray(0, at), from.subarray(start, start + 1 + random.below(2000)), piece.subarray(at)]);
          break;
        }
        case 4:
          piece.fill(random.below(256), at, at + length);
          break;
        default:
          pieces.push(Buffer.from(part));
          sides.push(random.once(2) ? 'request' : 'response');
      }
    }
    return { pieces, sides };
  }

  /** Decodes bytes that mean no good, some records lost or given twice. @returns what went wrong. */
  swallow(pieces: readonly Buffer[], sides: readonly ('request' | 'response')[], random: Random): string | undefined {
    const before = this.state();
    const conn = this.#conn();
    const ignore = () => undefined;
    const offsets = { request: 0, response: 0 };
    if (!random.once(4)) this.#chain.process(connInfo('api.openai.com', conn), ignore);
    let ts = 1000 * MS;
    pieces.forEach((bytes, i) => {
      const side = sides[i] as 'request' | 'response';
      const most = random.pick([7, 100, 4000]);
      for (let at = 0; at < bytes.length; ) {
        const payload = bytes.subarray(at, at + 1 + random.below(most));
        ts += MS;
        const record = tlsData({ conn, side: side === 'request' ? 'write' : 'read', offset: offsets[side], bytes: payload, ts });
        if (!random.once(60)) this.#chain.process(record, ignore);
        if (random.once(80)) this.#chain.process(record, ignore);
        offsets[side] += payload.length;
        at += payload.length;
      }
    });
    if (random.once(2)) this.#chain.process(tlsClose(offsets.response + random.below(50), offsets.request, conn, ts), ignore);
    // Some connections stay open: the bounds of the tables are part of what is searched.
    if (!random.once(20)) this.#chain.process(sysExit(conn.tgid, ts), ignore);
    const after = this.state();
    if (after.traps > before.traps) return 'a decoder trapped';
    if (after.rejected > before.rejected) return 'a decoder rejected a batch';
    if (!after.balanced) {
      this.#unbalanced++;
      return 'the ledger of the http module does not balance';
    }
    return undefined;
  }

  state(): { traps: number; rejected: number; unbalanced: number; balanced: boolean; memory: Record<string, number> } {
    let [traps, rejected] = [0, 0];
    let balanced = true;
    const memory: Record<string, number> = {};
    for (const [name, stage] of Object.entries(this.#chain.stats())) {
      traps += stage.traps;
      rejected += stage.rejected;
      memory[name] = stage.memory_bytes;
      const counters = stage.counters as Record<string, number>;
      if (name === 'http') balanced = counters['in_bytes'] === LEDGER.reduce((n, key) => n + (counters[key] ?? 0), 0);
    }
    return { traps, rejected, unbalanced: this.#unbalanced, balanced, memory };
  }
}
