// What lost, repeated and late bytes do to HTTP messages, and how connections are joined, given up and paired; it never looks inside the module.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Completeness, Role } from '../../host/src/gen/records.js';
import { framed } from '../../host/src/sources/plaintext/kernel-records.js';
import { decoder, flushRecords, type Message, messagesOf, runRecords, sysExit, tlsData, Wire } from '../lib/records.js';

const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;
const answer = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

function decode(wire: Wire): { messages: Message[]; stats: Record<string, number> } {
  const module = decoder('http');
  const { lane0 } = runRecords(module, wire.records);
  return { messages: messagesOf([...lane0, ...flushRecords(module)]), stats: module.stats() };
}

const ends = (messages: Message[], which: number) =>
  messages.filter((m) => m.message === which).map((m) => [m.stream, m.body.toString('latin1'), m.end?.completeness, m.end?.missing, m.end?.error]);

describe('a gap', () => {
  test('inside a body of known length is skipped, and offsets jump', () => {
    const { messages, stats } = decode(
      new Wire()
        .write(`POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n01`)
        .lose('write', '23456')
        .write(`789${get('/next')}`)
        .close(),
    );
    assert.deepEqual(ends(messages, 0), [
      [0, '01789', Completeness.gap, 5, null],
      [1, '', Completeness.full, 0, null],
    ]);
    assert.deepEqual(messages[0]?.pieces, [
      [0, 2],
      [7, 3],
    ]);
    assert.equal(stats.gap_bytes, 5);
    assert.equal(stats.resyncs, 0);
  });

  test('that ends exactly with the body does not cost the next message', () => {
    const { messages } = decode(new Wire().write('POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n').lose('write', 'abc').write(get('/next')).close());
    assert.deepEqual(ends(messages, 0), [
      [0, '', Completeness.gap, 3, null],
      [1, '', Completeness.full, 0, null],
    ]);
  });

  test('longer than the body ends it, and the next start is found', () => {
    const { messages } = decode(
      new Wire()
        .write('POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na')
        .lose('write', `bc${get('/lost')}`)
        .write('{"x":1}')
        .write(get('/found'))
        .close(),
    );
    assert.deepEqual(
      messages.filter((m) => m.message === 0).map((m) => [m.head?.target, m.end?.completeness, m.end?.missing]),
      [
        ['/', Completeness.gap, 2],
        ['/found', Completeness.full, 0],
      ],
    );
  });

  test('inside chunk data that is longer is skipped; one that swallows framing ends the message', () => {
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    const inside = decode(new Wire().write(get('/')).read(`${chunked}a\r\n01`).lose('read', '234').read('56789\r\n0\r\n\r\n').close());
    assert.deepEqual(ends(inside.messages, 1), [[0, '0156789', Completeness.gap, 3, null]]);
    const beyond = decode(
      new Wire().write(get('/')).read(`${chunked}5\r\n01`).lose('read', '234\r\n5\r\n').read('56789\r\n0\r\n\r\n').write(get('/2')).read(answer('ok')).close(),
    );
    assert.deepEqual(ends(beyond.messages, 1), [
      [0, '01', Completeness.gap, 8, null],
      [1, 'ok', Completeness.full, 0, null],
    ]);
  });

  test('inside a compressed body ends the decoding but not the framing', () => {
    const bytes = gzipSync(Buffer.from('x'.repeat(1000) + 'y'.repeat(1000)));
    const { messages, stats } = decode(
      new Wire()
        .write(get('/'))
        .read(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bytes.length}\r\n\r\n`)
        .read(bytes.subarray(0, 10))
        .lose('read', 4)
        .read(bytes.subarray(14))
        .write(get('/2'))
        .read(answer('ok'))
        .close(),
    );
    assert.deepEqual(ends(messages, 1), [
      [0, '', Completeness.gap, 4, null],
      [1, 'ok', Completeness.full, 0, null],
    ]);
    assert.equal(stats.resyncs, 0);
  });

  test('inside a head loses the message, which then has no records at all', () => {
    const { messages, stats } = decode(
      new Wire()
        .write('GET /a HTTP/1.1\r\nHo')
        .lose('write', 'st: x\r\n')
        .write(`A: b\r\n\r\n${get('/b')}`)
        .close(),
    );
    assert.deepEqual(
      messages.filter((m) => m.message === 0).map((m) => m.head?.target),
      ['/b'],
    );
    assert.equal(stats.heads_lost, 1);
  });

  test('at the end of the stream is known from tls.close', () => {
    const { messages } = decode(new Wire().write('POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab').lose('write', 3).close());
    assert.deepEqual(ends(messages, 0), [[0, 'ab', Completeness.gap, 3, null]]);
    const toClose = decode(new Wire().write(get('/')).read('HTTP/1.1 200 OK\r\n\r\nab').lose('read', 7).close());
    assert.deepEqual(ends(toClose.messages, 1), [[0, 'ab', Completeness.gap, 7, null]]);
  });

  test('bytes that come twice are dropped and counted', () => {
    const { messages, stats } = decode(new Wire().write(get('/a')).again().write(get('/b')).again().close());
    assert.equal(messages.filter((m) => m.message === 0).length, 2);
    assert.equal(stats.duplicate_bytes, 2 * get('/a').length);
  });

  test('an overlap is taken from its new part on', () => {
    const module = decoder('http');
    const text = Buffer.from('POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabcdef');
    const { lane0 } = runRecords(module, [
      tlsData({ side: 'write', offset: 0, bytes: text.subarray(0, -3) }),
      tlsData({ side: 'write', offset: text.length - 5, bytes: text.subarray(-5) }),
    ]);
    assert.equal(messagesOf(lane0)[0]?.body.toString(), 'abcdef');
    assert.equal(module.stats().duplicate_bytes, 2);
  });
});

describe('a lane that fills up', () => {
  const LANE = 256 << 10;

  test('inside an overlapping record does not count the overlap again', () => {
    const module = decoder('http', { outBytes: LANE });
    const text = Buffer.from(`POST / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n${'x'.repeat(600_000)}`);
    const { lane0 } = runRecords(module, [
      tlsData({ side: 'write', offset: 0, bytes: text.subarray(0, 1000) }),
      tlsData({ side: 'write', offset: 400, bytes: text.subarray(400) }),
    ]);
    assert.equal(messagesOf(lane0)[0]?.body.length, 600_000);
    assert.equal(module.stats().duplicate_bytes, 600);
    assert.equal(module.stats().in_bytes, text.length + 600);
  });

  test('behind the last input of a compressed body loses nothing of it', () => {
    for (let size = LANE - 900; size < LANE + 900; size += 31) {
      const packed = gzipSync(Buffer.alloc(size, 'z'));
      const wire = new Wire().write(get('/')).read(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}\r\n\r\n`);
      const { lane0 } = runRecords(decoder('http', { outBytes: LANE }), wire.read(packed).close().records);
      assert.deepEqual(
        messagesOf(lane0).map((m) => [m.body.length, m.end?.completeness]),
        [
          [0, Completeness.full],
          [size, Completeness.full],
        ],
      );
    }
  });
});

