// Who is an agent, and which processes and rules the kernel is told of, with a stand-in for the addon.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../host/src/errors.js';
import { AgentWatch } from '../../host/src/sources/ebpf/agent-watch.js';
import { AgentRegistry } from '../../host/src/sources/ebpf/agents.js';
import { deviceOfMount, kernelIdentity } from '../../host/src/sources/ebpf/kernel-identity.js';
import type { ScopeCell } from '../../host/src/sources/ebpf/native.js';
import { descendants } from '../../host/src/sources/ebpf/process-tree.js';
import { Scope, type ScopeOptions } from '../../host/src/sources/ebpf/scope.js';
import { cgroupPlace, ScopeRules, unifiedMount } from '../../host/src/sources/ebpf/scope-rules.js';

const directory = mkdtempSync(join(tmpdir(), 'oisp-scope-'));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i += 1) await sleep(10);
  assert.ok(holds(), what);
}

/** Keeps what the kernel would. */
class FakePort {
  readonly cells = new Map<number, ScopeCell>();
  readonly exes = new Map<string, ScopeCell>();
  readonly uids = new Map<number, ScopeCell>();
  readonly cgroups = new Map<bigint, ScopeCell>();
  readonly comms: string[] = [];
  captureAll: boolean | undefined;
  filesAll = false;
  gates = 0;
  full = false;
  scopeAdd(tgid: number, cell: ScopeCell): void {
    this.cells.set(tgid, cell);
  }
  scopeRemove(tgid: number): void {
    this.cells.delete(tgid);
  }
  scopeAddComm(comm: string): void {
    this.comms.push(comm);
  }
  scopeAddExe(dev: bigint, inode: bigint, cell: ScopeCell): void {
    if (this.full) throw Object.assign(new Error('add to scope_exe: Argument list too long'), { code: 'E2BIG' });
    this.exes.set(`${dev}:${inode}`, cell);
  }
  scopeRemoveExe(dev: bigint, inode: bigint): void {
    this.exes.delete(`${dev}:${inode}`);
  }
  scopeAddUid(uid: number, cell: ScopeCell): void {
    this.uids.set(uid, cell);
  }
  scopeAddCgroup(id: bigint, cell: ScopeCell): void {
    this.cgroups.set(id, cell);
  }
  scopeRemoveCgroup(id: bigint): void {
    this.cgroups.delete(id);
  }
  setCaptureAll(all: boolean): void {
    this.captureAll = all;
  }
  setFilesAll(all: boolean): void {
    this.filesAll = all;
  }
  gateAdd(): void {
    this.gates += 1;
  }
}

const CELL: ScopeCell = { capture: true, inherit: true, files: true };

test('an agent is known by its executable, its script, its package, its module or its folder', () => {
  const registry = new AgentRegistry(['my-agent']);
  const match = (exe: string, ...args: string[]) => registry.match(exe, [exe, ...args]);
  assert.equal(match('/usr/local/bin/codex'), 'codex');
  assert.equal(match('/home/a/.local/share/claude/versions/2.1.3'), 'claude_code');
  assert.equal(match('/opt/x/my-agent'), 'my-agent');
  assert.equal(match('/usr/bin/node', '/usr/local/bin/gemini', '-p', 'hi'), 'gemini_cli');
  assert.equal(match('/usr/bin/node', '--no-warnings', '--require', '/x/hook.js', '/x/qwen.js'), 'qwen_code');
  assert.equal(match('/usr/bin/node', '/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js'), 'claude_code');
  assert.equal(match('/usr/lib/node_modules/@openai/codex/vendor/x86_64/codex/codex-exec'), 'codex');
  assert.equal(match('/usr/bin/python3.11', '-m', 'aider', '--model', 'x'), 'aider');
  assert.equal(match('/usr/bin/python3', '/home/a/.local/bin/aider'), 'aider');
  assert.equal(match('/home/a/.local/share/cursor-agent/versions/1/node', 'index.js'), 'cursor_agent');
});

