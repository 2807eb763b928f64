// Privileges leave every thread, whatever it is doing, and those that are started meanwhile; no thread is disturbed by it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { mustProbe, ROOT } from '../lib/run.js';

before(() => mustProbe());

const ADDON = join(ROOT, 'dist', 'native', 'oisp_native.node');
const FIXTURE = join(ROOT, 'test', 'integration', 'fixtures', 'busy-threads.mjs');
/** CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE, one of each half of the sets. */
const KEEP = (1n << 2n) | (1n << 40n);

for (let round = 1; round <= 3; round++) {
  test(`threads that compute, wait, block and breed all lose them (${round})`, { timeout: 60_000 }, async () => {
    const child = spawn(process.execPath, [FIXTURE, ADDON, String(KEEP)], { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (part: Buffer) => {
      text += part.toString();
      // The thread that was blocked in a read still is, and gets its byte.
      if (text.includes('\n')) child.stdin.end('x');
    });
    assert.deepEqual(await once(child, 'close'), [0, null]);
    const [first = '', second] = text.split('\n');
    assert.equal(second, `read ${'x'.charCodeAt(0)}`);
    const set = KEEP.toString(16).padStart(16, '0');
    for (const threads of JSON.parse(first) as Record<string, string>[]) {
      assert.ok(Object.keys(threads).length >= 10, 'a Node process has threads of its own, and this one more');
      for (const [thread, sets] of Object.entries(threads)) assert.equal(sets, set.repeat(3), thread);
    }
  });
}
