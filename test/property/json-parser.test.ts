// The JSON parser of the decoders against JSON.parse: the same texts are accepted, with the same values.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { aiModule, argumentsOf } from '../lib/ai-records.js';

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
