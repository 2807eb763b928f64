// The network decoder on records as the kernel makes them: both ends, errors, Unix names, and the ClientHello of clients that nobody here wrote.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, BlockList, createServer, isIPv4, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { Kind, OpenFlag, Role } from '../../host/src/gen/records.js';
import { framed } from '../../host/src/sources/plaintext/kernel-records.js';
import { Decoding, netFlow, netOpen, type OpenFields, tlsHello, V4 } from '../lib/network-records.js';

const UNIX = { protocol: 0, role: Role.client };
const text = (value: string): Buffer => Buffer.from(value, 'latin1');

function opened(fields: OpenFields): Record<string, unknown> {
  const { events } = new Decoding('network').give(netOpen(fields));
  assert.equal(events.length, 1);
  return { ...events[0]?.data };
}

describe('net.open', () => {
  it('a connection that was made', () => {
    assert.deepEqual(opened({ latency: 12_345_678n }), {
      dest: { ip: '203.0.113.80', port: 443, is_private: false },
      src: { ip: '10.0.0.9', port: 40_000 },
      protocol: 'tcp',
      success: true,
      latency_ms: 12.346,
    });
  });

  it('one that was not: the errno by name, by number where it has none here, or that the program gave up', () => {
    const error = (fields: OpenFields) => opened(fields)['error'];
    assert.deepEqual([opened({ error: 111 })['success'], error({ error: 111 })], [false, 'ECONNREFUSED']);
    assert.equal(error({ error: 4095 }), 'errno 4095');
    assert.equal(error({ error: 3 }), 'errno 3');
    assert.deepEqual([opened({ flags: OpenFlag.abandoned })['success'], error({ flags: OpenFlag.abandoned })], [false, 'abandoned']);
  });

  it('one that was taken: the client is the source', () => {
    const data = opened({ peer: { ...V4, role: Role.server } });
    assert.deepEqual(data, {
      src: { ip: '203.0.113.80', port: 443, is_private: false },
      dest: { ip: '10.0.0.9', port: 40_000 },
      protocol: 'tcp',
    });
  });

  it('Unix sockets: a path up to its NUL, an abstract name with an @, none', () => {
    const named = (path: Buffer) => opened({ peer: UNIX, path })['dest'];
    assert.deepEqual(named(text('/run/x.sock\0rest')), { path: '/run/x.sock' });
    assert.deepEqual(named(text(`${'/'.padEnd(108, 'x')}`)), { path: '/'.padEnd(108, 'x') });
    assert.deepEqual(named(text('\0abs\0tract')), { path: '@abs\0tract' });
    assert.deepEqual(named(text('')), {});
    assert.deepEqual(named(text('/\xff')), { path: '/\ufffd' });
  });
});

/** The ranges that IANA's registries and RFC 6598 give to no public network, as far as events call them private. */
function privateRanges(): BlockList {
  const list = new BlockList();
  for (const range of ['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16']) {
    const [net, bits] = range.split('/');
    list.addSubnet(net as string, Number(bits), 'ipv4');
  }
  for (const range of ['::/128', '::1/128', 'fc00::/7', 'fe80::/10']) {
    const [net, bits] = range.split('/');
    list.addSubnet(net as string, Number(bits), 'ipv6');
  }
  return list;
}

it('addresses are written as URLs write them, and private by the registries', () => {
  const ranges = privateRanges();
  const decoding = new Decoding('network');
  const byte = fc.oneof(fc.constantFrom(0, 0, 0, 1, 10, 127, 172, 192, 168, 169, 254, 100, 64, 0xfe, 0x80, 0xfc), fc.nat(255));
  const address = fc.oneof(fc.array(byte, { minLength: 4, maxLength: 4 }), fc.array(byte, { minLength: 16, maxLength: 16 }));
  fc.assert(
    fc.property(address, (remote) => {
      const dest = decoding.give(netOpen({ peer: { ...V4, remote } })).events.at(-1)?.data['dest'] as { ip: string; is_private: boolean };
      const groups = Array.from({ length: 8 }, (_, i) => (((remote[2 * i] ?? 0) << 8) | (remote[2 * i + 1] ?? 0)).toString(16));
      const expected = remote.length === 4 ? remote.join('.') : new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
      assert.equal(dest.ip, expected);
      assert.equal(dest.is_private, ranges.check(expected, isIPv4(expected) ? 'ipv4' : 'ipv6'), expected);
    }),
    { numRuns: 2000 },
  );
});

it('net.flow tells both directions and how long it took', () => {
  const [outbound, inbound] = new Decoding('network').give(netFlow(V4), netFlow({ ...V4, role: Role.server })).events;
  assert.deepEqual(
    { ...outbound?.data },
    {
      dest: { ip: '203.0.113.80', port: 443, is_private: false },
      src: { ip: '10.0.0.9', port: 40_000 },
      protocol: 'tcp',
      direction: 'outbound',
      bytes_sent: 2,
      bytes_received: 1,
      packets_sent: 4,
      packets_received: 3,
      duration_ms: 1,
    },
  );
  assert.deepEqual([inbound?.data['direction'], inbound?.data['src']], ['inbound', outbound?.data['dest']]);
});

