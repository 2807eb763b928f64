// The eBPF source against the running kernel: real programs speak TLS on loopback, and their plaintext comes out as records.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Unpackr } from 'msgpackr';
import { HostError } from '../../host/src/errors.js';
import type { RecordBatch, SourceStats } from '../../host/src/events/source.js';
import { Direction, Kind, RecHeaderOffset, TlsDataOffset } from '../../host/src/gen/records.js';
import { type EbpfOptions, EbpfSource, readHostContext } from '../../host/src/sources/ebpf/index.js';
import { preflight } from '../../host/src/sources/ebpf/preflight.js';
import { Recorder, ReplaySource } from '../../host/src/sources/replay/index.js';
import { type Certificate, makeCertificate } from '../lib/tls.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const paths = { objectPath: join(ROOT, 'dist/bpf/oisp.bpf.o'), addonPath: join(ROOT, 'dist/native/oisp_native.node') };
const usable = existsSync(paths.objectPath) && existsSync(paths.addonPath) && process.getuid?.() === 0 && existsSync('/usr/bin/curl');
const EVERYBODY = { all: true, pids: [], comms: [] };
const NOBODY = { all: false, pids: [], comms: [] };

/** Collects what a source gives, and gives credit at once. */
class Capture {
  readonly source: EbpfSource;
  readonly batches: RecordBatch[] = [];

  constructor(options: Partial<EbpfOptions> = {}) {
    this.source = new EbpfSource({ ...paths, shards: 1, scope: EVERYBODY, ...options });
  }

  async start(): Promise<void> {
    await this.source.start(
      (batch) => {
        this.batches.push(batch);
        this.source.credit(batch.shard, batch.bytes.length);
      },
      () => assert.fail('the kernel does not end'),
    );
  }

  records(): [number, unknown][] {
    const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });
    return this.batches.flatMap(({ bytes }) => unpackr.unpackMultiple(bytes) as [number, unknown][]);
  }

  /** Plaintext of one process and direction, put together by stream offset. */
  plaintext(tgid: number | undefined, direction: number): string {
    return this.records()
      .filter(([kind]) => kind === Kind.tls_data)
      .map(([, record]) => Buffer.from(record as Uint8Array))
      .filter((r) => (tgid === undefined || r.readUInt32LE(RecHeaderOffset.tgid) === tgid) && r[TlsDataOffset.direction] === direction)
      .map((r) => r.toString('latin1', TlsDataOffset.SIZE))
      .join('');
  }
}

const kernel = (stats: SourceStats, bucket: string): { calls: number; bytes: number } =>
  (stats['kernel'] as SourceStats)[bucket] as unknown as { calls: number; bytes: number };

/** Asks again for up to three seconds. */
async function until<T>(ask: () => T | undefined): Promise<T | undefined> {
  for (let i = 0; i < 300 && ask() === undefined; i += 1) await sleep(10);
  return ask();
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((done) => child.once('exit', done));
}

