// Process records and scope, with real children: argv, paths, exit status, inheritance at fork. It needs no TLS.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Kind, PathFlag, SysExecOffset } from '../../host/src/gen/records.js';
import { mustProbe, scratch } from '../lib/run.js';
import { Capture, compileFixture, Fixture, type SeenRecord, sleep } from './native-kit.js';

before(mustProbe);

/** A shared library with nothing in it. */
function compileLibrary(folder: string): string {
  const out = join(folder, 'empty.so');
  execFileSync(process.env['CC'] ?? 'cc', ['-shared', '-fPIC', '-x', 'c', '-o', out, '/dev/null'], { stdio: 'pipe' });
  return out;
}

/** A path area, joined from leaf-to-root components. */
function pathOf(record: SeenRecord, area: 'exe' | 'cwd' | 'cgroup'): string {
  const from = SysExecOffset[area];
  const text = record.bytes.toString('utf8', from, from + record.fields[`${area}_len`]!);
  return `/${text.split('\0').slice(0, -1).reverse().join('/')}`;
}

function argsOf(record: SeenRecord): string[] {
  const from = SysExecOffset.args;
  return record.bytes
    .toString('utf8', from, from + record.fields['args_len']!)
    .split('\0')
    .slice(0, -1);
}

const of = (records: SeenRecord[], kind: number, tgid: number | undefined) =>
  records.filter((r) => r.kind === kind && r.fields['tgid'] === tgid && r.shard === 0);

test('exec, fork and exit of a child: who, where, with what, how it ended', async () => {
  const capture = new Capture();
  capture.start();
  const folder = realpathSync(scratch('cwd'));
  const deep = join(folder, 'a b', 'ünïcode', 'x'.repeat(255));
  mkdirSync(deep, { recursive: true });
  const child = spawn('/bin/sh', ['-c', 'exit 7', 'zero', '', 'two words', 'ä'], { cwd: deep, stdio: 'ignore' });
  const code = await new Promise((resolve) => child.on('exit', resolve));
  assert.equal(code, 7);
  const records = await capture.stop();

  const [exec, ...more] = of(records, Kind.sys_exec, child.pid);
  assert.equal(more.length, 0);
  assert.ok(exec);
  assert.deepEqual(argsOf(exec), ['/bin/sh', '-c', 'exit 7', 'zero', '', 'two words', 'ä']);
  assert.equal(pathOf(exec, 'exe'), realpathSync('/bin/sh'));
  assert.equal(pathOf(exec, 'cwd'), deep);
  const own = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find((line) => line.startsWith('0::'));
  if (own) assert.equal(pathOf(exec, 'cgroup'), own.slice(3));
  assert.equal(exec.fields['flags'], 0);
  assert.equal(exec.fields['ppid'], process.pid);
  assert.equal(exec.fields['uid'], process.getuid?.());
  assert.equal(exec.fields['args_total'], exec.fields['args_len']);
  assert.ok(exec.fields['parent_start_ns']! > 0 && exec.fields['start_ns']! > exec.fields['parent_start_ns']!);
  const unused = exec.bytes.subarray(SysExecOffset.exe + exec.fields['exe_len']!, SysExecOffset.cwd);
  assert.ok(
    unused.every((byte) => byte === 0),
    'nothing of earlier records is left in unused areas',
  );

  const forks = records.filter((r) => r.kind === Kind.sys_fork && r.fields['child_tgid'] === child.pid && r.shard === 0);
  assert.deepEqual(
    forks.map((r) => [r.fields['tgid'], r.fields['child_start_ns']]),
    [[process.pid, exec.fields['start_ns']]],
  );

  const [exit, ...rest] = of(records, Kind.sys_exit, child.pid);
  assert.equal(rest.length, 0);
  assert.equal(exit!.fields['exit_code'], 7 << 8);
  assert.equal(exit!.fields['ppid'], process.pid);
  assert.equal(exit!.fields['start_ns'], exec.fields['start_ns']);
  assert.ok(exit!.fields['max_rss_kb']! > 100);
  assert.ok(exit!.fields['utime_ns']! + exit!.fields['stime_ns']! > 0);
  const other = records.filter((r) => r.fields['tgid'] === child.pid && r.shard === 1);
  assert.deepEqual(
    other.map((r) => r.kind),
    records.filter((r) => r.fields['tgid'] === child.pid && r.shard === 0 && r.kind !== Kind.sys_map).map((r) => r.kind),
    'every shard gets them in order',
  );
});

test('a killed child, long arguments, a symlinked program', async () => {
  const capture = new Capture();
  capture.start();
  const link = join(realpathSync(scratch('link')), 'alias');
  symlinkSync('/bin/sleep', link);
  const killed = spawn(link, ['100'], { stdio: 'ignore' });
  await sleep(50);
  killed.kill('SIGKILL');
  await new Promise((resolve) => killed.on('exit', resolve));
  const long = spawn('/bin/true', ['y'.repeat(10000)], { stdio: 'ignore' });
  await new Promise((resolve) => long.on('exit', resolve));
  const records = await capture.stop();

  assert.equal(pathOf(of(records, Kind.sys_exec, killed.pid)[0]!, 'exe'), realpathSync('/bin/sleep'));
  assert.equal(of(records, Kind.sys_exit, killed.pid)[0]!.fields['exit_code'], 9);
  const cut = of(records, Kind.sys_exec, long.pid)[0]!;
  assert.equal(cut.fields['flags'], PathFlag.args_cut);
  assert.equal(cut.fields['args_len'], 4096);
  assert.equal(cut.fields['args_total'], '/bin/true'.length + 1 + 10001);
});

