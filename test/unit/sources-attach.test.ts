// Attaching, discovery and the life of the eBPF source, with a stand-in for the addon: what the kernel would refuse can be tried here.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, link, mkdtemp, open, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../host/src/errors.js';
import type { RecordBatch, SourceStats } from '../../host/src/events/source.js';
import { ConnNote, layouts, TlsDataOffset, Verdict } from '../../host/src/gen/records.js';
import { type AddOutcome, AttachTable } from '../../host/src/sources/ebpf/attach.js';
import type { Candidate } from '../../host/src/sources/ebpf/candidates.js';
import { Discovery } from '../../host/src/sources/ebpf/discovery.js';
import { FileReport } from '../../host/src/sources/ebpf/file-report.js';
import { EbpfSource } from '../../host/src/sources/ebpf/index.js';
import type { NativeBatch, NativeStructLayout } from '../../host/src/sources/ebpf/native.js';
import { preflight } from '../../host/src/sources/ebpf/preflight.js';
import { note as connectionNote } from '../lib/notes.js';

const LIBSSL = ['/usr/lib/x86_64-linux-gnu/libssl.so.3', '/usr/lib/aarch64-linux-gnu/libssl.so.3'].find((path) => existsSync(path));
const skip = LIBSSL === undefined;

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'oisp-attach-'));
});
after(() => rm(directory, { recursive: true, force: true }));

/** Remembers links, and refuses the programs it is told to. */
class FakePort {
  readonly links = new Map<number, string>();
  readonly refused = new Map<string, string>();
  attaches = 0;

  attachUprobe(program: string, path: string, fileOffset: number, isReturn: boolean): number {
    const code = this.refused.get(program) ?? this.refused.get('*');
    if (code !== undefined) throw Object.assign(new Error('refused'), { code });
    assert.match(path, /^\/proc\/self\/fd\/\d+$/);
    this.attaches += 1;
    this.links.set(this.attaches, `${program} ${fileOffset} ${isReturn}`);
    return this.attaches;
  }

  detach(id: number): void {
    assert.ok(this.links.delete(id), 'detached twice');
  }
}

const candidate = (path: string): Candidate => ({ path, shown: path });

async function copyOfLibrary(name: string): Promise<string> {
  const path = join(directory, name);
  await copyFile(LIBSSL as string, path);
  return path;
}

test('a file is attached once, by whatever path it is found', { skip }, async () => {
  const port = new FakePort();
  const table = new AttachTable(port);
  const path = await copyOfLibrary('once.so');
  assert.equal(await table.add(candidate(path)), 'attached');
  const links = port.links.size;
  await link(path, join(directory, 'again.so'));
  assert.equal(await table.add(candidate(join(directory, 'again.so'))), 'known');
  assert.equal(await table.add(candidate(path)), 'known');
  assert.equal(port.links.size, links);
  const [target] = table.targets();
  const missing = target?.functions.filter((f) => !f.attached) ?? [];
  // Only BoringSSL has it; what else is missing depends on the version.
  assert.ok(missing.some((f) => f.symbol === 'SSL_set_tlsext_host_name'));
  assert.deepEqual([...new Set(missing.map((f) => f.detail))], ['symbol missing']);
  table.detachAll();
  assert.equal(port.links.size, 0);
});

test('a function that is refused does not keep the others away, and leaves no half', { skip }, async () => {
  const port = new FakePort();
  port.refused.set('ssl_write_entry', 'EBUSY');
  const table = new AttachTable(port);
  assert.equal(await table.add(candidate(await copyOfLibrary('half.so'))), 'attached');
  const functions = table.targets()[0]?.functions ?? [];
  assert.equal(functions.find((f) => f.func === 'ssl_write')?.detail, 'EBUSY');
  assert.equal(functions.find((f) => f.func === 'ssl_read')?.attached, true);
  assert.ok(![...port.links.values()].some((program) => program.startsWith('ssl_write_exit ')));
});

test('when all are refused the file is a target that failed, and is not tried on every look', { skip }, async () => {
  const port = new FakePort();
  port.refused.set('*', 'EPERM');
  const table = new AttachTable(port);
  const path = await copyOfLibrary('failed.so');
  assert.equal(await table.add(candidate(path)), 'failed');
  assert.equal(await table.add(candidate(path)), 'known');
  assert.ok(table.targets()[0]?.functions.every((f) => !f.attached));
});

