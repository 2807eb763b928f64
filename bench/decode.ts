// Bench: what decoding costs, from a batch of kernel records to events, as a ratio to JSON.parse in the same run.
import { paths, version } from '../host/src/config/paths.js';
import { Chain } from '../host/src/decode/chain.js';
import { loadDecoders } from '../host/src/decode/load.js';
import { Shard } from '../host/src/topology/shard.js';
import { batches, httpRequest, openAiRequest, SMALL_RESPONSE, SSE_HEAD, sseChunk, stream, tlsData } from './lib/records.js';
import { bestNs } from './lib/measure.js';
import type { BenchResult } from './main.js';

const SSE_CHUNKS = 2000;
const NO_HOST = { hostname: 'bench', deviceId: 'bench', osVersion: '', arch: 'other', kernelVersion: '', users: {} };

interface Exchange {
  batches: Uint8Array<ArrayBuffer>[];
  bodyBytes: number;
}

/** A request and an empty answer, on a connection whose offsets go on from exchange to exchange. */
function requestExchanges(body: Buffer, count: number): Exchange[] {
  const request = httpRequest('/v1/chat/completions', body);
  return Array.from({ length: count }, (_, i) => ({
    batches: batches([...stream('write', request, i * request.length), ...stream('read', SMALL_RESPONSE, i * SMALL_RESPONSE.length)]),
    bodyBytes: body.length,
  }));
}

/** Runs each exchange once per call, then starts over on a new chain: offsets only ever grow. */
function chainStep(exchanges: readonly Exchange[]): () => void {
  const decoders = loadDecoders(paths.decoders);
  let events = 0;
  return () => {
    const chain = new Chain(decoders);
    for (const exchange of exchanges) for (const batch of exchange.batches) chain.process(batch, (bytes) => (events += bytes.length));
    if (events === 0) throw new Error('the chain made no event: nothing was measured');
  };
}

/** Cost of making a chain, which the steps above pay once per call. */
function emptyChainNs(): number {
  const decoders = loadDecoders(paths.decoders);
  return bestNs(() => void new Chain(decoders), 5);
}

function sseBatches(): Uint8Array<ArrayBuffer>[] {
  const request = httpRequest('/v1/chat/completions', openAiRequest(1000));
  const records = [...stream('write', request), tlsData('read', 0, SSE_HEAD)];
  let offset = SSE_HEAD.length;
  for (let i = 0; i < SSE_CHUNKS; i++) {
    const chunk = sseChunk(i);
    records.push(tlsData('read', offset, chunk));
    offset += chunk.length;
  }
  records.push(tlsData('read', offset, Buffer.from('e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n')));
  return batches(records);
}

export function benchDecode(): BenchResult {
  const rows: BenchResult['rows'] = [];
  const setUp = emptyChainNs();
  for (const size of [43_000, 200_000]) {
    const body = openAiRequest(size);
    const count = 40;
    const exchanges = requestExchanges(body, count);
    const chainNs = (bestNs(chainStep(exchanges)) - setUp) / count;
    const parseNs = bestNs(() => void JSON.parse(body.toString()));
    rows.push({ name: `openai_request_${Math.round(body.length / 1000)}kb`, us: chainNs / 1000, mb_per_s: (body.length / chainNs) * 1000, json_parse_us: parseNs / 1000, ratio_to_json_parse: parseNs / chainNs });
    const shardNs = bestNs(shardStep(exchanges), 3);
    rows.push({ name: `openai_request_${Math.round(body.length / 1000)}kb_to_redacted_json`, us: shardNs / count / 1000, mb_per_s: (body.length * count * 1000) / shardNs, json_parse_us: parseNs / 1000, ratio_to_json_parse: (parseNs * count) / shardNs });
  }
  const sse = sseBatches();
  const sseNs = (bestNs(chainStep([{ batches: sse, bodyBytes: 0 }])) - setUp) / SSE_CHUNKS;
  const parseSse = bestNs(() => {
    for (let i = 0; i < SSE_CHUNKS; i++) JSON.parse(SSE_TEXTS[i] as string);
  });
  rows.push({ name: 'sse_chunk', us: sseNs / 1000, json_parse_us: parseSse / SSE_CHUNKS / 1000, ratio_to_json_parse: parseSse / SSE_CHUNKS / sseNs });
  return { bench: 'decode', rows };
}

const SSE_TEXTS = Array.from({ length: SSE_CHUNKS }, (_, i) => sseChunk(i).toString().replace(/^[^{]*/, '').replace(/\n\n\r\n$/, ''));

/** The same through enrich, redact, digest and JSON.stringify: what one core spends on an event in all. */
function shardStep(exchanges: readonly Exchange[]): () => void {
  const decoders = loadDecoders(paths.decoders);
  return () => {
    const shard = new Shard({ decoders, host: NO_HOST, version, shard: 0 });
    let bytes = 0;
    for (const exchange of exchanges) for (const batch of exchange.batches) for (const { event } of shard.process(batch, 0n)) bytes += JSON.stringify(event).length;
    if (bytes === 0) throw new Error('the shard made no event: nothing was measured');
  };
}
