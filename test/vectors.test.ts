// Replays every vector through the http and ai modules at several chunk sizes: each must give the events of the document, and the same ones every time.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Chain } from '../host/src/decode/chain.js';
import { type DecoderFile, loadDecoder } from '../host/src/decode/load.js';
import { type AiEvent, readLane } from './lib/ai-records.js';
import { connInfo, tlsClose, tlsData } from './lib/records.js';
import { ROOT } from './lib/run.js';
import { differences, loadVectors, type Segment, type Side, type Vector } from './lib/vector.js';

const CHUNKS = [Number.MAX_SAFE_INTEGER, 1, 2, 3, 7, 16, 1000];
const FIRST_MS = 1000;
const STEP_MS = 250;
const MS = 1_000_000;
const decoders: DecoderFile[] = ['http', 'ai'].map((name) => loadDecoder(join(ROOT, 'dist', 'decoders', `${name}.wasm`)));

/** Positions of the lost bytes of one side, or an empty range. */
function lostRange(vector: Vector, side: Side): [number, number] {
  const gap = vector.options.gap;
  if (gap?.side !== side) return [0, 0];
  const at = vector[side].indexOf(gap.after);
  if (at < 0) throw new Error(`${vector.path}: gap.after is not in the ${side}`);
  const from = at + Buffer.byteLength(gap.after);
  return [from, from + gap.bytes];
}

/** The tls.data records of one segment, cut into chunks, without the lost bytes. */
function recordsOf(vector: Vector, segment: Segment, offset: number, size: number, ts: number): Buffer[] {
  const [from, to] = lostRange(vector, segment.side);
  const side = segment.side === 'request' ? 'write' : 'read';
  const out: Buffer[] = [];
  const end = offset + segment.bytes.length;
  for (let at = offset; at < end; ) {
    if (to > from && at >= from && at < to) {
      at = to;
      continue;
    }
    const stop = Math.min(at + size, end, at < from ? from : end);
    out.push(tlsData({ side, offset: at, bytes: segment.bytes.subarray(at - offset, stop - offset), ts }));
    at = stop;
  }
  return out;
}

/** What the chain tells of a vector whose bytes came in chunks of `size`. */
function replay(vector: Vector, size: number): { events: AiEvent[]; problems: string[] } {
  const problems: string[] = [];
  const chain = new Chain(decoders, { log: (line) => problems.push(line) });
  const lanes: Buffer[] = [];
  const take = (bytes: Uint8Array) => lanes.push(Buffer.from(bytes));
  const { authority = 'api.openai.com', close = true } = vector.options;
  chain.process(connInfo(authority), take);
  const offsets = { request: 0, response: 0 };
  let ts = FIRST_MS * MS;
  for (const segment of vector.segments) {
    for (const record of recordsOf(vector, segment, offsets[segment.side], size, ts)) chain.process(record, take);
    offsets[segment.side] += segment.bytes.length;
    ts += STEP_MS * MS;
  }
  if (close) chain.process(tlsClose(offsets.response, offsets.request, undefined, ts), take);
  else chain.flush(take);
  for (const [name, counters] of Object.entries(chain.stats())) if (counters.traps || counters.rejected) problems.push(`${name} trapped or rejected`);
  return { events: lanes.flatMap((lane) => readLane(lane)), problems };
}

/** An event as vectors write it. */
function told(event: AiEvent): Record<string, unknown> {
  const { level = 'high', completeness = 'full', detection, reasons, missing, missing_bytes, limitations } = event.meta;
  return {
    event_type: event.type,
    data: event.data,
    meta: event.meta,
    confidence: { level, completeness, ai_detection_method: detection, reasons, missing, missing_bytes, limitations },
  };
}

const withoutOrigin = (events: readonly AiEvent[]): unknown => events.map(({ origin: _, ...rest }) => rest);

for (const vector of loadVectors(join(ROOT, 'test', 'vectors'))) {
  test(`vector ${vector.path}: ${vector.title}`, () => {
    let first: unknown;
    for (const size of CHUNKS) {
      const { events, problems } = replay(vector, size);
      assert.deepEqual(problems, []);
      const seen = events.map(told);
      assert.deepEqual(
        seen.map((event) => event.event_type),
        vector.events.map((event) => event.event_type),
        `events at chunk size ${size}: ${JSON.stringify(seen)}`,
      );
      assert.deepEqual(
        vector.events.flatMap((event, i) => differences(event, seen[i], `event ${i}`)),
        [],
        `chunk size ${size}`,
      );
      first ??= withoutOrigin(events);
      assert.deepEqual(withoutOrigin(events), first, `chunk size ${size} gives other events than the whole`);
    }
  });
}
