// Bench: modules are replaced under load: 10,000 open connections, 5,000 requests a second through one shard, every module swapped. Nothing may be lost or told
// twice, and the figure is how long the shard stood still.
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { paths, version } from '../host/src/config/paths.js';
import { loadDecoders } from '../host/src/decode/load.js';
import { giveBack } from '../host/src/events/outgoing.js';
import { EventType } from '../host/src/gen/events.js';
import { TlsDataOffset } from '../host/src/gen/records.js';
import { type ConnectionName, RECORD_AT, tlsDataRecord } from '../host/src/sources/plaintext/kernel-records.js';
import { DecoderSet } from '../host/src/topology/decoder-set.js';
import type { ShardAnswer } from '../host/src/topology/shard-entry.js';
import { ShardPool } from '../host/src/topology/shard-pool.js';
import { renamed } from '../test/lib/wasm-module.js';
import type { BenchResult } from './lib/measure.js';

const CONNECTIONS = 10_000;
/** Of these, connections whose response is being streamed all the while. */
const STREAMING = 500;
const REQUESTS_PER_S = 5_000;
const TICK_MS = 10;
/** Requests between two swaps go on for so long. */
const BETWEEN_MS = 700;
const HOST = { hostname: 'bench', deviceId: '0', osVersion: '', arch: process.arch, kernelVersion: '', users: {} };

const REQUEST_BODY = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'what is in this folder?' }] });
const ANSWER_BODY = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  model: 'gpt-4o',
  choices: [{ index: 0, message: { role: 'assistant', content: 'three files' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 },
});
const REQUEST = Buffer.from(
  `POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nContent-Length: ${REQUEST_BODY.length}\r\n\r\n${REQUEST_BODY}`,
);
const ANSWER = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${ANSWER_BODY.length}\r\n\r\n${ANSWER_BODY}`);
const STREAM_HEAD = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
const event = JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model: 'gpt-4o', choices: [{ index: 0, delta: { content: 'word ' } }] });
const chunk = (text: string) => Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`);
const STREAM_PIECE = chunk(`data: ${event}\n\n`);
const STREAM_END = Buffer.from(`${chunk('data: [DONE]\n\n').toString()}0\r\n\r\n`);

class Conn {
  readonly #name: ConnectionName;
  readonly #offsets = { write: 0, read: 0 };

  constructor(n: number) {
    this.#name = { tgid: 1000 + (n % 100), ssl: 4096 + n * 64, generation: n + 1 };
  }

  record(direction: 'write' | 'read', payload: Buffer, ts: number): Buffer {
    const offset = this.#offsets[direction];
    this.#offsets[direction] += payload.length;
    return tlsDataRecord({ ...this.#name, direction, offset, payload, ts });
  }
}

class Load {
  requests = 0;
  longestMs = 0;
  readonly #conns = Array.from({ length: CONNECTIONS }, (_, n) => new Conn(n));
  readonly #seen = new Map<string, Set<string>>([
    [EventType.ai_request, new Set()],
    [EventType.ai_response, new Set()],
  ]);
  #told = 0;
  #waiting: Conn[] = [];
  #next = STREAMING;
  #ts = 1e9;
  #running = false;
  readonly #under: Promise<void>[] = [];

  constructor(private readonly pool: ShardPool) {}

