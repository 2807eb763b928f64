// Tests event ids, wall times, peers, the process table and the links between events.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OispEvent } from '../../host/src/events/event.js';
import { eventId, wallTime } from '../../host/src/events/event-id.js';
import type { OutgoingEvent } from '../../host/src/events/outgoing.js';
import type { ProcessStart } from '../../host/src/events/raw-event.js';
import { EventType } from '../../host/src/gen/events.js';
import { Kind, PeerOffset, ProcHow, Role, TlsDataOffset } from '../../host/src/gen/records.js';
import { Correlator } from '../../host/src/transforms/correlate/index.js';
import { containerId } from '../../host/src/transforms/enrich/container.js';
import { peerOf } from '../../host/src/transforms/enrich/peer.js';
import { ProcessTable } from '../../host/src/transforms/enrich/process-table.js';
import { sealedAndOpened } from '../lib/outgoing.js';

describe('an event id', () => {
  it('is a ULID that begins with its time', () => {
    const id = eventId(1469918176385, 'x');
    assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    // The time part of the example in the ULID specification.
    assert.equal(id.slice(0, 10), '01ARYZ6S41');
  });
  it('is the same for the same event and another for another', () => {
    assert.equal(eventId(5, 'a'), eventId(5, 'a'));
    assert.notEqual(eventId(5, 'a'), eventId(5, 'b'));
    assert.ok(eventId(5, 'a') < eventId(6, 'a'));
  });
});

it('wall time has microseconds', () => assert.equal(wallTime(1_700_000_000_123_456_789n), '2023-11-14T22:13:20.123456Z'));

const start = (tgid: number, ppid: number, over: Partial<ProcessStart> = {}): ProcessStart => ({
  how: ProcHow.exec,
  ts: 100n,
  tgid,
  ppid,
  startNs: BigInt(tgid) * 1_000_000_000n,
  parentStartNs: 0n,
  uid: 0,
  gid: 0,
  comm: `c${tgid}`,
  exe: `/bin/p${tgid}`,
  args: [`p${tgid}`, 'x'],
  cwd: '/tmp',
  cgroup: '/',
  flags: 0,
  ...over,
});

describe('the process table', () => {
  it('tells of a process, its parent and its ancestors', () => {
    const table = new ProcessTable();
    table.start(start(1, 0));
    table.start(start(2, 1));
    table.start(start(3, 2));
    const told = table.describe(3, 3_000_000_000n);
    assert.equal(told?.exe, '/bin/p3');
    assert.equal(told?.cmdline, 'p3 x');
    assert.deepEqual(told?.parent, { pid: 2, exe: '/bin/p2', name: 'p2', cmdline: 'p2 x' });
    assert.deepEqual(
      told?.ancestors?.map(({ pid }) => pid),
      [2, 1],
    );
  });
  it('gives a forked process what its parent had', () => {
    const table = new ProcessTable();
    table.start(start(2, 1));
    table.start(start(9, 2, { how: ProcHow.fork, exe: null, args: null, cwd: null, cgroup: null }));
    assert.equal(table.describe(9, 9_000_000_000n)?.exe, '/bin/p2');
  });
  it('does not mix up two processes that had the same pid', () => {
    const table = new ProcessTable();
    table.start(start(7, 1, { startNs: 5n }));
    assert.equal(table.describe(7, 6n), undefined);
    table.start(start(7, 1, { startNs: 6n, exe: '/bin/new' }));
    assert.equal(table.describe(7, 6n)?.exe, '/bin/new');
    assert.equal(table.describe(7, 5n), undefined);
  });
  it('finds a snapshot entry although /proc rounds its start time', () => {
    const table = new ProcessTable();
    table.start(start(7, 1, { how: ProcHow.snapshot, startNs: 1_230_000_000n }));
    assert.equal(table.describe(7, 1_234_567_890n)?.exe, '/bin/p7');
    assert.equal(table.describe(7, 1_244_567_890n), undefined);
  });
  it('does not take a younger process for a parent', () => {
    const table = new ProcessTable();
    table.start(start(50, 1));
    table.start(start(3, 50));
    assert.equal(table.describe(3, 3_000_000_000n)?.parent, undefined);
  });
  it('stays within its bound, drops ended ones first and counts them', () => {
    const table = new ProcessTable(10);
    for (let pid = 1; pid <= 10; pid++) table.start(start(pid, 0));
    table.end({ ts: 1n, tgid: 4, startNs: 4_000_000_000n });
    for (let pid = 11; pid <= 11; pid++) table.start(start(pid, 0));
    assert.equal(table.describe(4, 4_000_000_000n), undefined);
    for (let pid = 12; pid <= 100; pid++) table.start(start(pid, 0));
    assert.equal(table.counters().entries, 10);
    assert.equal(table.counters().evicted, 90);
  });
});

it('container ids are read from what Docker, containerd, CRI-O and Podman write', () => {
  const id = '0123456789abcdef'.repeat(4);
  for (const path of [
    `/docker/${id}`,
    `/system.slice/docker-${id}.scope`,
    `/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope`,
    `/crio-${id}.scope/container`,
    `/user.slice/libpod-${id}.scope`,
  ]) {
    assert.equal(containerId(path), id, path);
  }
  assert.equal(containerId('/user.slice/user-0.slice/session-1.scope'), undefined);
});

