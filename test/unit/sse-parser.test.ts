// The server-sent events parser of the decoders, seen through the text of a streamed answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AiBench, aiModule, body, EVENT_STREAM, end, responseHead, streamed, whole } from '../lib/ai-records.js';

const module = aiModule();
const delta = (content: string) => JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] });
const SIZES = [1, 2, 3, 5, 16, 1 << 20];

function textOf(stream: string): string {
  const texts = SIZES.map((size) => streamed(module, stream, size).data.choices?.[0].message.content ?? '');
  for (const text of texts) assert.equal(text, texts[0], stream);
  return texts[0] as string;
}

test('LF, CR and CRLF end lines, also mixed', () => {
  for (const [a, b] of [
    ['\n', '\n'],
    ['\r', '\r'],
    ['\r\n', '\r\n'],
    ['\r\n', '\n'],
    ['\n', '\r'],
    ['\r', '\r\n'],
  ]) {
    assert.equal(textOf(`data: ${delta('a')}${a}${b}data: ${delta('b')}${a}${b}data: ${delta('c')}${a}${b}`), 'abc');
  }
});

test('a byte order mark, comments, other fields and a missing space are no matter', () => {
  assert.equal(textOf(`\ufeffdata:${delta('a')}\n\n: note\nid: 1\nretry: 5\nevent: x\ndata: ${delta('b')}\n\n:\n\ndatax: ${delta('no')}\n\n`), 'ab');
});

test('data over several lines is one JSON text', () => {
  const [head, tail] = [delta('a').slice(0, 10), delta('a').slice(10)];
  assert.equal(textOf(`data: ${head}\ndata: ${tail}\n\ndata\n\ndata: ${delta('b')}\n\n`), 'ab');
});

test('an event without its blank line counts at the end of the stream if it is whole', () => {
  assert.equal(textOf(`data: ${delta('a')}\n\ndata: ${delta('b')}`), 'ab');
  const cut = streamed(module, `data: ${delta('a')}\n\ndata: {"choices":[{"del`);
  assert.equal(cut.data.choices[0].message.content, 'a');
  assert.equal(cut.meta.completeness, 'partial');
  assert.ok(cut.meta.reasons.includes('stream_event_invalid'));
});

test('an event over 1 MiB is dropped and counted, the next one is not', () => {
  for (const size of [1000, 16384, 4 << 20]) {
    const before = module.stats().stream_events_too_long ?? 0;
    const event = streamed(module, `data: ${delta('a')}\n\ndata: ${delta('x'.repeat(1 << 20))}\n\ndata: ${delta('b')}\n\ndata: [DONE]\n\n`, size);
    assert.equal(event.data.choices[0].message.content, 'ab');
    assert.equal(event.meta.completeness, 'partial');
    assert.equal((module.stats().stream_events_too_long ?? 0) - before, 1);
  }
});

test('after a gap the stream goes on behind the next blank line', () => {
  const first = `data: ${delta('a')}\n\n`;
  const later = `st of an event"}}]}\n\ndata: ${delta('b')}\n\ndata: [DONE]\n\n`;
  const request = whole(0, '{"model":"m","messages":[{"role":"user","content":"x"}]}');
  for (const size of SIZES) {
    const bench = new AiBench(module).feed(request, responseHead({ headers: EVENT_STREAM }), body(1, 0, first));
    for (let at = 0; at < later.length; at += size) bench.feed(body(1, first.length + 50 + at, later.slice(at, at + size)));
    const event = bench.feed(end(1, { completeness: 1, missing: 50 })).events[1];
    assert.equal(event?.data.choices[0].message.content, 'ab');
    assert.deepEqual(event?.meta.missing, ['response_body_bytes']);
    assert.equal(event?.meta.missing_bytes, 50);
  }
});
