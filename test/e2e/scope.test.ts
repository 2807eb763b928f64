// `run --exe`, `--uid` and `--cgroup`: of two like programs only the one that is named is captured, whether it ran before the sensor or starts later.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventsOf, mustProbe, ofType, oispHost, scratch, startDaemon } from '../lib/run.js';
import { buildClient, runClient, TlsClient } from '../lib/tls-program.js';
import { type Mock, startMock } from '../mock/server.js';

const UID = 64_125;
const TIMEOUT = { timeout: 60_000 };

describe('scope by executable, user and cgroup', () => {
  const folder = scratch('scope-run');
  let mock: Mock;
  let named = '';
  let other = '';

  before(async () => {
    mustProbe();
    mock = await startMock();
    // Other users run what is in it.
    chmodSync(folder, 0o755);
    named = buildClient(folder, 'named', 'dynamic');
    other = join(folder, 'other');
    copyFileSync(named, other);
  });
  after(() => mock?.close());

  /** Starts both kinds of clients before and after the daemon. @returns the models that it told of. */
  async function modelsOf(args: readonly string[], start: (inside: boolean) => TlsClient): Promise<string[]> {
    const output = join(folder, `${args[0]?.slice(2)}.jsonl`);
    const early = [start(true), start(false)];
    for (const [i, client] of early.entries()) await client.ask(`warm-up-${i}`);
    const daemon = await startDaemon([...args, '--output', output, '--format', 'jsonl']);
    await early[0]?.ask('early-inside');
    await early[1]?.ask('early-outside');
    for (const inside of [true, false]) {
      const client = start(inside);
      await client.ask(`late-${inside ? 'inside' : 'outside'}`);
      await client.end();
    }
    for (const client of early) await client.end();
    const ended = await daemon.stop();
    assert.equal(ended.code, 0, ended.stderr);
    assert.ok(ended.stderr.includes(args[1] as string), 'it says whom it captures');
    return ofType(eventsOf(output), 'ai.request')
      .map((event) => (event.data['model'] as { id: string }).id)
      .toSorted();
  }
  const EXPECTED = ['early-inside', 'late-inside'];

  it('--exe', TIMEOUT, async () => {
    const models = await modelsOf(['--exe', named], (inside) => new TlsClient(inside ? named : other, mock.port));
    assert.deepEqual(models, EXPECTED);
  });

  it('--uid', TIMEOUT, async () => {
    const models = await modelsOf(['--uid', String(UID)], (inside) => new TlsClient(named, mock.port, {}, inside ? UID : UID + 1));
    assert.deepEqual(models, EXPECTED);
  });

  it('--cgroup', TIMEOUT, async () => {
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((line) => line.split(' ')[2] === 'cgroup2')
      ?.split(' ')[1];
    assert.ok(mount, 'this test needs a mounted unified cgroup hierarchy: mount -t cgroup2 none FOLDER');
    const name = `/oisp-e2e-${process.pid}`;
    const cgroup = join(mount, name);
    mkdirSync(cgroup);
    try {
      const models = await modelsOf(['--cgroup', name], (inside) => {
        const client = new TlsClient('/bin/sh', mock.port, { CGROUP: inside ? cgroup : mount, CLIENT: named }, undefined, [
          '-c',
          'echo $$ >"$CGROUP/cgroup.procs" && exec "$CLIENT" "$0"',
        ]);
        return client;
      });
      assert.deepEqual(models, EXPECTED);
    } finally {
      rmdirSync(cgroup);
    }
  });

  it('a program that does not exist yet is said so, and captured when it comes', TIMEOUT, async () => {
    const path = join(folder, 'later');
    const output = join(folder, 'later.jsonl');
    const daemon = await startDaemon(['--exe', path, '--output', output, '--format', 'jsonl']);
    assert.match(daemon.stderr(), /later does not exist/);
    copyFileSync(named, path);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await runClient(path, mock.port, 'came-later');
    await daemon.stop();
    assert.equal(ofType(eventsOf(output), 'ai.request').length, 1);
  });

  it('impossible values are refused with what to write instead', async () => {
    const uid = await oispHost(['run', '--uid', 'nobody']);
    assert.equal(uid.code, 2);
    assert.match(uid.stderr, /integer from 0/);
    const config = join(folder, 'wrong.toml');
    writeFileSync(config, '[capture]\nfiles = "some"\n');
    const files = await oispHost(['run', '--config', config]);
    assert.equal(files.code, 2);
    assert.match(files.stderr, /capture.files must be one of agents, all, none/);
  });
});