test('a rewritten file loses its old probes; one that was only touched keeps them', { skip }, async () => {
  const port = new FakePort();
  const table = new AttachTable(port);
  const path = await copyOfLibrary('rewritten.so');
  await table.add(candidate(path));
  const attaches = port.attaches;
  await utimes(path, 1, 1);
  assert.equal(await table.add(candidate(path)), 'known');
  assert.equal(port.attaches, attaches);
  const file = await open(path, 'r+');
  await file.truncate(100);
  await file.close();
  assert.equal(await table.add(candidate(path)), 'truncated');
  assert.equal(port.links.size, 0);
  assert.deepEqual(table.targets(), []);
});

test('files that are no library are remembered as such', async () => {
  const table = new AttachTable(new FakePort());
  const path = join(directory, 'script');
  await writeFile(path, '#!/bin/sh\nexit 0\n');
  assert.equal(await table.add(candidate(path)), 'not_elf');
  assert.equal(await table.add(candidate(path)), 'known');
  assert.equal(await table.add(candidate(join(directory, 'missing'))), 'gone');
  assert.deepEqual(table.targets(), []);
});

const TIMES = { sweepMs: 60_000, unwatchedMs: 20, reapMs: 20 };

/** A table that only counts. */
class CountingTable {
  readonly report = new FileReport();
  readonly added: Candidate[] = [];
  fail = false;
  async add(one: Candidate): Promise<AddOutcome> {
    if (this.fail) throw new Error('broken');
    this.added.push(one);
    await sleep(1);
    return 'known';
  }
  targets(): [] {
    return [];
  }
  release(): boolean {
    return false;
  }
}

test('execs of one process are merged, the queue is bounded, and close ends it', async () => {
  const table = new CountingTable();
  const discovery = new Discovery(table, TIMES);
  for (let i = 0; i < 3; i += 1) discovery.onExec(process.pid, Date.now());
  for (let i = 0; i < 6_000; i += 1) discovery.onExec(10_000_000 + i, Date.now());
  const stats = discovery.stats();
  assert.equal(stats['execs'], 6_003);
  assert.equal(stats['merged'], 2);
  assert.ok((stats['dropped'] as number) > 1_800);
  while ((discovery.stats()['queued'] as number) > 0) await sleep(5);
  assert.deepEqual(
    table.added.map((one) => one.path).filter((path) => path.endsWith('/exe')),
    [`/proc/${process.pid}/exe`],
  );
  discovery.onExec(10_000_000, Date.now());
  discovery.onExit(10_000_000);
  assert.equal(discovery.stats()['queued'], 0);
  await discovery.close();
  await discovery.close();
  discovery.onExec(1, Date.now());
  assert.equal(discovery.stats()['execs'], 6_004);
});

test('a failing look is counted and does not end discovery', async () => {
  const table = new CountingTable();
  const discovery = new Discovery(table, TIMES);
  table.fail = true;
  discovery.onExec(process.pid, Date.now());
  while (discovery.stats()['problems'] === 0) await sleep(1);
  assert.equal(discovery.lastProblem, 'broken');
  table.fail = false;
  discovery.onExec(process.pid, Date.now());
  while (table.added.length === 0) await sleep(1);
  await discovery.close();
});

/** What the stand-in addon does, and what was asked of it. */
interface FakeAddonState {
  calls: string[];
  loadCode?: string;
  attachCode?: string;
  verdictCode?: string;
  layoutOf: (name: string) => NativeStructLayout | undefined;
  onBatch?: (batch: NativeBatch) => void;
}

