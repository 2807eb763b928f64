// A probe on the wrong function: what it gives is no plaintext, so it is taken off, and the log, the status, coverage and the metrics say so.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CoverageReport } from '../../host/src/coverage/row.js';
import type { Status } from '../../host/src/topology/status.js';
import { mustProbe, oispHost, ROOT, scratch, startDaemon } from '../lib/run.js';

const folder = scratch('self-check');
const socket = join(folder, 'control.sock');
const SOURCE = join(ROOT, 'test', 'e2e', 'fixtures', 'wrong-tls.c');
/** Takes everything and answers nothing. */
const sink = createServer((connection) => connection.resume().on('error', () => undefined));

before(async () => {
  mustProbe();
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve));
});
after(() => sink.close());

function build(): { program: string; library: string } {
  const own = join(folder, 'lib');
  mkdirSync(own);
  const library = join(own, 'libssl.so.3');
  const program = join(folder, 'program');
  const cc = (...args: string[]) => execFileSync(process.env['CC'] ?? 'cc', ['-O1', '-Wall', '-Wextra', '-Werror', SOURCE, ...args], { stdio: 'pipe' });
  cc('-DLIBRARY', '-shared', '-fPIC', '-o', library);
  cc('-o', program, library, `-Wl,-rpath,${own}`);
  return { program, library };
}

async function ask<T>(command: string): Promise<T> {
  const ended = await oispHost([command, '--json', '--control', socket]);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as T;
}

describe('the self-check of probes', () => {
  it('takes off what gave no plaintext on three connections, and says so everywhere', { timeout: 120_000 }, async () => {
    const { program, library } = build();
    const daemon = await startDaemon(['--control', socket, '--output', join(folder, 'out.jsonl')]);
    const child = spawn(program, [String((sink.address() as AddressInfo).port)], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      const target = async () => (await ask<Status>('status')).targets.find(({ path }) => path === library);
      for (let tries = 0; tries < 80 && !(await target()); tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(
        (await target())?.functions.some(({ attached }) => attached),
        'it is probed like any libssl',
      );

      for (let connection = 1; connection <= 3; connection += 1) {
        child.stdin.write('\n');
        await new Promise((resolve) => child.stdout.once('data', resolve));
        if (connection === 2)
          assert.ok(
            (await target())?.functions.some(({ attached }) => attached),
            'two connections prove nothing',
          );
      }
      for (let tries = 0; tries < 80 && !daemon.stderr().includes('not probed any more'); tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
      assert.match(daemon.stderr(), /libssl\.so\.3 is not probed any more: self-check: 3 connections/);

      const functions = (await target())?.functions ?? [];
      assert.ok(functions.length > 0);
      for (const { attached, detail } of functions) assert.deepEqual([attached, detail?.slice(0, 10)], [false, 'self-check']);
      const row = (await ask<CoverageReport>('coverage')).rows.find(({ pid }) => pid === child.pid);
      assert.equal(row?.state, 'detached', JSON.stringify(row));
      assert.equal(row?.files.find(({ path }) => path === library)?.implausible, 3);
      assert.match(row?.reason ?? '', /^libssl\.so\.3: self-check/);
      const metrics = execFileSync('curl', ['-s', '--unix-socket', socket, 'http://localhost/metrics'], { encoding: 'utf8' });
      assert.match(metrics, /^oisp_host_self_check\{what="detached"\} 1$/m);

      const others = (await ask<Status>('status')).targets.filter(({ functions: all }) => all.some(({ attached }) => attached));
      assert.ok(others.length > 0, 'the other libraries stay probed');
    } finally {
      child.stdin.end();
      child.kill();
      await daemon.stop();
    }
  });
});
