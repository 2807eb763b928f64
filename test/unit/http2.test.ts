// HTTP/2 in the http module, frame by frame: what no library would send, what was joined in its middle, and what was lost.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Completeness } from '../../host/src/gen/records.js';
import { data, Flag, frame, indexed, literals, PREFACE, remembered, request, response, settings, Type } from '../lib/h2-frames.js';
import { decoder, flushRecords, type Message, messagesOf, recut, runRecords, unpackAll, Wire } from '../lib/records.js';

interface Decoded {
  messages: Message[];
  stats: Record<string, number>;
}

function decode(wire: Wire, records = wire.records): Decoded {
  const module = decoder('http');
  const lane0 = runRecords(module, records).lane0;
  lane0.push(...flushRecords(module));
  const stats = module.stats();
  const sum = ['framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', 'resync_bytes', 'duplicate_bytes', 'pending_bytes'];
  assert.equal(
    stats.in_bytes,
    sum.reduce((n, key) => n + (stats[key] as number), 0),
    JSON.stringify(stats),
  );
  return { messages: messagesOf(lane0), stats };
}

/** [message, what it is, body, completeness, error] of each, after checking that a bytewise cut says the same. */
function told(wire: Wire): [number, string | number | null, string, number | undefined, string | null | undefined][] {
  const tell = (messages: Message[]) =>
    messages.map((m): [number, string | number | null, string, number | undefined, string | null | undefined] => [
      m.message,
      m.head ? (m.message ? m.head.status : m.head.target) : null,
      m.body.toString(),
      m.end?.completeness,
      m.end?.error,
    ]);
  const whole = tell(decode(wire).messages);
  const bytewise = decode(
    wire,
    recut(wire.records, () => 1),
  );
  assert.deepEqual(tell(bytewise.messages), whole);
  return whole;
}

const { full: FULL, gap: GAP, aborted: ABORTED, error: ERROR } = Completeness;
const begin = (): Wire => new Wire().write(Buffer.concat([PREFACE, settings()])).read(settings());

