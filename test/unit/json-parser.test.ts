// The JSON parser of the decoders, seen through the arguments of a tool call: what it takes for JSON, and which values it gives.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aiModule, argumentsOf } from '../lib/ai-records.js';

const module = aiModule();
const value = (text: string): unknown => {
  const got = argumentsOf(module, `{"v":${text}}`);
  return 'value' in got ? (got.value as { v: unknown }).v : got;
};

test('numbers are rounded as JSON.parse rounds them', () => {
  const numbers = [
    '0',
    '-0',
    '1',
    '-1',
    '10',
    '4294967295',
    '4294967296',
    '9007199254740993',
    '123456789012345678901234567890',
    '0.1',
    '-2.5e-3',
    '1e23',
    '8.5e22',
  ];
  numbers.push(
    '1.7976931348623157e308',
    '1.7976931348623159e308',
    '1e309',
    '-1e400',
    '5e-324',
    '2.4703282292062327e-324',
    '2.4703282292062328e-324',
    '2.2250738585072011e-308',
  );
  numbers.push(
    '2.2250738585072014e-308',
    '9007199254740992.5',
    '9007199254740993.0000000000000000000000001',
    '1e-400',
    '0e999999999999',
    '0.000001e6',
    `1${'0'.repeat(400)}e-400`,
    `0.${'0'.repeat(350)}1e340`,
  );
  numbers.push(`0.${'1234567890'.repeat(90)}`, `${'9'.repeat(310)}`, `1.${'0'.repeat(900)}1`, '1E+2', '1e00000000000000000001');
  for (const text of numbers) assert.ok(Object.is(value(text), JSON.parse(text)), `${text}: ${String(value(text))}`);
});

test('strings: every escape, surrogate pairs, lone surrogates, long runs', () => {
  const texts = [
    '\\"\\\\\\/\\b\\f\\n\\r\\t',
    '\\u0000\\u001f\\u007f\\u0080\\u07ff\\u0800\\uffff',
    '\\ud83d\\ude00',
    '\\ud83d',
    '\\ude00x',
    '\\ud83d\\u0041',
    '\\ud83d\\ud83d\\ude00',
    'äöü世界😀',
  ];
  for (const n of [15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 127, 128, 200]) {
    texts.push(
      'a'.repeat(n),
      `${'a'.repeat(n)}\\n`,
      `${'a'.repeat(n)}\\\\`,
      `${'a'.repeat(n)}\\"${'b'.repeat(n)}`,
      `${'a'.repeat(n)}é`,
      `${'\\\\'.repeat(n)}\\"`,
      `${'é'.repeat(n)}\\u00e9`,
    );
  }
  for (const text of texts) assert.equal(value(`"${text}"`), (JSON.parse(`"${text}"`) as string).toWellFormed(), text);
});

test('what is no JSON is kept as text', () => {
  const wrong = [
    '',
    '01',
    '1.',
    '.5',
    '+1',
    '-',
    '1e',
    '1e+',
    'tru',
    'nul',
    'True',
    'NaN',
    "'a'",
    '"a',
    '"\\x"',
    '"\\u12"',
    '"\\u12g4"',
    '"\t"',
    '"\n"',
    '[1,]',
    '[,1]',
    '[1 2]',
    '{"a":1,}',
    '{a:1}',
    '{"a" 1}',
    '{"a":}',
    '1 2',
    '[',
    '{',
  ];
  for (const n of [20, 70, 130])
    wrong.push(`"${'a'.repeat(n)}\\q${'b'.repeat(n)}"`, `"${'a'.repeat(n)}\u0001${'b'.repeat(n)}"`, `"${'a'.repeat(n)}\\u00zz${'b'.repeat(n)}"`);
  for (const text of wrong) {
    const whole = `{"v":${text}}`;
    assert.throws(() => JSON.parse(whole), whole);
    assert.deepEqual(argumentsOf(module, whole), { raw: whole });
  }
  for (const text of ['[1]', '1', '"a"', 'null', '{} x', '{}{}']) assert.deepEqual(argumentsOf(module, text), { raw: text });
});

test('of equal keys the last one counts, and escaped keys are the keys they spell', () => {
  assert.deepEqual(argumentsOf(module, '{"a":1,"b":2,"a":3}'), { value: { a: 3, b: 2 } });
  assert.deepEqual(argumentsOf(module, '{"\\u0061":1}'), { value: { a: 1 } });
});

test('128 levels are values, deeper ones are null, ten thousand do no harm', () => {
  const nested = (n: number) => `{"v":${'['.repeat(n)}${']'.repeat(n)}}`;
  assert.deepEqual(argumentsOf(module, nested(127)), { value: JSON.parse(nested(127)) });
  const deep = argumentsOf(module, `{"v":${'['.repeat(10_000)}"]"${']'.repeat(10_000)},"w":1}`) as { value: { w: number } };
  assert.equal(deep.value.w, 1);
  assert.ok('raw' in argumentsOf(module, `{"v":${'['.repeat(10_000)}`));
});
