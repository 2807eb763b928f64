// Tests that the redactor replaces secrets wherever they stand, and only secrets.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OispEvent } from '../../host/src/events/event.js';
import { Redactor } from '../../host/src/transforms/redact/index.js';
import { Scrubber } from '../../host/src/transforms/redact/scrubber.js';

/** Made at run time: no real-looking secret stands in a file. */
const fake = (prefix: string, length: number): string => prefix + 'Zq7'.repeat(length).slice(0, length);

const event = (data: Record<string, unknown>): OispEvent => ({
  oisp_version: '0.1',
  event_id: 'id',
  event_type: 'ai.request',
  ts: '2026-01-01T00:00:00.000000Z',
  source: { collector: 'oisp-host', collector_version: '0', capture_method: 'ebpf_uprobe' },
  confidence: { level: 'high', completeness: 'full' },
  data,
});

describe('numbers past 2^53', () => {
  it('become the nearest that JSON has', () => {
    const redacted = new Redactor().redact(event({ file: { inode: 2n ** 63n + 1n }, all: [1n] }), undefined);
    assert.deepEqual(JSON.parse(JSON.stringify(redacted?.data)), { file: { inode: 2 ** 63 }, all: [1] });
  });
});

describe('the scrubber', () => {
  const cases: [string, string][] = [
    ['an OpenAI key', fake('sk-proj-', 48)],
    ['an Anthropic key', fake('sk-ant-api03-', 48)],
    ['a Google key', fake('AIza', 35)],
    ['an AWS key id', fake('AKIA', 16).toUpperCase()],
    ['a GitHub token', fake('ghp_', 36)],
    ['a GitHub fine-grained token', fake('github_pat_', 40)],
    ['a GitLab token', fake('glpat-', 20)],
    ['a Slack token', fake('xoxb-', 24)],
    ['a Hugging Face token', fake('hf_', 34)],
    ['a Groq key', fake('gsk_', 40)],
    ['a JWT', `${fake('eyJ', 20)}.${fake('eyJ', 30)}.${fake('s', 30)}`],
  ];
  for (const [name, secret] of cases) {
    it(`replaces ${name} inside text`, () => {
      const text = new Scrubber().scrub(`use "${secret}" now`);
      assert.ok(!text.includes(secret.slice(8)), text);
      assert.match(text, /^use "\[REDACTED:[a-z_]+\]" now$/);
    });
  }

  const secret = fake('w', 24);
  const contexts: [string, string][] = [
    ['an authorization header', `curl -H Authorization: Bearer ${secret}`],
    ['an authorization header in quotes', `{"Authorization": "Token ${secret}"}`],
    ['an x-api-key header', `x-api-key: ${secret}`],
    ['a cookie', `Cookie: theme=dark; session=${secret}`],
    ['a set-cookie', `set-cookie: sid=${secret}; Path=/`],
    ['a bearer token by itself', `Bearer ${secret}`],
    ['a password in a URL', `https://me:${secret}@host/path`],
    ['a key in a query', `https://host/v1?key=${secret}&alt=sse`],
    ['an assignment', `OPENAI_API_KEY=${secret}`],
    ['a private key', `-----BEGIN ${'RSA '}PRIVATE KEY-----\n${secret}\n-----END ${'RSA '}PRIVATE KEY-----`],
  ];
  for (const [name, text] of contexts) {
    it(`replaces the value of ${name}`, () => assert.ok(!new Scrubber().scrub(text).includes(secret), new Scrubber().scrub(text)));
  }

  it('leaves ordinary text alone, and is the same string then', () => {
    for (const text of [
      'task-list of the cookie jar',
      'the token count is 12',
      'ask-me-anything',
      'password rules apply',
      'http://localhost:8080/x',
      'eyJ is a prefix',
    ]) {
      assert.equal(new Scrubber().scrub(text), text);
    }
  });

  it('replaces a known value that looks like nothing', () => {
    const scrubber = new Scrubber(['plain-words-here']);
    assert.equal(scrubber.scrub('a plain-words-here b plain-words-here'), 'a [REDACTED:known_key] b [REDACTED:known_key]');
    assert.equal(scrubber.found.get('known_key'), 2);
  });

  it('takes time linear in the text, whatever the text', () => {
    const nasty = [
      `://${'a'.repeat(300_000)}`,
      'cookie: a='.repeat(30_000),
      '-----BEGIN PRIVATE KEY-----'.repeat(10_000),
      'eyJaaaaaaaa.'.repeat(30_000),
      'sk-'.repeat(100_000),
    ];
    for (const text of nasty) {
      const began = performance.now();
      new Scrubber().scrub(text);
      const took = performance.now() - began;
      const doubled = performance.now();
      new Scrubber().scrub(text + text);
      assert.ok(performance.now() - doubled < 12 * Math.max(took, 20), `quadratic on ${text.slice(0, 20)}`);
    }
  });
});

describe('the redactor', () => {
  it('turns a key into prefix and hash, and removes the key from everywhere else', () => {
    const key = fake('sk-proj-', 40);
    const made = event({ messages: [{ role: 'user', content: `my key is ${key}` }] });
    made.process = { pid: 1, cmdline: `curl -H x: ${key}`, cmdline_args: ['curl', '-H', `x: ${key}`] };
    const redactor = new Redactor();
    const out = redactor.redact(made, { scheme: 'bearer', key });
    assert.ok(out);
    assert.ok(!JSON.stringify(out).includes(key));
    const auth = out.data['auth'] as { type: string; key_prefix: string; key_hash: string };
    assert.equal(auth.type, 'api_key');
    assert.equal(auth.key_prefix, key.slice(0, 8));
    assert.match(auth.key_hash, /^sha256:[0-9a-f]{64}$/);
    assert.equal(out.confidence.completeness, 'redacted');
    assert.equal(out.confidence.redaction_applied, true);
    assert.ok(out.confidence.reasons?.some((reason) => reason.startsWith('secret_redacted_')));
  });

  it('shows no prefix of a key that has none, or that is short', () => {
    for (const key of ['abcdefghijklmnopqrstuvwxyz123456', 'sk-short']) {
      const out = new Redactor().redact(event({}), { scheme: 'bearer', key });
      assert.ok(out);
      assert.equal((out.data['auth'] as Record<string, unknown>)['key_prefix'], undefined);
    }
  });

  it('knows the halves of basic credentials', () => {
    const key = Buffer.from('someone:very-private-word').toString('base64');
    const out = new Redactor().redact(event({ text: 'say very-private-word' }), { scheme: 'basic', key });
    assert.ok(!JSON.stringify(out).includes('very-private-word'));
  });

  it('keeps partial what was partial, and full what held no secret', () => {
    const partial = event({ text: fake('ghp_', 36) });
    partial.confidence.completeness = 'partial';
    assert.equal(new Redactor().redact(partial, undefined)?.confidence.completeness, 'partial');
    const clean = new Redactor().redact(event({ text: 'hello' }), { scheme: 'none' });
    assert.equal(clean?.confidence.completeness, 'full');
    assert.deepEqual(clean?.data['auth'], { type: 'none' });
  });

  it('drops an event that it cannot search, and counts it', () => {
    let deep: unknown = 'x';
    for (let i = 0; i < 1000; i++) deep = [deep];
    const redactor = new Redactor();
    assert.equal(redactor.redact(event({ deep }), undefined), undefined);
    assert.equal(redactor.counters.failed, 1);
  });
});
