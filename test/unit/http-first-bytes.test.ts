// What the http module notes of a connection's first bytes, and what the role of its socket decides; it never looks inside the module.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { brotliCompressSync, deflateRawSync, gzipSync } from 'node:zlib';
import { ConnNote, Kind, PeerOffset, Role, TlsDataOffset } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { decoder, flushRecords, messagesOf, recut, runRecords, unpackAll, Wire } from '../lib/records.js';

interface Note {
  what: number;
  conn: bigint;
  target: number;
  detail: Record<string, unknown>;
}

/** The notes of a connection, with those that only its end brings. */
function notesOf(records: readonly Buffer[]): Note[] {
  const module = decoder('http');
  const { lane1 } = runRecords(module, records);
  module.flush((lane, bytes) => {
    if (lane === 1) lane1.push(...unpackAll(Buffer.from(bytes)));
  });
  return lane1
    .filter(([kind]) => kind === Kind.conn_note)
    .map(([, what, , , conn, target, detail]) => ({ what: Number(what), conn: conn as bigint, target: Number(target), detail: detail as Note['detail'] }));
}

/** n bytes that a good cipher could have made: SHA-256 in counter mode, the same for the same seed. */
function cipherBytes(seed: number, n: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 32 < n; i++) parts.push(createHash('sha256').update(`${seed}/${i}`).digest());
  return Buffer.concat(parts).subarray(0, n);
}

const looksOf = (bytes: string | Uint8Array) => {
  const notes = notesOf(new Wire().write(bytes).records);
  assert.equal(notes.length, 1);
  return notes[0]!.detail['looks'];
};
const whatOf = (bytes: string | Uint8Array) => notesOf(new Wire().write(bytes).records)[0]?.what;

/** A frame of HTTP/2. */
function h2Frame(type: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A masked frame of a WebSocket client. */
function webSocketFrame(payload: Uint8Array, seed: number): Buffer {
  const mask = cipherBytes(seed, 4);
  const head = payload.length < 126 ? Buffer.from([0xc2, 0x80 | payload.length]) : Buffer.from([0xc2, 0xfe, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)]);
}

/** Field 1: number, field 2: text, repeated, as protobuf writes messages. */
function protobuf(n: number): Buffer {
  const messages = Array.from({ length: n }, (_, i) => {
    const text = Buffer.from(`item number ${i}`);
    return Buffer.concat([Buffer.from([0x08, i & 127, 0x12, text.length]), text]);
  });
  return Buffer.concat(messages);
}

const PLAUSIBLE: Record<string, [string | Uint8Array, string]> = {
  'an HTTP/1 request': ['POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', 'http/1'],
  'a request through a proxy': ['CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n', 'http/1'],
  'an HTTP/1 response': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'http/1'],
  'the preface of HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'h2'],
  'frames of HTTP/2 with a compressed body': [
    Buffer.concat([h2Frame(4, 0, Buffer.alloc(18)), h2Frame(8, 0, Buffer.alloc(4)), h2Frame(0, 1, cipherBytes(1, 4000))]),
    'h2',
  ],
  'masked WebSocket frames of compressed text': [Buffer.concat([webSocketFrame(cipherBytes(2, 60), 3), webSocketFrame(cipherBytes(4, 900), 5)]), 'websocket'],
  'an SMTP greeting': ['220 mail.example.org ESMTP ready\r\n', 'text'],
  'an IMAP greeting': ['* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n', 'text'],
  JSON: [JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize' }), 'text'],
  'a start-up message of Postgres': [Buffer.from('\x00\x00\x00\x29\x00\x03\x00\x00user\x00alice\x00database\x00orders\x00\x00', 'latin1'), 'short'],
  'TLS inside TLS': [Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0]), cipherBytes(6, 512)]), 'tls'],
  gzip: [gzipSync(cipherBytes(7, 4096)), 'compressed'],
  protobuf: [protobuf(100), 'binary'],
  numbers: [Buffer.from(new Uint32Array(Array.from({ length: 200 }, (_, i) => i * 977)).buffer), 'binary'],
  'less than 256 uniform bytes': [cipherBytes(8, 255), 'short'],
};

