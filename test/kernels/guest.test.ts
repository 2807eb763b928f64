// What only a kernel can answer, run in each guest of the kernel matrix: `check` says ok, every program loads and attaches, and bytes come through whole.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { probes, tracepointPrograms } from '../../host/src/gen/probes.js';
import { Kind } from '../../host/src/gen/records.js';
import { Capture, Fixture, pattern, symbolOffsets, TARGET } from '../integration/native-kit.js';
import { oispHost } from '../lib/run.js';

const FIXTURE = '/opt/native-tls';
const SIZE = 40_000;

interface Check {
  readonly name: string;
  readonly status: string;
  readonly detail: string;
}

describe('this kernel', () => {
  it('passes every check', async () => {
    const { code, stdout, stderr } = await oispHost(['check', '--json']);
    assert.equal(code, 0, stdout + stderr);
    const { checks, verdict } = JSON.parse(stdout) as { checks: Check[]; verdict: string };
    assert.deepEqual(
      checks.filter(({ status }) => status !== 'ok'),
      [],
    );
    assert.equal(verdict, 'ok');
    for (const step of ['load', 'layout', 'probe'])
      assert.ok(
        checks.some(({ name }) => name === step),
        step,
      );
  });

  it('takes every program, and gives every byte of a probed one', async () => {
    const capture = new Capture();
    const offsets = symbolOffsets(FIXTURE);
    // A program whose function the fixture lacks is put where the fixture never comes.
    const aside = offsets.get('abort') as number;
    let attached = tracepointPrograms.length;
    for (const { symbol, entry, exit } of probes) {
      const offset = offsets.get(symbol) ?? aside;
      for (const [program, atReturn] of [[entry, false] as const, [exit, true] as const]) {
        if (program === undefined) continue;
        capture.sensor.attachUprobe(program, FIXTURE, offset, atReturn, TARGET);
        attached++;
      }
    }
    assert.equal(capture.stats().links, attached);
    capture.start();
    const fixture = new Fixture(FIXTURE, 'write', SIZE);
    await fixture.go();
    await fixture.end();
    const records = (await capture.stop()).filter(({ kind, fields }) => kind === Kind.tls_data && fields['tgid'] === fixture.pid);
    assert.deepEqual(Buffer.concat(records.map(({ payload }) => payload)), pattern(1, SIZE));
  });
});
