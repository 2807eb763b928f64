// Which evidence joins a connection with a socket, and which must not: a program of known steps, where the wrong answer is always at hand.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Kind, PeerOffset, TlsDataOffset } from '../../host/src/gen/records.js';
import { mustProbe } from '../lib/run.js';
import { Capture, compileFixture, Fixture } from './native-kit.js';

let fixture = '';
before(() => {
  mustProbe();
  fixture = compileFixture('native-peers');
});

const DATA = 23;
const HANDSHAKE = 22;
const TELL = 7;

interface Outcome {
  /** Socket of each connection that was asked (tell:C), by what its record says; undefined: not known. */
  readonly sockets: Record<number, number | undefined>;
  readonly bound: number;
  readonly mismatches: number;
}

async function outcome(steps: string): Promise<Outcome> {
  const capture = new Capture();
  capture.attach(fixture);
  capture.start();
  const program = new Fixture(fixture, ...steps.split(/\s+/));
  const ports = (await program.go()).trim().split(' ').map(Number);
  await program.end();
  const bound = capture.ledger('conn_bound').records;
  const mismatches = capture.ledger('conn_mismatch').records;
  assert.equal(capture.ledger('frame_lost').records, 0);
  const told = (await capture.stop()).filter((r) => r.kind === Kind.tls_data && r.payload.length === TELL && r.payload[0]! < 8);
  const sockets: Record<number, number | undefined> = {};
  for (const { payload, bytes } of told) {
    const family = bytes.readUInt16LE(TlsDataOffset.peer + PeerOffset.family);
    const port = bytes.readUInt16LE(TlsDataOffset.peer + PeerOffset.local_port);
    if (family === 2) assert.ok(port > 0 && ports.includes(port), `port ${port} of ${ports.join()}`);
    sockets[payload[0]!] = family === 2 ? ports.indexOf(port) : undefined;
  }
  return { sockets, bound, mismatches };
}

