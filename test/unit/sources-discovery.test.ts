// How files are found as they come and let go when they are gone: folders, twins, late looks, hints and the table, without a kernel program.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AddOutcome, AttachTable } from '../../host/src/sources/ebpf/attach.js';
import { Discovery, type DiscoveryTimes } from '../../host/src/sources/ebpf/discovery.js';
import { FileReport } from '../../host/src/sources/ebpf/file-report.js';
import { FolderWatch } from '../../host/src/sources/ebpf/folder-watch.js';
import { PendingLooks } from '../../host/src/sources/ebpf/pending-looks.js';
import { unusedTargets } from '../../host/src/sources/ebpf/reaper.js';
import { examine, glance, openRegular, SymbolHints } from '../../host/src/sources/ebpf/tls-file.js';
import { TwinFolders } from '../../host/src/sources/ebpf/twin-folders.js';
import { writeLargeElf } from '../lib/large-elf.js';

const directory = mkdtempSync(join(tmpdir(), 'oisp-discovery-'));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const FUNCTIONS = ['SSL_read', 'SSL_write', 'SSL_free', 'SSL_read_ex'];
const TIMES: DiscoveryTimes = { sweepMs: 60_000, unwatchedMs: 20, reapMs: 20 };
let folders = 0;
const folder = (): string => {
  folders += 1;
  const path = join(directory, `f${folders}`);
  mkdirSync(path);
  return path;
};
/** A small file with a TLS library's symbols. */
const library = (path: string, functions: readonly string[] = FUNCTIONS, buildId?: string): string => {
  writeLargeElf(path, { symbols: 100, fileBytes: 1 << 20, functions, ...(buildId !== undefined && { buildId }) });
  return path;
};

