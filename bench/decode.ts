// Bench: what decoding costs, from a batch of kernel records to events, as a ratio to JSON.parse in the same run.
import { paths, version } from '../host/src/config/paths.js';
import { Chain } from '../host/src/decode/chain.js';
import { loadDecoders } from '../host/src/decode/load.js';
import { Shard } from '../host/src/topology/shard.js';
import { httpRows } from './decode-http.js';
import { type BenchResult, bestOfEach, type Step, timed } from './lib/measure.js';
import { Connection, httpRequest, openAiRequest, SMALL_RESPONSE, SSE_END, SSE_HEAD, sseChunk, sseJson } from './lib/records.js';

const SSE_CHUNKS = 2000;
const NO_HOST = { hostname: 'bench', deviceId: 'bench', osVersion: '', arch: 'other', kernelVersion: '', users: {} };

type Decode = (batches: readonly Uint8Array[]) => number;

/** Through the chain of modules: msgpack records in, msgpack events out. Returns the bytes of the events. */
function throughChain(): Decode {
  const chain = new Chain(loadDecoders(paths.decoders));
  let bytes = 0;
  const count = (out: Uint8Array) => {
    bytes += out.length;
  };
  return (batches) => {
    bytes = 0;
    for (const batch of batches) chain.process(batch, count, Connection.kinds);
    return bytes;
  };
}

/** The same through enrich, redact, digest and JSON.stringify: what one core spends on it in all. */
function throughShard(): Decode {
  const shard = new Shard({ decoders: loadDecoders(paths.decoders), host: NO_HOST, version, shard: 0 });
  return (batches) => {
    let bytes = 0;
    for (const batch of batches) for (const { event } of shard.process(batch, 0n, Connection.kinds).events) bytes += JSON.stringify(event).length;
    return bytes;
  };
}

/** Times the decoding of one part of a connection; the other part is decoded too, uncounted, so that every connection is a whole one. */
function decodes(connection: Connection, part: 'request' | 'rest', decode: Decode): Step {
  return () => {
    connection.next();
    if (part === 'rest') decode(connection.request);
    const began = process.hrtime.bigint();
    const bytes = decode(connection[part]);
    const took = Number(process.hrtime.bigint() - began);
    if (part === 'request') decode(connection.rest);
    if (bytes === 0) throw new Error('no event was made: nothing was measured');
    return took;
  };
}

/** A request's batch to its ai.request event. */
function requestRows(size: number): BenchResult['rows'] {
  const body = openAiRequest(size);
  const connection = new Connection(httpRequest('/v1/chat/completions', body), [SMALL_RESPONSE]);
  const [chain = 0, shard = 0, parse = 0] = bestOfEach([
    decodes(connection, 'request', throughChain()),
    decodes(connection, 'request', throughShard()),
    timed(() => void JSON.parse(body.toString())),
  ]);
  const name = `openai_request_${Math.round(body.length / 1000)}kb`;
  const row = (what: string, ns: number) => ({
    name: what,
    us: ns / 1000,
    mb_per_s: (body.length / ns) * 1000,
    json_parse_us: parse / 1000,
    ratio_to_json_parse: parse / ns,
  });
  return [row(name, chain), row(`${name}_to_redacted_json`, shard)];
}

/** A streamed response, every token a TLS read of its own. */
function sseRow(): BenchResult['rows'][number] {
  const chunks = Array.from({ length: SSE_CHUNKS }, (_, i) => sseChunk(i));
  const connection = new Connection(httpRequest('/v1/chat/completions', openAiRequest(1000)), [SSE_HEAD, ...chunks, SSE_END]);
  const texts = Array.from({ length: SSE_CHUNKS }, (_, i) => sseJson(i));
  const [chain = 0, parse = 0] = bestOfEach([
    decodes(connection, 'rest', throughChain()),
    timed(() => {
      for (const text of texts) JSON.parse(text);
    }),
  ]);
  return { name: 'sse_chunk', us: chain / SSE_CHUNKS / 1000, json_parse_us: parse / SSE_CHUNKS / 1000, ratio_to_json_parse: parse / chain };
}

export function benchDecode(): BenchResult {
  return { bench: 'decode', rows: [...requestRows(43_000), ...requestRows(200_000), sseRow(), ...httpRows()] };
}