test('what only mentions an agent is none', () => {
  const registry = new AgentRegistry();
  const match = (exe: string, ...args: string[]) => registry.match(exe, [exe, ...args]);
  assert.equal(match('/usr/bin/vim', '/usr/local/bin/codex'), undefined);
  assert.equal(match('/usr/bin/node', '/x/build.js', 'gemini'), undefined);
  assert.equal(match('/usr/bin/node', '-e', 'gemini'), undefined);
  assert.equal(match('/usr/bin/python3', '-c', 'aider'), undefined);
  assert.equal(match('/usr/bin/python3', '-m', 'pip', 'install', 'aider'), undefined);
  assert.equal(match('/usr/bin/node'), undefined);
  assert.equal(match('/usr/bin/claude-desktop-helper'), undefined);
});

test('agents that are installed and native are rules, running ones are in scope with what they started', async () => {
  const port = new FakePort();
  const rules = new ScopeRules(port, () => undefined);
  const path = join(directory, 'my-native-agent');
  copyFileSync('/bin/sh', path);
  const running = spawn(path, ['-c', 'sleep 60; :'], { stdio: 'ignore' });
  children.add(running);
  await until('the shell has a child', () => descendantsNow(running.pid as number).length > 0);
  const watch = new AgentWatch(port, rules, new AgentRegistry(['my-native-agent']));
  await watch.start();
  assert.deepEqual(port.cells.get(running.pid as number), CELL);
  for (const child of descendantsNow(running.pid as number)) assert.deepEqual(port.cells.get(child), CELL);
  const { dev, inode } = (await kernelIdentity(path)) as { dev: bigint; inode: bigint };
  assert.deepEqual(port.exes.get(`${dev}:${inode}`), CELL);
  assert.deepEqual(
    watch.seen.filter((one) => one.exe === path).map((one) => [one.tgid, one.agent]),
    [[running.pid, 'my-native-agent']],
  );
  running.kill('SIGKILL');
  await watch.close();
  await rules.close();
});

/** Children of a process, by the kernel's own list. */
function descendantsNow(tgid: number): number[] {
  const path = `/proc/${tgid}/task/${tgid}/children`;
  return readFileSync(path, 'latin1').split(' ').filter(Boolean).map(Number);
}

test('a script is recognised when it is executed, and one that ended meanwhile leaves nothing behind', async () => {
  const port = new FakePort();
  const rules = new ScopeRules(port, () => undefined);
  const watch = new AgentWatch(port, rules, new AgentRegistry());
  const script = join(directory, 'gemini.js');
  writeFileSync(script, 'setTimeout(() => {}, 60_000)');
  const child = spawn(process.execPath, [script], { stdio: 'ignore' });
  children.add(child);
  await new Promise((resolve) => child.once('spawn', resolve));
  watch.onExec(child.pid as number);
  await until('it is in scope', () => port.cells.has(child.pid as number));
  assert.equal(rules.size, 0, 'an interpreter is no rule');
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  watch.onExec(child.pid as number);
  watch.onExec(2 ** 22 + 1);
  await watch.close();
  assert.equal(watch.stats()['recognised'], 1);
  for (let i = 0; i < 70; i += 1) watch.onExec(process.pid);
  await watch.close();
  assert.equal(watch.stats()['dropped'], 6, 'arguments are read of 64 processes at a time');
  await rules.close();
});

test('a rule follows its name: to another file, out of existence, and back', async () => {
  const port = new FakePort();
  const rules = new ScopeRules(port, () => undefined);
  const folder = join(directory, 'names');
  mkdirSync(folder);
  const path = join(folder, 'tool');
  assert.equal(await rules.addExe(path, CELL), false);
  assert.equal(port.exes.size, 0);
  copyFileSync('/bin/true', path);
  const keyOf = async () => Object.values((await kernelIdentity(path)) ?? {}).join(':');
  const first = await keyOf();
  await until('it is known when it comes', () => port.exes.has(first));
  copyFileSync('/bin/true', `${path}.new`);
  renameSync(`${path}.new`, path);
  const second = await keyOf();
  await until('the new file takes its place', () => port.exes.has(second) && !port.exes.has(first));
  rmSync(path);
  await until('nothing is left of it', () => port.exes.size === 0);
  copyFileSync('/bin/false', join(directory, 'elsewhere'));
  symlinkSync(join(directory, 'elsewhere'), path);
  await until('a link is followed', () => port.exes.size === 1);
  assert.equal(rules.stats()['rules'], 1);
  await rules.close();
  await rules.close();
});

