// Tests what happens when a module is replaced while shards run: refusals, trials, faults of new and old modules, threads that hang, and what the ledger says of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { Chain } from '../../host/src/decode/chain.js';
import { compileDecoder } from '../../host/src/decode/decoder-module.js';
import { type DecoderFile, loadDecoder } from '../../host/src/decode/load.js';
import { HostError } from '../../host/src/errors.js';
import { openEvents } from '../../host/src/events/outgoing.js';
import { Kind, TlsDataOffset } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { type AuditEntry, DecoderSet } from '../../host/src/topology/decoder-set.js';
import type { ShardAnswer } from '../../host/src/topology/shard-entry.js';
import { ShardPool } from '../../host/src/topology/shard-pool.js';
import { Wire } from '../lib/records.js';
import { ROOT } from '../lib/run.js';
import { onWord, renamed, type Shape, wasm } from '../lib/wasm-module.js';

const HOST = { hostname: 'h', deviceId: 'd', osVersion: '', arch: 'x86_64', kernelVersion: '', users: {} };
const path = (name: string) => join(ROOT, 'dist', 'decoders', `${name}.wasm`);
const http = loadDecoder(path('http'));
const ai = loadDecoder(path('ai'));
const bytesOf = (name: string) => new Uint8Array(readFileSync(path(name)));
const otherAi = loadDecoder('ai', renamed(bytesOf('ai'), 'two'));
const handMade = (shape: Shape) => loadDecoder('by hand', wasm(shape));
const loops = '(loop $again (br $again))';

const pools: ShardPool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

async function poolOf(decoders: readonly DecoderFile[], options: { shards?: number; deadlineMs?: number } = {}): Promise<ShardPool> {
  const pool = new ShardPool({ shards: 1, decoders, host: HOST, version: '0', ...options });
  pools.push(pool);
  await pool.load();
  return pool;
}

/** Requests of one connection, each a batch. */
class Client {
  readonly #wire: Wire;
  constructor(
    readonly shard: number,
    tgid: number,
  ) {
    this.#wire = new Wire({ tgid, ssl: tgid, generation: 1 });
  }

  request(word: string): ReturnType<Client['take']> {
    const body = JSON.stringify({ model: 'gpt-x', messages: [{ role: 'user', content: word }] });
    this.#wire.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nX-Word: ${word}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return this.take();
  }

  response(): ReturnType<Client['take']> {
    const body = JSON.stringify({
      id: 'c',
      object: 'chat.completion',
      model: 'gpt-x',
      choices: [{ index: 0, message: { role: 'assistant', content: 'yo' }, finish_reason: 'stop' }],
    });
    this.#wire.read(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return this.take();
  }

  take() {
    const records = this.#wire.records.splice(0);
    const bytes = new Uint8Array(Buffer.concat(records));
    const payloadBytes = records.reduce((sum, record) => sum + record.length - RECORD_AT - TlsDataOffset.SIZE, 0);
    return { shard: this.shard, bytes, records: records.length, payloadBytes, clockOffsetNs: 0n };
  }
}

const countOf = ({ events }: ShardAnswer): number => openEvents(events).length;
const eventsOf = async (pool: ShardPool, client: Client, word = 'hi'): Promise<number> => {
  const asked = await pool.process(client.request(word));
  const answered = await pool.process(client.response());
  return countOf(asked) + countOf(answered);
};

function setOf(pool: ShardPool, decoders: readonly DecoderFile[], times = { canaryMs: 20, trialMs: 200 }): { set: DecoderSet; entries: AuditEntry[] } {
  const entries: AuditEntry[] = [];
  const set = new DecoderSet({ pool, decoders, audit: (entry) => entries.push(entry), deliver: (answer) => answer, ...times });
  return { set, entries };
}