describe('pairing after a gap', () => {
  test('a whole response that was lost: the next one answers the newest request', () => {
    const { messages } = decode(new Wire().write(get('/1')).lose('read', answer('one')).write(get('/2')).read(answer('two')).close());
    assert.deepEqual(ends(messages, 1), [
      [0, '', Completeness.gap, 0, 'response never seen'],
      [1, 'two', Completeness.full, 0, null],
    ]);
  });

  test('a client that pipelines: the oldest request is answered', () => {
    const { messages } = decode(
      new Wire()
        .write(get('/1') + get('/2') + get('/3'))
        .read(answer('one'))
        .lose('read', answer('two'))
        .read(answer('three'))
        .close(),
    );
    assert.deepEqual(
      ends(messages, 1).map((m) => [m[0], m[1]]),
      [
        [0, 'one'],
        [1, 'three'],
        [2, ''],
      ],
    );
  });

  test('requests sent in one call are pipelined, even when no response was seen before the gap', () => {
    const { messages } = decode(
      new Wire()
        .write(get('/1') + get('/2'))
        .lose('read', 7)
        .read(answer('first seen'))
        .close(),
    );
    assert.deepEqual(
      ends(messages, 1).map((m) => [m[0], m[1]]),
      [
        [0, 'first seen'],
        [1, ''],
      ],
    );
  });

  test('a response without a request has a stream of its own', () => {
    const { messages } = decode(new Wire().lose('write', get('/1')).read(answer('one')).write(get('/2')).read(answer('two')).close());
    assert.deepEqual(
      messages.map((m) => [m.message, m.stream, m.head?.role]),
      [
        [1, 0, Role.client],
        [0, 1, Role.client],
        [1, 1, Role.client],
      ],
    );
  });
});