describe('frames', () => {
  test('heads have the pseudo-header fields where HTTP/1 has its start line', () => {
    const { messages } = decode(
      begin()
        .write(request(1, Flag.END_STREAM, '/v1/a?b'))
        .read(response(1, Flag.END_STREAM, '204', [['x', 'y']])),
    );
    const [asked, answered] = messages;
    assert.deepEqual(
      [asked?.head?.version, asked?.head?.method, asked?.head?.target, asked?.head?.headers],
      [20, 'POST', '/v1/a?b', [':scheme', 'https', ':authority', 'h']],
    );
    assert.deepEqual([answered?.head?.status, answered?.head?.reason, answered?.head?.headers, answered?.stream], [204, null, ['x', 'y'], asked?.stream]);
    assert.deepEqual([asked?.end?.completeness, answered?.end?.completeness], [FULL, FULL]);
  });

  test('padding, priority, CONTINUATION and frames of other kinds between change nothing', () => {
    const block = literals([
      [':method', 'POST'],
      [':path', '/p'],
      ['long', 'v'.repeat(100)],
    ]);
    const padded = frame(
      Type.HEADERS,
      Flag.PADDED | Flag.PRIORITY,
      1,
      Buffer.concat([Buffer.from([7, 0, 0, 0, 3, 16]), block.subarray(0, 20), Buffer.alloc(7)]),
    );
    const wire = begin()
      .write(padded)
      .write(frame(Type.CONTINUATION, 0, 1, block.subarray(20, 50)))
      .write(frame(Type.CONTINUATION, 0, 1))
      .write(frame(Type.CONTINUATION, Flag.END_HEADERS, 1, block.subarray(50)))
      .write(frame(Type.WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 1, 0])))
      .write(frame(Type.DATA, Flag.PADDED, 1, Buffer.concat([Buffer.from([3]), Buffer.from('one '), Buffer.alloc(3)])))
      .write(frame(0xbe, 0xff, 77, 'grease'))
      .write(frame(Type.PING, 0, 0, Buffer.alloc(8)))
      .write(frame(Type.DATA, Flag.PADDED | Flag.END_STREAM, 1, Buffer.concat([Buffer.from([0]), Buffer.from('two')])))
      .read(response(1))
      .read(frame(Type.PING, Flag.ACK, 0, Buffer.alloc(8)))
      .read(data(1, 'ok', Flag.END_STREAM));
    assert.deepEqual(told(wire), [
      [0, '/p', 'one two', FULL, null],
      [1, 200, 'ok', FULL, null],
    ]);
  });

  test('streams interleave; each has its own coding', () => {
    const zipped = gzipSync('zipped answer');
    const wire = begin()
      .write(Buffer.concat([request(1, 0, '/1'), request(3, 0, '/3'), data(3, 'b'), data(1, 'a', 1), data(3, 'b', 1)]))
      .read(Buffer.concat([response(3, 0, '200', [['content-encoding', 'gzip']]), response(1), data(1, 'x'), data(3, zipped.subarray(0, 9)), data(1, 'y', 1)]))
      .read(data(3, zipped.subarray(9), 1));
    assert.deepEqual(told(wire).sort(), [
      [0, '/1', 'a', FULL, null],
      [0, '/3', 'bb', FULL, null],
      [1, 200, 'xy', FULL, null],
      [1, 200, 'zipped answer', FULL, null],
    ]);
  });

  test('informational responses are not the response, trailers end it', () => {
    const wire = begin()
      .write(request(1))
      .read(response(1, 0, '103', [['link', 'x']]))
      .read(response(1))
      .read(data(1, 'body'))
      .read(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, literals([['grpc-status', '0']])));
    assert.deepEqual(told(wire), [
      [0, '/v1/x', '', FULL, null],
      [1, 200, 'body', FULL, null],
    ]);
    assert.equal(decode(wire).stats.informational, 1);
  });

  test('a reset ends what is open of its stream, and frames that were on their way are nobody’s', () => {
    const wire = begin()
      .write(request(1))
      .read(response(1))
      .read(data(1, 'part'))
      .write(frame(Type.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8])))
      .read(data(1, 'late', Flag.END_STREAM))
      .write(request(3))
      .read(response(3, Flag.END_STREAM));
    assert.deepEqual(told(wire), [
      [0, '/v1/x', '', FULL, null],
      [1, 200, 'part', ABORTED, 'stream reset'],
      [0, '/v1/x', '', FULL, null],
      [1, 200, '', FULL, null],
    ]);
  });

  test('GOAWAY ends the requests that the server never looked at', () => {
    const wire = begin()
      .write(Buffer.concat([request(1), request(3)]))
      .read(frame(Type.GOAWAY, 0, 0, Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])))
      .read(response(1, Flag.END_STREAM));
    assert.deepEqual(told(wire), [
      [0, '/v1/x', '', FULL, null],
      [0, '/v1/x', '', FULL, null],
      [1, null, '', ABORTED, 'not looked at by the server (GOAWAY)'],
      [1, 200, '', FULL, null],
    ]);
  });

  test('a connection that ends leaves its streams ended', () => {
    const wire = begin().write(request(1)).write(request(3, 0)).write(data(3, 'half')).read(response(1)).read(data(1, 'x')).close();
    assert.deepEqual(told(wire), [
      [0, '/v1/x', '', FULL, null],
      [0, '/v1/x', 'half', ABORTED, null],
      [1, 200, 'x', ABORTED, null],
      [1, null, '', ABORTED, 'response never seen'],
    ]);
  });

  test('a body of another length than its content-length says so', () => {
    const wire = begin()
      .write(request(1))
      .read(response(1, 0, '200', [['content-length', '5']]))
      .read(data(1, 'four', Flag.END_STREAM));
    assert.deepEqual(told(wire)[1], [1, 200, 'four', ERROR, 'body of another length than content-length']);
  });

  test('the longest frame is what the other side takes', () => {
    const long = Buffer.alloc(60_000, 'z');
    const wire = new Wire().write(Buffer.concat([PREFACE, settings([5, 65_536])])).read(settings());
    wire
      .write(request(1))
      .read(response(1))
      .read(data(1, long, Flag.END_STREAM));
    assert.equal(told(wire)[1]?.[2].length, 60_000);
    const refused = begin()
      .write(request(1))
      .read(response(1))
      .read(data(1, long, Flag.END_STREAM));
    assert.equal(decode(refused).stats.error_frame, 1);
  });

  test('a server is known by SETTINGS without a preface', () => {
    const wire = new Wire()
      .write(settings([3, 100]))
      .read(Buffer.concat([PREFACE, settings(), request(1)]))
      .write(response(1, Flag.END_STREAM));
    const { messages } = decode(wire);
    assert.deepEqual(
      messages.map((m) => [m.message, m.head?.role, m.end?.completeness]),
      [
        [0, 2, FULL],
        [1, 2, FULL],
      ],
    );
    assert.deepEqual(told(wire).length, 2);
  });

  test('h2c: the request in HTTP/1 has its response as the first stream', () => {
    const wire = new Wire()
      .write('GET /up HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n')
      .read('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
      .read(Buffer.concat([settings(), response(1), data(1, 'upgraded', Flag.END_STREAM)]))
      .write(Buffer.concat([PREFACE, settings(), request(3)]))
      .read(response(3, Flag.END_STREAM));
    const { messages } = decode(wire);
    assert.deepEqual(told(wire), [
      [0, '/up', '', FULL, null],
      [1, 200, 'upgraded', FULL, null],
      [0, '/v1/x', '', FULL, null],
      [1, 200, '', FULL, null],
    ]);
    assert.equal(messages[0]?.stream, messages[1]?.stream);
  });

  test('pushed streams are counted and left alone', () => {
    const wire = begin()
      .write(request(1))
      .read(frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), remembered(1, 'pushed')])))
      .read(response(2))
      .read(data(2, 'pushed', Flag.END_STREAM))
      .read(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, indexed(8, 62)));
    assert.deepEqual(
      told(wire).map((m) => m[1]),
      ['/v1/x', 200],
    );
    assert.deepEqual(decode(wire).messages[1]?.head?.headers, [':authority', 'pushed']);
    assert.equal(decode(wire).stats.h2_pushes, 1);
  });
});

