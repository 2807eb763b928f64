// The socket behind every TLS connection, on both of its ends, against the server's own log: never a wrong one, and none missing once the first exchange is over.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Direction, Kind, PeerOffset, Role, TlsDataOffset } from '../../host/src/gen/records.js';
import { PROGRAMS } from '../lib/clients.js';
import { mustProbe, ROOT } from '../lib/run.js';
import { Capture, installedLibraries, type SeenRecord } from './native-kit.js';

const NODES = 2;
const NODE_CONNECTIONS = 24;
const PYTHON_CONNECTIONS = 8;
const ROUNDS = 6;
const CURL_CALLS = 5;
const TCP = 6;
const AF_INET = 2;

/** A program under way. */
interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves with what it printed once the pattern is in it; rejects when it ends before. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with everything it printed when it has ended well. */
  readonly ended: Promise<string>;
}

function run(program: string, args: readonly string[]): Running {
  const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
  let out = '';
  child.stdout.on('data', (part: Buffer) => (out += part.toString()));
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => (code === 0 ? resolve(out) : reject(new Error(`${program} ${args[0]} ended with ${signal ?? code}`))));
  });
  ended.catch(() => undefined);
  const printed = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(out);
        if (match) resolve(match);
      };
      child.stdout.on('data', look);
      look();
      ended.then(() => reject(new Error(`${program} ended without printing ${pattern}`)), reject);
    });
  return { child, pid: child.pid ?? -1, printed, ended };
}

const clientScript = (name: string) => join(ROOT, 'test', 'lib', 'clients', name);

/** The programs of one observation: a server in a process of its own, so that its end is seen too, and clients that share it. */
class Traffic {
  readonly server: Running;
  readonly plain: Server;
  port = 0;
  clients: Running[] = [];
  /** Port of the client by mark, as the server's log has it. */
  readonly log = new Map<string, number>();

  constructor() {
    this.server = run(process.execPath, [join(ROOT, 'dist', 'test', 'mock', 'main.js')]);
    // Idle connections stay: the clients may have to wait for the sensor.
    this.plain = createServer({ keepAliveTimeout: 120_000 }, (request, response) => request.resume().once('end', () => response.end('plain')));
  }

  async listen(): Promise<void> {
    this.port = Number((await this.server.printed(/listening on https:\/\/127\.0\.0\.1:(\d+)/))[1]);
    await new Promise<void>((resolve) => this.plain.listen(0, '127.0.0.1', resolve));
  }

  /** @param wait the keep-alive clients stop after their first round, until go(). */
  startClients(wait: boolean): void {
    const url = `https://127.0.0.1:${this.port}`;
    const plainUrl = `http://127.0.0.1:${(this.plain.address() as AddressInfo).port}`;
    const last = wait ? ['wait'] : [];
    for (let i = 0; i < NODES; i++) {
      this.clients.push(run(process.execPath, [clientScript('keep-alive.mjs'), url, plainUrl, `node${i}`, String(NODE_CONNECTIONS), String(ROUNDS), ...last]));
    }
    this.clients.push(run(PROGRAMS.python, [clientScript('keep-alive.py'), String(this.port), 'python', String(PYTHON_CONNECTIONS), String(ROUNDS), ...last]));
  }

  startCurl(): void {
    const call = (i: number) => ['--next', '-sk', '--http1.1', '-d', 'x', '-o', '/dev/null', `https://127.0.0.1:${this.port}/sink?id=curl-${i}-0.`];
    const calls = Array.from({ length: CURL_CALLS }, (_, i) => call(i)).flat();
    this.clients.push(run(PROGRAMS.curl, calls.slice(1)));
  }

  /** Lets waiting clients go on, once all have made their first round. */
  async waiting(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.printed(/waiting/)));
  }

  go(): void {
    for (const { child } of this.clients) child.stdin?.end('go\n');
  }

  /** Ends when every client has, and checks that all had their answers. */
  async end(): Promise<void> {
    const printed = await Promise.all(this.clients.map((client) => client.ended));
    const answered = printed.map((text) => Number(text.trim().split('\n').at(-1)));
    assert.deepEqual(answered.slice(0, NODES + 1), [...Array.from({ length: NODES }, () => NODE_CONNECTIONS * ROUNDS), PYTHON_CONNECTIONS * ROUNDS]);
    this.server.child.kill('SIGTERM');
    for (const match of (await this.server.ended).matchAll(/\/sink\?id=([\w-]+)\. from port (\d+)/g)) this.log.set(match[1]!, Number(match[2]));
    this.plain.close();
  }

  kill(): void {
    for (const { child } of [this.server, ...this.clients]) child.kill('SIGKILL');
    this.plain.close();
  }
}

async function startCapture(): Promise<Capture> {
  const capture = new Capture({ ringBytes: 32 << 20 });
  for (const file of [...(await installedLibraries(['openssl'])), process.execPath]) capture.attach(file);
  capture.start();
  return capture;
}

/** One end of a connection: its records in order, and the client's port that the server's log has for what it carried. */
interface End {
  readonly records: SeenRecord[];
  readonly port: number;
  readonly server: boolean;
}

/** The marks of the requests that went through: the connection's own account of which exchanges were its. */
function marksOf(records: readonly SeenRecord[], direction: number): string[] {
  const bytes = Buffer.concat(records.filter((r) => r.fields['direction'] === direction).map((r) => r.payload)).toString('latin1');
  return [...bytes.matchAll(/POST \/sink\?id=([\w-]+)\./g)].map((match) => match[1]!);
}