const FAKE_ADDON = `
const state = () => globalThis.fakeAddon;
const zero = { records: 0, bytes: 0 };
let links = 0;
exports.libbpfVersion = 'fake';
exports.releaseStartupMemory = () => {};
exports.Sensor = class {
  constructor(options) { state().calls.push('new ' + options.shards); }
  load() { state().calls.push('load'); if (state().loadCode) throw Object.assign(new Error('load: no'), { code: state().loadCode }); }
  layout(name) { return state().layoutOf(name); }
  attachUprobe() { if (state().attachCode) throw Object.assign(new Error('no'), { code: state().attachCode }); return ++links; }
  detach() {}
  scopeAdd(tgid, { capture, inherit, files }) { state().calls.push(['scopeAdd', tgid, capture, inherit, files].join(' ')); }
  gateAdd() {}
  setRate() {}
  addPlainPort(port) { state().calls.push('port ' + port); }
  verdict(tgid, ssl, generation, verdict) {
    if (state().verdictCode) throw Object.assign(new Error('no'), { code: state().verdictCode });
    state().calls.push(['verdict', tgid, ssl, generation, verdict].join(' '));
  }
  setFilesAll() {}
  setFileTelling() {}
  sweepFiles() {}
  scopeRemove(tgid) { state().calls.push('scopeRemove ' + tgid); }
  scopeAddExe(dev, inode) { state().calls.push('scopeAddExe ' + dev + ' ' + inode); }
  scopeAddUid(uid) { state().calls.push('scopeAddUid ' + uid); }
  scopeAddCgroup(id) { state().calls.push('scopeAddCgroup ' + id); }
  scopeRemoveExe() {}
  scopeRemoveCgroup() {}
  scopeAddComm(comm) { state().calls.push('scopeAddComm ' + comm); }
  setCaptureAll(all) { state().calls.push('captureAll ' + all); }
  start(onBatch) { state().calls.push('start'); state().onBatch = onBatch; }
  credit(shard, bytes, slot) { state().calls.push(['credit', shard, bytes, ...(slot === undefined ? [] : [slot])].join(' ')); }
  stats() {
    return { kernel: [{ records: 3, bytes: 300 }], ring: { records: 1, bytes: 2, payloadBytes: 3, stalls: 0, wakeups: 0, pendingBytes: 0, sizeBytes: 4, malformed: 0 },
      batches: { count: 1, ...zero, payloadBytes: 0, inFlightBytes: [0] }, links, shed: [{ tgid: 9, calls: 1, bytes: 2 }] };
  }
  stop(onDone) { state().calls.push('stop'); queueMicrotask(onDone); }
  close() { state().calls.push('close'); }
};`;

async function fakeSource(state: Partial<FakeAddonState>, options: { all: boolean; pids: number[]; comms: string[] } = { all: true, pids: [], comms: [] }) {
  const addonPath = join(directory, 'fake-addon.cjs');
  await writeFile(addonPath, FAKE_ADDON);
  const full: FakeAddonState = { calls: [], layoutOf: (name) => structuredClone(layouts[name]) as NativeStructLayout | undefined, ...state };
  (globalThis as { fakeAddon?: FakeAddonState }).fakeAddon = full;
  return { state: full, source: new EbpfSource({ objectPath: 'x', addonPath, shards: 2, scope: options }) };
}

test('the snapshot comes first on every shard, and its credit is not given to the addon', async () => {
  const { state, source } = await fakeSource({});
  const batches: RecordBatch[] = [];
  await source.start(
    (batch) => void batches.push(batch),
    () => assert.fail('never'),
  );
  const snapshot = batches.length;
  assert.ok(snapshot >= 2 && batches.slice(0, 2).every((b, i) => b.shard === i));
  // The offset and the boot clock add up to the time of day.
  const bootMs = Number((await readFile('/proc/uptime', 'latin1')).split(' ')[0]) * 1000;
  assert.ok(Math.abs(Number(batches[0]?.clockOffsetNs ?? 0n) / 1e6 + bootMs - Date.now()) < 100);
  state.onBatch?.({ shard: 1, buffer: new ArrayBuffer(100), length: 40, records: 1, payloadBytes: 10, kinds: 2, clockOffsetNs: 1n });
  assert.equal(batches.at(-1)?.bytes.length, 40);
  // A batch in shared memory says which part of it is to be given back.
  state.onBatch?.({ shard: 0, slot: 4096, length: 30, records: 1, payloadBytes: 10, kinds: 2, clockOffsetNs: 1n });
  assert.deepEqual([batches.at(-1)?.slot, batches.at(-1)?.bytes.byteOffset, batches.at(-1)?.bytes.length], [4096, 4096, 30]);
  for (const { shard, bytes, slot } of batches) source.credit(shard, bytes.length, slot);
  assert.deepEqual(
    state.calls.filter((call) => call.startsWith('credit')),
    ['credit 1 40', 'credit 0 30 4096'],
  );
  source.observeChildren();
  source.stopObserving();
  await source.stop();
  await source.stop();
  assert.deepEqual(state.calls.slice(0, 4), ['new 2', 'load', 'captureAll true', 'start']);
  assert.deepEqual(state.calls.slice(-4), [`scopeAdd ${process.pid} false true true`, `scopeRemove ${process.pid}`, 'stop', 'close']);
  assert.deepEqual((source.stats()['kernel'] as SourceStats)['seen'], { calls: 3, bytes: 300 });
  assert.throws(() => source.observeChildren());
});

test('scope names processes with their descendants, and names', async () => {
  const { state, source } = await fakeSource({}, { all: false, pids: [process.ppid], comms: ['claude'] });
  await source.start(
    () => undefined,
    () => undefined,
  );
  await source.stop();
  assert.ok(state.calls.includes('captureAll false'));
  assert.ok(state.calls.includes('scopeAddComm claude'));
  assert.ok(state.calls.includes(`scopeAdd ${process.ppid} true true true`));
  assert.ok(state.calls.includes(`scopeAdd ${process.pid} true true true`));
});