/** What a run of steps must find. */
const CASES: Record<string, { steps: string; sockets: Record<number, number | undefined>; bound?: number; mismatches?: number }> = {
  'given: SSL_set_fd': { steps: 'open:0 open:1 fd:0:1 tell:0', sockets: { 0: 1 } },
  'given before it is connected: the address comes with the first record': {
    steps: `later:0 fd:0:0 connect:0 hand:0:1{ send:0:${HANDSHAKE}:300 } tell:0`,
    sockets: { 0: 0 },
  },
  'given twice: the later one': { steps: 'open:0 open:1 fd:0:0 fd:0:1 tell:0', sockets: { 0: 1 }, bound: 1 },
  'nested: a record sent inside a handshake': { steps: `open:0 open:1 hand:0:-1{ send:1:${HANDSHAKE}:300 } tell:0`, sockets: { 0: 1 } },
  'nested: a record received inside a read': { steps: `open:0 open:1 read:0:100{ receive:1:${DATA}:300 } tell:0`, sockets: { 0: 1 } },
  'not nested: what does not look like TLS': { steps: 'open:0 read:0:-1{ send:0:80:300 receive:0:72:300 } tell:0', sockets: { 0: undefined }, bound: 0 },
  'not nested: a Unix socket': { steps: `unix:0 read:0:-1{ send:0:${DATA}:300 receive:0:${DATA}:300 } tell:0`, sockets: { 0: undefined }, bound: 0 },
  'not nested: what a callback inside the call has sealed for another connection': {
    steps: `open:0 open:1 read:0:-1{ write:1:100 send:1:${DATA}:117 } tell:0 tell:1`,
    sockets: { 0: undefined, 1: 1 },
  },
  'TLS inside TLS: both have the socket': {
    steps: `open:0 write:0:300{ write:1:400{ send:0:${DATA}:417 } } tell:0 tell:1`,
    sockets: { 0: 0, 1: 0 },
  },
  'sent: the record fits what was written': { steps: `open:0 open:1 write:0:300 send:1:${DATA}:317 tell:0`, sockets: { 0: 1 } },
  'sent: the first record of a long call, and of two calls': {
    steps: `open:0 open:1 write:0:40000 write:0:5 send:0:${DATA}:16401 write:1:9 write:1:5000 send:1:${DATA}:33 tell:0 tell:1`,
    sockets: { 0: 0, 1: 1 },
  },
  'not sent: a record too short or too long': {
    steps: `open:0 write:0:300 send:0:${DATA}:315 write:0:300 send:0:${DATA}:381 tell:0`,
    sockets: { 0: undefined },
  },
  'not sent: not the first send': { steps: `open:0 open:1 write:0:300 send:0:80:300 send:1:${DATA}:317 tell:0`, sockets: { 0: undefined } },
  'not sent: two connections wrote before': {
    steps: `open:0 write:0:300 write:1:300 send:0:${DATA}:317 tell:0 tell:1`,
    sockets: { 0: undefined, 1: undefined },
  },
  'not sent: the socket is another connection’s': {
    steps: `open:0 fd:0:0 write:1:300 send:0:${DATA}:317 tell:0 tell:1`,
    sockets: { 0: 0, 1: undefined },
  },
  'handshake: a handshake record right after the first call': { steps: `open:0 open:1 read:0:-1 send:1:${HANDSHAKE}:300 tell:0`, sockets: { 0: 1 } },
  'not handshake: any other record': { steps: `open:0 read:0:-1 send:0:${DATA}:300 tell:0`, sockets: { 0: undefined } },
  'received: the connection that reads next': {
    steps: `open:0 open:1 hand:0:-1 receive:1:${HANDSHAKE}:300 read:0:-1 tell:0`,
    sockets: { 0: 1 },
  },
  'received, and joined midway: data only': {
    steps: `open:0 open:1 hand:2:-1 receive:0:${DATA}:300 read:0:100 receive:1:${HANDSHAKE}:300 read:1:100 tell:0 tell:1`,
    sockets: { 0: 0, 1: undefined },
  },
  'received once: the second that reads gets nothing': {
    steps: `open:0 hand:1:-1 hand:0:-1 receive:0:${DATA}:300 read:0:100 read:1:-1 tell:0 tell:1`,
    sockets: { 0: 0, 1: undefined },
  },
  'received: a connection with another socket does not take it': {
    steps: `open:0 open:1 fd:1:1 hand:0:-1 receive:0:${DATA}:300 read:1:-1 read:0:100 tell:0 tell:1`,
    sockets: { 0: 0, 1: 1 },
  },
  'received: only the last counts, and only if it looks like TLS': {
    steps: `open:0 open:1 hand:0:-1 receive:0:${DATA}:300 receive:1:72:300 read:0:100 tell:0`,
    sockets: { 0: undefined },
  },
  'received: the rest of a record leaves its head as it is': {
    steps: `open:0 hand:0:-1 receive:0:${DATA}:3000 receive:0:72:300 read:0:100 tell:0`,
    sockets: { 0: 0 },
  },
  'stronger evidence replaces weaker, and is counted': {
    steps: `open:0 open:1 hand:0:-1 receive:0:${DATA}:300 read:0:100 write:0:300 send:1:80:9 write:0:300 send:1:${DATA}:317 tell:0`,
    sockets: { 0: 1 },
    bound: 1,
    mismatches: 1,
  },
  'equal evidence does not, and is counted': {
    steps: `open:0 open:1 hand:0:-1{ send:0:${HANDSHAKE}:300 } hand:0:-1{ send:1:${HANDSHAKE}:300 } tell:0`,
    sockets: { 0: 0 },
    bound: 1,
    mismatches: 1,
  },
  'weaker evidence says nothing': {
    steps: `open:0 open:1 fd:0:0 write:0:300 send:1:${DATA}:317 receive:1:${DATA}:300 read:0:100 tell:0`,
    sockets: { 0: 0 },
    bound: 1,
  },
  'a closed socket gives way to equal evidence': {
    steps: `open:0 open:1 hand:0:-1{ send:0:${HANDSHAKE}:300 } close:0 hand:0:-1{ send:1:${HANDSHAKE}:300 } tell:0`,
    sockets: { 0: 1 },
    bound: 1,
  },
  'SSL_clear before any payload keeps the socket: a handshake begins with it': { steps: 'open:0 fd:0:0 clear:0 tell:0', sockets: { 0: 0 } },
  'SSL_clear drops the socket': { steps: 'open:0 fd:0:0 tell:0 clear:0 tell:0', sockets: { 0: undefined }, bound: 1 },
  'SSL_free drops it, and the socket is free for another connection': {
    steps: `open:0 fd:0:0 free:0 write:1:300 send:0:${DATA}:317 tell:0 tell:1`,
    sockets: { 0: undefined, 1: 0 },
    bound: 2,
  },
};

for (const [name, { steps, sockets, bound, mismatches = 0 }] of Object.entries(CASES)) {
  test(name, async () => {
    const found = await outcome(steps);
    assert.deepEqual(found.sockets, sockets);
    assert.equal(found.mismatches, mismatches, 'mismatches');
    assert.equal(found.bound, bound ?? Object.values(sockets).filter((socket) => socket !== undefined).length, 'bound');
  });
}
