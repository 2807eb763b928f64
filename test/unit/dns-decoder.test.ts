// The dns decoder on questions and answers as they are on the wire: pairing, every form of data, what never comes, and bytes that are no DNS.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { unpackMultiple } from 'msgpackr';
import { paths } from '../../host/src/config/paths.js';
import { DecoderModule, type LaneSink } from '../../host/src/decode/decoder-module.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { Direction } from '../../host/src/gen/records.js';
import { Decoding, type DnsFields, type DnsMessage, dnsMessage, dnsName, NOW, netDns, RESOLVER, SECOND, TGID } from '../lib/network-records.js';
import { sysExit } from '../lib/records.js';

const MS = 1_000_000n;
const ask = (message: DnsMessage = {}, fields: Partial<DnsFields> = {}) => netDns({ direction: Direction.write, bytes: dnsMessage(message), ...fields });
const reply = (message: DnsMessage = {}, fields: Partial<DnsFields> = {}) =>
  netDns({ direction: Direction.read, bytes: dnsMessage({ rcode: 0, ...message }), ts: NOW + 5n * MS, ...fields });

/** What one exchange gives. */
function exchange(message: DnsMessage, fields: Partial<DnsFields> = {}) {
  const { id, name, type } = message;
  const decoding = new Decoding('dns').give(ask({ ...(id !== undefined && { id }), ...(name && { name }), ...(type && { type }) }), reply(message, fields));
  assert.equal(decoding.events.length, 1);
  return decoding.events[0]!;
}
const extOf = (event: { meta: unknown }) => (event.meta as { ext: { dns: Record<string, unknown> } }).ext.dns;
const answersOf = (event: { data: Record<string, unknown> }) => event.data['answers'] as { type: string; value: string; ttl: number }[];

describe('a question and its answer', () => {
  it('are one event with resolver, code, answers and latency', () => {
    const event = exchange({ name: 'Www.Example.test', answers: [{ type: 1, data: Buffer.from([192, 0, 2, 1]), ttl: 300 }] });
    assert.equal(event.type, 'network.dns');
    assert.equal(event.ts, NOW + 5n * MS);
    assert.deepEqual(
      { ...event.data },
      {
        query_name: 'www.example.test',
        query_type: 'A',
        resolver: '10.0.0.1',
        response_code: 'NOERROR',
        answers: [{ type: 'A', value: '192.0.2.1', ttl: 300 }],
        latency_ms: 5,
      },
    );
    assert.deepEqual(extOf(event), { transport: 'udp' });
  });

  it('belong together by process, resolver, id and question', () => {
    const others = [
      reply({ id: 8 }),
      reply({ name: 'b.test' }),
      reply({ type: 28 }),
      reply({}, { tgid: TGID + 1 }),
      reply({}, { peer: { ...RESOLVER, remote: [10, 0, 0, 2] } }),
    ];
    const decoding = new Decoding('dns').give(ask(), ...others);
    assert.equal(decoding.events.length, 0);
    assert.equal(decoding.counter('answers_unmatched'), others.length);
    decoding.give(reply(), reply());
    assert.equal(decoding.events.length, 1, 'an answer that comes twice is told once');
  });

  it('a repeated question is one question, its latency from the first time', () => {
    const decoding = new Decoding('dns').give(ask({}, { ts: NOW - 1000n * MS }), ask(), reply());
    assert.equal(decoding.events.length, 1);
    assert.equal(decoding.events[0]?.data['latency_ms'], 1005);
    assert.equal(extOf(decoding.events[0]!)['sent'], 2);
  });

  it('codes and types that the schema does not name are `other`, and exact in ext', () => {
    for (const [rcode, name, exact] of [
      [2, 'SERVFAIL', undefined],
      [3, 'NXDOMAIN', undefined],
      [5, 'REFUSED', undefined],
      [4, 'other', 'NOTIMP'],
      [9, 'other', 'RCODE9'],
    ] as const) {
      const event = exchange({ rcode });
      assert.deepEqual([event.data['response_code'], extOf(event)['response_code']], [name, exact]);
    }
    for (const [type, name, exact] of [
      [28, 'AAAA', undefined],
      [65, 'other', 'HTTPS'],
      [4711, 'other', 'TYPE4711'],
    ] as const) {
      const event = exchange({ type });
      assert.deepEqual([event.data['query_type'], extOf(event)['query_type']], [name, exact]);
    }
  });

  it('data in its presentation form', () => {
    const pointer = Buffer.from([0xc0, 0x0c]);
    const rows: [number, Uint8Array, string, string][] = [
      [28, Buffer.from('20010db8000000000000000000000001', 'hex'), 'AAAA', '2001:db8::1'],
      [5, pointer, 'CNAME', 'a.test'],
      [12, dnsName('host.test'), 'PTR', 'host.test'],
      [15, Buffer.concat([Buffer.from([0, 10]), dnsName('mx.test')]), 'MX', '10 mx.test'],
      [33, Buffer.concat([Buffer.from([0, 1, 0, 2, 1, 187]), pointer]), 'SRV', '1 2 443 a.test'],
      [16, Buffer.from('\x03one\x04 two'), 'TXT', 'one two'],
      [2, dnsName('.'), 'NS', '.'],
      [65, Buffer.from([0, 1, 0]), 'HTTPS', '\\# 3 000100'],
      // Data that is not what its type says is shown as it is.
      [1, Buffer.from([1, 2, 3]), 'A', '\\# 3 010203'],
      [15, Buffer.from([0, 1]), 'MX', '\\# 2 0001'],
    ];
    const event = exchange({ answers: rows.map(([type, data]) => ({ type, data })) });
    assert.deepEqual(
      answersOf(event).map(({ type, value }) => [type, value]),
      rows.map(([, , type, value]) => [type, value]),
    );
  });

  it('a name with bytes that would end or hide a part of it is escaped', () => {
    const label = Buffer.from('\x06a.b\\ \x01\x04test\x00', 'latin1');
    const event = exchange({ answers: [{ type: 5, data: label }] });
    assert.equal(answersOf(event)[0]?.value, 'a\\.b\\\\\\032\\001.test');
  });

  it('a truncated answer, one that was cut, and one with too many records say so', () => {
    const event = exchange({ truncated: true });
    assert.deepEqual([event.meta.completeness, extOf(event)['truncated']], ['partial', true]);
    const cut = exchange({ answers: [{ type: 1, data: Buffer.alloc(4) }] }, { trueLength: 5000 });
    assert.deepEqual([cut.meta.completeness, cut.meta.missing], ['partial', ['answers']]);
    const many = exchange({ answers: Array.from({ length: 70 }, () => ({ type: 1, data: Buffer.alloc(4) })) });
    assert.equal(answersOf(many).length, 64);
    assert.equal(extOf(many)['answers_left_out'], 6);
  });
});

