// What the eBPF source learns from /proc, the linker cache and its own batches, without a kernel program being loaded.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import { Kind, RecHeaderOffset, SysExecOffset, SysExitOffset, SysMapOffset, TlsDataOffset } from '../../host/src/gen/records.js';
import { interpreterOf } from '../../host/src/sources/ebpf/command-files.js';
import { parsePasswd, prettyName, readHostContext } from '../../host/src/sources/ebpf/host-context.js';
import { libraryPaths, parseLdCache } from '../../host/src/sources/ebpf/ld-cache.js';
import { machineChecks } from '../../host/src/sources/ebpf/machine-facts.js';
import { parseMapsLine } from '../../host/src/sources/ebpf/proc-files.js';
import { type ProcessWatcher, peekProcesses } from '../../host/src/sources/ebpf/process-peek.js';
import { cgroupPath, parseStat, readProcess, takeSnapshot } from '../../host/src/sources/ebpf/process-snapshot.js';

test('the snapshot holds this process as it is', async () => {
  const { batches, processes, skipped } = await takeSnapshot({ batchBytes: 256 << 10, totalBytes: 8 << 20 });
  const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });
  const rows = batches.flatMap(({ bytes }) => unpackr.unpackMultiple(bytes) as unknown[][]);
  assert.equal(rows.length, processes);
  assert.equal(skipped, 0);
  assert.equal(
    batches.reduce((sum, b) => sum + b.records, 0),
    processes,
  );
  const own = rows.find((row) => row[1] === process.pid);
  assert.ok(own !== undefined);
  const [kind, , ppid, startNs, uid, gid, comm, exe, args, cwd] = own;
  assert.equal(kind, Kind.sys_proc);
  assert.deepEqual([ppid, uid, gid, exe, cwd], [process.ppid, process.getuid?.(), process.getgid?.(), process.execPath, process.cwd()]);
  assert.equal(Array.isArray(args) && args.length > 0, true);
  assert.equal(comm, (await readFile('/proc/self/comm', 'utf8')).trim());
  const uptime = Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]);
  const age = uptime - Number(BigInt(startNs as bigint) / 10_000_000n) / 100;
  assert.ok(Math.abs(age - process.uptime()) < 2, `started ${age} s ago by /proc, ${process.uptime()} s by node`);
  assert.equal(
    rows.some((row) => row[1] === 2 && row[6] === 'kthreadd'),
    false,
  );
});

test('the snapshot stays within its bounds and says what it left out', async () => {
  const tiny = await takeSnapshot({ batchBytes: 20 << 10, totalBytes: 20 << 10, processes: 1 });
  assert.ok(tiny.processes <= 1 && tiny.skipped > 0);
  const none = await takeSnapshot({ batchBytes: 64, totalBytes: 64 });
  assert.equal(none.processes, 0);
});

test('arguments are cut at 4096 bytes, a vanished process is nothing', async () => {
  const child = spawn('/bin/sleep', ['60', ...Array.from({ length: 50 }, () => '0'.repeat(200))], { stdio: 'ignore' });
  try {
    await new Promise((resolve) => child.once('spawn', resolve));
    const row = await readProcess(child.pid as number);
    assert.ok(row !== undefined);
    assert.equal(row.args[1], '60');
    assert.ok(row.args.join('\0').length <= 4096);
  } finally {
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
  }
  assert.equal(await readProcess(child.pid as number), undefined);
});

test('a name with spaces and parentheses does not shift the fields of stat', () => {
  const rest = Array.from({ length: 17 }, (_, i) => i).join(' ');
  assert.deepEqual(parseStat(`7 (a) b (c)) S 42 ${rest} 123 0`), { ppid: 42, startNs: 1_230_000_000n, comm: 'a) b (c)' });
  assert.equal(parseStat(`7 (x) Z 42 ${rest} 123 0`), undefined);
  assert.equal(parseStat(''), undefined);
});

