// Files found by the running kernel's word: programs and libraries whatever their names, in containers, deleted, replaced; and what came too late is told.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SourceStats } from '../../host/src/events/source.js';
import { EbpfSource, type Target } from '../../host/src/sources/ebpf/index.js';
import { mustProbe, ROOT, scratch } from '../lib/run.js';
import { buildClient, machineLibrary, runClient } from '../lib/tls-program.js';
import { type Mock, startMock } from '../mock/server.js';

const paths = { objectPath: join(ROOT, 'dist/bpf/oisp.bpf.o'), addonPath: join(ROOT, 'dist/native/oisp_native.node') };

async function startSource(): Promise<EbpfSource> {
  const source = new EbpfSource({ ...paths, shards: 1, scope: { all: true, pids: [], comms: [] } });
  await source.start(
    (batch) => source.credit(batch.shard, batch.bytes.length),
    () => assert.fail('the kernel does not end'),
  );
  return source;
}

async function until<T>(what: string, ask: () => T | undefined | false): Promise<T> {
  for (let i = 0; i < 1_000; i += 1) {
    const answer = ask();
    if (answer !== undefined && answer !== false) return answer;
    await sleep(10);
  }
  throw new assert.AssertionError({ message: `not within 10 s: ${what}` });
}

describe('discovery', () => {
  const children = new Set<ChildProcess>();
  const folder = scratch('discovery');
  let mock: Mock;
  let source: EbpfSource | undefined;

  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  beforeEach(async () => {
    await source?.stop();
    source = undefined;
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await source?.stop();
    await mock?.close();
  });

  const sleeper = (env: NodeJS.ProcessEnv, program = '/bin/sleep', args = ['60']): ChildProcess => {
    const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...env } });
    children.add(child);
    return child;
  };
  const stop = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
    children.delete(child);
  };
  const targetAt = (path: string): Target | undefined => source?.targets().find((target) => target.path === path);

  test('a library under any name is found when a process maps it', async () => {
    const library = join(folder, 'carrier.bin');
    copyFileSync(machineLibrary(), library);
    source = await startSource();
    const child = sleeper({ LD_PRELOAD: library });
    const target = await until('the library is probed', () => targetAt(library));
    assert.ok(target.functions.some(({ func, attached }) => func === 'ssl_write' && attached));
    const late = await until('it is told to be late', () => source?.lateFiles().find((file) => file.path === library));
    assert.equal(late.tgid, child.pid);
    assert.ok((late.afterMs ?? -1) >= 0);
    await stop(child);
  });

  test('a program that was never seen is captured from its first byte, or told to be late', async () => {
    const program = buildClient(folder, 'odd-name', 'static');
    source = await startSource();
    const pid = await runClient(program, mock.port, 'never-seen');
    await until('the program is probed', () => targetAt(program));
    await until('it is told to be late', () => source?.lateFiles().some((file) => file.path === program && file.tgid === pid));
  });

  test('a library in a mount of its own is found through the root of the process', async () => {
    const place = join(folder, 'container');
    const library = join(place, 'libssl.so.3');
    mkdirSync(place);
    source = await startSource();
    const line = `mount -t tmpfs none ${place} && cp ${machineLibrary()} ${library} && LD_PRELOAD=${library} exec sleep 60`;
    const child = sleeper({}, '/usr/bin/unshare', ['--mount', '/bin/sh', '-c', line]);
    await until('the library is probed', () => targetAt(library));
    assert.ok(!existsSync(library), 'it is not to be seen from here');
    await stop(child);
  });

  test('a library that was deleted while a process has it is found, and let go of when the process ends', async () => {
    const library = join(folder, 'libssl.so.9');
    copyFileSync(machineLibrary(), library);
    const child = sleeper({ LD_PRELOAD: library });
    await sleep(200);
    rmSync(library);
    source = await startSource();
    assert.ok(targetAt(library), 'it is found through the process');
    const links = source.stats()['links'] as number;
    await stop(child);
    // What is gone is noticed when the table is swept, or here when another known file changes.
    const other = join(folder, 'libssl.so.8');
    copyFileSync(machineLibrary(), other);
    const next = sleeper({ LD_PRELOAD: other });
    await until('the other one is probed', () => targetAt(other));
    rmSync(other);
    await until('the deleted one is no target', () => targetAt(library) === undefined);
    assert.ok(targetAt(other), 'the one in use is');
    assert.ok((source.stats()['links'] as number) <= links + (targetAt(other)?.functions.length ?? 0) * 2);
    await stop(next);
  });

  test('a replaced library is a target before any process has it', async () => {
    const place = join(folder, 'replaced');
    mkdirSync(place);
    const library = join(place, 'libssl.so.3');
    copyFileSync(machineLibrary(), library);
    source = await startSource();
    const child = sleeper({ LD_PRELOAD: library });
    const old = await until('the library is probed', () => targetAt(library));
    copyFileSync(machineLibrary(), `${library}.dpkg-new`);
    renameSync(`${library}.dpkg-new`, library);
    const targets = await until('there are two', () => {
      const found = source?.targets().filter((target) => target.path.startsWith(library));
      return found?.length === 2 && found;
    });
    assert.ok(targets.every(({ functions }) => functions.some(({ func, attached }) => func === 'ssl_write' && attached)));
    await stop(child);
    assert.ok(old.id < Math.max(...targets.map(({ id }) => id)));
    const discovery = source.stats()['discovery'] as SourceStats;
    assert.equal(discovery['problems'], 0, source.lastProblem);
  });
});