describe('joined in the middle', () => {
  test('two frames in a row are recognised, and entries of the table that were never seen are marked', () => {
    const headers = frame(Type.HEADERS, Flag.END_HEADERS, 7, Buffer.concat([indexed(3, 63, 62), literals([['seen', 'yes']])]));
    const wire = new Wire(undefined, true)
      .lose('write', 5000)
      .lose('read', 9000)
      .write(Buffer.concat([Buffer.from('tail of a payload'), headers, data(7, '{"a":1}', Flag.END_STREAM)]))
      .write(frame(Type.PING, 0, 0, Buffer.alloc(8)))
      .read(
        Buffer.concat([frame(Type.HEADERS, Flag.END_HEADERS, 7, indexed(8, 62)), data(7, 'answer', Flag.END_STREAM), frame(Type.PING, 1, 0, Buffer.alloc(8))]),
      );
    const { messages, stats } = decode(wire);
    assert.deepEqual(
      messages.map((m) => [
        m.message,
        m.head?.method ?? m.head?.status,
        m.head?.target,
        m.head?.unknown,
        m.head?.headers,
        m.body.toString(),
        m.end?.completeness,
      ]),
      [
        [0, 'POST', null, 2, ['seen', 'yes'], '{"a":1}', FULL],
        [1, 200, null, 1, [], 'answer', FULL],
      ],
    );
    assert.equal(stats.unrecognised_bytes, 'tail of a payload'.length);
    assert.equal(stats.gap_bytes, 0);
    told(wire);
  });

  test('a coding that no known field names is told by the first byte', () => {
    const zipped = gzipSync('{"zipped":true}');
    const wire = new Wire(undefined, true).lose('read', 100).lose('write', 100);
    wire.read(
      Buffer.concat([frame(Type.HEADERS, Flag.END_HEADERS, 5, indexed(8, 62)), data(5, zipped.subarray(0, 1)), data(5, zipped.subarray(1), Flag.END_STREAM)]),
    );
    assert.deepEqual(told(wire), [[1, 200, '{"zipped":true}', FULL, null]]);
  });

  test('DATA whose headers were never seen is a message that may lack its beginning', () => {
    const wire = new Wire(undefined, true).lose('read', 100).lose('write', 100);
    wire.read(Buffer.concat([data(5, 'data: one\n\n'), data(5, 'data: two\n\n'), data(5, '', Flag.END_STREAM)]));
    assert.deepEqual(told(wire), [[1, null, 'data: one\n\ndata: two\n\n', GAP, null]]);
  });

  test('a server process is known by its first head', () => {
    const wire = new Wire(undefined, true).lose('read', 100).lose('write', 100);
    wire.read(Buffer.concat([request(9), frame(Type.PING, 0, 0, Buffer.alloc(8))])).write(Buffer.concat([response(9), data(9, 'x', Flag.END_STREAM)]));
    assert.deepEqual(
      decode(wire).messages.map((m) => [m.message, m.head?.role]),
      [
        [0, 2],
        [1, 2],
      ],
    );
    told(wire);
  });

  test('bytes that are not HTTP/2 are given up', () => {
    const { stats } = decode(new Wire(undefined, true).lose('write', 10).write(Buffer.alloc(300_000, 'a')));
    assert.deepEqual([stats.connections_h2, stats.buffer_bytes], [0, 0]);
  });
});

