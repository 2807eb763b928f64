// Coverage of a running daemon: who is read says since when, who speaks a TLS that cannot be read says which, and nobody who speaks TLS is missing.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, realpathSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CoverageReport, CoverageRow } from '../../host/src/coverage/row.js';
import { PROGRAMS, startClient } from '../lib/clients.js';
import { type Daemon, mustProbe, oispHost, ROOT, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const folder = scratch('coverage');
const socket = join(folder, 'control.sock');
let mock: Mock;
let daemon: Daemon | undefined;
before(async () => {
  mustProbe();
  mock = await startMock();
  daemon = await startDaemon(['--control', socket, '--output', join(folder, 'out.jsonl')]);
});
after(async () => {
  await daemon?.stop();
  await mock?.close();
});

async function reportNow(): Promise<CoverageReport> {
  const ended = await oispHost(['coverage', '--json', '--control', socket]);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as CoverageReport;
}

/** The row of a process once it is as it should be: what a process did takes a moment to be told. */
async function rowOf(pid: number, ready: (row: CoverageRow) => boolean): Promise<CoverageRow> {
  let row: CoverageRow | undefined;
  for (let tries = 0; tries < 40; tries += 1) {
    row = (await reportNow()).rows.find((one) => one.pid === pid);
    if (row && ready(row)) return row;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`process ${pid} is not as it should be: ${JSON.stringify(row)}`);
}

describe('coverage', () => {
  it('says of a client that was read which library, since when and how much', { timeout: 120_000 }, async () => {
    const curl = await startClient('curl', { url: mock.url, folder, marker: 'read', wait: false });
    await curl.finished;
    const row = await rowOf(curl.pid, ({ ai_events }) => ai_events >= 6);
    assert.equal(row.state, 'readable');
    assert.deepEqual([row.exe, row.arg0, row.uid, row.container, row.running], [curl.exe, PROGRAMS.curl, 0, null, false]);
    const [file] = row.files;
    assert.match(file?.path ?? '', /libssl\.so/);
    assert.deepEqual([file?.family, file?.method, file?.attached], ['openssl', 'symbol', true]);
    assert.equal(file?.first_plaintext?.direction, 'write');
    assert.ok((file?.first_plaintext?.bytes ?? 0) > 0);
    assert.ok(Math.abs(Date.now() - Date.parse(file?.first_plaintext?.at ?? '')) < 60_000);
    assert.ok(row.hellos >= 1, 'its handshake was seen too');
  });

  it('names rustls inside a Node process, although that Node is probed', { timeout: 120_000 }, async () => {
    const script = join(ROOT, 'test', 'lib', 'clients', 'rustls.mjs');
    const client = spawn(PROGRAMS.node, [script, mock.url], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      const [status] = await new Promise<string[]>((resolve, reject) => {
        client.stdout.once('data', (part: Buffer) => resolve([part.toString()]));
        client.once('exit', () => reject(new Error('the client ended')));
      });
      assert.equal(status, '200\n');
      assert.equal(mock.log.at(-1)?.model, 'gpt-rust', 'it did talk to the server');
      const row = await rowOf(client.pid ?? 0, ({ state }) => state === 'not_readable');
      assert.match(row.reason ?? '', /^rustls .*in impit-node\.linux-[\w-]+\.node, stripped: not readable by symbol$/);
      assert.deepEqual([row.stacks[0]?.name, row.stacks[0]?.stripped, row.read_connections], ['rustls', true, 0]);
      assert.equal(row.last_hello?.peer_port, mock.port);
      const plain = await oispHost(['coverage', '--control', socket]);
      assert.equal(plain.code, 0, plain.stderr);
      assert.match(plain.stdout, new RegExp(`^NOT READABLE +${client.pid} .*rustls`, 'm'));
    } finally {
      client.stdin.end();
      client.kill();
    }
  });

  it('has a row for a library that is deleted, and shows idle processes when asked', { timeout: 120_000 }, async () => {
    const library = join(folder, 'libssl.so.3');
    copyFileSync(realpathSync('/usr/lib/x86_64-linux-gnu/libssl.so.3'), library);
    const sleeper = spawn('/usr/bin/python3', ['-c', `import ctypes, sys; ctypes.CDLL('${library}'); print('up', flush=True); sys.stdin.read()`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      await new Promise((resolve) => sleeper.stdout.once('data', resolve));
      unlinkSync(library);
      const row = await rowOf(sleeper.pid ?? 0, ({ files }) => files.some(({ path, deleted }) => path === library && deleted));
      assert.ok(['idle', 'late', 'not_attached'].includes(row.state), row.state);
      assert.notEqual(row.reason, null);
      const [few, all] = await Promise.all([oispHost(['coverage', '--control', socket]), oispHost(['coverage', '--all', '--control', socket])]);
      assert.ok(all.stdout.length >= few.stdout.length);
      assert.match(all.stdout, new RegExp(`${sleeper.pid} `));
    } finally {
      sleeper.stdin.end();
      sleeper.kill();
    }
  });
});
