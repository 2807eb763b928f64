// `npm start -- ARGS` and the launcher: arguments arrive as typed, also a second "--", and a missing build is one sentence.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LAUNCHER, ROOT, scratch } from '../lib/run.js';

/** A checkout of the real scripts whose set-up and build do nothing and whose launcher shows its arguments. */
function checkout(): string {
  const root = realpathSync(scratch('start'));
  for (const folder of ['scripts', 'bin']) mkdirSync(join(root, folder));
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'start-test', version: '1.0.0', scripts: { start: scripts['start'] } }));
  for (const script of ['start.sh', 'env.sh']) copyFileSync(join(ROOT, 'scripts', script), join(root, 'scripts', script));
  for (const script of ['setup.sh', 'build.sh']) writeFileSync(join(root, 'scripts', script), '# Does nothing, aloud.\necho "$0 ran"\n');
  writeFileSync(join(root, 'bin', 'oisp-host'), '#!/bin/sh\nprintf "<%s>" "$PWD" "$@"\n');
  chmodSync(join(root, 'bin', 'oisp-host'), 0o755);
  return root;
}

describe('npm start', () => {
  it('passes every argument on, with spaces and a second --', () => {
    const root = checkout();
    const args = ['--output', 'out file.jsonl', '--', 'curl', '-sk', 'https://127.0.0.1:1/', '-d', '@body.json', '--', '--json', "it's"];
    const ended = spawnSync('npm', ['start', '--silent', '--', ...args], { cwd: root, encoding: 'utf8' });
    assert.equal(ended.status, 0, ended.stderr);
    assert.equal(ended.stdout, ['', root, 'run', ...args].map((argument) => (argument === '' ? '' : `<${argument}>`)).join(''));
  });

  it('leaves standard output to the daemon', () => {
    const ended = spawnSync('npm', ['start', '--silent'], { cwd: checkout(), encoding: 'utf8' });
    assert.match(ended.stderr, /setup\.sh ran/);
    assert.doesNotMatch(ended.stdout, /ran/);
  });
});

describe('the launcher', () => {
  it('finds its checkout through symlinks', () => {
    const folder = scratch('link');
    symlinkSync(LAUNCHER, join(folder, 'one'));
    symlinkSync('one', join(folder, 'two'));
    const ended = spawnSync(join(folder, 'two'), ['--help'], { cwd: '/', encoding: 'utf8' });
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /oisp-host/);
  });

  it('says in one sentence that it is not built', () => {
    const root = scratch('unbuilt');
    mkdirSync(join(root, 'bin'));
    copyFileSync(LAUNCHER, join(root, 'bin', 'oisp-host'));
    const ended = spawnSync(join(root, 'bin', 'oisp-host'), ['run'], { encoding: 'utf8' });
    assert.equal(ended.status, 1);
    assert.match(ended.stderr, /^oisp-host: .*npm run build.*\n$/);
  });
});