describe('a chain whose modules are replaced', () => {
  const ignore = () => undefined;
  const loaded = (shape: Shape, name: string, version: string) => ({ name, version, compiled: compileDecoder(wasm({ ...shape, name })) });

  it('lets a module that cannot hand over tell what it knows, and adds one of a new name', () => {
    const chain = new Chain([loaded({}, 'one', '1')]);
    assert.equal(chain.swap(loaded({}, 'one', '2'), ignore).held, 0);
    chain.swap(loaded({ consumes: [Kind.http_head], produces: [] }, 'two', '1'), ignore);
    assert.deepEqual(Object.keys(chain.stats()), ['one', 'two']);
    chain.remove('two', ignore);
    assert.deepEqual(Object.keys(chain.stats()), ['one']);
  });

  it('refuses one that cannot be made, that hangs while it is made, or that would feed itself through another, and keeps what it had', () => {
    const chain = new Chain([loaded({}, 'one', '1'), loaded({ consumes: [Kind.http_head], produces: [Kind.http_body] }, 'two', '1')]);
    assert.throws(() => chain.swap(loaded({ init: '(i32.const -1)' }, 'one', '2'), ignore), /oisp_init failed/);
    assert.throws(() => chain.swap(loaded({ init: `${loops} (i32.const 0)` }, 'one', '2'), ignore), /did not return within/);
    assert.throws(() => chain.swap(loaded({ consumes: [Kind.tls_data, Kind.http_body] }, 'one', '2'), ignore), /feed each other/);
    assert.equal(chain.stats()['one']?.version, '1');
  });

  it('gives a module that was switched off nothing, until another takes its place', () => {
    const chain = new Chain([loaded({ process: 'unreachable' }, 'one', '1')]);
    chain.turnOff('one', ignore);
    chain.process(new Uint8Array([0x92, Kind.tls_data, 0xc4, 0]), ignore);
    assert.deepEqual([chain.stats()['one']?.off, chain.stats()['one']?.traps], [true, 0]);
    chain.swap(loaded({}, 'one', '2'), ignore);
    assert.equal(chain.stats()['one']?.off, false);
  });

  it('stops a guarded module that does not return, and no other', () => {
    const chain = new Chain([loaded(onWord('LOOP', loops), 'one', '1'), http, ai]);
    chain.guard('one', 50);
    chain.process(new Client(0, 7).request('LOOP').bytes, ignore);
    const [incident] = chain.takeIncidents();
    assert.deepEqual([incident?.decoder, incident?.what], ['one', 'stopped']);
    assert.equal(chain.stats()['ai']?.counters['requests'], 1);
  });
});

describe('a shard whose thread hangs', () => {
  it('gets another thread, loses only the batch at hand, and says so', { timeout: 60_000 }, async () => {
    const hung = handMade({ ...onWord('LOOP', loops), name: 'hung', produces: [] });
    const pool = await poolOf([http, ai, hung], { deadlineMs: 500 });
    const replaced: (string | undefined)[] = [];
    pool.onReplaced = (_, culprit) => replaced.push(culprit?.name);
    const client = new Client(0, 1);
    assert.equal(await eventsOf(pool, client), 2);
    const [lost, later] = await Promise.allSettled([pool.process(client.request('LOOP')), eventsOf(pool, new Client(0, 2))]);
    assert.equal(lost.status, 'rejected');
    assert.ok(lost.status === 'rejected' && lost.reason instanceof HostError && /hung/.test(lost.reason.message));
    assert.deepEqual(replaced, ['hung']);
    // What was posted to the thread that is gone went with it; what was not is done by the new one.
    assert.ok(later.status === 'rejected' || later.value === 2);
    assert.equal(await eventsOf(pool, new Client(0, 3)), 2);
    const [stats] = await pool.stats();
    assert.equal(stats?.replaced, 1);
    assert.ok((stats?.uncounted_bytes ?? 0) > 0);
    // The module is not trusted any more: the next time it is stopped in its thread.
    const again = await pool.process(new Client(0, 4).request('LOOP'));
    assert.deepEqual(
      again.incidents.map(({ decoder, what }) => [decoder, what]),
      [['hung', 'stopped']],
    );
    assert.equal((await pool.stats())[0]?.replaced, 1);
  });
});

