// Bytes that break every rule go through `oisp-host decode`: no crash, bounded memory, and the next request on the connection decodes.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ofType, oispHost, readEvents, type SeenEvent, scratch } from '../lib/run.js';

const folder = scratch('bad');

function post(body: string | Buffer, headers: readonly string[] = []): Buffer {
  const bytes = Buffer.from(body);
  const head = ['POST /v1/chat/completions HTTP/1.1', 'Host: api.openai.com', 'Content-Type: application/json', ...headers, `Content-Length: ${bytes.length}`];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes]);
}
const chat = (model: string, content: unknown = 'hi') => JSON.stringify({ model, messages: [{ role: 'user', content }] });
const GOOD = post(chat('good-model'));
const MiB = 1024 * 1024;

/** Noise that is the same in every run and holds no start of a request. */
function garbage(n: number): Buffer {
  let state = 12345;
  return Buffer.from(
    Uint8Array.from({ length: n }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return 0x80 | (state >>> 24);
    }),
  );
}

/** Runs decode and gives its events; whatever the input, it ends well and says nothing of a trap. */
async function decode(name: string, bytes: Buffer, args: readonly string[] = []): Promise<{ events: SeenEvent[]; peakKb: number }> {
  const file = join(folder, `${name}.bin`);
  writeFileSync(file, bytes);
  const ended = await oispHost(['decode', '--request', file, ...args], { timeoutMs: 120_000 });
  assert.equal(ended.code, 0, ended.stderr);
  assert.doesNotMatch(ended.stderr, /unreachable|RuntimeError|trap|at .*\.js:/i);
  return { events: readEvents(ended.stdout), peakKb: ended.peakKb };
}
const models = (events: readonly SeenEvent[]) => ofType(events, 'ai.request').map((event) => (event.data as { model?: { id?: string } }).model?.id);
const isPartial = (event: SeenEvent | undefined) => event?.confidence.completeness === 'partial' || event?.confidence.completeness === 'metadata_only';

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const CASES: readonly (readonly [string, Buffer])[] = [
  ['binary garbage before the first request', Buffer.concat([garbage(MiB), GOOD])],
  ['binary garbage between requests', Buffer.concat([GOOD, garbage(70_000), GOOD])],
  ['a stream joined in the middle of a body', Buffer.concat([Buffer.from('"content":"the end of something"}]}'), GOOD])],
  ['a body that is no JSON', Buffer.concat([post('{"model": "broken", "messages": [{'), GOOD])],
  ['invalid UTF-8 in a prompt', Buffer.concat([post(Buffer.from(chat('latin', 'caf\u00e9 \u00ff'), 'latin1')), GOOD])],
  ['10,000 levels of JSON nesting', Buffer.concat([post(`{"model":"deep","messages":[{"role":"user","content":${deep(10_000)}}]}`), GOOD])],
  ['a header line of 1 MB', Buffer.concat([post(chat('wide'), [`X-Long: ${'a'.repeat(1_000_000)}`]), GOOD])],
  ['a Content-Length that lies', Buffer.concat([Buffer.from('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: banana\r\n\r\n'), GOOD])],
  ['a broken chunk size', Buffer.concat([Buffer.from('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'), GOOD])],
];

describe('bad input', () => {
  for (const [name, bytes] of CASES) {
    it(`${name}: the next request decodes`, async () => {
      const { events } = await decode(name.replaceAll(/[^a-z0-9]+/gi, '-'), bytes);
      assert.equal(models(events).at(-1), 'good-model');
    });
  }

  it('a body of 100 MB: bounded memory, and the next request decodes', async () => {
    const { events, peakKb } = await decode('huge', Buffer.concat([post(chat('huge', 'a'.repeat(100_000_000))), GOOD]));
    assert.equal(models(events).at(-1), 'good-model');
    const [first] = ofType(events, 'ai.request');
    assert.ok(models(events).length === 1 || isPartial(first), 'an event of a cut body says that it is cut');
    // The file itself is 100 MB, and reading it whole is allowed; copies of it are not.
    assert.ok(peakKb < 400 * 1024, `peak resident set ${peakKb} KiB`);
  });

  it('a truncated request is partial and says how much is missing', async () => {
    const whole = post(chat('short', 'x'.repeat(500)));
    const { events } = await decode('truncated', whole.subarray(0, whole.length - 300));
    for (const event of ofType(events, 'ai.request')) assert.ok(isPartial(event), JSON.stringify(event.confidence));
  });

  it('a gap inside a body marks that request and no other', async () => {
    const first = post(chat('gapped', 'y'.repeat(5000)));
    const { events } = await decode('gap', Buffer.concat([first, GOOD]), ['--gap', `request:${first.length - 3000}:1000`]);
    const [gapped, good] = ofType(events, 'ai.request');
    assert.equal(models(events).at(-1), 'good-model');
    assert.equal(ofType(events, 'ai.request').length, 2);
    assert.ok(isPartial(gapped), JSON.stringify(gapped?.confidence));
    assert.equal(gapped?.ext?.oisp_host?.['missing_bytes'], 1000);
    assert.equal(good?.confidence.completeness, 'full');
  });

  it('nothing at all is no failure', async () => {
    assert.deepEqual((await decode('empty', Buffer.alloc(0))).events, []);
  });

  it('a missing file is one sentence', async () => {
    const ended = await oispHost(['decode', '--request', join(folder, 'nowhere.bin')]);
    assert.ok(ended.code === 1 || ended.code === 2);
    assert.match(ended.stderr, /^oisp-host: .*nowhere\.bin/);
  });
});