describe('lost bytes', () => {
  test('inside DATA they cost only those', () => {
    const wire = begin().write(request(1)).read(response(1));
    wire
      .read(data(1, 'abcdefghij').subarray(0, 12))
      .lose('read', 4)
      .read(Buffer.concat([Buffer.from('hij'), data(1, 'klm', Flag.END_STREAM)]));
    const { messages } = decode(wire);
    assert.deepEqual(
      [messages[1]?.body.toString(), messages[1]?.pieces, messages[1]?.end?.completeness, messages[1]?.end?.missing],
      [
        'abchijklm',
        [
          [0, 3],
          [7, 6],
        ],
        GAP,
        4,
      ],
    );
    told(wire);
  });

  test('across a frame’s end they are of the message that is open, and the header table is unknown from there', () => {
    const wire = begin()
      .write(request(1))
      .read(frame(Type.HEADERS, Flag.END_HEADERS, 1, Buffer.concat([indexed(8), remembered(54, 'before')])))
      .read(data(1, 'abc'));
    wire.lose('read', data(1, 'lost')).read(Buffer.concat([data(1, 'def'), data(1, '', Flag.END_STREAM)]));
    wire
      .write(request(3))
      .read(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 3, Buffer.concat([indexed(8, 62), remembered(54, 'after'), indexed(62)])));
    const { messages } = decode(wire);
    assert.deepEqual(
      messages.map((m) => [m.message, m.body.toString(), m.end?.completeness, m.end?.missing]),
      [
        [0, '', FULL, 0],
        [1, 'abcdef', GAP, 13],
        [0, '', FULL, 0],
        [1, '', FULL, 0],
      ],
    );
    assert.deepEqual([messages[3]?.head?.unknown, messages[3]?.head?.headers], [1, ['server', 'after', 'server', 'after']]);
    told(wire);
  });

  test('of several open messages each may have lost some, and one that hears no more ends', () => {
    const wire = begin()
      .write(Buffer.concat([request(1), request(3)]))
      .read(Buffer.concat([response(1), response(3), data(1, 'a'), data(3, 'b')]));
    wire.lose('read', data(3, 'lost', Flag.END_STREAM)).read(Buffer.concat([data(1, 'c'), data(1, '', Flag.END_STREAM)]));
    const module = decoder('http');
    const lane0 = runRecords(module, wire.records).lane0;
    module.tick(60, (lane, bytes) => {
      if (lane === 0) lane0.push(...unpackAll(Buffer.from(bytes)));
    });
    const messages = messagesOf(lane0).filter((m) => m.message === 1);
    assert.deepEqual(
      messages.map((m) => [m.body.toString(), m.end?.completeness, m.end?.missing, m.end?.error]),
      [
        ['ac', GAP, 0, null],
        ['b', GAP, 0, 'end never seen'],
      ],
    );
    assert.equal(module.stats().h2_streams_open, 0);
  });

  test('a bad frame loses the frames up to the next two in a row', () => {
    const wire = begin()
      .write(request(1))
      .read(response(1))
      .read(frame(Type.PING, 0, 0, 'short'))
      .read(Buffer.concat([data(1, 'found'), data(1, '', Flag.END_STREAM)]));
    assert.deepEqual(told(wire)[1], [1, 200, 'found', GAP, null]);
  });
});

describe('bounds', () => {
  test('a header block past 256 KiB is given up', () => {
    const wire = begin().write(frame(Type.HEADERS, 0, 1, Buffer.alloc(16_384)));
    for (let i = 0; i < 40; i++) wire.write(frame(Type.CONTINUATION, 0, 1, Buffer.alloc(16_384)));
    const { stats } = decode(wire.close());
    assert.equal(stats.error_long_header_block, 1);
    assert.equal(stats.buffer_bytes, 0);
  });

  test('the 1025th open stream costs the oldest', () => {
    const wire = begin();
    for (let i = 0; i < 1030; i++) wire.write(request(2 * i + 1));
    const { messages, stats } = decode(wire);
    const capped = messages.filter((m) => m.end?.error === 'too many open streams');
    assert.equal(capped.length, 6);
    assert.deepEqual([stats.capped_streams, stats.h2_streams_open], [6, 0]);
  });

  test('a table of any size keeps 64 KiB', () => {
    const big = Buffer.concat([Buffer.from([0x3f, 0xe1, 0xff, 0xff, 0x03]), indexed(3, 5, 6)]);
    const wire = begin().write(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, big));
    for (let i = 1; i < 900; i++)
      wire.write(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 2 * i + 1, Buffer.concat([indexed(3, 5, 6), remembered(58, 'u'.repeat(120))])));
    const module = decoder('http');
    runRecords(module, wire.records);
    assert.ok((module.stats().buffer_bytes as number) < 900 * 1000 + 80_000, String(module.stats().buffer_bytes));
    flushRecords(module);
    assert.equal(module.stats().h2_streams_open, 0);
  });
});
