// What a verdict does to HTTP: skipped stretches are no loss, and connections that hold nothing for any decoder are told to the host.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CloseFlag, Completeness, ConnNote, Kind, RecHeaderOffset, TlsCloseOffset, TlsDataOffset, TlsFlag } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { decoder, flushRecords, messagesOf, runRecords, Wire } from '../lib/records.js';

const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;
const answer = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

function decode(wire: Wire) {
  const module = decoder('http');
  const { lane0, lane1 } = runRecords(module, wire.records);
  const messages = messagesOf([...lane0, ...flushRecords(module)]);
  return { messages, notes: lane1.filter(([, what]) => what === ConnNote.not_ai), stats: module.stats() };
}

/** The record that was added last says that the bytes before it were skipped. */
function resumed(wire: Wire): Wire {
  const record = wire.records.at(-1) as Buffer;
  const at = RECORD_AT + TlsDataOffset.flags;
  record[at] = (record[at] ?? 0) | TlsFlag.resumed;
  return wire;
}

/** The close that was added last says that the connection was being skipped. */
function endedSkipped(wire: Wire): Wire {
  (wire.records.at(-1) as Buffer).writeUInt32LE(CloseFlag.skipped, RECORD_AT + TlsCloseOffset.flags);
  return wire;
}

describe('a skipped stretch', () => {
  test('between two exchanges is no gap, and the next exchange is whole', () => {
    const wire = new Wire().write(get('/a')).read(answer('1')).lose('write', get('/skipped')).lose('read', answer('22'));
    resumed(wire.write('POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi'));
    resumed(wire.read(answer('333')));
    const { messages, stats } = decode(wire.close());
    assert.deepEqual(
      messages.map((m) => [m.stream, m.message, m.head?.target, m.body.toString(), m.end?.completeness]),
      [
        [0, 0, '/a', '', Completeness.full],
        [0, 1, null, '1', Completeness.full],
        [1, 0, '/b', 'hi', Completeness.full],
        [1, 1, null, '333', Completeness.full],
      ],
    );
    assert.deepEqual([stats.gap_bytes, stats.gaps, stats.skipped_bytes, stats.skips], [0, 0, get('/skipped').length + answer('22').length, 2]);
  });

  test('whose request was still seen does not take the next answer', () => {
    const wire = new Wire().write(get('/a')).read(answer('1')).write(get('/half')).lose('read', answer('22'));
    resumed(wire.write('POST /b HTTP/1.1\r\nContent-Length: 0\r\n\r\n'));
    resumed(wire.read(answer('333')));
    const { messages } = decode(wire.close());
    const answers = messages.filter((m) => m.message === 1 && m.head).map((m) => [m.stream, m.body.toString()]);
    assert.deepEqual(answers, [
      [0, '1'],
      [2, '333'],
    ]);
    assert.equal(messages.find((m) => m.stream === 1 && m.message === 1)?.end?.completeness, Completeness.gap);
  });

  test('inside a message marks it, and is still no loss of the kernel side', () => {
    const wire = new Wire().write('POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n01').lose('write', '234');
    resumed(wire.write('56789'));
    const { messages, stats } = decode(wire.close());
    assert.deepEqual([messages[0]?.end?.completeness, messages[0]?.end?.missing], [Completeness.gap, 3]);
    assert.deepEqual([stats.gap_bytes, stats.skipped_bytes], [0, 3]);
  });

  test('at the end of a connection is known from its close', () => {
    const wire = new Wire().write(get('/a')).read(answer('1')).lose('write', 100).lose('read', 1000);
    const { stats } = decode(endedSkipped(wire.close()));
    assert.deepEqual([stats.gap_bytes, stats.skipped_bytes], [0, 1100]);
    const lost = decode(new Wire().write(get('/a')).read(answer('1')).lose('write', 100).lose('read', 1000).close());
    assert.deepEqual([lost.stats.gap_bytes, lost.stats.skipped_bytes], [1100, 0]);
  });
});