test('the cgroup is the unified path, or the container of an older hierarchy', () => {
  const id = 'a'.repeat(64);
  assert.equal(cgroupPath('0::/user.slice/session.scope\n'), '/user.slice/session.scope');
  assert.equal(cgroupPath(`9:name=systemd:/x\n4:memory:/docker/${id}\n0::/\n`), `/docker/${id}`);
  assert.equal(cgroupPath('9:name=systemd:/x\n0::/\n'), '/');
  assert.equal(cgroupPath('9:name=systemd:/x:y\n'), '/x:y');
  assert.equal(cgroupPath(''), undefined);
});

test('code mappings of files count, whatever their names', () => {
  const line = '7f00-7f99 r-xp 00001000 fe:01 1234                       /lib/my dir/libssl.so.3 (deleted)';
  assert.deepEqual(parseMapsLine(line), { path: '/lib/my dir/libssl.so.3', range: '7f00-7f99', dev: 0xfe01n, inode: 1234n });
  assert.equal(parseMapsLine(line.replace('r-xp', 'r--p')), undefined);
  assert.equal(parseMapsLine(line.replace('libssl', 'libc'))?.path, '/lib/my dir/libc.so.3');
  assert.equal(parseMapsLine('7f00-7f99 r-xp 00000000 00:00 0      [vdso]'), undefined);
  assert.equal(parseMapsLine('7f00-7f99 r-xp 00001000 zz:01 1234 /lib/x'), undefined);
});

test('libraries are found as ldconfig knows them', { skip: !existsSync('/etc/ld.so.cache') }, async () => {
  const cache = await readFile('/etc/ld.so.cache');
  const libc = parseLdCache(cache, new Set(['libc.so.6']));
  assert.ok(libc.some((path) => existsSync(path)));
  assert.deepEqual(await libraryPaths(['libnothing.so.9']), []);
  await fc.assert(
    fc.property(fc.nat(200), fc.nat(255), fc.nat(cache.length), (at, value, cut) => {
      const bytes = Buffer.from(cache.subarray(0, cut));
      if (at < bytes.length) bytes[at] = value;
      parseLdCache(bytes, new Set(['libc.so.6']));
    }),
    { numRuns: 100 },
  );
});

/** A record as the addon frames it. */
function framed(kind: number, length: number, tgid: number): Buffer {
  const record = Buffer.alloc(length);
  record.writeBigUInt64LE(BigInt(tgid) * 1_000_000n, RecHeaderOffset.ts_ns);
  if (kind === Kind.sys_map) {
    record.writeBigUInt64LE(BigInt(tgid) + 1n, SysMapOffset.dev);
    record.writeBigUInt64LE(2n ** 63n + BigInt(tgid), SysMapOffset.inode);
  }
  record.writeUInt16LE(kind, RecHeaderOffset.kind);
  record.writeUInt32LE(tgid, RecHeaderOffset.tgid);
  return new Packr({ useRecords: false }).pack([kind, record]);
}

/** Notes what it is told. */
function watcher(): ProcessWatcher & { seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    onExec: (tgid, atMs) => seen.push(`exec ${tgid} ${atMs}`),
    onMap: (tgid, { dev, inode }, atMs) => seen.push(`map ${tgid} ${dev} ${inode} ${atMs}`),
    onExit: (tgid) => seen.push(`exit ${tgid}`),
  };
}