describe('first plaintext', () => {
  for (const [name, [bytes, looks]] of Object.entries(PLAUSIBLE)) {
    test(`${name} is plausible: ${looks}`, () => {
      assert.equal(whatOf(bytes), ConnNote.first_plaintext);
      assert.equal(looksOf(bytes), looks);
    });
  }

  test('uniform bytes are not, from whatever cipher: 500 of 500, but for one in twenty that pass for WebSocket', () => {
    const looks = Array.from({ length: 500 }, (_, i) => looksOf(cipherBytes(1000 + i, 256)));
    const uniform = looks.filter((l) => l === 'uniform').length;
    assert.deepEqual(
      [...new Set(looks)].filter((l) => l !== 'uniform' && l !== 'websocket'),
      [],
    );
    assert.ok(uniform >= 450, `${uniform} of 500`);
  });

  test('compressed data without a head of its own is as uniform as ciphertext', () => {
    const text = Buffer.from(Array.from({ length: 4000 }, (_, i) => createHash('md5').update(String(i)).digest('base64')).join(' '));
    assert.equal(looksOf(deflateRawSync(text).subarray(200)), 'uniform');
    assert.equal(looksOf(brotliCompressSync(text).subarray(200)), 'uniform');
  });

  test('is noted once, however the bytes are cut, with target, direction and whether the connection was seen from its start', () => {
    for (const bytes of [cipherBytes(9, 5000), protobuf(100), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')]) {
      const wire = new Wire().write(bytes).read('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n').write(bytes).close();
      for (const record of wire.records.slice(0, 3)) {
        record.writeUInt32LE(42, RECORD_AT + TlsDataOffset.target);
        record.writeBigUInt64LE(5n, RECORD_AT + TlsDataOffset.since_ns);
      }
      const whole = notesOf(wire.records);
      assert.equal(whole.length, 1);
      assert.equal(whole[0]!.target, 42);
      assert.deepEqual([whole[0]!.detail['direction'], whole[0]!.detail['from_start']], ['write', true]);
      for (const size of [1, 7, 16, 255, 256]) assert.deepEqual(notesOf(recut(wire.records, () => size)), whole, `pieces of ${size}`);
    }
  });

  test('says when the start was not seen', () => {
    assert.equal(notesOf(new Wire().write(cipherBytes(10, 300)).records)[0]!.detail['from_start'], false);
    const late = new Wire().lose('write', 100).write(cipherBytes(10, 300));
    late.records[0]!.writeBigUInt64LE(5n, RECORD_AT + TlsDataOffset.since_ns);
    assert.equal(notesOf(late.records)[0]!.detail['from_start'], false);
  });

  test('of a direction with a gap in it is not judged', () => {
    const wire = new Wire().write(cipherBytes(11, 100)).lose('write', 50).write(cipherBytes(12, 1000));
    assert.equal(notesOf(wire.records)[0]!.detail['looks'], 'short');
  });

  test('counts connections that are implausible', () => {
    const module = decoder('http');
    runRecords(module, new Wire().write(cipherBytes(1000, 256)).records);
    assert.equal(module.stats()['connections_implausible'], 1);
  });
});

describe('the role of the socket', () => {
  const inBody = 'x'.repeat(20);
  const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;

  const headsOf = (records: unknown[][]) => messagesOf(records).flatMap(({ head }): [number, string | null][] => (head ? [[head.role, head.target]] : []));

  /** A connection joined in the middle of an answer that quotes a request. */
  function joined(role: number): [number, string | null][] {
    const wire = new Wire()
      .lose('read', 1000)
      .read(`${inBody}\r\n${get('/quoted')}`)
      .write(get('/real'));
    for (const record of wire.records) record[RECORD_AT + TlsDataOffset.peer + PeerOffset.role] = role;
    const module = decoder('http');
    const { lane0 } = runRecords(module, wire.records);
    return headsOf([...lane0, ...flushRecords(module)]);
  }

  test('says what is looked for in the middle of a stream', () => {
    assert.deepEqual(joined(Role.client), [[Role.client, '/real']]);
  });

  test('is not needed: without it the first start line decides', () => {
    assert.deepEqual(joined(Role.unknown), [[Role.server, '/quoted']]);
  });

  test('gives way to the bytes at the start of a connection: requests may come in over a socket that went out', () => {
    const wire = new Wire().read(get('/tunnelled'));
    wire.records[0]![RECORD_AT + TlsDataOffset.peer + PeerOffset.role] = Role.client;
    const module = decoder('http');
    const { lane0 } = runRecords(module, wire.records);
    assert.deepEqual(headsOf([...lane0, ...flushRecords(module)]), [[Role.server, '/tunnelled']]);
  });
});
