// `oisp-host decode` on every vector: byte by byte and in large records it prints the same lines, byte for byte, and --stage shows what a module made.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Ended, oispHost, ROOT, scratch } from '../lib/run.js';
import { loadVectors, type Side, type Vector } from '../lib/vector.js';

const folder = scratch('decode');
const SIDES: readonly Side[] = ['request', 'response'];

/** The arguments that give decode the bytes of a vector. */
function argumentsOf(vector: Vector, index: number): string[] {
  const args = ['decode'];
  for (const side of SIDES) {
    if (!vector[side].length) continue;
    const file = join(folder, `${index}.${side}`);
    writeFileSync(file, vector[side]);
    args.push(`--${side}`, file);
  }
  const { gap, authority } = vector.options;
  if (gap) {
    const at = vector[gap.side].indexOf(gap.after);
    assert.ok(at >= 0, `${vector.path}: gap.after is in the bytes`);
    args.push('--gap', `${gap.side}:${at + Buffer.byteLength(gap.after)}:${gap.bytes}`);
  }
  if (authority !== undefined) args.push('--authority', authority);
  return args;
}

async function good(args: readonly string[]): Promise<Ended> {
  const ended = await oispHost(args);
  assert.equal(ended.code, 0, ended.stderr);
  return ended;
}

describe('decode', () => {
  const vectors = loadVectors(join(ROOT, 'test', 'vectors'));

  it('has vectors to decode', () => {
    assert.ok(vectors.length > 0);
  });

  for (const [index, vector] of vectors.entries()) {
    it(`${vector.title}: the same at --chunk 1`, async () => {
      const args = argumentsOf(vector, index);
      const [whole, single] = await Promise.all([good(args), good([...args, '--chunk', '1'])]);
      assert.equal(single.stdout, whole.stdout);
      if (vector.events.length) assert.notEqual(whole.stdout, '', 'the vector has events');
    });
  }

  it('--stage http prints heads, bodies and ends', async () => {
    const body = '{"model":"m"}';
    const file = join(folder, 'stage.request');
    writeFileSync(file, `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const ended = await good(['decode', '--request', file, '--stage', 'http']);
    const records = ended.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const of = (kind: string) => records.find((record) => record['kind'] === kind && record['message'] === 'request');
    const head = of('http.head');
    assert.deepEqual([head?.['method'], head?.['target'], head?.['version'], head?.['stream']], ['POST', '/v1/chat/completions', '1.1', 0]);
    assert.deepEqual(head?.['headers'], [
      ['Host', 'a'],
      ['X-Two', '1'],
      ['x-two', '2'],
      ['Content-Length', String(body.length)],
    ]);
    assert.equal(Buffer.from(String(of('http.body')?.['bytes']), 'base64').toString(), body);
    assert.deepEqual([of('http.end')?.['completeness'], of('http.end')?.['error']], ['full', null]);
  });

  it('an unknown stage is a usage error that names the modules', async () => {
    const ended = await oispHost(['decode', '--request', '/dev/null', '--stage', 'htp']);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /http/);
  });
});
