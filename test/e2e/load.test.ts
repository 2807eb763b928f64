// 50,000 writes of 8 KiB as fast as one process can: every byte the probes saw is in exactly one bucket of the ledger, and loss has a name.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { jsonLine, mustProbe, oispHost, ROOT, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const WRITES = 50_000;
const SIZE = 8192;

interface Statistics {
  ledger: {
    stages: { stage: string; in_bytes: number; out_bytes: Record<string, number>; balanced: boolean }[];
    lost: Record<string, number>;
    balanced: boolean;
  };
}

describe('load', () => {
  let mock: Mock;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(async () => {
    await mock?.close();
  });

  it('balances the ledger to the byte', { timeout: 300_000 }, async (t) => {
    const folder = scratch('load');
    const script = join(ROOT, 'test', 'lib', 'clients', 'load.py');
    const command = [PROGRAMS.python, script, String(mock.port), String(WRITES), String(SIZE)];
    const ended = await oispHost(['run', '--json', '--output', join(folder, 'out.jsonl'), '--', ...command], { timeoutMs: 280_000 });
    assert.equal(ended.code, 0, ended.stderr);
    const [headBytes] = ended.stdout.split(' ');
    assert.equal(mock.log.at(-1)?.requestBytes, WRITES * SIZE, 'the server received everything');

    const { ledger } = jsonLine<Statistics>(ended.stderr, 'ledger');
    const told = JSON.stringify(ledger);
    // Checked here again, because a sensor that says of itself that it balances proves nothing.
    let before: number | undefined;
    for (const { stage, in_bytes, out_bytes, balanced } of ledger.stages) {
      const out = Object.values(out_bytes).reduce((sum, bytes) => sum + bytes, 0);
      assert.equal(out, in_bytes, `${stage}: ${told}`);
      assert.equal(balanced, true, stage);
      // What leaves a stage whole is what enters the next: its first bucket.
      if (before !== undefined) assert.equal(in_bytes, before, `${stage}: ${told}`);
      [before] = Object.values(out_bytes);
    }
    assert.equal(ledger.balanced, true);

    const kernel = ledger.stages.find(({ stage }) => stage === 'kernel');
    const answer = ended.stdout.slice((headBytes as string).length + 1).trimEnd();
    const known = Number(headBytes) + WRITES * SIZE + Buffer.byteLength(answer);
    const unknown = (kernel?.in_bytes ?? 0) - known;
    // Seen: the request to the byte, and of the answer its body and a head that the client does not print.
    assert.ok(unknown > 50 && unknown < 1000, `${unknown} bytes of response head; ${told}`);
    const lost = Object.values(ledger.lost).reduce((sum, bytes) => sum + bytes, 0);
    const gone = Object.entries(kernel?.out_bytes ?? {}).filter(([bucket]) => bucket !== 'emitted');
    assert.ok(lost >= gone.reduce((sum, [, bytes]) => sum + bytes, 0), `what the kernel lost is named: ${told}`);
    t.diagnostic(`${known + unknown} bytes seen, ${lost} lost ${JSON.stringify(ledger.lost)}`);
  });
});