  get lost(): number {
    return [...this.#seen.values()].reduce((sum, ids) => sum + this.requests - ids.size, 0);
  }

  get duplicated(): number {
    return this.#told - [...this.#seen.values()].reduce((sum, ids) => sum + ids.size, 0);
  }

  take({ events }: ShardAnswer): void {
    for (const { event_id, event_type } of events.heads) {
      const ids = this.#seen.get(event_type);
      if (!ids) continue;
      this.#told++;
      ids.add(event_id);
    }
    giveBack(events);
  }

  /** Every connection has had an exchange, and the first ones are in the middle of a response. */
  async open(): Promise<void> {
    for (let from = 0; from < CONNECTIONS; from += 250) {
      const some = this.#conns.slice(from, from + 250);
      await this.#send(some.map((conn) => conn.record('write', REQUEST, this.#tick())));
      await this.#send(some.map((conn, i) => conn.record('read', from + i < STREAMING ? STREAM_HEAD : ANSWER, this.#tick())));
      this.requests += some.length;
    }
  }

  /** Sends at the rate until it is told to stop; behind its time it sends more at once. */
  async run(): Promise<void> {
    this.#running = true;
    const began = performance.now();
    const before = this.requests;
    while (this.#running) {
      await sleep(TICK_MS);
      const due = before + Math.floor(((performance.now() - began) / 1000) * REQUESTS_PER_S) - this.requests;
      const answers = this.#waiting.map((conn) => conn.record('read', ANSWER, this.#tick()));
      this.#waiting = Array.from({ length: Math.min(due, 500) }, () => this.#conn());
      const asks = this.#waiting.map((conn) => conn.record('write', REQUEST, this.#tick()));
      const pieces = Array.from({ length: 20 }, (_, i) => this.#conns[(this.requests + i) % STREAMING]?.record('read', STREAM_PIECE, this.#tick()) as Buffer);
      this.requests += this.#waiting.length;
      this.#under.push(this.#send([...answers, ...pieces, ...asks]));
    }
    await this.#send(this.#waiting.map((conn) => conn.record('read', ANSWER, this.#tick())));
    await this.#send(this.#conns.slice(0, STREAMING).map((conn) => conn.record('read', STREAM_END, this.#tick())));
    await Promise.all(this.#under);
  }

  stop(): void {
    this.#running = false;
  }

  /** One that does not stream and has no request open: they come in turn. */
  #conn(): Conn {
    const conn = this.#conns[this.#next] as Conn;
    this.#next = this.#next + 1 < CONNECTIONS ? this.#next + 1 : STREAMING;
    return conn;
  }

  #tick(): number {
    this.#ts += 1000;
    return this.#ts;
  }

  async #send(records: readonly Buffer[]): Promise<void> {
    if (records.length === 0) return;
    const bytes = new Uint8Array(Buffer.concat(records));
    const payloadBytes = records.reduce((sum, record) => sum + record.length - RECORD_AT - TlsDataOffset.SIZE, 0);
    const began = performance.now();
    this.take(await this.pool.process({ shard: 0, bytes, records: records.length, payloadBytes, clockOffsetNs: 0n }));
    this.longestMs = Math.max(this.longestMs, performance.now() - began);
  }
}

export async function benchSwap(): Promise<BenchResult> {
  const decoders = loadDecoders(paths.decoders);
  const pool = new ShardPool({ shards: 1, decoders, host: HOST, version });
  await pool.load();
  const load = new Load(pool);
  const deliver = async (answer: Promise<ShardAnswer>) => {
    const given = await answer;
    load.take(given);
    return given;
  };
  const modules = new DecoderSet({ pool, decoders, audit: () => undefined, deliver, canaryMs: 300, trialMs: 300 });
  const rows: BenchResult['rows'] = [];
  let longest = 0;
  let refused = 0;
  try {
    await load.open();
    const began = performance.now();
    const before = load.requests;
    const running = load.run();
    await sleep(BETWEEN_MS);
    load.longestMs = 0;
    await sleep(BETWEEN_MS);
    const calmMs = load.longestMs;
    for (const { name, path } of decoders) {
      try {
        const { shards } = await modules.offer(renamed(new Uint8Array(readFileSync(path)), 'swapped'), name, 'the bench');
        for (const { pause_ms, bytes, held } of shards) {
          longest = Math.max(longest, pause_ms);
          rows.push({ name: `swap_${name}`, pause_ms, handed_over_bytes: bytes, seen_through_by_the_old: held });
        }
      } catch (error) {
        refused++;
        rows.push({ name: `swap_${name}`, refused: (error as Error).message });
      }
      await sleep(BETWEEN_MS);
    }
    load.stop();
    await running;
    const seconds = (performance.now() - began) / 1000;
    for (const answer of await pool.flush()) load.take(answer);
    const [stats] = await pool.stats();
    const held = Object.values(stats?.modules ?? {}).reduce((sum, one) => sum + one.held, 0);
    rows.unshift({
      name: 'swap',
      connections: CONNECTIONS,
      requests: load.requests,
      requests_per_s: (load.requests - before) / seconds,
      lost: load.lost,
      duplicated: load.duplicated,
      refused,
      still_held: held,
      longest_pause_ms: longest,
      longest_batch_ms: load.longestMs,
      longest_batch_without_swaps_ms: calmMs,
    });
  } finally {
    load.stop();
    await modules.close();
    await pool.close();
  }
  return { bench: 'swap', rows };
}
