// The framing rules of HTTP/1 one by one, as records in and messages out; it never looks inside the module.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { Completeness, Role, TlsDataOffset } from '../../host/src/gen/records.js';
import { decoder, flushRecords, type Message, messagesOf, runRecords, Wire } from '../lib/records.js';

const GET = 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n';
const POST = 'POST /v1/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello';

function decode(wire: Wire): { messages: Message[]; stats: Record<string, number> } {
  const module = decoder('http');
  const { lane0 } = runRecords(module, wire.records);
  return { messages: messagesOf([...lane0, ...flushRecords(module)]), stats: module.stats() };
}

/** Requests and responses, each as [stream, body, completeness, error]. */
function brief(messages: Message[], which: number): [number, string, number | undefined, string | null | undefined][] {
  return messages.filter((m) => m.message === which).map((m) => [m.stream, m.body.toString('latin1'), m.end?.completeness, m.end?.error]);
}

function response(headers: string, body: string | Uint8Array, status = '200 OK'): Buffer {
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${headers}\r\n`), typeof body === 'string' ? Buffer.from(body, 'latin1') : body]);
}

describe('an exchange', () => {
  test('a request and its response share a stream, with every field of the head', () => {
    const { messages } = decode(
      new Wire()
        .info('api.example.com')
        .write('POST /v1/chat?q=1 HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nContent-Length:  5 \r\n\r\nhel')
        .write('lo')
        .read('HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno')
        .close(),
    );
    assert.equal(messages.length, 2);
    const [request, answer] = messages as [Message, Message];
    const { origin, ...head } = request.head ?? assert.fail();
    assert.equal(origin.length, TlsDataOffset.SIZE);
    assert.deepEqual(head, {
      dir: 1,
      role: Role.client,
      ts: 1,
      version: 11,
      method: 'POST',
      target: '/v1/chat?q=1',
      status: null,
      reason: null,
      headers: ['Host', 'x', 'X-Empty', '', 'Content-Length', '5'],
      authority: 'api.example.com',
      cut: false,
      unknown: 0,
    });
    assert.equal(request.body.toString(), 'hello');
    assert.deepEqual(request.end, { dir: 1, ts: 2, completeness: 0, missing: 0, wire: 75, bodyBytes: 5, error: null, firstBodyTs: 1 });
    assert.deepEqual([answer.stream, answer.head?.status, answer.head?.reason, answer.head?.version, answer.head?.dir], [0, 404, 'Not Found', 10, 0]);
    assert.equal(answer.body.toString(), 'no');
  });

  test('a process that reads requests is a server', () => {
    const { messages } = decode(new Wire().read(POST).write(response('Content-Length: 2\r\n', 'ok')).close());
    assert.deepEqual(
      messages.map((m) => [m.message, m.head?.dir, m.head?.role]),
      [
        [0, 0, Role.server],
        [1, 1, Role.server],
      ],
    );
  });

  test('keep-alive and pipelining: response k answers request k', () => {
    const { messages, stats } = decode(
      new Wire()
        .write(POST + POST + GET)
        .read(response('Content-Length: 1\r\n', '1'))
        .read(Buffer.concat([response('Content-Length: 1\r\n', '2'), response('Content-Length: 1\r\n', '3')]))
        .close(),
    );
    assert.deepEqual(brief(messages, 1), [
      [0, '1', 0, null],
      [1, '2', 0, null],
      [2, '3', 0, null],
    ]);
    assert.equal(stats.responses_never_seen, 0);
  });

  test('the response to HEAD, 204 and 304 have no body whatever their headers say', () => {
    const { messages } = decode(
      new Wire()
        .write('HEAD / HTTP/1.1\r\n\r\n')
        .read(response('Content-Length: 500\r\n', ''))
        .write(GET)
        .read(response('Content-Length: 500\r\n', '', '304 Not Modified'))
        .write(GET)
        .read(response('', '', '204 No Content'))
        .write(GET)
        .read(response('Content-Length: 1\r\n', 'x'))
        .close(),
    );
    assert.deepEqual(
      brief(messages, 1).map((m) => m[1]),
      ['', '', '', 'x'],
    );
  });

  test('informational responses do not end the exchange', () => {
    const { messages, stats } = decode(
      new Wire()
        .write(POST)
        .read('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n')
        .read(response('Content-Length: 2\r\n', 'ok'))
        .close(),
    );
    assert.deepEqual(brief(messages, 1), [[0, 'ok', 0, null]]);
    assert.equal(stats.informational, 2);
  });

  test('a body without length ends with the connection, full when the TLS object was closed and aborted when the process died', () => {
    const wire = () => new Wire().write(GET).read(response('', 'until ')).read('the end');
    assert.deepEqual(brief(decode(wire().close()).messages, 1), [[0, 'until the end', Completeness.full, null]]);
    assert.deepEqual(brief(decode(wire()).messages, 1), [[0, 'until the end', Completeness.aborted, null]]);
  });

  test('a connection that ends inside a message aborts it, and the open requests have an end without a head', () => {
    const { messages } = decode(new Wire().write(POST).write(GET).read(response('Content-Length: 10\r\n', 'four')).close());
    assert.deepEqual(brief(messages, 1), [
      [0, 'four', Completeness.aborted, null],
      [1, '', Completeness.aborted, 'response never seen'],
    ]);
    assert.equal(messages.find((m) => m.stream === 1 && m.message === 1)?.head, undefined);
  });
});

describe('chunked', () => {
  test('extensions and trailers are passed over', () => {
    const { messages } = decode(
      new Wire()
        .write(GET)
        .read('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a="b"\r\nhello\r\n6 \r\n world\r\n0\r\nX-T: 1\r\n\r\n')
        .write(GET)
        .read(response('Content-Length: 1\r\n', '2'))
        .close(),
    );
    assert.deepEqual(brief(messages, 1), [
      [0, 'hello world', 0, null],
      [1, '2', 0, null],
    ]);
  });

  test('chunks of one buffer become one http.body', () => {
    const chunks = Array.from({ length: 50 }, (_, i) => `3\r\n${String(i).padStart(3, '0')}\r\n`);
    const wire = new Wire().write(GET).read('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (const chunk of chunks) wire.read(chunk);
    const { messages } = decode(wire.read('0\r\n\r\n').close());
    assert.equal(messages[1]?.body.length, 150);
    assert.equal(messages[1]?.records, 1);
  });
});

describe('bad framing is reported and the next message is found', () => {
  const cases: [string, string, string][] = [
    ['both framings', 'content-length and transfer-encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['differing lengths', 'content-lengths differ', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\n'],
    ['a list of lengths', 'bad content-length', 'Content-Length: 5, 5\r\n\r\n'],
    ['a signed length', 'bad content-length', 'Content-Length: +5\r\n\r\n'],
    ['a huge length', 'bad content-length', 'Content-Length: 99999999999999999999\r\n\r\n'],
    ['a folded line', 'obs-fold', 'A: b\r\n c\r\n\r\n'],
    ['a bare CR', 'bare CR', 'A: b\rc\r\n\r\n'],
    ['a bare LF', 'bare LF', 'A: b\nC: d\r\n\r\n'],
    ['a blank before the colon', 'bad header name', 'A : b\r\n\r\n'],
    ['a line without a colon', 'bad header name', 'nonsense\r\n\r\n'],
    ['a NUL', 'NUL in a header value', 'A: b\0\r\n\r\n'],
    ['chunked twice', 'bad transfer-encoding', 'Transfer-Encoding: chunked, chunked\r\n\r\n'],
    ['a request whose coding does not end with chunked', 'transfer-encoding of a request does not end with chunked', 'Transfer-Encoding: gzip\r\n\r\n'],
    ['a chunk size that is no number', 'bad chunk size', 'Transfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['an empty chunk size', 'bad chunk size', 'Transfer-Encoding: chunked\r\n\r\n\r\n'],
    ['a huge chunk size', 'bad chunk size', 'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n'],
    ['a chunk that is longer than its size', 'chunk not ended by CRLF', 'Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n'],
  ];
  for (const [name, error, text] of cases) {
    test(name, () => {
      const { messages, stats } = decode(
        new Wire().write(`POST /bad HTTP/1.1\r\n${text}garbage`).write('POST /next HTTP/1.1\r\nContent-Length: 2\r\n\r\nok').close(),
      );
      const requests = messages.filter((m) => m.message === 0);
      assert.deepEqual(
        requests.map((m) => [m.head?.target, m.end?.completeness, m.end?.error]),
        [
          ['/bad', Completeness.error, error],
          ['/next', Completeness.full, null],
        ],
      );
      assert.equal(requests[1]?.body.toString(), 'ok');
      assert.equal(stats.resyncs, 1);
    });
  }

  test('the same Content-Length twice is one', () => {
    const { messages } = decode(new Wire().write('POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok').close());
    assert.deepEqual(brief(messages, 0), [[0, 'ok', 0, null]]);
  });

  test('chunked in HTTP/1.0', () => {
    const { messages } = decode(new Wire().write('POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n').close());
    assert.equal(messages[0]?.end?.error, 'transfer-encoding in HTTP/1.0');
  });
});

describe('limits', () => {
  test('a header line of 1 MB is cut and the next message decodes', () => {
    const { messages, stats } = decode(new Wire().write(`POST /a HTTP/1.1\r\nX-Long: ${'v'.repeat(1 << 20)}\r\nContent-Length: 2\r\n\r\nok${POST}`).close());
    const [first, second] = messages.filter((m) => m.message === 0) as [Message, Message];
    assert.equal(first.head?.cut, true);
    assert.equal(first.head?.headers[1]?.length, 16384 - 'X-Long: '.length);
    assert.equal(first.body.toString(), 'ok');
    assert.equal(second.body.toString(), 'hello');
    assert.equal(second.head?.cut, false);
    assert.equal(stats.heads_cut, 1);
  });

  test('a target of 100 KB is cut', () => {
    const { messages } = decode(new Wire().write(`GET /${'t'.repeat(100_000)} HTTP/1.1\r\nA: b\r\n\r\n${POST}`).close());
    assert.equal(messages[0]?.head?.target?.length, 16384 - 4);
    assert.equal(messages[0]?.head?.cut, true);
    assert.deepEqual(messages[0]?.head?.headers, ['A', 'b']);
    assert.equal(messages.filter((m) => m.message === 0)[1]?.body.toString(), 'hello');
  });

  test('a head over 64 KiB keeps what fits and its framing', () => {
    const lines = Array.from({ length: 2000 }, (_, i) => `X-${i}: ${'v'.repeat(60)}\r\n`).join('');
    const { messages } = decode(new Wire().write(`POST /a HTTP/1.1\r\n${lines}Content-Length: 2\r\n\r\nok`).close());
    assert.equal(messages[0]?.head?.cut, true);
    assert.ok((messages[0]?.head?.headers.length ?? 0) > 1000);
    assert.equal(messages[0]?.body.toString(), 'ok');
  });

  test('requests past the 64th open one are reported at once and pairing stays in step', () => {
    const wire = new Wire().write(GET.repeat(70));
    for (let i = 0; i < 70; i++) wire.read(response('Content-Length: 2\r\n', String(i).padStart(2, '0')));
    const { messages, stats } = decode(wire.write(GET).read(response('Content-Length: 2\r\n', 'zz')).close());
    const answers = messages.filter((m) => m.message === 1);
    assert.equal(answers.filter((m) => m.end?.error === 'too many requests without a response').length, 6);
    assert.equal(answers.find((m) => m.stream === 63)?.body.toString(), '63');
    assert.equal(answers.find((m) => m.stream === 70 && m.head)?.body.toString(), '64');
    assert.equal(answers.find((m) => m.body.toString() === 'zz')?.stream, messages.filter((m) => m.message === 0).at(-1)?.stream);
    assert.equal(stats.responses_not_tracked, 6);
  });

  test('a connection too many gives up the one idle for longest, with its ends', () => {
    const module = decoder('http', { maxConnections: 2 });
    const records = [1, 2, 3].flatMap((ssl) => new Wire({ tgid: 1, ssl, generation: 0 }).write('POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nxx').records);
    const messages = messagesOf(runRecords(module, records).lane0);
    assert.deepEqual(
      messages.map((m) => [m.message, m.end?.completeness, m.end?.error]),
      [
        [0, Completeness.aborted, null],
        [0, undefined, undefined],
        [1, Completeness.aborted, 'response never seen'],
        [0, undefined, undefined],
      ],
    );
    assert.equal(module.stats().connections_evicted, 1);
    assert.equal(module.stats().connections_open, 2);
  });

  test('a lane too small for the largest head is refused', () => {
    assert.throws(() => decoder('http', { outBytes: 128 << 10 }), /an out lane must hold/);
  });
});

describe('content codings', () => {
  const text = Buffer.from('{"a":"héllo"}'.repeat(5000));
  const coded: [string, Buffer, string][] = [
    ['gzip', gzipSync(text), 'gzip'],
    ['gzip in two members', Buffer.concat([gzipSync(text.subarray(0, 1000)), gzipSync(text.subarray(1000))]), 'x-gzip'],
    ['zlib', deflateSync(text), 'deflate'],
    ['raw deflate', deflateRawSync(text), 'deflate'],
    ['identity', text, 'identity'],
  ];
  for (const [name, bytes, coding] of coded) {
    test(name, () => {
      const { messages } = decode(
        new Wire()
          .write(GET)
          .read(response(`Content-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n`, bytes))
          .close(),
      );
      assert.ok(messages[1]?.body.equals(text));
      assert.deepEqual([messages[1]?.end?.completeness, messages[1]?.end?.bodyBytes], [0, text.length]);
    });
  }

  const read = (coding: string, bytes: Uint8Array, length = bytes.length): Message[] =>
    decode(
      new Wire()
        .write(GET)
        .read(response(`Content-Encoding: ${coding}\r\nContent-Length: ${length}\r\n`, bytes))
        .close(),
    ).messages;

  for (const [name, coding, bytes] of [
    ['br', 'br', brotliCompressSync(text)],
    ['zstd', 'zstd', zstdCompressSync(text)],
    ['gzip in br', 'gzip, br', brotliCompressSync(gzipSync(text))],
    ['three on top of one another', 'deflate,zstd , GZIP', gzipSync(zstdCompressSync(deflateSync(text)))],
    ['identity among others', 'identity, br', brotliCompressSync(text)],
  ] as const) {
    test(`${name} is decoded when the message is over`, () => {
      const answered = read(coding, bytes)[1] as Message;
      assert.ok(answered.body.equals(text));
      assert.deepEqual([answered.end?.completeness, answered.end?.bodyBytes, answered.end?.error], [0, text.length, null]);
    });
  }

  test('of br and zstd that end early, and of a connection that breaks off, what there is is passed on', () => {
    for (const [coding, whole] of [
      ['br', brotliCompressSync(text)],
      ['zstd', zstdCompressSync(text)],
    ] as const) {
      const half = whole.subarray(0, whole.length - 5);
      const short = read(coding, half)[1];
      assert.deepEqual([short?.end?.completeness, short?.end?.error], [Completeness.error, 'compressed data ends early']);
      const cut = read(coding, half, whole.length)[1];
      assert.deepEqual([cut?.end?.completeness, cut?.end?.error], [Completeness.aborted, null]);
      for (const message of [short, cut]) assert.ok(message && text.subarray(0, message.body.length).equals(message.body));
    }
  });

  test('what is no zstd, a coding nobody knows, and what grows past 16 MiB are said', () => {
    assert.deepEqual(brief(read('zstd', Buffer.from('xyz')), 1), [[0, '', Completeness.error, 'bad compressed data']]);
    assert.deepEqual(brief(read('br, exotic', Buffer.from('xyz')), 1), [[0, '', Completeness.capped, 'content-encoding not decoded']]);
    assert.deepEqual(brief(read('gzip,gzip,gzip,gzip,gzip', Buffer.from('xyz')), 1), [[0, '', Completeness.capped, 'content-encoding not decoded']]);
    const bomb = brotliCompressSync(Buffer.alloc(64 << 20), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
    assert.deepEqual(brief(read('br', bomb), 1), [[0, '', Completeness.capped, 'body over its limit']]);
  });

  test('damage and an early end are errors of the message, not of the framing', () => {
    const bytes = gzipSync(text);
    const damaged = Buffer.from(bytes);
    damaged.fill(0xff, 30, 60);
    const { messages } = decode(
      new Wire()
        .write(GET + GET + GET)
        .read(response(`Content-Encoding: gzip\r\nContent-Length: ${bytes.length}\r\n`, damaged))
        .read(response('Content-Encoding: gzip\r\nContent-Length: 50\r\n', bytes.subarray(0, 50)))
        .read(response('Content-Length: 2\r\n', 'ok'))
        .close(),
    );
    assert.deepEqual(
      messages.filter((m) => m.message === 1).map((m) => m.end?.error),
      ['bad compressed data', 'compressed data ends early', null],
    );
  });

  test('a bomb stops at 64 MiB', () => {
    const bomb = gzipSync(Buffer.alloc(80 << 20));
    const module = decoder('http');
    let bytes = 0;
    const wire = new Wire()
      .write(GET)
      .read(response(`Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`, bomb))
      .close();
    for (const record of wire.records) {
      module.process(record, (_, out) => {
        bytes += out.length;
      });
    }
    assert.ok(bytes > 64 << 20 && bytes < (64 << 20) + 100_000);
    assert.equal(module.stats().capped_body_limit, 1);
    assert.equal(module.stats().body_out_bytes, 64 << 20);
  });
});