test('a cgroup that is made anew is told of under its new number', async () => {
  const port = new FakePort();
  const appeared: string[] = [];
  const rules = new ScopeRules(port, (path) => appeared.push(path));
  const path = join(directory, 'a.slice', 'b.service');
  await rules.addCgroup(path, CELL);
  assert.equal(port.cgroups.size, 0);
  mkdirSync(path, { recursive: true });
  await until('it is known when it comes', () => port.cgroups.has(statSync(path, { bigint: true }).ino));
  assert.deepEqual(appeared, [path]);
  rmSync(path, { recursive: true });
  await until('it goes', () => port.cgroups.size === 0);
  await rules.close();
});

test('a rule that the kernel has no room for is a wrong configuration', async () => {
  const port = new FakePort();
  port.full = true;
  const scope = new Scope(port, { all: false, pids: [], comms: [], exes: ['/bin/true'] });
  await assert.rejects(scope.apply(), (error) => error instanceof HostError && error.code === 'CONFIG' && /capture.exes: \/bin\/true/.test(error.message));
  await scope.close();
});

const nobody: ScopeOptions = { all: false, pids: [], comms: [] };

async function applied(options: Partial<ScopeOptions>) {
  const port = new FakePort();
  const scope = new Scope(port, { ...nobody, ...options });
  await scope.apply();
  await scope.close();
  return port;
}

test('processes that run are in scope by executable, by user and by cgroup, with their descendants', async () => {
  const program = join(directory, 'odd-sleep');
  copyFileSync('/bin/sleep', program);
  const sleeper = spawn(program, ['60'], { stdio: 'ignore' });
  children.add(sleeper);
  await new Promise((resolve) => sleeper.once('spawn', resolve));
  const byExe = await applied({ exes: [program] });
  assert.deepEqual([...byExe.cells], [[sleeper.pid, CELL]]);
  assert.equal(byExe.captureAll, false);
  const byUid = await applied({ uids: [process.getuid?.() as number], files: 'none' });
  assert.deepEqual(byUid.cells.get(sleeper.pid as number), { ...CELL, files: false });
  assert.deepEqual([...byUid.uids.keys()], [process.getuid?.()]);
  const byAll = await applied({ all: true, files: 'all' });
  assert.ok(byAll.captureAll && byAll.filesAll && byAll.gates > 0);
  assert.equal(byAll.cells.size, 0);
  sleeper.kill('SIGKILL');
});

test('descendants are found by parents, whatever the order', () => {
  const rows = [
    { tgid: 4, ppid: 3 },
    { tgid: 3, ppid: 2 },
    { tgid: 9, ppid: 1 },
    { tgid: 2, ppid: 2 },
  ];
  assert.deepEqual(descendants(rows, new Set([2])).toSorted(), [2, 3, 4]);
  assert.deepEqual(descendants(rows, new Set()), []);
});

test('cgroups and devices are named as the kernel has them', async () => {
  assert.equal(unifiedMount('cgroup2 /sys/fs/cgroup\\040x cgroup2 rw 0 0\n'), '/sys/fs/cgroup x');
  assert.equal(unifiedMount('cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n'), undefined);
  const place = await cgroupPlace('a.slice/');
  if (place !== undefined) {
    assert.equal(place.name, '/a.slice');
    assert.ok(place.folder.endsWith('/a.slice'));
    assert.deepEqual(await cgroupPlace(place.folder), place);
    assert.equal((await cgroupPlace('/'))?.name, '/');
  }
  const mountinfo = '25 30 0:23 / /sys rw - sysfs sysfs rw\n30 1 254:1 / / rw - btrfs /dev/x rw\n';
  assert.equal(deviceOfMount(mountinfo, '30'), 0xfe01n);
  assert.equal(deviceOfMount(mountinfo, '31'), undefined);
  const own = await kernelIdentity(process.execPath);
  assert.equal(own?.inode, statSync(process.execPath, { bigint: true }).ino);
  assert.equal(await kernelIdentity('/nowhere'), undefined);
});
