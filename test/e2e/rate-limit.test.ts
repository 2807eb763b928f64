// A process over its rate: bodies are shed before heads, the ledger has every byte that was left out, and the events it touched say why.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { counterOf, statisticsOf } from '../lib/ledger.js';
import { eventsOf, mustProbe, ofType, oispHost, ROOT, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const COUNT = 12;

describe('rate limit', () => {
  const folder = scratch('rate');
  let secure: Mock;
  let plain: Mock;
  before(async () => {
    mustProbe();
    secure = await startMock();
    plain = await startMock({ plain: true });
  });
  after(async () => {
    await secure?.close();
    await plain?.close();
  });

  for (const [name, urlOf] of [
    ['TLS', () => secure.url],
    ['plaintext', () => plain.url],
  ] as const) {
    it(`sheds bodies before heads, on ${name}`, { timeout: 60_000 }, async (t) => {
      const config = join(folder, `${name}.toml`);
      // The first long body leaves the bucket in debt for longer than the run lasts.
      writeFileSync(config, '[capture]\nrate_limit_bytes = 2000\n');
      const output = join(folder, `${name}.jsonl`);
      const command = [PROGRAMS.node, join(ROOT, 'test', 'lib', 'clients', 'mixed.mjs'), urlOf(), String(COUNT)];
      const ended = await oispHost(['run', '--json', '--config', config, '--output', output, '--', ...command], {
        env: { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
      });
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal(ended.stdout.trim(), String(COUNT), 'the program noticed nothing');
      const statistics = statisticsOf(ended.stderr);
      const shed = statistics.source.kernel['shed']?.bytes ?? 0;
      assert.ok(shed > 400_000);
      assert.equal(statistics.ledger.lost['shed'], shed);
      assert.equal(counterOf(statistics, 'http', 'shed_bytes'), shed, 'the decoder knows every byte that was shed');
      assert.equal(counterOf(statistics, 'http', 'gap_bytes'), 0, 'and takes none of them for lost');

      const requests = ofType(eventsOf(output), 'ai.request');
      assert.equal(requests.length, COUNT, 'every head came through');
      const limited = requests.filter(({ confidence }) => confidence.completeness === 'partial');
      assert.ok(limited.length > 0);
      for (const { confidence, ext } of limited) {
        assert.ok(confidence.reasons?.includes('rate_limited'), JSON.stringify(confidence));
        assert.ok(Number(ext?.oisp_host?.['missing_bytes']) > 0);
      }
      for (const { confidence, data } of requests.filter((request) => !limited.includes(request))) {
        assert.ok(!confidence.reasons?.includes('rate_limited'));
        assert.match((data['messages'] as { content: string }[])[0]?.content ?? '', /^(s{500}|L{400000})$/, 'what calls itself full is whole');
      }
      const pid = requests[0]?.process?.pid ?? 0;
      assert.equal(statistics.source.rate_limited[pid]?.bytes, shed, 'and it is known whose bytes they were');
      t.diagnostic(`${shed} bytes shed, ${limited.length} of ${COUNT} requests partial`);
    });
  }
});