/** Waits until a condition holds, for up to ten seconds. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i += 1) await sleep(10);
  assert.ok(holds(), what);
}

class FakePort {
  readonly links = new Set<number>();
  #last = 0;
  attachUprobe(): number {
    this.#last += 1;
    this.links.add(this.#last);
    return this.#last;
  }
  detach(id: number): void {
    assert.ok(this.links.delete(id), 'detached twice');
  }
}

const candidate = (path: string) => ({ path, shown: path });
const inodeOf = (path: string): string => String(statSync(path, { bigint: true }).ino);

test('a watched folder tells of what appears in it, and of what took its name', async () => {
  const seen: string[] = [];
  const place = folder();
  const watch = new FolderWatch({ onEntry: (_, name) => seen.push(name), onUnsure: (path) => seen.push(`unsure ${path}`) });
  assert.equal(watch.add(place), true);
  assert.equal(watch.add(place), true);
  assert.equal(watch.size, 1);
  writeFileSync(join(place, 'a'), 'x');
  await until('the entry is told of', () => seen.includes('a'));
  rmSync(place, { recursive: true });
  mkdirSync(place);
  await until('the folder that took its name is another one', () => seen.includes(`unsure ${place}`));
  writeFileSync(join(place, 'b'), 'x');
  await until('it is watched in its place', () => seen.includes('b'));
  watch.close();
  watch.close();
  assert.equal(watch.add(place), false);
});

test('a folder too many is refused, and so is one that is not there, both counted', () => {
  const watch = new FolderWatch({ onEntry: () => undefined, onUnsure: () => undefined }, { folders: 2, eventsPerSecond: 10 });
  assert.equal(watch.add(join(directory, 'missing')), false);
  assert.equal(watch.add(folder()), true);
  assert.equal(watch.add(folder()), true);
  assert.equal(watch.add(folder()), false);
  assert.deepEqual([watch.counters.folders_refused, watch.counters.folders_full], [1, 1]);
  watch.close();
});

test('a busy folder is left alone for a while, then looked at as a whole', async () => {
  const unsure: string[] = [];
  let entries = 0;
  const place = folder();
  const watch = new FolderWatch({ onEntry: () => entries++, onUnsure: (path) => unsure.push(path) }, { folders: 2, eventsPerSecond: 10 });
  watch.add(place);
  for (let i = 0; i < 100; i += 1) writeFileSync(join(place, `n${i}`), 'x');
  await until('it pauses', () => watch.counters.pauses > 0);
  assert.ok(entries <= 10, `${entries} entries told of`);
  await until('it goes on', () => unsure.includes(place));
  writeFileSync(join(place, 'later'), 'x');
  const before = entries;
  await until('it tells again', () => entries > before);
  watch.close();
});

test('a file is expected where it was, but for the name of one folder above it', () => {
  const twins = new TwinFolders();
  assert.deepEqual(twins.learn('/tmp/_MEI1/lib/libssl.so.3'), { watch: ['/tmp/_MEI1', '/tmp'], leave: [] });
  assert.deepEqual(twins.expected('/tmp', '_MEI2'), ['/tmp/_MEI2/lib/libssl.so.3']);
  assert.deepEqual(twins.expected('/tmp/_MEI1', 'lib2'), ['/tmp/_MEI1/lib2/libssl.so.3']);
  assert.deepEqual(twins.expected('/nowhere', 'x'), []);
  assert.deepEqual(twins.learn('/usr/bin/node').watch, []);
  assert.equal(twins.learn('/home/a/.nvm/versions/node/v22/bin/node').watch.at(-1), '/home/a/.nvm/versions');
});

test('what is expected is bounded, for each folder and in all: what was learnt longest ago is forgotten', () => {
  const twins = new TwinFolders();
  for (let i = 0; i < 40; i += 1) twins.learn(`/tmp/x/n${i}`);
  const expected = twins.expected('/tmp', 'y');
  assert.deepEqual([expected.length, expected[0], expected.at(-1)], [16, '/tmp/y/n24', '/tmp/y/n39']);
  assert.equal(twins.counters.twins_forgotten, 24);
  const wide = new TwinFolders();
  const left: string[] = [];
  for (let i = 0; i < 300; i += 1) left.push(...wide.learn(`/srv/d${i}/e/n`).leave);
  assert.deepEqual(wide.expected('/srv/d0', 'f'), []);
  assert.deepEqual(wide.expected('/srv/d299', 'f'), ['/srv/d299/f/n']);
  assert.deepEqual(wide.expected('/srv', 'new'), ['/srv/new/e/n']);
  assert.equal(left.length, 45);
  assert.equal(left[0], '/srv/d0');
});

test('a path that may come is looked at for a while, one that changed once', async () => {
  const looks: string[] = [];
  const outcomes = new Map<string, AddOutcome>();
  const pending = new PendingLooks(
    async (path) => {
      looks.push(path);
      return outcomes.get(path) ?? 'gone';
    },
    async () => true,
  );
  pending.expect('/comes', true);
  pending.expect('/changed', false);
  await until('several looks', () => looks.filter((path) => path === '/comes').length >= 4);
  outcomes.set('/comes', 'attached');
  await until('no more', () => pending.size === 0);
  assert.equal(looks.filter((path) => path === '/changed').length, 1);
  outcomes.set('/grows', 'truncated');
  pending.expect('/grows', false);
  await until('a growing file is looked at again', () => looks.filter((path) => path === '/grows').length >= 3);
  outcomes.set('/grows', 'attached');
  await until('until it is whole', () => pending.size === 0);
  pending.close();
});

test('looks to come are bounded, and the one too many is counted', () => {
  const pending = new PendingLooks(
    async () => 'gone',
    async () => false,
  );
  for (let i = 0; i < 256; i += 1) assert.equal(pending.expect(`/p${i}`, true), true);
  assert.equal(pending.expect('/one-more', true), false);
  assert.equal(pending.expect('/p1', true), true);
  assert.equal(pending.counters.looks_dropped, 1);
  pending.close();
  assert.equal(pending.size, 0);
});

async function look(path: string, hints: SymbolHints) {
  const opened = await openRegular(path);
  assert.ok('handle' in opened);
  const first = await glance(opened.handle, hints);
  const last = await examine(opened.handle, hints);
  await opened.handle.close();
  return { first, last };
}

test('a file like one seen before is known at a glance, by its own bytes', async () => {
  const hints = new SymbolHints();
  const place = folder();
  const id = 'ab'.repeat(20);
  const one = await look(library(join(place, 'one'), FUNCTIONS, id), hints);
  assert.equal(one.first, undefined);
  assert.ok('tls' in one.last);
  const same = await look(library(join(place, 'two'), FUNCTIONS, id), hints);
  assert.deepEqual(same.first, one.last.tls);
  // It claims the same build id, and its symbols are elsewhere.
  const liar = await look(library(join(place, 'liar'), ['AAAA_pad', ...FUNCTIONS], id), hints);
  assert.equal(liar.first, undefined);
  assert.ok('tls' in liar.last);
});

test('a file that claims the build id of another takes nothing from it', async () => {
  const hints = new SymbolHints();
  const place = folder();
  const id = 'cd'.repeat(20);
  // Fewer functions than the file it imitates, at the same places.
  await look(library(join(place, 'hostile'), FUNCTIONS.slice(0, 3), id), hints);
  const table = new AttachTable(new FakePort());
  assert.equal(await table.add(candidate(join(place, 'hostile'))), 'attached');
  library(join(place, 'honest'), FUNCTIONS, id);
  assert.equal(await table.add(candidate(join(place, 'honest'))), 'attached');
  const honest = table.targets().find(({ path }) => path.endsWith('honest'));
  assert.equal(honest?.functions.find(({ func }) => func === 'ssl_read_ex')?.attached, true);
  // Nothing at all is known of a file without symbols: it is not remembered for its build id.
  await look(library(join(place, 'empty'), ['other'], id), hints);
  assert.notEqual(hints.places(id), undefined);
});

test('hints are bounded: the oldest goes', () => {
  const hints = new SymbolHints();
  for (let i = 0; i < 300; i += 1) hints.learn(`id${i}`, new Map());
  assert.equal(hints.places('id0'), undefined);
  assert.notEqual(hints.places('id299'), undefined);
  hints.learn(undefined, new Map());
  assert.equal(hints.places(undefined), undefined);
});

test('files that could not be looked into are told with the reason, and no longer than they are', async () => {
  const table = new AttachTable(new FakePort());
  const path = join(folder(), 'broken');
  writeFileSync(path, readFileSync(library(join(directory, 'whole'))).subarray(0, 5_000));
  assert.equal(await table.add(candidate(path)), 'truncated');
  const [file] = table.report.unreadable;
  assert.deepEqual([file?.path, file?.reason, file?.looks], [path, 'truncated', 1]);
  assert.match(file?.detail ?? '', /ends before/);
  library(path);
  assert.equal(await table.add(candidate(path)), 'attached');
  assert.deepEqual(table.report.unreadable, []);
});

test('the lists of files are bounded, and what is forgotten is counted', () => {
  const report = new FileReport();
  for (let i = 0; i < 300; i += 1) {
    report.looked({ ...candidate(`/n${i}`), tgid: i }, 'denied', 'EACCES');
    report.late({ path: `/n${i}`, tgid: i, afterMs: 5 });
  }
  assert.equal(report.unreadable.length, 256);
  assert.equal(report.lateFiles.length, 256);
  assert.deepEqual([report.counters.unreadable_forgotten, report.counters.late_forgotten], [44, 44]);
  assert.equal(report.unreadable.at(-1)?.path, '/n299');
});

/** A discovery of one file, with its table. */
async function discovering(path: string, times = TIMES) {
  const port = new FakePort();
  const table = new AttachTable(port);
  const discovery = new Discovery(table, times);
  await discovery.addFiles([candidate(path)]);
  assert.equal(table.targets().length, 1);
  return { port, table, discovery };
}

