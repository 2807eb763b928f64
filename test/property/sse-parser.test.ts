// The server-sent events parser of the decoders against the algorithm of the HTML standard, written down in the plainest way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { aiModule, streamed } from '../lib/ai-records.js';

const module = aiModule();

/** Data of every event, the standard's way; an event that the end leaves open is given too, as the module does. */
function eventsOf(text: string): string[] {
  const out: string[] = [];
  let data: string[] = [];
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  for (const line of [...lines, '']) {
    if (line === '') {
      if (data.length) out.push(data.join('\n'));
      data = [];
      continue;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') data.push(value);
  }
  return out;
}

/** The text that a stream of chunks spells. */
function spelt(text: string): string {
  return eventsOf(text)
    .map((data) => {
      try {
        return (JSON.parse(data) as { choices?: { delta?: { content?: string } }[] }).choices?.[0]?.delta?.content ?? '';
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        return '';
      }
    })
    .join('');
}

const eol = fc.constantFrom('\n', '\r\n', '\r');
const content = fc.string({ unit: fc.constantFrom('a', 'é', '世', '"', '\\', '\n', ' ', '😀'), maxLength: 12 });
const chunk = content.map((text) => JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: text } }] }));
const line = fc.oneof(
  { weight: 5, arbitrary: chunk.map((json) => `data: ${json}`) },
  chunk.map((json) => `data:${json}`),
  fc.constantFrom(
    ': comment',
    'event: x',
    'id: 7',
    'data',
    'data: ',
    'nonsense',
    'data : {}',
    'datadata: {}',
    ':',
    'e',
    'data: [DONE',
    'data: {"choices":[{"delta"',
  ),
);
const stream = fc
  .array(fc.tuple(line, eol, fc.oneof({ weight: 4, arbitrary: eol }, fc.constant(''))), { maxLength: 25 })
  .map((rows) => rows.map((row) => row.join('')).join(''));

test('any stream spells the text that the standard says, at any chunk size', () => {
  fc.assert(
    fc.property(stream, fc.constantFrom('', '\ufeff'), fc.integer({ min: 1, max: 60 }), (text, mark, size) => {
      const bytes = Buffer.from(mark + text);
      const event = streamed(module, bytes, size);
      assert.equal(event.data.choices?.[0].message.content ?? '', spelt(mark + text));
    }),
    { numRuns: 1500 },
  );
});
