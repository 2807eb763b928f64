// Bench: what decoding costs, from a batch of kernel records to events, as a ratio to JSON.parse in the same run.
import { paths, version } from '../host/src/config/paths.js';
import { Chain } from '../host/src/decode/chain.js';
import { loadDecoders } from '../host/src/decode/load.js';
import { Shard } from '../host/src/topology/shard.js';
import { type BenchResult, bestNs } from './lib/measure.js';
import { Connection, httpRequest, openAiRequest, SMALL_RESPONSE, SSE_END, SSE_HEAD, sseChunk, sseJson } from './lib/records.js';

const SSE_CHUNKS = 2000;
const NO_HOST = { hostname: 'bench', deviceId: 'bench', osVersion: '', arch: 'other', kernelVersion: '', users: {} };

/** Nanoseconds for one connection through the chain of modules: msgpack records in, msgpack events out. */
function chainNs(connection: Connection): number {
  const chain = new Chain(loadDecoders(paths.decoders));
  let bytes = 0;
  const best = bestNs(() => {
    connection.next();
    for (const batch of connection.batches) {
      chain.process(
        batch,
        (out) => {
          bytes += out.length;
        },
        Connection.kinds,
      );
    }
  });
  if (bytes === 0) throw new Error('the chain made no event: nothing was measured');
  return best;
}

/** The same through enrich, redact, digest and JSON.stringify: what one core spends on it in all. */
function shardNs(connection: Connection): number {
  const shard = new Shard({ decoders: loadDecoders(paths.decoders), host: NO_HOST, version, shard: 0 });
  let bytes = 0;
  const best = bestNs(() => {
    connection.next();
    for (const batch of connection.batches) for (const { event } of shard.process(batch, 0n, Connection.kinds)) bytes += JSON.stringify(event).length;
  });
  if (bytes === 0) throw new Error('the shard made no event: nothing was measured');
  return best;
}

function requestRows(size: number): BenchResult['rows'] {
  const body = openAiRequest(size);
  const connection = new Connection(httpRequest('/v1/chat/completions', body), [SMALL_RESPONSE]);
  const parseNs = bestNs(() => void JSON.parse(body.toString()));
  const name = `openai_request_${Math.round(body.length / 1000)}kb`;
  const row = (what: string, ns: number) => ({
    name: what,
    us: ns / 1000,
    mb_per_s: (body.length / ns) * 1000,
    json_parse_us: parseNs / 1000,
    ratio_to_json_parse: parseNs / ns,
  });
  return [row(name, chainNs(connection)), row(`${name}_to_redacted_json`, shardNs(connection))];
}

function sseRow(): BenchResult['rows'][number] {
  const chunks = Array.from({ length: SSE_CHUNKS }, (_, i) => sseChunk(i));
  const connection = new Connection(httpRequest('/v1/chat/completions', openAiRequest(1000)), [SSE_HEAD, ...chunks, SSE_END]);
  const ns = chainNs(connection) / SSE_CHUNKS;
  const texts = Array.from({ length: SSE_CHUNKS }, (_, i) => sseJson(i));
  const parseNs =
    bestNs(() => {
      for (const text of texts) JSON.parse(text);
    }) / SSE_CHUNKS;
  return { name: 'sse_chunk', us: ns / 1000, json_parse_us: parseNs / 1000, ratio_to_json_parse: parseNs / ns };
}

export function benchDecode(): BenchResult {
  return { bench: 'decode', rows: [...requestRows(43_000), ...requestRows(200_000), sseRow()] };
}