test('a library that is replaced is attached again, and the old one is let go of', async () => {
  const path = library(join(folder(), 'libssl.so.3'));
  const { port, table, discovery } = await discovering(path);
  const links = port.links.size;
  library(`${path}.new`);
  renameSync(`${path}.new`, path);
  await until('the new file is a target', () => table.targets().some(({ inode }) => inode === inodeOf(path)));
  await until('the old one is none', () => table.targets().length === 1);
  assert.equal(port.links.size, links);
  assert.equal(discovery.stats()['reaped'], 1);
  await discovery.close();
});

test('a file that was found before it was renamed into place keeps its probes', async () => {
  const path = library(join(folder(), 'libssl.so.3'));
  const { table, discovery } = await discovering(path);
  library(`${path}.dpkg-new`);
  await until('it is found as it is written', () => table.targets().some((target) => target.path === `${path}.dpkg-new`));
  renameSync(`${path}.dpkg-new`, path);
  await until('the old one is let go of', () => (discovery.stats()['reaped'] as number) === 1);
  await sleep(100);
  assert.deepEqual(
    table.targets().map((target) => [target.path, target.inode]),
    [[path, inodeOf(path)]],
  );
  await discovery.close();
});

test('a file that grew and was renamed before it was looked at again is known by its last name', async () => {
  const path = library(join(folder(), 'libssl.so.3.new'));
  const table = new AttachTable(new FakePort());
  await table.add(candidate(path));
  appendFileSync(path, 'more');
  renameSync(path, path.slice(0, -4));
  assert.equal(await table.add(candidate(path.slice(0, -4))), 'known');
  assert.equal(table.targets()[0]?.path, path.slice(0, -4));
});

