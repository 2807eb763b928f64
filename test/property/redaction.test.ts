// Property: whatever an event looks like, a secret planted anywhere in it never leaves the redactor.
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { OispEvent } from '../../host/src/events/event.js';
import { Redactor } from '../../host/src/transforms/redact/index.js';

const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'];
const body = (length: number) => fc.array(fc.constantFrom(...alphabet), { minLength: length, maxLength: length + 20 }).map((chars) => chars.join(''));
const shaped = fc.oneof(
  body(40).map((text) => `sk-ant-api03-${text}`),
  body(40).map((text) => `sk-proj-${text}`),
  body(36).map((text) => `ghp_${text}`),
  body(24).map((text) => `xoxb-${text}`),
);
const separator = fc.constantFrom('', ' ', '"', "'", '\n', '(', '=', ': ', ',', '\u{1F600}', 'é', '\u0000');

/** Any JSON value with a hole for the planted text. */
function around(text: string): fc.Arbitrary<unknown> {
  return fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      fc.constant(text),
      fc.constant({ [text]: 1 }),
      fc.tuple(fc.string(), tie('value')).map(([key, value]) => ({ [key]: value })),
      fc.tuple(fc.jsonValue(), tie('value')).map(([a, b]) => [a, b]),
    ),
  })).value;
}

const made = (data: Record<string, unknown>): OispEvent => ({
  oisp_version: '0.1',
  event_id: 'x',
  event_type: 'ai.request',
  ts: '2026-01-01T00:00:00.000000Z',
  source: { collector: 'oisp-host', collector_version: '0', capture_method: 'ebpf_uprobe' },
  confidence: { level: 'high', completeness: 'full' },
  data,
});

describe('redaction', () => {
  it('never lets a planted key out, whatever stands around it', () => {
    const planted = fc
      .tuple(shaped, separator, separator)
      .chain(([secret, before, after]) => around(`text${before || '-'}${secret}${after || '.'}`).map((data) => ({ secret, data })));
    fc.assert(
      fc.property(planted, ({ secret, data }) => !JSON.stringify(new Redactor().redact(made({ data }), undefined) ?? '').includes(secret)),
      { numRuns: 2000 },
    );
  });

  it('never lets the key of the request out, whatever it looks like', () => {
    const key = fc.string({ minLength: 8, maxLength: 60 }).filter((text) => text.trim() === text && !'[REDACTED:known_key]'.includes(text));
    const planted = key.chain((text) => around(`a ${text} b`).map((data) => ({ key: text, data })));
    fc.assert(
      fc.property(planted, ({ key: text, data }) => {
        const strings: string[] = [];
        collect(new Redactor().redact(made({ data }), { scheme: 'bearer', key: text })?.data['data'], strings);
        return strings.every((found) => !found.includes(text));
      }),
      { numRuns: 2000 },
    );
  });
});

function collect(value: unknown, into: string[]): void {
  if (typeof value === 'string') into.push(value);
  else if (Array.isArray(value)) for (const item of value) collect(item, into);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      into.push(key);
      collect(item, into);
    }
  }
}