describe('correlation', () => {
  const made = (type: string, id: string, exchange: string | null): OutgoingEvent =>
    sealedAndOpened([{ event: { event_id: id, event_type: type, data: {} } as OispEvent, exchange }])[0] as OutgoingEvent;
  const linked = (correlator: Correlator, event: OutgoingEvent) => {
    correlator.add(event);
    return event.parse().related_events;
  };
  it('links a response to its request, and each tool call to the response', () => {
    const correlator = new Correlator();
    correlator.add(made(EventType.ai_request, 'q', 'c:0'));
    assert.deepEqual(linked(correlator, made(EventType.ai_response, 'r', 'c:0')), [{ event_id: 'q', relationship: 'parent' }]);
    for (const id of ['t1', 't2']) assert.deepEqual(linked(correlator, made(EventType.tool_call, id, 'c:0')), [{ event_id: 'r', relationship: 'caused_by' }]);
    assert.equal(correlator.counters().linked, 3);
  });
  it('links a result to its call, over exchanges, but not over processes', () => {
    const correlator = new Correlator(2);
    const called = (type: string, id: string, pid: number, call: string, exchange: string) =>
      sealedAndOpened([
        { event: { event_id: id, event_type: type, process: { pid }, data: { call_id: call } } as unknown as OispEvent, exchange },
      ])[0] as OutgoingEvent;
    for (const id of ['1', '2']) correlator.add(called(EventType.tool_call, `call ${id}`, 7, id, 'c:0'));
    assert.deepEqual(linked(correlator, called(EventType.tool_result, 'r', 7, '1', 'c:1')), [{ event_id: 'call 1', relationship: 'parent' }]);
    assert.equal(linked(correlator, called(EventType.tool_result, 'r', 8, '1', 'c:1')), undefined);
    correlator.add(called(EventType.tool_call, 'call 3', 7, '3', 'c:0'));
    assert.equal(linked(correlator, called(EventType.tool_result, 'r', 7, '1', 'c:1')), undefined, 'the oldest is forgotten at the bound');
    assert.equal(correlator.counters().calls, 2);
  });
  it('does not link across exchanges, and forgets the oldest at its bound', () => {
    const correlator = new Correlator(2);
    for (const exchange of ['c:0', 'c:1', 'c:2']) correlator.add(made(EventType.ai_request, exchange, exchange));
    assert.equal(linked(correlator, made(EventType.ai_response, 'r', 'c:0')), undefined);
    assert.ok(correlator.counters().evicted >= 1);
    assert.equal(correlator.counters().exchanges, 2);
  });
});

describe('a peer', () => {
  /** The fixed part of a tls.data record with a peer. */
  function record(family: number, remote: readonly number[], over: { role?: number; since?: bigint; protocol?: number } = {}): Uint8Array {
    const bytes = Buffer.alloc(TlsDataOffset.SIZE);
    const at = TlsDataOffset.peer;
    bytes.writeUInt16LE(family, at + PeerOffset.family);
    bytes[at + PeerOffset.protocol] = over.protocol ?? 6;
    bytes[at + PeerOffset.role] = over.role ?? Role.unknown;
    bytes.writeUInt16LE(40_000, at + PeerOffset.local_port);
    bytes.writeUInt16LE(443, at + PeerOffset.remote_port);
    bytes.set([127, 0, 0, 1], at + PeerOffset.local_addr);
    bytes.set(remote, at + PeerOffset.remote_addr);
    bytes.writeBigUInt64LE(over.since ?? 0n, TlsDataOffset.since_ns);
    return bytes;
  }
  const ip6 = (text: string) => text.split(':').flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]);

  it('is told with its addresses, role and time', () => {
    const bytes = record(2, [104, 18, 7, 192], { role: Role.client, since: 5_000_000_000n });
    assert.deepEqual(peerOf(Kind.tls_data, bytes, 1_700_000_000_000_000_000n), {
      ip: '104.18.7.192',
      port: 443,
      local_ip: '127.0.0.1',
      local_port: 40_000,
      protocol: 'tcp',
      role: 'client',
      since: '2023-11-14T22:13:25.000000Z',
    });
  });
  it('that is not known is left out', () => {
    assert.equal(peerOf(Kind.tls_data, record(0, []), 0n), undefined);
    assert.equal(peerOf(Kind.sys_exec, record(2, [1, 2, 3, 4]), 0n), undefined);
    assert.equal(peerOf(Kind.tls_data, record(2, [1, 2, 3, 4]).subarray(0, 60), 0n), undefined);
  });
  it('on a Unix socket has no address', () => assert.deepEqual(peerOf(Kind.tls_data, record(1, []), 0n), { protocol: 'unix' }));
  for (const [groups, text] of [
    ['2606:4700:0:0:0:0:6812:7c0', '2606:4700::6812:7c0'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['2001:db8:0:0:0:0:0:0', '2001:db8::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ] as const) {
    it(`writes ${groups} as ${text}`, () => assert.equal(peerOf(Kind.tls_data, record(10, ip6(groups)), 0n)?.ip, text));
  }
});