test('a file that is gone and that a process still has is kept until the process ends', async () => {
  const path = join(folder(), 'sleeper');
  copyFileSync('/bin/sleep', path);
  const sleeper = spawn(path, ['60'], { stdio: 'ignore' });
  children.add(sleeper);
  await new Promise((resolve) => sleeper.once('spawn', resolve));
  const [dev, inode] = [String(statSync(path).dev), inodeOf(path)];
  const target = { id: 1, path, dev, inode, family: 'openssl', buildId: undefined, functions: [], sinceMs: 0 };
  assert.deepEqual(await unusedTargets([target]), { gone: [], held: 0 });
  rmSync(path);
  assert.deepEqual(await unusedTargets([target]), { gone: [], held: 1 });
  sleeper.kill('SIGKILL');
  await new Promise((resolve) => sleeper.once('exit', resolve));
  assert.deepEqual(await unusedTargets([target]), { gone: [1], held: 0 });
});

test('a replaced file with another name left is only let go of when no path of it is known', async () => {
  const path = library(join(folder(), 'one'));
  linkSync(path, `${path}.again`);
  const { table, discovery } = await discovering(path);
  rmSync(path);
  await until('it goes', () => table.targets().length === 0);
  await discovery.addFiles([candidate(`${path}.again`)]);
  assert.equal(table.targets().length, 1);
  await discovery.close();
});

test('a program unpacked next to where it was is attached before it runs, also while it is being written', async () => {
  const parent = folder();
  mkdirSync(join(parent, 'run-1', 'bin'), { recursive: true });
  const { table, discovery } = await discovering(library(join(parent, 'run-1', 'bin', 'agent')));
  const bytes = readFileSync(join(parent, 'run-1', 'bin', 'agent'));
  mkdirSync(join(parent, 'run-2', 'bin'), { recursive: true });
  const path = join(parent, 'run-2', 'bin', 'agent');
  writeFileSync(path, bytes.subarray(0, 100_000));
  await sleep(100);
  appendFileSync(path, bytes.subarray(100_000));
  await until('it is a target', () => table.targets().some((target) => target.path === path));
  await discovery.close();
});

test('without watches a known path is looked at every moment', async () => {
  const path = library(join(folder(), 'libssl.so.3'));
  const { table, discovery } = await discovering(path, { ...TIMES, folders: 0 });
  const watched = discovery.stats()['watched'] as { folders: number; folders_full: number };
  assert.equal(watched.folders, 0);
  assert.ok(watched.folders_full > 0);
  assert.equal(discovery.stats()['unwatched'], 1);
  library(`${path}.new`);
  renameSync(`${path}.new`, path);
  await until('the new file is a target', () => table.targets().some(({ inode }) => inode === inodeOf(path)));
  await discovery.close();
});

test('files that are gone make room in a full table', async () => {
  const place = folder();
  const paths = Array.from({ length: 257 }, (_, i) => library(join(place, `lib${i}`)));
  const table = new AttachTable(new FakePort());
  const discovery = new Discovery(table, { ...TIMES, folders: 0, unwatchedMs: 60_000 });
  await discovery.addFiles(paths.map(candidate));
  assert.equal(table.targets().length, 256);
  assert.equal(table.report.unreadable.at(-1)?.reason, 'full');
  for (const path of paths.slice(0, 100)) rmSync(path);
  await until('the table has room', () => table.targets().length === 156);
  await discovery.addFiles(paths.slice(-1).map(candidate));
  assert.equal(table.targets().length, 157);
  assert.deepEqual(table.report.unreadable, []);
  await discovery.close();
});

test('records that were lost are made up for by a look at every process', async () => {
  const table = new AttachTable(new FakePort());
  const discovery = new Discovery(table, TIMES);
  discovery.onLoss();
  discovery.onLoss();
  assert.equal(discovery.stats()['loss_scans'], 1);
  await until('the own program is found', () => table.targets().some(({ path }) => path === process.execPath));
  await discovery.close();
});
