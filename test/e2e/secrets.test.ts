// Secrets planted at run time never appear in what the daemon writes: not in events, not on standard error, not in the output of decode.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bodies, PROGRAMS } from '../lib/clients.js';
import { type Daemon, mustProbe, ofType, oispHost, ROOT, readEvents, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const random = (prefix: string) => `${prefix}${randomBytes(24).toString('hex')}`;
const planted = () => ({ key: random('sk-proj-'), xApiKey: random('sk-ant-api03-'), cookie: random(''), query: random('AIza') });
type Planted = ReturnType<typeof planted>;

/** The last 24 characters: what an event may show of a key is its first few. */
function assertAbsent(text: string, secrets: Planted, where: string): void {
  for (const [name, value] of Object.entries(secrets)) {
    const tail = value.slice(-24);
    assert.equal(text.includes(tail), false, `${name} appears in ${where}`);
    assert.equal(text.includes(Buffer.from(tail).toString('base64').slice(0, 30)), false, `${name} appears in ${where}, base64`);
  }
}

describe('secrets', () => {
  const folder = scratch('secrets');
  let mock: Mock;
  let daemon: Daemon | undefined;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(async () => {
    await daemon?.stop();
    await mock?.close();
  });

  it('of live clients stay out of events and of standard error', { timeout: 60_000 }, async () => {
    const secrets = planted();
    const output = join(folder, 'out.jsonl');
    daemon = await startDaemon(['--output', output]);
    for (const client of ['node', 'python'] as const) {
      const own = join(folder, client);
      mkdirSync(own);
      for (const [call, body] of Object.entries(bodies(client))) writeFileSync(join(own, `${call}.json`), body);
      const env = {
        ...process.env,
        NODE_TLS_REJECT_UNAUTHORIZED: '0',
        NODE_NO_WARNINGS: '1',
        OISP_TEST_KEY: secrets.key,
        OISP_TEST_X_API_KEY: secrets.xApiKey,
        OISP_TEST_COOKIE: `session=${secrets.cookie}`,
      };
      const script = join(ROOT, 'test', 'lib', 'clients', client === 'node' ? 'chat.mjs' : 'chat.py');
      const child = spawn(PROGRAMS[client], [script, mock.url, own], { env, stdio: 'ignore' });
      assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
    }
    const ended = await daemon.stop();
    const text = readFileSync(output, 'utf8');
    assert.equal(ofType(readEvents(text), 'ai.request').length, 6);
    assertAbsent(text, secrets, 'the events');
    assertAbsent(ended.stderr, secrets, 'standard error');
  });

  it('of recorded bytes stay out of what decode prints, also when the prompt repeats the key', async () => {
    const secrets = planted();
    const body = JSON.stringify({ model: 'gpt-secret', messages: [{ role: 'user', content: `my key is ${secrets.key}, keep it` }] });
    const head = [
      `POST /v1/chat/completions?key=${secrets.query} HTTP/1.1`,
      'Host: api.openai.com',
      `Authorization: Bearer ${secrets.key}`,
      `X-Api-Key: ${secrets.xApiKey}`,
      `Cookie: a=b; session=${secrets.cookie}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
    ].join('\r\n');
    const file = join(folder, 'request.bin');
    writeFileSync(file, `${head}\r\n\r\n${body}`);
    const ended = await oispHost(['decode', '--request', file]);
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ofType(readEvents(ended.stdout), 'ai.request').length, 1);
    assertAbsent(ended.stdout, secrets, 'the output of decode');
    assertAbsent(ended.stderr, secrets, 'standard error');
  });
});