describe('a question without an answer', () => {
  it('is told after 5 s, by the clock or by the next record', () => {
    for (const wait of [(d: Decoding) => d.tick(105), (d: Decoding) => d.give(ask({ id: 99 }, { ts: NOW + 5n * SECOND }))]) {
      const decoding = new Decoding('dns').give(ask());
      assert.equal(decoding.tick(104).events.length, 0);
      wait(decoding);
      const [event] = decoding.events;
      assert.equal(decoding.events.length, 1);
      assert.equal(event?.ts, NOW + 5n * SECOND);
      assert.deepEqual({ ...event?.data }, { query_name: 'a.test', query_type: 'A', resolver: '10.0.0.1' });
      assert.deepEqual(extOf(event!), { transport: 'udp', unanswered: 'timeout' });
      assert.equal(decoding.give(reply({}, { ts: NOW + 6n * SECOND })).events.length, 1, 'a late answer is no second event');
    }
  });

  it('is told when its process ends, and when the capture does', () => {
    const decoding = new Decoding('dns').give(ask(), ask({ id: 8 }, { tgid: 7 }), ask({ id: 9 }), sysExit(TGID, Number(NOW + SECOND)));
    assert.deepEqual(
      decoding.events.map((event) => extOf(event)['unanswered']),
      ['process_exit', 'process_exit'],
    );
    assert.equal(decoding.counter('queries_open'), 1);
    decoding.flush();
    assert.equal(extOf(decoding.events[2]!)['unanswered'], 'capture_end');
    assert.equal(decoding.counter('queries_open'), 0);
  });

  it('makes room for a new one when 4,096 wait', () => {
    const decoding = new Decoding('dns');
    const open = (count: number, from: number) => decoding.give(...Array.from({ length: count }, (_, i) => ask({ id: from + i })));
    open(4096, 0);
    assert.deepEqual([decoding.events.length, decoding.counter('queries_open')], [0, 4096]);
    open(2, 4096);
    assert.deepEqual(
      decoding.events.map((event) => extOf(event)['unanswered']),
      ['evicted', 'evicted'],
    );
    assert.deepEqual([decoding.counter('evicted'), decoding.counter('queries_open')], [2, 4096]);
  });
});

it('a lane that is full loses nothing: what waits is told in turns', () => {
  const decoding = new DecoderModule(loadDecoder(join(paths.decoders, 'dns.wasm')).compiled, {
    inBytes: 1 << 20,
    outBytes: 256 << 10,
    maxConnections: 16,
    memoryBytes: 64 << 20,
  });
  const names: string[] = [];
  const take: LaneSink = (_lane, bytes) => {
    for (const [, type, , , , , , data] of unpackMultiple(bytes) as [number, string, ...unknown[]][]) {
      assert.equal(type, 'network.dns');
      names.push((data as { query_name: string }).query_name);
    }
  };
  const label = 'x'.repeat(60);
  const expected = Array.from({ length: 3000 }, (_, i) => `n${i}.${label}.${label}.test`);
  for (const [id, name] of expected.entries()) decoding.process(ask({ id, name }), take);
  for (let turns = 0; turns < 10 && names.length < 3000; turns += 1) decoding.tick(200, take);
  assert.deepEqual(names, expected, 'by the clock');
  names.length = 0;
  for (const [id, name] of expected.entries()) decoding.process(ask({ id, name }, { ts: NOW + 200n * SECOND }), take);
  decoding.process(sysExit(TGID, Number(NOW + 201n * SECOND)), take);
  assert.deepEqual(names, expected, 'at the end of a process');
});

