// The reader thread and the addon's contract: nothing lost at stop, bounded when nobody credits, idle when nothing happens, errors with codes.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Kind, layouts } from '../../host/src/gen/records.js';
import { mustProbe, ROOT, scratch } from '../lib/run.js';
import { Capture, compileFixture, Fixture, native, OBJECT, pattern, sleep, symbolOffsets } from './native-kit.js';

let fixture = '';
before(() => {
  mustProbe();
  fixture = compileFixture();
});

interface CodedError extends Error {
  code: string;
  log: string;
}

function thrown(run: () => unknown): CodedError {
  try {
    run();
  } catch (error) {
    return error as CodedError;
  }
  throw new Error('nothing was thrown');
}

test('the loaded object has the layouts that were generated', async () => {
  const capture = new Capture();
  for (const [name, layout] of Object.entries(layouts)) assert.deepEqual(capture.sensor.layout(name), layout, name);
  assert.equal(capture.sensor.layout('nothing'), undefined);
  assert.match(native.libbpfVersion, /^\d+\.\d+/);
  await capture.stop();
});

test('errors carry an errno name, the step, and what libbpf said', async () => {
  const sensor = (objectPath: string, ringBytes: number) =>
    new native.Sensor({ objectPath, ringBytes, shards: 1, batchBytes: 65536, flushMs: 5, maxInFlightBytes: 1 << 20, captureAll: false });
  const missing = thrown(() => sensor('/nowhere.o', 1 << 20).load());
  assert.equal(missing.code, 'ENOENT');
  assert.match(missing.message, /open \/nowhere\.o/);
  const size = thrown(() => sensor(OBJECT, 12345).load());
  assert.equal(size.code, 'EINVAL');
  assert.match(size.message, /12345 bytes/);

  const capture = new Capture();
  const file = thrown(() => capture.sensor.attachUprobe('ssl_read_entry', '/nowhere', 64, false, 0));
  assert.equal(file.code, 'ENOENT');
  assert.match(file.message, /uprobe ssl_read_entry to \/nowhere\+64/);
  assert.equal(thrown(() => capture.sensor.attachUprobe('no_such_program', fixture, 64, false, 0)).code, 'ENOENT');
  assert.equal(thrown(() => capture.sensor.attachUprobe('process_exec', fixture, 64, false, 0)).code, 'EINVAL');
  assert.equal(thrown(() => sensor(OBJECT, 1 << 20).scopeAdd(1, { capture: true, inherit: true, files: false })).code, 'ENOTCONN');
  assert.equal(thrown(() => sensor(OBJECT, 1 << 20).start(() => undefined)).code, 'ENOTCONN');
  await capture.stop();
});

test('stop is safe before start and twice, close is idempotent, numbers stay', async () => {
  const idle = new Capture();
  await idle.stop();
  idle.sensor.close();
  const capture = new Capture();
  capture.start();
  await Promise.all([capture.stop(), new Promise<void>((resolve) => capture.sensor.stop(resolve))]);
  assert.equal(capture.stats().links, 0);
  assert.ok(Array.isArray(capture.stats().kernel));
});

test('batches lie in shared memory while a slot is free, and in buffers of their own while none is', async () => {
  // A slot holds a full batch and one record more, some 80 KB: there is room for two.
  const capture = new Capture({ shards: 1, batchBytes: 65536, memory: new Uint8Array(new SharedArrayBuffer(200_000)) });
  capture.attach(fixture);
  capture.hold = true;
  capture.start();
  const program = async () => {
    const child = new Fixture(fixture, 'write', 400_000);
    await child.go();
    await child.end();
    await sleep(200);
    return capture.batches.map(({ slot }) => slot);
  };
  const held = await program();
  // What is not lent, or no slot, is ignored; what is lent is used again, and given once however often it is given.
  for (const at of [held[0], held[0], 1, 1 << 30]) capture.sensor.credit(0, 0, at);
  const later = (await program()).slice(held.length);
  const records = await capture.stop();
  assert.ok(held.length > 3 && later.length > 3, `${held.length} and ${later.length} batches`);
  assert.equal(new Set(held.slice(0, 2)).size, 2);
  assert.deepEqual(
    [...held.slice(2), ...later.slice(1)].filter((at) => at !== undefined),
    [],
  );
  assert.equal(later[0], held[0]);
  const written = records.filter(({ kind }) => kind === Kind.tls_data).map(({ payload }) => payload);
  assert.deepEqual(Buffer.concat(written), Buffer.concat([pattern(1, 400_000), pattern(1, 400_000)]));
});

