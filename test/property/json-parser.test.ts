// The JSON parser of the decoders against JSON.parse: the same texts are accepted, with the same values.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AiBench, aiModule, argumentsOf, body, end, readLane, requestHead, whole } from '../lib/ai-records.js';

const module = aiModule();

/** Lone surrogates cannot be written as UTF-8: both sides have U+FFFD for them. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toWellFormed(), wellFormed(inner)]));
}

/** What the module must say of a text. */
function expected(text: string): { value: unknown } | { raw: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return text.trim() === '' ? { value: {} } : { raw: text.toWellFormed() };
  }
  const isObject = parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed);
  return isObject ? { value: wellFormed(parsed) } : { raw: text.toWellFormed() };
}

const agree = (text: string) => assert.deepEqual(argumentsOf(module, text), expected(text));
// msgpackr renames this key while it reads: it cannot be compared.
const usable = (text: string) => !text.includes('__proto__');
const space = fc.constantFrom('', ' ', '\n', '\t\r ');
const object = fc.dictionary(fc.string({ unit: 'binary', maxLength: 40 }), fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }), { maxKeys: 6 });

test('any object is accepted with its value, whatever the white space', () => {
  fc.assert(
    fc.property(object, fc.constantFrom(undefined, 1, '\t', ' \n'), space, (value, indent, pad) => {
      const text = pad + JSON.stringify(value, null, indent) + pad;
      fc.pre(usable(text));
      agree(text);
    }),
    { numRuns: 1500 },
  );
});

test('any object with one change is accepted or refused as JSON.parse does', () => {
  const piece = fc.constantFrom('', '"', '\\', ',', ':', '{', '}', '[', ']', '0', '-', 'e', '.', 'n', 'u', '\u0001', ' ', '\\u00', '\\ud800', 'true', '/');
  fc.assert(
    fc.property(object, fc.nat(), fc.nat(3), piece, (value, at, cut, put) => {
      const text = JSON.stringify(value);
      const from = at % (text.length + 1);
      const changed = (text.slice(0, from) + put + text.slice(from + cut)).toWellFormed();
      fc.pre(usable(changed) && changed.trim() !== '');
      agree(changed);
    }),
    { numRuns: 4000 },
  );
});

test('any decimal number is rounded as JSON.parse rounds it', () => {
  const digits = (max: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: max });
  const number = fc
    .tuple(fc.constantFrom('', '-'), digits(30), fc.option(digits(40)), fc.option(fc.integer({ min: -345, max: 345 })))
    .map(([sign, whole, fraction, exponent]) => {
      const integer = whole.replace(/^0+(?=.)/, '');
      return sign + integer + (fraction === null ? '' : `.${fraction}`) + (exponent === null ? '' : `e${exponent}`);
    });
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 20 }), (numbers) => agree(`{"v":[${numbers.join(',')}]}`)),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 20 }), (numbers) => agree(JSON.stringify({ numbers }))),
    { numRuns: 500 },
  );
});

// The texts of a request are decoded while it is parsed, in blocks: what matters is where in a block things lie.
const bits = ['plain text ', 'a'.repeat(61), 'x', '\n', '\t"', '\\', '\\\\\\', 'é', '—', '世界', '😀', '\u0001', '\u007f', '/', '\ud800'];
const longText = fc.array(fc.constantFrom(...bits), { maxLength: 60, size: 'max' }).map((parts) => parts.join(''));
/** JSON text of a string with other, equal spellings of some characters. */
const spelt = fc.tuple(longText, fc.constantFrom(0, 1, 2)).map(([text, how]) => {
  const json = JSON.stringify(text);
  if (how === 1) return json.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return how === 2 ? json.replaceAll('/', '\\/').replaceAll('x', '\\u0078') : json;
});
const request = (contents: readonly string[]) => `{"messages":[${contents.map((c) => `{"role":"user","content":${c}}`).join(', ')}],"model":"m"}`;
/** What one request gives: its contents and what is said of its JSON. */
function told(bytes: Buffer, size = Number.MAX_SAFE_INTEGER) {
  const { events } = new AiBench(module).feed(whole(0, bytes, size));
  new AiBench(module).flush();
  const event = events.find((e) => e.type === 'ai.request');
  return event && { messages: event.data.messages, bad: event.meta.reasons.some((reason: string) => reason.startsWith('request_json_')) };
}