test('a connection that carries no AI traffic is told to the kernel side; other notes, and those that name none, are not', async () => {
  const { state, source } = await fakeSource({});
  const note = connectionNote({ what: ConnNote.not_ai, tgid: 7, target: 0, ssl: 5n, generation: 6n, detail: { all: false } });
  source.judge(note);
  await source.start(
    () => undefined,
    () => undefined,
  );
  source.judge(note);
  source.judge({ ...note, detail: { all: true } });
  source.judge({ ...note, what: ConnNote.first_plaintext });
  source.judge({ ...note, generation: 0n });
  state.verdictCode = 'E2BIG';
  source.judge(note);
  const stats = source.stats();
  await source.stop();
  source.judge(note);
  assert.deepEqual(
    state.calls.filter((call) => call.startsWith('verdict')),
    [`verdict 7 5 6 ${Verdict.skip_requests}`, `verdict 7 5 6 ${Verdict.skip_all}`],
  );
  assert.deepEqual(stats['verdicts'], { given: 2, failed: 1 });
  assert.deepEqual(stats['rate_limited'], { 9: { calls: 1, bytes: 2 } });
});

test('an object with another layout is refused with both numbers, and released', async () => {
  const changed = structuredClone(layouts['tls_data']) as unknown as { size: number; fields: { name: string; offset: number; size: number }[] };
  (changed.fields[3] as { offset: number }).offset = 80;
  for (const [layout, message] of [
    [changed, /tls_data\.offset is at offset 80, 8 bytes in the BPF object and at offset 72, 8 bytes/],
    [{ ...changed, size: 104 }, new RegExp(`104 bytes in the BPF object and ${TlsDataOffset.SIZE}`)],
    [undefined, /struct tls_data is not in the BPF object/],
  ] as const) {
    const { state, source } = await fakeSource({ layoutOf: (name) => (name === 'tls_data' ? layout : (structuredClone(layouts[name]) as NativeStructLayout)) });
    await assert.rejects(
      source.start(
        () => undefined,
        () => undefined,
      ),
      (error) => error instanceof HostError && error.code === 'LAYOUT' && message.test(error.message),
    );
    assert.deepEqual(state.calls.slice(-2), ['stop', 'close']);
    await source.stop();
  }
});

test('what the kernel refuses is told apart: rights, an unsupported kernel, a missing object', async () => {
  for (const [loadCode, code] of [
    ['EPERM', 'PERMISSION'],
    ['ENOTSUP', 'UNSUPPORTED'],
    ['EINVAL', 'UNSUPPORTED'],
    ['ENOENT', 'NATIVE'],
    ['ENOMEM', 'NATIVE'],
  ] as const) {
    const { source } = await fakeSource({ loadCode });
    await assert.rejects(
      source.start(
        () => undefined,
        () => undefined,
      ),
      (error) => error instanceof HostError && error.code === code,
    );
  }
});

test('when every probe is refused for want of rights, start fails instead of capturing nothing', { skip }, async () => {
  const { state, source } = await fakeSource({ attachCode: 'EACCES' });
  await assert.rejects(
    source.start(
      () => undefined,
      () => undefined,
    ),
    (error) => error instanceof HostError && error.code === 'PERMISSION',
  );
  assert.deepEqual(state.calls.slice(-2), ['stop', 'close']);
});

test('check tells a refused probe as a matter of rights, and a broken object as something else', { skip }, async () => {
  const { state } = await fakeSource({ attachCode: 'EACCES' });
  const refused = await preflight({ objectPath: 'x', addonPath: join(directory, 'fake-addon.cjs') });
  assert.equal(refused.checks.find((check) => check.name === 'probe')?.means, 'permission');
  assert.deepEqual(state.calls.slice(-2), ['stop', 'close']);
  await fakeSource({ layoutOf: () => undefined });
  const broken = await preflight({ objectPath: 'x', addonPath: join(directory, 'fake-addon.cjs') });
  assert.match(broken.checks.find((check) => check.name === 'layout')?.detail ?? '', /not in the BPF object/);
  const missing = await preflight({ objectPath: 'x', addonPath: join(directory, 'missing.cjs') });
  assert.equal(missing.checks.find((check) => check.name === 'addon')?.status, 'fail');
  for (const check of [...refused.checks, ...broken.checks, ...missing.checks]) if (check.status === 'fail') assert.match(check.hint ?? '', /\.$/);
});