test('detach ends one probe', async () => {
  const capture = new Capture();
  const offset = symbolOffsets(fixture).get('SSL_write')!;
  const links = capture.stats().links;
  const link = capture.sensor.attachUprobe('ssl_write_entry', fixture, offset, false, 0);
  assert.equal(capture.stats().links, links + 1);
  capture.sensor.detach(link);
  capture.sensor.detach(link);
  assert.equal(capture.stats().links, links);
  await capture.stop();
});

test('stop loses nothing that is in the ring, even when no credit was ever given', async () => {
  const capture = new Capture({ maxInFlightBytes: 64 << 10, batchBytes: 16 << 10, ringBytes: 8 << 20 });
  capture.hold = true;
  capture.attach(fixture);
  capture.start();
  const program = new Fixture(fixture, 'threads', 2, 300, 4000);
  await program.go();
  await sleep(100);
  const stalled = capture.stats();
  assert.ok(stalled.ring.stalls >= 1);
  assert.ok(stalled.ring.pendingBytes > 1 << 20, 'the reader has stopped taking');
  for (const bytes of stalled.batches.inFlightBytes) assert.ok(bytes <= 2 * (64 << 10), `${bytes} bytes in flight`);
  await program.end();
  const records = await capture.stop();
  const stats = capture.stats();
  assert.equal(stats.ring.pendingBytes, 0);
  assert.equal(capture.ledger('ring_full').records, 0);
  assert.equal(stats.ring.payloadBytes, capture.ledger('emitted').bytes);
  const payload = records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === program.pid).reduce((sum, r) => sum + r.payload.length, 0);
  assert.equal(payload, capture.ledger('seen').bytes);
});

test('credit lets a stalled reader go on', async () => {
  const capture = new Capture({ maxInFlightBytes: 64 << 10, batchBytes: 16 << 10, ringBytes: 8 << 20, shards: 1 });
  capture.hold = true;
  capture.attach(fixture);
  capture.start();
  const program = new Fixture(fixture, 'threads', 1, 300, 4000);
  await program.go();
  await sleep(50);
  let credited = 0;
  for (let i = 0; i < 1000 && capture.stats().ring.pendingBytes > 0; i++) {
    for (; credited < capture.batches.length; credited++) capture.sensor.credit(0, capture.batches[credited]!.length);
    await sleep(5);
  }
  assert.equal(capture.stats().ring.pendingBytes, 0);
  assert.ok(capture.stats().ring.stalls > 3);
  await program.end();
  await capture.stop();
});

/** Clock ticks of the reader thread. */
function readerTicks(): number {
  for (const tid of readdirSync('/proc/self/task')) {
    const stat = readFileSync(`/proc/self/task/${tid}/stat`, 'latin1');
    if (!stat.includes('(oisp-ring)')) continue;
    const fields = stat.slice(stat.indexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  }
  throw new Error('no reader thread');
}

test('an idle reader uses no CPU, and the first record wakes it', async () => {
  const capture = new Capture({ captureAll: false });
  capture.attach(fixture);
  capture.start();
  const program = new Fixture(fixture, 'write', 10);
  await sleep(200);
  const ticks = readerTicks();
  await sleep(2000);
  assert.ok(readerTicks() - ticks <= 1, 'at most one tick in two seconds');
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: false, files: false });
  const batches = capture.batches.length;
  const from = performance.now();
  await program.go();
  while (capture.batches.length === batches && performance.now() - from < 900) await sleep(1);
  assert.ok(performance.now() - from < 500, 'not the safety timeout');
  assert.ok(capture.stats().ring.wakeups >= 1);
  await program.end();
  await capture.stop();
});