test('the texts of a request are what JSON.parse makes of them, wherever their characters lie, in one piece or many', () => {
  fc.assert(
    fc.property(fc.array(spelt, { minLength: 1, maxLength: 4 }), fc.constantFrom(1, 7, 64, 1000), (contents, size) => {
      const bytes = Buffer.from(request(contents));
      const got = told(bytes);
      const texts = contents.map((c) => (JSON.parse(c) as string).toWellFormed());
      assert.deepEqual(
        got?.messages.map((m: { content: string; content_length: number }) => [m.content, m.content_length]),
        texts.map((text) => [text, [...text].length]),
      );
      assert.equal(got?.bad, false);
      assert.deepEqual(told(bytes, size), got);
    }),
    { numRuns: 1500 },
  );
});

test('a request with one change is taken for JSON when JSON.parse does, and its bytes are read as TextDecoder reads them', () => {
  let [seen, valid] = [0, 0];
  const put = fc.constantFrom(
    ...['', '"', '\\', '\\u00', '\\ud83d', '\\q', '\u0001', ',', '}', 'é'].map((s) => Buffer.from(s)),
    ...[0x80, 0xe2, 0xed, 0xf0, 0xff].map((b) => Buffer.from([b])),
  );
  fc.assert(
    fc.property(fc.array(spelt, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(3), put, (contents, at, cut, piece) => {
      const text = Buffer.from(request(contents));
      const from = 30 + (at % Math.max(1, text.length - 45));
      const bytes = Buffer.concat([text.subarray(0, from), piece, text.subarray(from + cut)]);
      let parsed: { messages?: { content?: unknown }[] } | undefined;
      try {
        parsed = JSON.parse(new TextDecoder().decode(bytes));
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
      const got = told(bytes);
      if (!got) return;
      seen++;
      if (parsed) valid++;
      assert.equal(got.bad, parsed === undefined);
      if (!parsed || !Array.isArray(parsed.messages)) return;
      const texts = parsed.messages
        .filter((m) => typeof m === 'object' && m !== null)
        .map((m) => (typeof m.content === 'string' ? m.content.toWellFormed() : undefined));
      got.messages.forEach((m: { content?: string }, i: number) => {
        if (texts[i] !== undefined) assert.equal(m.content, texts[i]);
      });
    }),
    { numRuns: 4000 },
  );
  assert.ok(seen > 3000 && valid > 500 && valid < seen - 500, `${valid} of ${seen}`);
});

test('a body that lies in the in buffer is kept when its end is in another batch', () => {
  const text = request([JSON.stringify('long enough to be read in place, '.repeat(30)), '"x"']);
  const bytes = Buffer.from(text);
  const other = requestHead({ conn: 9n, target: `/${'z'.repeat(3000)}` });
  const run = (...batches: Buffer[][]): Buffer => {
    const bench = new AiBench(module);
    for (const batch of batches) bench.feed(...batch);
    new AiBench(module).flush();
    return bench.raw;
  };
  const one = run([requestHead(), body(0, 0, bytes), end(0)]);
  assert.equal(readLane(one)[0]?.data.messages.length, 2);
  assert.ok(run([requestHead(), body(0, 0, bytes)], [other], [end(0)]).equals(one));
  // Two bodies in one batch, and one that goes on after it was left where it lies.
  const mixed = [
    requestHead(),
    requestHead({ conn: 5n }),
    body(0, 0, bytes.subarray(0, 800)),
    body(0, 0, bytes, { conn: 5n }),
    body(0, 800, bytes.subarray(800)),
    end(0),
  ];
  assert.ok(run(mixed).equals(one));
});
