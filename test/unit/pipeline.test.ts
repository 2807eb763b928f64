// Tests the pipeline over real shard workers: order within a shard, credit for every batch, both shards at work, and a flush at the end.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { paths, version } from '../../host/src/config/paths.js';
import { loadDecoders } from '../../host/src/decode/load.js';
import type { OispEvent } from '../../host/src/events/event.js';
import type { OutgoingEvent } from '../../host/src/events/outgoing.js';
import type { Sink } from '../../host/src/events/sink.js';
import type { RecordBatch, Source } from '../../host/src/events/source.js';
import { EventType } from '../../host/src/gen/events.js';
import { TlsDataOffset } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { makeLedger } from '../../host/src/topology/ledger.js';
import { Pipeline } from '../../host/src/topology/pipeline.js';
import { ShardPool } from '../../host/src/topology/shard-pool.js';
import { Wire } from '../lib/records.js';

const HOST = { hostname: 'h', deviceId: 'd', osVersion: '', arch: 'x86_64', kernelVersion: '', users: {} };
const PAIRS = 300;

/** A request and its answer, numbered. */
function exchange(n: number): { request: string; response: string } {
  const body = JSON.stringify({ model: `m-${n}`, messages: [{ role: 'user', content: 'hi' }] });
  const answer = JSON.stringify({
    id: `c-${n}`,
    object: 'chat.completion',
    model: `m-${n}`,
    choices: [{ index: 0, message: { role: 'assistant', content: 'yo' }, finish_reason: 'stop' }],
  });
  return {
    request: `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    response: `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`,
  };
}

/** One keep-alive connection on each shard, every record a batch of its own; batches of the shards alternate. */
function batches(shards: number): RecordBatch[] {
  const wires = Array.from({ length: shards }, (_, shard) => new Wire({ tgid: 100 + shard, ssl: 1 + shard, generation: 9 }));
  const out: RecordBatch[] = [];
  for (let n = 0; n < PAIRS; n++) {
    for (const [shard, wire] of wires.entries()) {
      const { request, response } = exchange(n);
      wire.write(request).read(response);
      for (const record of wire.records.splice(0)) {
        out.push({ shard, bytes: new Uint8Array(record), records: 1, payloadBytes: record.length - RECORD_AT - TlsDataOffset.SIZE, clockOffsetNs: 0n });
      }
    }
  }
  return out;
}

class ListSource implements Source {
  credited: number[] = [];
  constructor(private readonly list: RecordBatch[]) {}
  async start(onBatch: (batch: RecordBatch) => void, onEnd: (error?: Error) => void): Promise<void> {
    for (const batch of this.list) onBatch(batch);
    setImmediate(onEnd);
  }
  credit(shard: number, bytes: number): void {
    this.credited[shard] = (this.credited[shard] ?? 0) + bytes;
  }
  async stop(): Promise<void> {
    await Promise.resolve();
  }
  stats() {
    return {};
  }
}

class ListSink implements Sink {
  readonly id = 'list';
  readonly events: OispEvent[] = [];
  async open(): Promise<void> {
    await Promise.resolve();
  }
  async write(events: readonly OutgoingEvent[]): Promise<void> {
    // A sink that is slow now and then must not let a later batch overtake.
    if (this.events.length % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    this.events.push(...events.map((event) => event.parse()));
  }
  stopping(): void {
    this.events.length += 0;
  }
  async close(): Promise<void> {
    await Promise.resolve();
  }
  stats() {
    return { written: this.events.length, bytes: 0, dropped: 0, retries: 0 };
  }
}

describe('the pipeline', () => {
  for (const shards of [1, 2]) {
    it(`keeps the order of each shard, credits every byte and balances (${shards} shards)`, async () => {
      const list = batches(shards);
      const sizes = list.map(({ shard, bytes }) => ({ shard, length: bytes.length }));
      const source = new ListSource(list);
      const sink = new ListSink();
      const pool = new ShardPool({ shards, decoders: loadDecoders(paths.decoders), host: HOST, version });
      const pipeline = new Pipeline({ source, pool, sink, log: (line) => assert.fail(line), live: false });
      try {
        await pool.load();
        const ended = Promise.withResolvers<void>();
        await pipeline.start((error) => (error ? ended.reject(error) : ended.resolve()));
        await ended.promise;
        await pipeline.stop();
        for (let shard = 0; shard < shards; shard++) {
          const own = sink.events.filter((event) => event.process?.pid === 100 + shard);
          const models = own.map((event) => (event.data as { model: { id: string } }).model.id);
          assert.deepEqual(models, Array.from({ length: PAIRS }, (_, n) => [`m-${n}`, `m-${n}`]).flat());
          for (const [i, event] of own.entries()) {
            assert.equal(event.event_type, i % 2 ? EventType.ai_response : EventType.ai_request);
            if (i % 2) assert.deepEqual(event.related_events, [{ event_id: own[i - 1]?.event_id, relationship: 'parent' }]);
          }
          assert.equal(
            source.credited[shard],
            sizes.filter((size) => size.shard === shard).reduce((sum, { length }) => sum + length, 0),
          );
        }
        const ledger = makeLedger(source.stats(), pipeline.counts, await pool.stats());
        assert.equal(ledger.balanced, true, JSON.stringify(ledger));
      } finally {
        await pool.close();
      }
    });
  }
});