test('a process of many threads ends once, and its CPU time is the sum of theirs', async () => {
  const fixture = compileFixture();
  const capture = new Capture();
  capture.start();
  const pids: number[] = [];
  for (let i = 0; i < 5; i++) {
    const program = new Fixture(fixture, 'threads', 8, 200, 60000);
    await program.go();
    await program.end();
    pids.push(program.pid);
  }
  const records = await capture.stop();
  for (const pid of pids) {
    const exits = of(records, Kind.sys_exit, pid);
    assert.equal(exits.length, 1);
    const cpu = exits[0]!.fields['utime_ns']! + exits[0]!.fields['stime_ns']!;
    assert.ok(cpu > 20e6 && cpu < 60e9, `${cpu} ns of CPU for filling 96 MB`);
    assert.equal(exits[0]!.fields['exit_code'], 0);
    assert.equal(of(records, Kind.sys_fork, pid).length, 0, 'threads are no forks');
  }
});

test('a process whose threads are killed by its exit ends once', async () => {
  const fixture = compileFixture();
  const capture = new Capture();
  capture.start();
  const pids: number[] = [];
  for (let i = 0; i < 20; i++) {
    const child = spawnSync(fixture, ['abrupt', '16'], { input: 'x' });
    assert.equal(child.status, 3);
    pids.push(child.pid);
  }
  const records = await capture.stop();
  for (const pid of pids)
    assert.deepEqual(
      of(records, Kind.sys_exit, pid).map((r) => r.fields['exit_code']),
      [3 << 8],
    );
});

test('scope: nothing by default, a cell inherits at fork, its own process never, a comm rule, and removal at exit', async () => {
  const fixture = compileFixture();
  const capture = new Capture({ captureAll: false });
  capture.attach(fixture);
  capture.start();
  const outside = new Fixture(fixture, 'sizes');
  await outside.go();
  await outside.end();
  assert.equal(capture.ledger('seen').records, 0);
  assert.equal(capture.ledger('out_of_scope').records, 2 * 13);

  capture.sensor.scopeAdd(process.pid, { capture: false, inherit: true, files: false });
  const inside = spawn('/bin/sh', ['-c', `echo x | ${fixture} sizes`], { stdio: 'ignore' });
  await new Promise((resolve) => inside.on('exit', resolve));
  assert.equal(capture.ledger('seen').records, 2 * 13, 'a grandchild is in scope');
  capture.sensor.scopeRemove(process.pid);

  const single = new Fixture(fixture, 'write', 10);
  capture.sensor.scopeAdd(single.pid, { capture: true, inherit: false, files: false });
  await single.go();
  await single.end();
  assert.equal(capture.ledger('seen').records, 2 * 13 + 1);

  capture.sensor.scopeAddComm('native-tls');
  const named = new Fixture(fixture, 'write', 10);
  await named.go();
  await named.end();
  assert.equal(capture.ledger('seen').records, 2 * 13 + 2);
  const records = await capture.stop();

  assert.deepEqual(
    // Which files are mapped is asked of every process: what is installed concerns discovery, whoever uses it first.
    records.filter((r) => r.fields['tgid'] === outside.pid && r.kind !== Kind.sys_map),
    [],
  );
  const kinds = of(records, Kind.sys_exec, inside.pid);
  assert.equal(kinds.length, 1);
  assert.equal(of(records, Kind.sys_exit, inside.pid).length, 1);
  assert.ok(records.some((r) => r.kind === Kind.sys_fork && r.fields['tgid'] === process.pid && r.fields['child_tgid'] === inside.pid));
  assert.equal(of(records, Kind.sys_exit, single.pid).length, 1);
  assert.ok(!records.some((r) => r.kind !== Kind.sys_fork && r.fields['tgid'] === process.pid), 'the sensor itself is no subject');
});

test('a file that is mapped again and again is told of about once a second, another file at once', async () => {
  const folder = scratch('mapped');
  const [one, other] = ['one.so', 'other.so'].map((name) => join(folder, name)) as [string, string];
  for (const path of [one, other]) copyFileSync(compileLibrary(folder), path);
  const capture = new Capture();
  capture.start();
  const began = performance.now();
  const map = (path: string) => spawnSync('/bin/true', { env: { LD_PRELOAD: path } });
  let runs = 0;
  for (; performance.now() - began < 2_500; runs += 1) map(one);
  map(other);
  const seconds = (performance.now() - began) / 1000;
  const records = await capture.stop();
  const told = (path: string) =>
    records.filter((r) => r.kind === Kind.sys_map && r.fields['inode'] === statSync(path).ino && r.fields['dev'] === statSync(path).dev).length;
  assert.ok(runs > 10, `${runs} runs`);
  assert.ok(told(one) >= 2 && told(one) <= seconds + 1, `told ${told(one)} times in ${seconds} s and ${runs} runs`);
  assert.equal(told(other), 1);
});

test('setCaptureAll takes effect at once', async () => {
  const capture = new Capture({ captureAll: false });
  capture.start();
  const before = spawnSync('/bin/true');
  capture.sensor.setCaptureAll(true);
  const after = spawnSync('/bin/true');
  const records = await capture.stop();
  assert.equal(of(records, Kind.sys_exec, before.pid).length, 0);
  assert.equal(of(records, Kind.sys_exec, after.pid).length, 1);
});
