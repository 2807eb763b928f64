// `oisp-host decoders new`: what it makes builds, passes its own test and the rules, decodes, and can be changed; it overwrites nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { LAUNCHER, oispHost, ROOT, readEvents, scratch } from '../lib/run.js';

describe('decoders new', () => {
  const folder = join(scratch('new'), 'gateway');
  const npm = (script: string): string =>
    execFileSync('npm', ['run', script], {
      cwd: folder,
      encoding: 'utf8',
      // A test runner inside a test would pass over its files.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, PATH: `${dirname(LAUNCHER)}:${dirname(process.execPath)}:${process.env['PATH']}` },
    });

  it('makes a module that builds, decodes its vectors and keeps the rules', { timeout: 180_000 }, async () => {
    const made = await oispHost(['decoders', 'new', 'gateway', '--folder', folder]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /npm install && npm test/);
    // What npm install would fetch is here already.
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    npm('test');
    assert.match(npm('verify'), /gateway 0\.1\.0 keeps the rules/);
    for (const file of ['decoder.ts', 'package.json', 'README.md', 'test.mjs']) assert.doesNotMatch(readFileSync(join(folder, file), 'utf8'), /@[A-Z]+@/, file);
  });

  it('whose events are events of the product', { timeout: 60_000 }, async () => {
    const request = join(folder, 'vectors', 'gateway.request');
    const module = join(folder, 'build', 'gateway.wasm');
    const { stdout, code, stderr } = await oispHost(['decode', '--decoder', module, '--request', request]);
    assert.equal(code, 0, stderr);
    const [event, ...more] = readEvents(stdout);
    assert.equal(more.length, 0);
    assert.deepEqual([event?.event_type, event?.ext?.oisp_host?.['decoder']], ['agent.tool_call', 'gateway@0.1.0']);
  });

  it('whose test fails when it tells something else', { timeout: 120_000 }, () => {
    const source = join(folder, 'decoder.ts');
    writeFileSync(source, readFileSync(source, 'utf8').replace("'/tools/'", "'/other'"));
    assert.throws(() => npm('test'));
  });

  it('overwrites nothing, and takes no name that is none or is taken', async () => {
    const full = await oispHost(['decoders', 'new', 'gateway', '--folder', folder]);
    assert.equal(full.code, 1);
    assert.match(full.stderr, /is not empty/);
    for (const name of ['Gateway', '../x', 'ai']) {
      const refused = await oispHost(['decoders', 'new', name]);
      assert.equal(refused.code, 2, refused.stderr);
      assert.equal(existsSync(name), false);
    }
  });
});
