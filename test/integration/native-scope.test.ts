// The rules of scope in the kernel, each with real processes: by executable, by user, by cgroup, from the first moment on and with what they start.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Kind } from '../../host/src/gen/records.js';
import { kernelIdentity } from '../../host/src/sources/ebpf/kernel-identity.js';
import type { ScopeCell } from '../../host/src/sources/ebpf/native.js';
import { mustProbe, scratch } from '../lib/run.js';
import { Capture, type SeenRecord } from './native-kit.js';

before(mustProbe);

const IN: ScopeCell = { capture: true, inherit: true, files: false };
const folder = scratch('scope');
const of = (records: SeenRecord[], kind: number, tgid: number | undefined) => records.filter((r) => r.kind === kind && r.fields['tgid'] === tgid);
const isIn = (records: SeenRecord[], tgid: number | undefined): boolean => of(records, Kind.sys_exit, tgid).length > 0;

async function identityOf(path: string) {
  const identity = await kernelIdentity(path);
  assert.ok(identity);
  return identity;
}

function capturing(): Capture {
  const capture = new Capture({ captureAll: false, shards: 1 });
  capture.start();
  return capture;
}

/** Runs a program to its end. @returns its pid. */
function run(program: string, args: readonly string[] = [], options: { uid?: number } = {}): number {
  const { pid, status } = spawnSync(program, args, { stdio: 'ignore', ...options });
  assert.equal(status, 0);
  return pid;
}

/** The mounted unified hierarchy, or one that this test mounts. */
function unified(): string {
  const mounted = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === 'cgroup2')?.[1];
  if (mounted !== undefined) return mounted;
  const place = join(folder, 'cgroup2');
  mkdirSync(place);
  execFileSync('mount', ['-t', 'cgroup2', 'none', place]);
  process.on('exit', () => spawnSync('umount', [place]));
  return place;
}

/** Runs a shell that moves itself into a cgroup and then executes a program. */
const runIn = (cgroup: string, program: string): number => run('/bin/sh', ['-c', `echo $$ > ${join(cgroup, 'cgroup.procs')} && exec ${program}`]);

test('an executable brings its processes into scope, with what they start, and no other', async () => {
  const program = join(folder, 'my-shell');
  copyFileSync('/bin/sh', program);
  const capture = capturing();
  const early = run(program, ['-c', ':']);
  const { dev, inode } = await identityOf(program);
  capture.sensor.scopeAddExe(dev, inode, IN);
  const inside = run(program, ['-c', '/bin/true; :']);
  const other = run('/bin/sh', ['-c', ':']);
  capture.sensor.scopeRemoveExe(dev, inode);
  const late = run(program, ['-c', ':']);
  const records = await capture.stop();
  assert.deepEqual(
    [early, inside, other, late].map((pid) => isIn(records, pid)),
    [false, true, false, false],
  );
  const [child] = of(records, Kind.sys_fork, inside).map((r) => r.fields['child_tgid']);
  assert.equal(of(records, Kind.sys_exec, child).length, 1, 'its child is told of');
  assert.equal(of(records, Kind.sys_exec, inside).length, 1, 'and so is the exec that brought it in');
});

test('a user brings in what is executed as him, and what becomes him without executing anything', async () => {
  const uid = 64_123;
  const capture = capturing();
  capture.sensor.scopeAddUid(uid, IN);
  const his = run('/bin/true', [], { uid });
  const other = run('/bin/true', [], { uid: uid + 1 });
  const became = run('/usr/bin/python3', ['-c', `import os; os.setuid(${uid}); os.waitpid(os.fork() or os._exit(0), 0)`]);
  const records = await capture.stop();
  assert.deepEqual(
    [his, other, became].map((pid) => isIn(records, pid)),
    [true, false, true],
  );
  assert.equal(of(records, Kind.sys_exec, became).length, 0, 'its exec was before');
  assert.equal(of(records, Kind.sys_fork, became).length, 1);
});

test('a cgroup brings in what is executed in it or below, not beside it', async () => {
  const base = join(unified(), `oisp-${process.pid}`);
  const below = join(base, 'below');
  const beside = `${base}-beside`;
  for (const path of [base, below, beside]) mkdirSync(path);
  try {
    const capture = capturing();
    capture.sensor.scopeAddCgroup(statSync(base, { bigint: true }).ino, IN);
    const pids = [base, below, beside].map((cgroup) => runIn(cgroup, '/bin/true'));
    capture.sensor.scopeRemoveCgroup(statSync(base, { bigint: true }).ino);
    pids.push(runIn(base, '/bin/true'));
    const records = await capture.stop();
    assert.deepEqual(
      pids.map((pid) => isIn(records, pid)),
      [true, true, false, false],
    );
    assert.equal(capture.ledger('cgroup_deep').records, 0);
  } finally {
    for (const path of [below, base, beside]) rmdirSync(path);
  }
});

test('a cgroup that is too deep is counted, and its nearer ancestors are still compared', async () => {
  const levels = Array.from({ length: 36 }, (_, i) => join(unified(), ...Array.from({ length: i + 1 }, () => `oisp-${process.pid}`)));
  for (const path of levels) mkdirSync(path);
  try {
    const capture = capturing();
    capture.sensor.scopeAddCgroup(statSync(levels[10] as string, { bigint: true }).ino, IN);
    const inside = runIn(levels.at(-1) as string, '/bin/true');
    capture.sensor.scopeRemoveCgroup(statSync(levels[10] as string, { bigint: true }).ino);
    const before = capture.ledger('cgroup_deep').records;
    const outside = runIn(levels.at(-1) as string, '/bin/true');
    assert.ok(capture.ledger('cgroup_deep').records > before);
    const records = await capture.stop();
    assert.deepEqual([isIn(records, inside), isIn(records, outside)], [true, false]);
  } finally {
    for (const path of levels.toReversed()) rmdirSync(path);
  }
});

test('rules add up: what one does not give another may, and a process is told of once', async () => {
  const uid = 64_124;
  const capture = capturing();
  const { dev, inode } = await identityOf('/bin/true');
  capture.sensor.scopeAddUid(uid, { capture: false, inherit: true, files: true });
  const without = run('/bin/echo', [], { uid });
  capture.sensor.scopeAddExe(dev, inode, IN);
  const both = run('/bin/true', [], { uid });
  const records = await capture.stop();
  assert.deepEqual([isIn(records, without), isIn(records, both)], [false, true]);
  assert.equal(of(records, Kind.sys_exit, both).length, 1);
});

test('one rule too many of each kind is refused with its errno', async () => {
  const capture = capturing();
  const full = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'E2BIG';
  for (let i = 1; i <= 256; i += 1) capture.sensor.scopeAddExe(1n, BigInt(i), IN);
  assert.throws(() => capture.sensor.scopeAddExe(1n, 257n, IN), full);
  for (let i = 1; i <= 64; i += 1) capture.sensor.scopeAddUid(100_000 + i, IN);
  assert.throws(() => capture.sensor.scopeAddUid(1, IN), full);
  for (let i = 1; i <= 64; i += 1) capture.sensor.scopeAddCgroup(2n ** 50n + BigInt(i), IN);
  assert.throws(() => capture.sensor.scopeAddCgroup(1n, IN), full);
  capture.sensor.scopeRemoveExe(1n, 1n);
  capture.sensor.scopeRemoveExe(1n, 1n);
  capture.sensor.scopeAddExe(1n, 257n, IN);
  await capture.stop();
});