describe('eBPF source', { skip: usable ? false : 'needs root, curl, and the built object and addon' }, () => {
  let certificate: Certificate;
  let server: Server;
  let port = 0;
  let directory = '';
  /** Answers that wait until a test lets them go. */
  let held: (() => void)[] = [];

  before(async () => {
    certificate = makeCertificate();
    directory = mkdtempSync(join(tmpdir(), 'oisp-source-'));
    server = createServer({ key: certificate.key, cert: certificate.cert }, (request, response) => {
      request.resume();
      const answer = (): void => void response.end(`answer to ${request.url}`);
      if (request.url?.startsWith('/hold')) held.push(answer);
      else answer();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    port = (server.address() as AddressInfo).port;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    certificate.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const curl = (args: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess =>
    spawn('/usr/bin/curl', ['-sS', '--http1.1', '--cacert', certificate.certPath, '-o', '/dev/null', ...args], { stdio: ['ignore', 'ignore', 'inherit'], env });
  /** Waits until that many programs hang at /hold. */
  const hanging = async (count: number): Promise<void> => {
    while (held.length < count) await sleep(5);
  };
  const release = (): void => {
    for (const answer of held) answer();
    held = [];
  };
  const url = (path: string): string => `https://127.0.0.1:${port}${path}`;

  test('curl: request and answer come out, after the snapshot, and every byte is accounted for', async () => {
    const capture = new Capture();
    await capture.start();
    const child = curl([url('/everything?token=42')]);
    await ended(child);
    await capture.source.stop();

    assert.match(capture.plaintext(child.pid, Direction.write), /^GET \/everything\?token=42 HTTP\/1\.1\r\n/);
    assert.match(capture.plaintext(child.pid, Direction.read), /answer to \/everything\?token=42$/);
    const kinds = capture.records().map(([kind]) => kind);
    assert.equal(kinds[0], Kind.sys_proc);
    assert.ok(kinds.includes(Kind.sys_exec) && kinds.includes(Kind.tls_close));

    const stats = capture.source.stats();
    const emitted = kernel(stats, 'emitted');
    assert.equal(
      kernel(stats, 'seen').bytes,
      emitted.bytes + kernel(stats, 'truncated').bytes + kernel(stats, 'ring_full').bytes + kernel(stats, 'fault').bytes,
    );
    assert.equal(
      capture.batches.reduce((sum, b) => sum + b.payloadBytes, 0),
      emitted.bytes,
    );
    // The server is this very process.
    assert.ok(kernel(stats, 'own').calls > 0);
    assert.equal((stats['process_peek'] as SourceStats)['unreadable'], 0);
    // What does not lie in shared memory can be transferred.
    for (const { bytes, slot } of capture.batches) assert.ok(slot !== undefined || bytes.byteLength === bytes.buffer.byteLength);
  });

  test('only the observed command is captured, with what it starts', async () => {
    const capture = new Capture({ scope: NOBODY, command: 'sh' });
    await capture.start();
    const before = curl([url('/stranger')]);
    await ended(before);
    capture.source.observeChildren();
    const line = `/usr/bin/curl -sS --cacert ${certificate.certPath} -o /dev/null ${url('/observed')}; true`;
    await ended(spawn('/bin/sh', ['-c', line], { stdio: 'ignore' }));
    capture.source.stopObserving();
    const later = curl([url('/later')]);
    await ended(later);
    await capture.source.stop();
    const all = capture.plaintext(undefined, Direction.write);
    assert.match(all, /\/observed/);
    assert.doesNotMatch(all, /\/stranger|\/later/);
    assert.ok(kernel(capture.source.stats(), 'out_of_scope').calls > 0);
  });

  test('a process in scope by id is captured with what it started before, another is not', async () => {
    const line = `/usr/bin/curl -sS --cacert ${certificate.certPath} -o /dev/null ${url('/hold/1')} -o /dev/null ${url('/named/2')}; true`;
    const shell = spawn('/bin/sh', ['-c', line], { stdio: 'ignore' });
    const other = curl([url('/hold/3'), '-o', '/dev/null', url('/stranger/4')]);
    await hanging(2);
    const capture = new Capture({ scope: { all: false, pids: [shell.pid as number], comms: [] } });
    await capture.start();
    release();
    await Promise.all([ended(shell), ended(other)]);
    await capture.source.stop();
    assert.match(capture.plaintext(undefined, Direction.write), /GET \/named\/2 /);
    assert.doesNotMatch(capture.plaintext(undefined, Direction.write), /stranger/);
  });

  test('a private copy of libssl is found while its process runs', async () => {
    const library = realpathSync('/usr/lib/x86_64-linux-gnu/libssl.so.3');
    const copy = join(realpathSync(directory), 'libssl.so.3');
    copyFileSync(library, copy);
    const capture = new Capture();
    await capture.start();
    const child = curl([url('/hold/a'), '-o', '/dev/null', url('/private')], { ...process.env, LD_LIBRARY_PATH: directory });
    await hanging(1);
    const found = await until(() => capture.source.targets().find((target) => target.path === copy));
    release();
    await ended(child);
    await capture.source.stop();
    assert.ok(found !== undefined, JSON.stringify(capture.source.stats()['discovery']));
    assert.ok(found.functions.some((f) => f.func === 'ssl_write' && f.attached));
    assert.deepEqual(
      found.functions.filter((f) => !f.attached && f.detail !== 'symbol missing'),
      [],
    );
    assert.match(capture.plaintext(child.pid, Direction.write), /GET \/private /);
  });

  test('an unknown executable that carries TLS is probed when it is executed', async () => {
    const copy = join(directory, 'my-agent');
    copyFileSync(process.execPath, copy);
    const capture = new Capture();
    await capture.start();
    const script = `process.env.NODE_TLS_REJECT_UNAUTHORIZED='0'; setTimeout(() => require('https').get('${url('/agent')}', (r) => r.resume()), 500)`;
    const child = spawn(copy, ['--no-warnings', '-e', script], { stdio: 'ignore' });
    await ended(child);
    await capture.source.stop();
    assert.match(capture.plaintext(child.pid, Direction.write), /GET \/agent /);
  });

  test('what is recorded beside the live pipeline is replayed the same', async () => {
    const path = join(directory, 'recording');
    const recorder = await Recorder.open(path, await readHostContext(), 2);
    const source = new EbpfSource({ ...paths, shards: 2, scope: EVERYBODY });
    const live: RecordBatch[] = [];
    await source.start(
      (batch) => {
        recorder.write(batch);
        live.push(batch);
        source.credit(batch.shard, batch.bytes.length);
      },
      () => undefined,
    );
    await ended(curl([url('/recorded')]));
    await source.stop();
    await recorder.close();
    const replay = await ReplaySource.open(path);
    const again: RecordBatch[] = [];
    const error = await new Promise<Error | undefined>((done) => {
      void replay.start((batch) => {
        again.push(batch);
        replay.credit(batch.shard, batch.bytes.length);
      }, done);
    });
    await replay.stop();
    assert.equal(error, undefined);
    // A recording does not keep which kinds a batch holds, nor where it lay: both only spare work.
    assert.deepEqual(
      again,
      live.map(({ kinds: _, slot: __, bytes, ...kept }) => ({ ...kept, bytes: new Uint8Array(bytes) })),
    );
    assert.equal(replay.shards, 2);
  });

  test('stop is idempotent, safe before start and while starting', async () => {
    const never = new Capture();
    await never.source.stop();
    await never.source.stop();
    assert.throws(() =>
      never.source.start(
        () => undefined,
        () => undefined,
      ),
    );
    const early = new Capture();
    const starting = early.start();
    await sleep(5);
    await early.source.stop();
    await starting;
    assert.equal(early.source.stats()['links'], 0);
  });

  test('a missing object and a wrong one are refused with a reason', async () => {
    const missing = new Capture({ objectPath: '/nowhere/oisp.bpf.o' });
    await assert.rejects(missing.start(), (error) => error instanceof HostError && error.code === 'NATIVE' && /missing/.test(error.message));
    const addon = new Capture({ addonPath: '/nowhere/oisp_native.node' });
    await assert.rejects(addon.start(), (error) => error instanceof HostError && error.code === 'NATIVE');
    assert.throws(
      () => new Capture({ ringBytes: 100_000 }),
      (error) => error instanceof HostError && error.code === 'CONFIG',
    );
  });

  test('check says that it works here, what it would probe, and leaves nothing behind', async () => {
    const result = await preflight(paths);
    assert.deepEqual(
      result.checks.filter((c) => c.status === 'fail'),
      [],
    );
    assert.equal(result.verdict, 'ok');
    assert.ok(result.files.some((file) => file.functions.some((f) => f.func === 'ssl_write' && f.found)));
    const broken = await preflight({ ...paths, objectPath: '/nowhere' });
    assert.ok(broken.checks.some((c) => c.name === 'load' && c.status === 'fail'));
  });
});