describe('joining', () => {
  test('in the middle of a body: quietly to the next message', () => {
    const { messages, stats } = decode(
      new Wire(undefined, true)
        .lose('write', 1000)
        .write(`"tail of a body"}`)
        .write(get('/a'))
        .lose('read', 50)
        .read(`rest of an answer${answer('ok')}`)
        .close(),
    );
    assert.deepEqual(
      messages.map((m) => [m.message, m.head?.target ?? m.body.toString(), m.end?.completeness]),
      [
        [0, '/a', 0],
        [1, 'ok', 0],
      ],
    );
    assert.equal(stats.unrecognised_bytes, '"tail of a body"}rest of an answer'.length);
    assert.equal(stats.resyncs, 0);
    assert.equal(stats.joined_streams, 2);
    assert.equal(stats.gap_bytes, 0);
  });

  test('with the flag opened at offset 0: both a start and a tail are right', () => {
    assert.equal(decode(new Wire(undefined, true).write(get('/a')).close()).messages[0]?.head?.target, '/a');
    const { messages, stats } = decode(new Wire(undefined, true).write(`\x01\x02 tail\r\n}${get('/a')}`).close());
    assert.equal(messages[0]?.head?.target, '/a');
    assert.equal(stats.connections_opaque, 0);
  });
});

describe('what is not HTTP/1', () => {
  test('another protocol is unrecognised, and HTTP that follows it is decoded', () => {
    const wire = new Wire().read('220 mail ready\r\n').write('EHLO me\r\n');
    const silent = decode(wire.close());
    assert.equal(silent.messages.length, 0);
    assert.deepEqual([silent.stats.connections_opaque, silent.stats.unrecognised_bytes], [0, 25]);
    const later = decode(new Wire().write('\x00\x01 noise\r\n').write(get('/after')).close());
    assert.deepEqual(
      later.messages.filter((m) => m.message === 0).map((m) => m.head?.target),
      ['/after'],
    );
    assert.equal(later.stats.unrecognised_bytes, 10);
  });

  test('101 and CONNECT make a connection opaque after the response', () => {
    for (const [request, status] of [
      ['GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n', '101 Switching Protocols'],
      ['CONNECT host:443 HTTP/1.1\r\n\r\n', '200 Established'],
    ] as const) {
      const { messages, stats } = decode(new Wire().write(request).read(`HTTP/1.1 ${status}\r\n\r\nframe`).write(get('/not-http')).close());
      assert.deepEqual(
        messages.map((m) => [m.message, m.stream, m.end?.completeness]),
        [
          [0, 0, 0],
          [1, 0, 0],
        ],
      );
      assert.equal(stats.unrecognised_bytes, 5 + get('/not-http').length);
      assert.equal(stats.connections_upgraded, 1);
    }
  });
});

describe('the end of connections', () => {
  test('a process that exits ends its own connections and no others', () => {
    const module = decoder('http');
    const open = (tgid: number, ssl: number) => new Wire({ tgid, ssl, generation: 1 }).write('POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab').records;
    const { lane0 } = runRecords(module, [...open(1, 1), ...open(2, 2), ...open(1, 3), sysExit(1), sysExit(9)]);
    assert.equal(messagesOf(lane0).filter((m) => m.end?.completeness === Completeness.aborted).length, 4);
    assert.equal(module.stats().connections_open, 1);
  });

  test('an hour without a record ends a connection', () => {
    const module = decoder('http');
    runRecords(module, [tlsData({ side: 'write', offset: 0, ts: 10e9, bytes: Buffer.from(get('/')) })]);
    const out: unknown[] = [];
    module.tick(3600, () => out.push(1));
    assert.equal(out.length, 0);
    module.tick(3611, () => out.push(1));
    assert.equal(out.length, 1);
    assert.equal(module.stats().connections_expired, 1);
  });

  test('records that are too short or of unknown kinds are counted or skipped, and cost nothing else', () => {
    const module = decoder('http');
    runRecords(module, [framed(1, Buffer.alloc(20)), framed(2, Buffer.alloc(60)), framed(99, Buffer.alloc(5)), ...new Wire().write(get('/')).records]);
    assert.equal(module.stats().records_malformed, 2);
    assert.equal(module.stats().heads, 1);
  });
});