describe('the set of modules in use', () => {
  it('swaps in every shard, tells each, and rolls back', { timeout: 60_000 }, async () => {
    const pool = await poolOf([http, ai], { shards: 2 });
    const { set, entries } = setOf(pool, [http, ai]);
    const clients = [new Client(0, 1), new Client(1, 2)];
    for (const client of clients) await pool.process(client.request('before'));
    const report = await set.swap(otherAi, 'a test');
    assert.deepEqual(
      report.shards.map(({ held }) => held),
      [1, 1],
      'the open exchange of each shard',
    );
    // The exchange that was open ends where it began, the next one is decoded by the new module.
    for (const client of clients) {
      assert.equal(countOf(await pool.process(client.response())), 1);
      assert.equal(await eventsOf(pool, client), 2);
    }
    assert.deepEqual(
      set.list().map(({ name, state, sha256 }) => [name, state, sha256]),
      [
        ['http', 'in use', http.compiled.sha256],
        ['ai', 'trial', otherAi.compiled.sha256],
      ],
    );
    await set.rollback('ai', 'a test');
    assert.equal(set.list()[1]?.sha256, ai.compiled.sha256);
    for (const client of clients) assert.equal(await eventsOf(pool, client), 2);
    await assert.rejects(set.rollback('ai', 'a test'), /no module before/);
    assert.deepEqual(
      entries.map(({ action }) => action),
      ['swap', 'rollback'],
    );
    await set.close();
  });

  it('refuses what is pinned, the same, another module, or breaks the rules, and says why', { timeout: 60_000 }, async () => {
    const pool = await poolOf([http, ai]);
    const { set, entries } = setOf(pool, [http, ai]);
    await assert.rejects(set.swap(ai, 'a test'), /it is the module in use/);
    await set.pin('ai', true, 'a test');
    await assert.rejects(set.swap(otherAi, 'a test'), /is pinned/);
    await set.pin('ai', false, 'a test');
    await assert.rejects(set.offer(bytesOf('http'), 'file', 'a test', 'ai'), /is a module http, not ai/);
    await assert.rejects(set.offer(wasm({ name: 'ai', process: 'unreachable' }), 'file', 'a test', 'ai'), /does not keep the rules/);
    assert.equal(await eventsOf(pool, new Client(0, 1)), 2);
    assert.deepEqual(
      entries.map(({ action, why }) => [action, why?.slice(0, 12)]),
      [
        ['refused', 'it is the mo'],
        ['pin', undefined],
        ['refused', 'ai is pinned'],
        ['unpin', undefined],
        ['refused', 'it does not '],
      ],
    );
    await set.close();
  });

  it('tries a module beside the one in use, and refuses it for a fault there without a loss', { timeout: 60_000 }, async () => {
    const pool = await poolOf([http, ai]);
    const { set } = setOf(pool, [http, ai], { canaryMs: 300, trialMs: 200 });
    const bad = handMade({ ...onWord('TRAP', 'unreachable'), name: 'ai', consumes: [Kind.http_head], produces: [Kind.event] });
    const swap = set.swap(bad, 'a test');
    const refused = assert.rejects(swap, /tried beside the one in use, it failed/);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(await eventsOf(pool, new Client(0, 1), 'TRAP'), 2);
    await refused;
    assert.equal(await eventsOf(pool, new Client(0, 2), 'TRAP'), 2);
    await set.close();
  });

  for (const [what, then] of [
    ['traps', 'unreachable'],
    ['hangs', loops],
  ] as const) {
    it(`takes a new module out again that ${what}, with the one before in its place`, { timeout: 60_000 }, async () => {
      const pool = await poolOf([http, ai]);
      const { set, entries } = setOf(pool, [http, ai], { canaryMs: 10, trialMs: 10_000 });
      const bad = handMade({ ...onWord('WORD', then), name: 'ai', consumes: [Kind.http_head], produces: [Kind.event] });
      await set.swap(bad, 'a test');
      const client = new Client(0, 1);
      const { incidents } = await pool.process(client.request('WORD'));
      assert.equal(incidents.length, 1);
      for (const incident of incidents) set.incident(incident);
      await set.settled();
      assert.deepEqual(
        entries.map(({ action }) => action),
        ['swap', 'automatic_rollback'],
      );
      assert.match(entries[1]?.why ?? '', /while it was new/);
      await pool.process(client.response());
      assert.equal(await eventsOf(pool, client, 'WORD'), 2);
      await set.close();
    });
  }

  it('switches a module off that faults often, and one that was added and faults goes again', { timeout: 60_000 }, async () => {
    const old = handMade({ ...onWord('TRAP', 'unreachable'), name: 'old', produces: [] });
    const pool = await poolOf([http, ai, old]);
    const { set, entries } = setOf(pool, [http, ai, old], { canaryMs: 10, trialMs: 10_000 });
    await set.swap(handMade({ ...onWord('FAIL', 'unreachable'), name: 'added', produces: [] }), 'a test');
    const report = async (client: Client, word: string) => {
      for (const incident of (await pool.process(client.request(word))).incidents) set.incident(incident);
    };
    await report(new Client(0, 1), 'FAIL');
    for (let n = 0; n < 5; n++) await report(new Client(0, 10 + n), 'TRAP');
    await set.settled();
    await set.close();
    assert.deepEqual(
      entries.map(({ action, decoder }) => [action, decoder]),
      [
        ['add', 'added'],
        ['remove', 'added'],
        ['off', 'old'],
      ],
    );
    assert.equal((await pool.stats())[0]?.modules['old']?.off, true);
    assert.equal(await eventsOf(pool, new Client(0, 99), 'TRAP'), 2);
  });
});