describe('a connection without HTTP', () => {
  const smtp = (n: number) => 'x'.repeat(n);

  test('is told once, when both directions have brought enough, and not a byte earlier', () => {
    const below = decode(new Wire().read(smtp(3839)).write(smtp(256)));
    assert.deepEqual(below.notes, []);
    const { notes, stats } = decode(new Wire().read(smtp(3839)).write(smtp(256)).write('!').write(smtp(5000)));
    assert.equal(notes.length, 1);
    const [kind, what, , origin, conn, target, detail] = notes[0] as [number, number, unknown, Buffer, bigint, number, unknown];
    assert.deepEqual([kind, what, target, detail], [Kind.conn_note, ConnNote.not_ai, 0, { reason: 'not_http', all: true }]);
    assert.ok(conn > 0n);
    assert.equal(origin.length, TlsDataOffset.SIZE);
    assert.equal(Buffer.from(origin).readUInt32LE(RecHeaderOffset.tgid), 4242);
    assert.equal(stats.notes_not_ai, 1);
    assert.deepEqual(decode(new Wire().read(smtp(100_000)).write(smtp(255))).notes, [], 'one direction alone proves nothing');
  });

  test('is told again when it was copied again and brought as much once more', () => {
    const wire = new Wire().read(smtp(4096)).write(smtp(256)).lose('write', 10).lose('read', 10);
    resumed(wire.write(smtp(256)));
    resumed(wire.read(smtp(3839)));
    assert.equal(decode(wire).notes.length, 1);
    assert.equal(decode(wire.read('!')).notes.length, 2);
  });

  test('is not told of HTTP, of HTTP/2 and of what looks like its frames', () => {
    const frame = Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert.deepEqual(
      decode(
        new Wire()
          .write(get('/a'))
          .read(`${answer('1')}${smtp(9000)}`)
          .write(smtp(9000)),
      ).notes,
      [],
    );
    assert.deepEqual(decode(new Wire().write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${smtp(9000)}`).read(smtp(9000))).notes, []);
    assert.deepEqual(decode(new Wire().write(Buffer.concat([frame, Buffer.alloc(9000, 1)])).read(smtp(9000))).notes, []);
    assert.deepEqual(
      decode(
        new Wire()
          .write('GET /ws HTTP/1.1\r\n\r\n')
          .read(`HTTP/1.1 101 Switching\r\n\r\n${smtp(9000)}`)
          .write(smtp(9000)),
      ).notes,
      [],
    );
  });

  test('is a tunnel once CONNECT has been answered', () => {
    const { notes } = decode(new Wire().write('CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n').read('HTTP/1.1 200 Established\r\n\r\n').write(smtp(10)));
    assert.deepEqual(
      notes.map((note) => note[6]),
      [{ reason: 'tunnel', all: true }],
    );
  });
});

describe('a call that was cut by the rate of its process', () => {
  /** The record that was added last is all that was copied of a call n bytes longer. */
  function cut(wire: Wire, side: 'read' | 'write', n: number): Wire {
    const record = wire.records.at(-1) as Buffer;
    const length = record.readUInt32LE(RECORD_AT + TlsDataOffset.len);
    record.writeUInt32LE(length + n, RECORD_AT + TlsDataOffset.call_len);
    record[RECORD_AT + TlsDataOffset.flags] = TlsFlag.first | TlsFlag.last | TlsFlag.shed;
    return wire.lose(side, n);
  }

  test('leaves a gap that is known before the next record, and http.end says how much of it was shed', () => {
    const module = decoder('http');
    const wire = cut(new Wire().write('POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n01'), 'write', 8);
    const { lane0 } = runRecords(module, wire.records);
    const last = lane0.at(-1) as unknown[];
    assert.deepEqual([last[0], last[6], last[7], last[12]], [Kind.http_end, Completeness.gap, 8, 8]);
    assert.deepEqual([module.stats().shed_bytes, module.stats().gap_bytes], [8, 0]);
  });

  test('is counted once however often the lanes are full', () => {
    const wire = new Wire();
    for (let i = 0; i < 40; i++) {
      cut(wire.write(`POST /${i} HTTP/1.1\r\nContent-Length: 16200\r\n\r\n${'b'.repeat(16_000)}`), 'write', 200);
      wire.read(answer(String(i)));
    }
    wire.close();
    const decodeIn = (outBytes: number) => {
      const module = decoder('http', { outBytes });
      const messages = messagesOf([...runRecords(module, wire.records).lane0, ...flushRecords(module)]);
      return { ends: messages.map((m) => [m.stream, m.message, m.body.length, m.end?.completeness, m.end?.missing]), shed: module.stats().shed_bytes };
    };
    const narrow = decodeIn(256 << 10);
    assert.deepEqual(narrow, decodeIn(4 << 20));
    assert.equal(narrow.shed, 40 * 200);
  });
});
