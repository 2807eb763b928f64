// When the ai module tells the host that a connection carries no AI traffic, and when it never does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnNote, Kind, RecHeaderOffset, TlsDataOffset } from '../../host/src/gen/records.js';
import { AiBench, aiModule, end, type HeadOptions, whole } from '../lib/ai-records.js';
import { unpackAll } from '../lib/records.js';

/** A whole record of the connection that the head of a request was in. */
const ORIGIN = (() => {
  const at = Buffer.alloc(TlsDataOffset.SIZE);
  at.writeUInt16LE(Kind.tls_data, RecHeaderOffset.kind);
  at.writeUInt32LE(4242, RecHeaderOffset.tgid);
  at.writeBigUInt64LE(9n, TlsDataOffset.ssl);
  at.writeBigUInt64LE(77n, TlsDataOffset.generation);
  at.writeUInt32LE(5, TlsDataOffset.target);
  return at;
})();

const OTHER: HeadOptions = { method: 'GET', target: '/file', authority: 'files.example', origin: ORIGIN };
const chat = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'x' }] });

class Connection {
  stream = 0;
  constructor(
    readonly bench: AiBench = new AiBench(),
    readonly conn = 1n,
  ) {}

  exchange(head: HeadOptions, body = ''): this {
    const place = { conn: this.conn, stream: this.stream++ };
    this.bench.feed(whole(0, body, 1000, { ...head, ...place }), whole(1, '{}', 1000, { origin: ORIGIN, ...place }));
    return this;
  }

  others(n: number, head: HeadOptions = OTHER): this {
    for (let i = 0; i < n; i++) this.exchange(head);
    return this;
  }

  /** What was noted of this connection. */
  notes(): unknown[][] {
    return unpackAll(this.bench.raw).filter(([kind, , , , conn]) => kind === Kind.conn_note && BigInt(conn as number) === this.conn);
  }
}

test('four whole exchanges that are none are told, three are not, and then every four', () => {
  assert.deepEqual(new Connection().others(3).notes(), []);
  const notes = new Connection().others(4).notes();
  assert.equal(notes.length, 1);
  const [, what, ts, origin, , target, detail] = notes[0] as [number, number, unknown, Uint8Array, unknown, number, unknown];
  assert.deepEqual([what, target, detail], [ConnNote.not_ai, 5, { reason: 'no_ai_exchange', all: false }]);
  assert.ok(Number(ts) > 0);
  assert.deepEqual(Buffer.from(origin), ORIGIN);
  assert.equal(new Connection().others(7).notes().length, 1);
  assert.equal(new Connection().others(8).notes().length, 2);
});

test('one exchange with a model keeps a connection for ever', () => {
  assert.deepEqual(new Connection().others(3).exchange({ origin: ORIGIN, authority: 'proxy.example' }, chat).others(20).notes(), []);
});

test('a connection to a host of the registry is never given up', () => {
  assert.deepEqual(new Connection().others(20, { ...OTHER, authority: 'api.openai.com' }).notes(), []);
});

test('an exchange that is not whole proves nothing', () => {
  const connection = new Connection().others(3);
  const place = { conn: 1n, stream: connection.stream++ };
  connection.bench.feed(whole(0, '', 1000, { ...OTHER, ...place }), end(1, { ...place, completeness: 2 }));
  assert.deepEqual(connection.notes(), []);
  assert.equal(connection.others(1).notes().length, 1);
});

test('as many connections are counted as there may be, and one that was forgotten starts again', () => {
  const bench = new AiBench(aiModule({ maxConnections: 2 }));
  const [first, second, third] = [1n, 2n, 3n].map((conn) => new Connection(bench, conn)) as [Connection, Connection, Connection];
  first.others(3);
  second.others(3);
  assert.equal(first.others(1).notes().length, 1);
  third.others(1);
  assert.deepEqual(second.others(1).notes(), [], 'the second was the oldest when the third came');
  assert.equal(second.others(3).notes().length, 1);
});