function endsOf(records: readonly SeenRecord[], traffic: Traffic): End[] {
  const found = new Map<string, SeenRecord[]>();
  for (const record of records.filter((r) => r.kind === Kind.tls_data)) {
    const { tgid, ssl, generation } = record.fields;
    const key = `${tgid}/${ssl}/${generation}`;
    found.set(key, [...(found.get(key) ?? []), record]);
  }
  return [...found.values()].map((own) => {
    const server = own[0]!.fields['tgid'] === traffic.server.pid;
    const ports = new Set(marksOf(own, server ? Direction.read : Direction.write).map((mark) => traffic.log.get(mark)));
    assert.equal(ports.size, 1, `one connection of a process is one connection of the server: ${[...ports].join()}`);
    return { records: own, port: [...ports][0]!, server };
  });
}

interface Peer {
  readonly family: number;
  readonly protocol: number;
  readonly localPort: number;
  readonly remotePort: number;
  readonly local: string;
  readonly remote: string;
  readonly role: number;
}

function peerOf({ bytes }: SeenRecord): Peer {
  const at = TlsDataOffset.peer;
  const address = (offset: number) => [...bytes.subarray(at + offset, at + offset + 4)].join('.');
  return {
    family: bytes.readUInt16LE(at + PeerOffset.family),
    protocol: bytes[at + PeerOffset.protocol]!,
    localPort: bytes.readUInt16LE(at + PeerOffset.local_port),
    remotePort: bytes.readUInt16LE(at + PeerOffset.remote_port),
    local: address(PeerOffset.local_addr),
    remote: address(PeerOffset.remote_addr),
    role: bytes[at + PeerOffset.role]!,
  };
}

const isBound = (record: SeenRecord) => peerOf(record).family !== 0;

/** @param seen the sensor saw the connections begin, so that it knows which end is which. */
function assertNoneWrong(ends: readonly End[], port: number, seen: boolean): void {
  const here = '127.0.0.1';
  for (const end of ends) {
    const [localPort, remotePort] = end.server ? [port, end.port] : [end.port, port];
    const role = seen ? (end.server ? Role.server : Role.client) : Role.unknown;
    const right: Peer = { family: AF_INET, protocol: TCP, localPort, remotePort, local: here, remote: here, role };
    for (const record of end.records) if (isBound(record)) assert.deepEqual(peerOf(record), right, `${end.server ? 'server' : 'client'} ${record.comm}`);
  }
}

/** Counts records up to the first answer, and after it. @returns the share of the first that name a socket. */
function assertAllAfterFirstExchange(ends: readonly End[], t: TestContext): number {
  const early = { all: 0, bound: 0 };
  const late = { all: 0, bound: 0 };
  for (const { records, server } of ends) {
    const firstAnswer = records.findIndex((r) => r.fields['direction'] === (server ? Direction.write : Direction.read));
    assert.ok(firstAnswer > 0, 'a connection begins with a request and has an answer');
    records.forEach((record, i) => {
      const count = i <= firstAnswer ? early : late;
      count.all++;
      if (isBound(record)) count.bound++;
    });
  }
  t.diagnostic(`up to the first answer: ${early.bound} of ${early.all}, after: ${late.bound} of ${late.all}`);
  assert.ok(late.all > 1000, `${late.all} records after the first exchange`);
  assert.equal(late.bound, late.all);
  return early.bound / early.all;
}

const KEEP_ALIVE = NODES * NODE_CONNECTIONS + PYTHON_CONNECTIONS;

describe('peers of 48 node, 8 asyncio and one curl connection, from both ends', { timeout: 120_000 }, () => {
  const traffic = new Traffic();
  let capture: Capture;
  let stopped: Promise<SeenRecord[]> | undefined;
  let ends: End[];
  before(async () => {
    mustProbe();
    await traffic.listen();
    capture = await startCapture();
    traffic.startClients(false);
    traffic.startCurl();
    await traffic.end();
    stopped = capture.stop();
    ends = endsOf(await stopped, traffic);
  });
  after(async () => {
    traffic.kill();
    await (stopped ?? capture?.stop());
  });

  it('sees every connection that the server saw, twice', () => {
    const ports = [...new Set(traffic.log.values())].toSorted((a, b) => a - b);
    for (const server of [false, true]) {
      assert.deepEqual(
        ends
          .filter((end) => end.server === server)
          .map(({ port }) => port)
          .toSorted((a, b) => a - b),
        ports,
      );
    }
    assert.equal(ports.length, KEEP_ALIVE + 1);
  });

  it('names no wrong socket on any record', () => {
    assertNoneWrong(ends, traffic.port, true);
    assert.equal(capture.ledger('conn_mismatch').records, 0, 'no evidence contradicted another');
  });

  it('names the socket on every record once the first exchange is over, and nearly always before', (t) => {
    assert.ok(assertAllAfterFirstExchange(ends, t) >= 0.95);
    assert.equal(capture.ledger('conn_bound').records, ends.length, 'bound once each');
  });
});

describe('peers of connections that are older than the sensor', { timeout: 120_000 }, () => {
  const traffic = new Traffic();
  let capture: Capture;
  let stopped: Promise<SeenRecord[]> | undefined;
  let ends: End[];
  before(async () => {
    mustProbe();
    await traffic.listen();
    traffic.startClients(true);
    await traffic.waiting();
    capture = await startCapture();
    traffic.go();
    await traffic.end();
    stopped = capture.stop();
    ends = endsOf(await stopped, traffic);
  });
  after(async () => {
    traffic.kill();
    await (stopped ?? capture?.stop());
  });

  it('names no wrong socket on any record', () => {
    assert.equal(ends.length, 2 * KEEP_ALIVE);
    assertNoneWrong(ends, traffic.port, false);
    assert.equal(capture.ledger('conn_mismatch').records, 0);
  });

  it('names the socket on every record once the first exchange seen is over', (t) => {
    assertAllAfterFirstExchange(ends, t);
  });
});