/** The first bytes that Node's TLS client sends. */
async function nodeHello(options: { servername?: string; ALPNProtocols?: string[]; maxVersion?: 'TLSv1.2' }): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

describe('tls.hello', () => {
  it('is a note with name, protocols and versions, and names the flow that it began', async () => {
    const bytes = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2', 'http/1.1'] });
    const decoding = new Decoding('network').give(tlsHello(bytes), netFlow(V4), netFlow(V4));
    const [note] = decoding.notes;
    assert.deepEqual(
      { ...note?.detail },
      {
        sni: 'api.example.test',
        alpn: ['h2', 'http/1.1'],
        versions: ['TLSv1.3', 'TLSv1.2'],
        local_port: 40_000,
        peer: '203.0.113.80',
        peer_port: 443,
        cut: false,
      },
    );
    assert.deepEqual([note?.tgid, note?.conn, note?.ssl], [4242, null, 0n]);
    const [flow, next] = decoding.events;
    assert.deepEqual(flow?.data['tls'], { sni: 'api.example.test' });
    assert.deepEqual(flow?.data['dest'], { ip: '203.0.113.80', port: 443, domain: 'api.example.test', is_private: false });
    assert.deepEqual(flow?.meta.ext?.['tls_offer'], { alpn: ['h2', 'http/1.1'], versions: ['TLSv1.3', 'TLSv1.2'] });
    assert.equal(next?.data['tls'], undefined, 'it is one flow’s');
    assert.equal(decoding.counter('hellos_kept'), 0);
  });

  it('without a name, protocols or the versions extension says what there is', async () => {
    const decoding = new Decoding('network').give(tlsHello(await nodeHello({ maxVersion: 'TLSv1.2' })), netFlow(V4));
    assert.deepEqual([decoding.notes[0]?.detail['sni'], decoding.notes[0]?.detail['alpn'], decoding.notes[0]?.detail['versions']], [null, [], ['TLSv1.2']]);
    assert.deepEqual(decoding.events[0]?.data['tls'], {});
  });

  it('of another connection names no flow', async () => {
    const bytes = await nodeHello({ servername: 'a.test' });
    const decoding = new Decoding('network').give(tlsHello(bytes), netFlow({ ...V4, localPort: 40_001 }), netFlow(V4, 2n));
    assert.deepEqual(
      decoding.events.map(({ data }) => data['tls']),
      [undefined, undefined],
    );
  });

  it('cut anywhere gives what is before the cut and says that it is cut', async () => {
    const bytes = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2'] });
    const decoding = new Decoding('network');
    for (let length = 11; length < bytes.length; length += 1) {
      const detail = decoding.give(tlsHello(bytes.subarray(0, length), V4, 1n, bytes.length)).notes.at(-1)?.detail;
      assert.equal(detail?.['cut'], true);
      assert.ok([null, 'api.example.test'].includes(detail['sni'] as string | null), `at ${length}: ${detail['sni']}`);
    }
    assert.equal(decoding.notes.length, bytes.length - 11);
  });

  it('is remembered for 4,096 connections at most', async () => {
    const bytes = await nodeHello({ servername: 'a.test' });
    const decoding = new Decoding('network');
    for (let i = 0; i < 4097; i += 1) decoding.give(tlsHello(bytes, V4, BigInt(i)));
    assert.deepEqual([decoding.counter('hellos_kept'), decoding.counter('hellos_forgotten')], [4096, 1]);
    decoding.give(netFlow(V4, 0n), netFlow(V4, 4096n));
    assert.deepEqual(
      decoding.events.map(({ data }) => data['tls'] !== undefined),
      [false, true],
    );
  });

  it('never traps on bytes that are none, or nearly one', async () => {
    const base = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2', 'http/1.1'] });
    const decoding = new Decoding('network');
    const edited = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 10 }).map((edits) => {
      const copy = Uint8Array.from(base);
      for (const [at, value] of edits) copy[at] = value;
      return copy;
    });
    fc.assert(
      fc.property(fc.oneof(edited, fc.uint8Array({ maxLength: 400 })), (bytes) => {
        decoding.give(tlsHello(bytes), netFlow(V4));
        return decoding.traps === 0;
      }),
      { numRuns: 2000 },
    );
  });
});

it('records of any size and content are counted or told, and nothing traps', () => {
  const decoding = new Decoding('network');
  fc.assert(
    fc.property(fc.constantFrom(Kind.net_open, Kind.net_flow, Kind.tls_hello), fc.uint8Array({ maxLength: 400 }), (kind, bytes) => {
      decoding.give(framed(kind, bytes));
      return decoding.traps === 0;
    }),
    { numRuns: 2000 },
  );
  assert.ok(decoding.counter('malformed') > 0);
});
