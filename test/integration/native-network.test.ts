// The bounds of the network programs, each passed by a real program: what is past them is counted, and everything else is as it was.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { DNS_AREA, HELLO_AREA, Kind, NetDnsOffset, PeerOffset, Role } from '../../host/src/gen/records.js';
import { type DnsServer, startDnsServer } from '../lib/dns-server.js';
import { mustProbe, ROOT } from '../lib/run.js';
import { Capture, type SeenRecord } from './native-kit.js';

const RESOLVER = '127.0.53.54';
/** Of bpf/network and bpf/lib/sockets.h. */
const DNS_MESSAGES = 32;
const SOCKETS = 16_384;
const TCP = 6;
const UDP = 17;

interface Facts {
  readonly pid: number;
  readonly messages: number;
  readonly message_bytes: number;
  readonly pieces: number;
  readonly hello: number;
  readonly high: [number, number, number];
  readonly pairs: number;
  readonly after: number;
}

describe('past the bounds of the network programs', () => {
  let dns: DnsServer;
  let facts: Facts;
  let records: SeenRecord[];
  let capture: Capture;

  before(async () => {
    mustProbe();
    dns = await startDnsServer(RESOLVER, {});
    // This process and its children only: the ledger below is of them.
    capture = new Capture({ ringBytes: 32 << 20, captureAll: false });
    capture.sensor.scopeAdd(process.pid, { capture: true, inherit: true, files: false });
    capture.start();
    const { stdout } = await promisify(execFile)('/usr/bin/python3', [join(ROOT, 'test', 'lib', 'clients', 'bounds.py'), RESOLVER]);
    facts = JSON.parse(stdout) as Facts;
    records = (await capture.stop()).filter((record) => record.fields['tgid'] === facts.pid);
  });
  after(async () => dns?.close());

  const of = (kind: number) => records.filter((record) => record.kind === kind);
  const peerAt = (record: SeenRecord) => record.bytes.subarray(56);
  const localPort = (record: SeenRecord) => peerAt(record).readUInt16LE(PeerOffset.local_port);
  const flowsFrom = (port: number, protocol: number) =>
    of(Kind.net_flow).filter((flow) => localPort(flow) === port && peerAt(flow)[PeerOffset.protocol] === protocol);
  const sent = (stream: boolean) => of(Kind.net_dns).filter((r) => r.fields['direction'] === 1 && (r.fields['flags'] === 1) === stream);

  test('32 messages of one sendmmsg are copied, the call is counted, and the flow has them all', () => {
    assert.equal(facts.messages, 40);
    assert.equal(sent(false).length, DNS_MESSAGES);
    const flow = of(Kind.net_flow).find((r) => r.fields['write_packets'] === 40);
    assert.equal(flow?.fields['write_bytes'], facts.message_bytes);
  });

  test('8 buffers of one writev are copied, and the bytes of the others counted', () => {
    const pieces = sent(true).map((r) => r.bytes.subarray(NetDnsOffset.bytes));
    assert.equal(pieces.length, 3, 'the empty ones make no record');
    assert.equal(Buffer.concat(pieces).length, facts.pieces - 10);
    assert.ok(pieces.every((piece) => piece.length <= DNS_AREA));
  });

  test('a ClientHello is copied up to its bound, once for its socket', () => {
    const [hello, ...more] = of(Kind.tls_hello);
    assert.equal(more.length, 0);
    assert.deepEqual([hello?.fields['len'], hello?.fields['bytes_len']], [facts.hello, HELLO_AREA]);
  });

  test('what was left out is in the ledger', () => {
    // One call with 8 messages more, one with 10 bytes more, one hello.
    assert.deepEqual(capture.ledger('net_cut'), { records: 3, bytes: 10 + facts.hello - HELLO_AREA });
    assert.deepEqual([capture.ledger('net_ring_full').records, capture.ledger('net_fault').records], [0, 0]);
  });

  test('descriptors past 1023: a flow ends with close, and not with the process', () => {
    const [last, closed, open] = facts.high;
    assert.deepEqual([flowsFrom(last, UDP).length, flowsFrom(closed, UDP).length, flowsFrom(open, UDP).length], [1, 1, 0]);
    assert.equal(flowsFrom(closed, UDP)[0]?.fields['write_bytes'], 1);
  });

  test('16,384 sockets are remembered; more are counted, and there is room again when they are closed', () => {
    const missed = capture.ledger('socket_full').records;
    // Two descriptors past the last bit are counted too, and what other programs of the machine have open takes room as well.
    assert.ok(missed >= 2 * facts.pairs - SOCKETS + 2, `${missed} were not remembered`);
    assert.ok(missed < facts.pairs, `${missed} were not remembered`);
    const last = of(Kind.net_open).at(-1);
    assert.deepEqual(last && [localPort(last), peerAt(last)[PeerOffset.role]], [facts.after, Role.client]);
    const [flow] = flowsFrom(facts.after, TCP).slice(-1);
    assert.ok(flow && flow.fields['ts_ns']! > last!.fields['ts_ns']!, 'and its flow is told');
  });
});
