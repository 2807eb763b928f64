// A ring that is too small: what is lost is counted to the byte, every event that it touched says so, and no event is silently wrong.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { eventsOf, jsonLine, mustProbe, ofType, oispHost, ROOT, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const COUNT = 60;

interface Statistics {
  ledger: { lost: Record<string, number>; balanced: boolean };
  shards: { modules: Record<string, { counters: Record<string, number> }> }[];
}

describe('loss', () => {
  let mock: Mock;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(async () => {
    await mock?.close();
  });

  it('is in the ledger and in the events it touched, and in no other', { timeout: 120_000 }, async (t) => {
    const folder = scratch('loss');
    const config = join(folder, 'small.toml');
    writeFileSync(config, '[capture]\nring_bytes = 65536\n');
    const output = join(folder, 'out.jsonl');
    const script = join(ROOT, 'test', 'lib', 'clients', 'mixed.mjs');
    const command = [PROGRAMS.node, script, mock.url, String(COUNT)];
    const ended = await oispHost(['run', '--json', '--config', config, '--output', output, '--', ...command], {
      timeoutMs: 100_000,
      env: { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
    });
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stdout.trim(), String(COUNT), 'the program noticed nothing');

    const { ledger, shards } = jsonLine<Statistics>(ended.stderr, 'ledger');
    const lost = ledger.lost['ring_full'] ?? 0;
    assert.ok(lost > 0, 'a 400 KB write does not fit a 64 KiB ring');
    assert.equal(ledger.balanced, true);
    assert.equal(shards[0]?.modules['http']?.counters['gap_bytes'], lost, 'the decoder found every lost byte as a gap');

    const requests = ofType(eventsOf(output), 'ai.request');
    const seen = new Set<string>();
    let partial = 0;
    for (const { data, confidence, ext } of requests) {
      const { model, messages } = data as { model?: { id?: string }; messages?: { content?: string }[] };
      const content = messages?.[0]?.content;
      if (model?.id !== undefined) {
        assert.ok(!seen.has(model.id), `${model.id} is told once`);
        seen.add(model.id);
      }
      if (confidence.completeness === 'full') {
        assert.match(content ?? '', /^(s{500}|L{400000})$/, 'what calls itself full is whole');
        continue;
      }
      partial++;
      assert.equal(confidence.completeness, 'partial');
      assert.ok(Number(ext?.oisp_host?.['missing_bytes']) > 0, 'how much is missing');
      assert.match(content ?? '', /^[sL\uFFFD]*$/, 'nothing foreign in what is left');
    }
    assert.ok(partial > 0 && requests.length > COUNT / 2);
    t.diagnostic(`${lost} bytes lost, ${partial} of ${requests.length} requests partial`);
  });
});