describe('messages over TCP', () => {
  const prefixed = (message: Buffer) => Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
  const sent = Buffer.concat([prefixed(dnsMessage()), prefixed(dnsMessage({ type: 28 }))]);
  const received = Buffer.concat([
    prefixed(dnsMessage({ type: 28, rcode: 0 })),
    prefixed(dnsMessage({ rcode: 0, answers: [{ type: 1, data: Buffer.from([1, 2, 3, 4]) }] })),
  ]);
  const pieces = (bytes: Buffer, direction: DnsFields['direction'], cuts: readonly number[], ts: bigint) => {
    const at = [0, ...[...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b), bytes.length];
    return at.slice(1).map((end, i) => netDns({ direction, bytes: bytes.subarray(at[i], end), stream: true, ts }));
  };
  /** Without the origin: it is the record that a message was completed by. */
  const decode = (cutsSent: readonly number[], cutsReceived: readonly number[]) =>
    new Decoding('dns')
      .give(...pieces(sent, Direction.write, cutsSent, NOW), ...pieces(received, Direction.read, cutsReceived, NOW + MS))
      .events.map(({ origin: _, ...event }) => event);

  it('give the same events however they are cut', () => {
    const whole = decode([], []);
    assert.deepEqual(
      whole.map(({ data, meta }) => [data['query_type'], extOf({ meta })['transport'], (data['answers'] as unknown[]).length]),
      [
        ['AAAA', 'tcp', 0],
        ['A', 'tcp', 1],
      ],
    );
    const cuts = fc.array(fc.nat(200), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, cuts, (a, b) => assert.deepEqual(decode(a, b), whole)),
      { numRuns: 60 },
    );
    const each = (n: number) => Array.from({ length: n }, (_, i) => i);
    assert.deepEqual(decode(each(sent.length), each(received.length)), whole, 'byte by byte');
  });

  it('are forgotten when a connection has been silent, and past 256 connections', () => {
    const part = (socket: bigint, ts = NOW) => netDns({ direction: Direction.write, bytes: sent.subarray(0, 5), stream: true, socket, ts });
    const decoding = new Decoding('dns').give(...Array.from({ length: 257 }, (_, i) => part(BigInt(i))));
    assert.deepEqual([decoding.counter('streams_open'), decoding.counter('streams_forgotten')], [256, 1]);
    decoding.tick(161);
    assert.deepEqual([decoding.counter('streams_open'), decoding.counter('streams_forgotten')], [0, 257]);
  });
});

describe('bytes that are no DNS', () => {
  it('compression that goes forwards, or round and round, ends', () => {
    for (const name of [Buffer.from([0xc0, 0xff]), Buffer.from([0xc0, 0x0c + 12]), Buffer.from([1, 97, 0xc0, 0x0c]), Buffer.from([0xc0])]) {
      const head = dnsMessage().subarray(0, 12);
      const message = Buffer.concat([head, name, Buffer.from([0, 1, 0, 1])]);
      const decoding = new Decoding('dns').give(netDns({ direction: Direction.write, bytes: message }));
      assert.deepEqual([decoding.events.length, decoding.counter('malformed'), decoding.traps], [0, 1, 0], name.toString('hex'));
    }
  });

  it('a name of 255 bytes is one, a longer one is none', () => {
    const label = 'x'.repeat(63);
    const fits = [label, label, label, 'x'.repeat(61)].join('.');
    assert.equal(exchange({ name: fits }).data['query_name'], fits);
    const long = new Decoding('dns').give(ask({ name: [label, label, label, 'x'.repeat(62)].join('.') }));
    assert.deepEqual([long.counter('queries'), long.counter('malformed')], [0, 1]);
  });

  it('records that are cut short are counted; a question in the wrong direction is nobody’s', () => {
    const decoding = new Decoding('dns').give(
      netDns({ direction: Direction.write, bytes: new Uint8Array(11) }),
      netDns({ direction: Direction.read, bytes: dnsMessage() }),
    );
    assert.deepEqual([decoding.counter('malformed'), decoding.counter('other_messages')], [1, 1]);
  });

  it('never trap, whatever they are', () => {
    const decoding = new Decoding('dns');
    const base = dnsMessage({
      rcode: 0,
      answers: [
        { type: 5, data: dnsName('x.test') },
        { type: 33, data: new Uint8Array(9) },
      ],
    });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 12 }).map((edits) => {
        const copy = Uint8Array.from(base);
        for (const [at, value] of edits) copy[at] = value;
        return copy;
      }),
    );
    fc.assert(
      fc.property(bytes, fc.boolean(), fc.boolean(), (given, stream, read) => {
        decoding.give(ask(), netDns({ direction: read ? Direction.read : Direction.write, bytes: given, stream }));
        return decoding.traps === 0;
      }),
      { numRuns: 3000 },
    );
    assert.equal(decoding.counter('invalid_utf8'), 0, 'names are ASCII whatever their bytes');
  });
});