test('under load the kernel does not wake the reader per record', async () => {
  const capture = new Capture({ ringBytes: 32 << 20 });
  capture.attach(fixture);
  capture.start();
  const program = new Fixture(fixture, 'threads', 2, 5000, 200);
  await program.go();
  const { ring } = capture.stats();
  assert.ok(ring.records >= 5000 && ring.wakeups < ring.records / 50, `${ring.wakeups} wakeups for ${ring.records} records`);
  await program.end();
  await capture.stop();
});

// One process, both ends over a loopback socket, with a pre-shared key: no certificate, no network.
const TLS_TALK = `
import tls from 'node:tls';
const psk = { psk: Buffer.alloc(16, 1), identity: 'a' };
const common = { ciphers: 'PSK-AES128-GCM-SHA256', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' };
export const talk = () => new Promise((resolve, reject) => {
  const server = tls.createServer({ ...common, pskCallback: () => psk.psk }, (socket) => {
    socket.on('data', () => socket.end('answer'));
  });
  server.listen(0, '127.0.0.1', () => {
    const client = tls.connect({ ...common, port: server.address().port, host: '127.0.0.1', checkServerIdentity: () => undefined, pskCallback: () => psk });
    client.on('secureConnect', () => client.write('question'));
    client.on('data', () => undefined);
    client.on('error', reject);
    client.on('close', () => server.close(resolve));
  });
});
`;

test('the sensor process is never captured, another process of the same program is', async () => {
  const capture = new Capture({ captureAll: true });
  capture.attach(process.execPath);
  capture.start();
  const { talk } = (await import(`data:text/javascript,${encodeURIComponent(TLS_TALK)}`)) as { talk: () => Promise<void> };
  await talk();
  assert.ok(capture.ledger('own').records > 0);
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', `${TLS_TALK}; await talk();`], { encoding: 'utf8' });
  assert.equal(child.status, 0, child.stderr);
  const data = (await capture.stop()).filter((r) => r.kind === Kind.tls_data);
  assert.deepEqual(
    data.filter((r) => r.fields['tgid'] === process.pid),
    [],
  );
  const texts = data.filter((r) => r.fields['tgid'] === child.pid).map((r) => r.payload.toString());
  assert.ok(texts.includes('question') && texts.includes('answer'));
});

test('a process that ends without stop ends cleanly, and one that stopped is not kept alive', async () => {
  const program = (last: string) => `
    const { createRequire } = require('node:module');
    const { Sensor } = require(${JSON.stringify(join(ROOT, 'dist', 'native', 'oisp_native.node'))});
    const sensor = new Sensor({ objectPath: ${JSON.stringify(OBJECT)}, ringBytes: 1 << 20, shards: 1, batchBytes: 65536, flushMs: 5, maxInFlightBytes: 1 << 20, captureAll: true });
    sensor.load();
    sensor.start(() => {});
    ${last}
  `;
  const ways: [string, number][] = [
    ['setTimeout(() => process.exit(5), 50);', 5],
    ['setTimeout(() => sensor.stop(() => { process.exitCode = 6; }), 50);', 6],
    ['setTimeout(() => sensor.stop(() => { sensor.close(); process.exitCode = 6; }), 50);', 6],
    ['setTimeout(() => { sensor.stop(() => { process.exitCode = 8; }); sensor.close(); }, 50);', 8],
    ['setTimeout(() => { sensor.stop(() => {}); process.exit(9); }, 50);', 9],
  ];
  for (const [last, code] of ways) {
    const child = spawn(process.execPath, ['-e', program(last)], { stdio: 'inherit', cwd: scratch('end') });
    const ended = await new Promise<number | null>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), 10000);
      child.on('exit', (status) => {
        clearTimeout(timer);
        resolve(status);
      });
    });
    assert.equal(ended, code, last);
  }
});
