// The names of a connection's TLS on their way from tls.name records to events; it never looks inside the modules.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Kind, layouts, NameKind, RecHeaderOffset, TlsNameOffset } from '../../host/src/gen/records.js';
import { framed, withHeader } from '../../host/src/sources/plaintext/kernel-records.js';
import { AiBench, end, body as httpBody, requestHead } from '../lib/ai-records.js';
import { CONN, decoder, runRecords, unpackAll, Wire } from '../lib/records.js';

const NAME_AT = TlsNameOffset.name;

/** One tls.name record, as much of its name as is used. */
function tlsName(what: number, name: string, over: { len?: number } = {}): Buffer {
  const bytes = Buffer.from(name, 'latin1');
  const record = Buffer.concat([withHeader(Kind.tls_name, NAME_AT, 1, CONN.tgid), bytes]);
  record.writeUInt32LE(record.length, RecHeaderOffset.size);
  record.writeBigUInt64LE(BigInt(CONN.ssl), TlsNameOffset.ssl);
  record.writeBigUInt64LE(BigInt(CONN.generation), TlsNameOffset.generation);
  record.writeUInt32LE(what, TlsNameOffset.what);
  record.writeUInt32LE(over.len ?? bytes.length, TlsNameOffset.len);
  record.writeUInt32LE(bytes.length, TlsNameOffset.total);
  return framed(Kind.tls_name, record);
}

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** The names in the head of a request that follows these records. */
function namesOf(...before: Buffer[]): { names: unknown[]; malformed: number } {
  const module = decoder('http');
  const { lane0 } = runRecords(module, [...before, ...new Wire().write(GET).records]);
  const head = lane0.find(([kind]) => kind === Kind.http_head);
  return { names: head!.slice(16, 19), malformed: module.stats()['records_malformed']! };
}

describe('names of TLS', () => {
  it('come with the heads of the connection', () => {
    const told = namesOf(tlsName(NameKind.server, 'api.example'), tlsName(NameKind.offered, '\x02h2\x08http/1.1'), tlsName(NameKind.selected, 'http/1.1'));
    assert.deepEqual(told, { names: ['api.example', 'h2,http/1.1', 'http/1.1'], malformed: 0 });
  });
  it('are nil when they were not told', () => assert.deepEqual(namesOf().names, [null, null, null]));
  it('may be told again: the last one counts', () => {
    assert.deepEqual(namesOf(tlsName(NameKind.server, 'long.example'), tlsName(NameKind.server, 'b')).names, ['b', null, null]);
  });
  it('are taken up to the longest that there can be', () => {
    const area = layouts['tls_name']!.fields.find(({ name }) => name === 'name')!.size;
    assert.deepEqual(namesOf(tlsName(NameKind.server, 'n'.repeat(area))).names[0], 'n'.repeat(area));
  });
  it('of an offer that is cut are those that are whole', () => {
    assert.deepEqual(namesOf(tlsName(NameKind.offered, '\x02h2\x08http')).names[1], 'h2');
    assert.deepEqual(namesOf(tlsName(NameKind.offered, '\x00\x02h2')).names[1], null);
  });
  it('that break the layout are counted and left out', () => {
    assert.deepEqual(namesOf(tlsName(9, 'x')), { names: [null, null, null], malformed: 1 });
    assert.deepEqual(namesOf(tlsName(NameKind.server, 'x', { len: 2 })), { names: [null, null, null], malformed: 1 });
    assert.deepEqual(namesOf(framed(Kind.tls_name, withHeader(Kind.tls_name, NAME_AT - 1, 1, 1))), { names: [null, null, null], malformed: 1 });
  });

  const REQUEST = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'x' }] });
  const tlsOf = (names: (string | null)[]) => {
    const [head] = unpackAll(requestHead());
    const { events } = new AiBench().feed(requestHead({ names }), httpBody(0, 0, Buffer.from(REQUEST)), end(0));
    assert.ok(head);
    return (events[0]!.meta as { ext: { tls?: unknown } }).ext.tls;
  };
  it('come with AI events', () => {
    assert.deepEqual(tlsOf(['api.example', 'h2,http/1.1', 'http/1.1']), { sni: 'api.example', alpn: 'http/1.1', alpn_offered: 'h2,http/1.1' });
    assert.deepEqual(tlsOf([null, null, 'h2']), { alpn: 'h2' });
    assert.equal(tlsOf([null, null, null]), undefined);
    assert.equal(tlsOf([]), undefined);
  });
});
