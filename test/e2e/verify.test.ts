// `oisp-host decoders verify`: the modules of this version pass, and each kind of bad module is refused with its reason, one that never returns included.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { oispHost, ROOT, scratch } from '../lib/run.js';
import { type Shape, wasm } from '../lib/wasm-module.js';

const TIMEOUT = { timeout: 120_000 };

describe('decoders verify', () => {
  const folder = scratch('verify');
  const written = (name: string, shape: Shape): string => {
    const path = join(folder, `${name}.wasm`);
    writeFileSync(path, wasm(shape));
    return path;
  };

  for (const name of ['http', 'ai', 'system', 'network', 'dns']) {
    it(`passes ${name}`, TIMEOUT, async () => {
      const ended = await oispHost(['decoders', 'verify', '--json', join(ROOT, 'dist', 'decoders', `${name}.wasm`)]);
      assert.equal(ended.code, 0, ended.stdout + ended.stderr);
      const verdict = JSON.parse(ended.stdout) as { passed: boolean; name: string; checks: { passed: boolean }[] };
      assert.deepEqual([verdict.passed, verdict.name, verdict.checks.length], [true, name, 5]);
    });
  }

  for (const [name, shape, reason] of [
    ['import', { imports: '(import "env" "fetch" (func))' }, /imports env\.fetch/],
    ['lacking', { omit: 'oisp_tick' }, /does not export oisp_tick/],
    ['foreign', { abi: 0x20000 }, /ABI 2\.0, this host speaks 1\.x/],
    ['kind', { consumes: [99] }, /there are no kinds 99/],
    ['trap', { process: 'unreachable' }, /oisp_process: unreachable/],
    ['loop', { process: '(loop $again (br $again)) (i32.const 0)' }, /did not return within 3 s/],
    ['lying', { outLength: '(i32.const 2000000000)' }, /claims 2000000000 bytes/],
  ] as [string, Shape, RegExp][]) {
    it(`refuses one that is ${name}`, TIMEOUT, async () => {
      const ended = await oispHost(['decoders', 'verify', '--timeout', '3', written(name, shape)]);
      assert.equal(ended.code, 1, ended.stdout);
      assert.match(ended.stdout, reason);
      assert.match(ended.stdout, /^refused: /m);
    });
  }

  it('says of no module that it is none', TIMEOUT, async () => {
    const path = join(folder, 'text.wasm');
    writeFileSync(path, 'no wasm');
    const ended = await oispHost(['decoders', 'verify', path]);
    assert.equal(ended.code, 1);
    assert.match(ended.stdout, /not a WebAssembly module/);
  });
});