test('property: exec, mapping and exit records are found between records of any size, with their times and files', () => {
  const record = fc.record({
    what: fc.constantFrom('exec', 'exit', 'map', 'data'),
    payload: fc.constantFrom(0, 1, 100, 255, 256, 16_384, 70_000),
    tgid: fc.integer({ min: 1, max: 2 ** 22 }),
  });
  const frames = {
    exec: (tgid: number) => framed(Kind.sys_exec, SysExecOffset.SIZE, tgid),
    exit: (tgid: number) => framed(Kind.sys_exit, SysExitOffset.SIZE, tgid),
    map: (tgid: number) => framed(Kind.sys_map, SysMapOffset.SIZE, tgid),
  };
  const told = {
    exec: (tgid: number) => `exec ${tgid} ${tgid + 5}`,
    exit: (tgid: number) => `exit ${tgid}`,
    map: (tgid: number) => `map ${tgid} ${tgid + 1} ${2n ** 63n + BigInt(tgid)} ${tgid + 5}`,
  };
  fc.assert(
    fc.property(fc.array(record, { maxLength: 20 }), fc.nat(3), (list, cut) => {
      const parts = list.map(({ what, payload, tgid }) => (what === 'data' ? framed(Kind.tls_data, TlsDataOffset.SIZE + payload, tgid) : frames[what](tgid)));
      const bytes = Uint8Array.from(Buffer.concat(parts));
      const all = watcher();
      assert.equal(peekProcesses(bytes, 5_000_000n, all), true);
      assert.deepEqual(
        all.seen,
        list.flatMap(({ what, tgid }) => (what === 'data' ? [] : [told[what](tgid)])),
      );
      const short = bytes.slice(0, Math.max(0, bytes.length - cut));
      assert.equal(peekProcesses(short, 0n, watcher()), cut === 0 || bytes.length === 0);
    }),
    { numRuns: 50 },
  );
});

test('property: no bytes make the walk fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      peekProcesses(Uint8Array.from(bytes), 0n, watcher());
    }),
  );
});

test('the interpreter of a script is found, also behind env', () => {
  assert.equal(interpreterOf('#!/usr/bin/env node\nx'), 'node');
  assert.equal(interpreterOf('#!/usr/bin/env -S A=1 node --flag\n'), 'node');
  assert.equal(interpreterOf('#! /usr/bin/python3 -u\n'), '/usr/bin/python3');
  assert.equal(interpreterOf('\x7fELF'), undefined);
  assert.equal(interpreterOf('#!'), undefined);
});

test('the host names itself', async () => {
  const host = await readHostContext();
  assert.match(host.deviceId, /^([0-9a-f]{64})?$/);
  assert.ok(['x86_64', 'aarch64'].includes(host.arch));
  assert.equal(host.users['0'], 'root');
  assert.equal(prettyName('NAME=x\nPRETTY_NAME="Debian \\"12\\""\n'), 'Debian "12"');
  assert.deepEqual(parsePasswd('a:x:0:0::/:\nb:x:0:0::/:\nbroken\n#c:x:5::\n'), { '0': 'a' });
});

test('an old kernel is unsupported and a missing right is a matter of permission, each with something to do', () => {
  const files: Record<string, string> = {
    '/proc/self/status': 'CapEff:\t0000000000000000\n',
    '/sys/kernel/btf/vmlinux': '',
    '/sys/bus/event_source/devices/uprobe/type': '8\n',
    '/proc/sys/kernel/perf_event_paranoid': '4\n',
  };
  const checks = machineChecks({ release: '5.4.0-generic', arch: 'x64', read: (path) => files[path] });
  const failed = Object.fromEntries(checks.filter((c) => c.status === 'fail').map((c) => [c.name, c.means]));
  assert.deepEqual(failed, {
    kernel: 'unsupported',
    ...Object.fromEntries(['cap_bpf', 'cap_perfmon', 'cap_sys_admin', 'cap_sys_resource'].map((name) => [name, 'permission'])),
  });
  for (const check of checks) if (check.status !== 'ok') assert.ok((check.hint ?? '').endsWith('.'), check.name);
  const fine = machineChecks({
    release: '6.18.1',
    arch: 'arm64',
    read: (path) => (path === '/proc/self/status' ? 'CapEff:\t000001ffffffffff\n' : files[path]),
  });
  assert.deepEqual(
    fine.filter((c) => c.status !== 'ok'),
    [],
  );
});
