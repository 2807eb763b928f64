// A prompt of 1 MiB, written by the client in one call (node) or few (python), arrives whole: same length, same SHA-256.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { longText, PROGRAMS, sha256 } from '../lib/clients.js';
import { type Daemon, eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const PROMPT = longText(1024 * 1024);
const LARGE = ['node', 'python'] as const;

describe('a prompt of 1 MiB', () => {
  const folder = scratch('large');
  const output = join(folder, 'out.jsonl');
  let mock: Mock;
  let daemon: Daemon | undefined;
  let events: SeenEvent[];

  before(
    async () => {
      mustProbe();
      mock = await startMock();
      daemon = await startDaemon(['--output', output]);
      for (const client of LARGE) {
        const own = join(folder, client);
        mkdirSync(own);
        writeFileSync(join(own, 'large.json'), JSON.stringify({ model: `gpt-large-${client}`, messages: [{ role: 'user', content: PROMPT }] }));
        const script = join(ROOT, 'test', 'lib', 'clients', client === 'node' ? 'chat.mjs' : 'chat.py');
        const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
        const child = spawn(PROGRAMS[client], [script, mock.url, own], { stdio: 'inherit', env });
        const code = await new Promise((resolve) => child.once('close', resolve));
        assert.equal(code, 0);
      }
      await daemon.stop();
      events = eventsOf(output);
    },
    { timeout: 120_000 },
  );
  after(async () => {
    await daemon?.stop();
    await mock?.close();
  });

  for (const client of LARGE) {
    it(`of ${client} is whole`, () => {
      const found = ofType(events, 'ai.request').filter((event) => (event.data as { model?: { id?: string } }).model?.id === `gpt-large-${client}`);
      const [event, ...more] = found;
      assert.ok(event);
      assert.equal(more.length, 0);
      const content = (event.data as { messages?: { content: string }[] }).messages?.[0]?.content ?? '';
      assert.equal(content.length, PROMPT.length);
      assert.equal(sha256(content), sha256(PROMPT));
      assert.equal(event.confidence.completeness, 'full');
    });
  }
});
