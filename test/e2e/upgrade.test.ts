// Files that change while the sensor runs: a library replaced by an upgrade, and a program that is unpacked anew for every run.
import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, eventsOf, mustProbe, ofType, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { buildClient, machineLibrary, ownLibrary, runClient, TlsClient } from '../lib/tls-program.js';
import { type Mock, startMock } from '../mock/server.js';

/** The promise: captured again within this time of the rename. */
const WITHIN_MS = 2_000;

describe('files that change under the sensor', () => {
  const folder = scratch('upgrade');
  const output = join(folder, 'out.jsonl');
  let mock: Mock;
  let daemon: Daemon | undefined;
  let events: SeenEvent[] = [];

  before(
    async () => {
      mustProbe();
      mock = await startMock();
      const program = buildClient(folder, 'client', 'dynamic');
      const library = ownLibrary(folder);
      const env = { LD_LIBRARY_PATH: library.folder };
      const resident = new TlsClient(program, mock.port, env);
      await resident.ask('warm-up');
      daemon = await startDaemon(['--output', output, '--format', 'jsonl']);
      await resident.ask('old-before');

      const next = `${library.path}.new`;
      copyFileSync(machineLibrary(), next);
      appendFileSync(next, 'another build');
      renameSync(next, library.path);
      const renamed = Date.now();
      await sleep(WITHIN_MS / 2);
      await runClient(program, mock.port, 'new-soon', env);
      await sleep(renamed + WITHIN_MS - Date.now());
      await runClient(program, mock.port, 'new-late', env);
      await resident.ask('old-after');
      await resident.end();

      const unpacked = join(folder, 'unpacked');
      mkdirSync(unpacked);
      const packed = buildClient(folder, 'packed', 'static');
      for (const model of ['unpacked-first', 'unpacked-again', 'unpacked-third']) {
        const place = mkdtempSync(join(unpacked, 'run-'));
        copyFileSync(packed, join(place, 'agent'));
        await sleep(50);
        await runClient(join(place, 'agent'), mock.port, model);
        rmSync(place, { recursive: true });
        await sleep(200);
      }
      const ended = await daemon.stop();
      assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
      events = eventsOf(output);
    },
    { timeout: 120_000 },
  );
  after(async () => {
    await daemon?.stop();
    await mock?.close();
  });

  const requests = (model: string) => ofType(events, 'ai.request').filter((event) => (event.data['model'] as { id?: string } | undefined)?.id === model);
  const captured = (model: string) => {
    const [request, ...more] = requests(model);
    assert.ok(request, `the request for ${model} is told`);
    assert.equal(more.length, 0, `the request for ${model} is told once`);
    assert.equal(request.confidence.completeness, 'full', JSON.stringify(request.confidence));
  };

  it('captures a process that runs already', () => captured('old-before'));
  it('captures a library that was replaced, from the first byte of a process that loads it', () => captured('new-soon'));
  it('goes on to capture it', () => captured('new-late'));
  it('captures the old file for as long as a process has it', () => captured('old-after'));
  it('captures a program unpacked anew that was seen before from its first byte', () => {
    captured('unpacked-again');
    captured('unpacked-third');
  });
});
