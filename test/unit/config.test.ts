// Tests that configuration is checked: unknown keys, wrong types and impossible values stop the start with a sentence that helps.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfig, nearest } from '../../host/src/config/index.js';
import { settings } from '../../host/src/config/settings.js';
import { HostError } from '../../host/src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'oisp-config-'));
after(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, 'c.toml');
  writeFileSync(path, text);
  return path;
}

const refused = (message: RegExp, hint?: RegExp) => (error: unknown) =>
  error instanceof HostError &&
  error.code === 'CONFIG' &&
  error.exitCode === 2 &&
  message.test(error.message) &&
  (hint === undefined || hint.test(error.hint ?? ''));

describe('configuration', () => {
  it('has a default for every setting', () => {
    const config = loadConfig(undefined);
    for (const [name, { fallback }] of Object.entries(settings)) assert.deepEqual(config[name as keyof typeof config], fallback);
  });
  it('reads a file, and the command line wins over it', () => {
    const path = file('[capture]\nring_bytes = 65536\npids = [1, 2]\n[output]\nformat = "jsonl"\n');
    assert.equal(loadConfig(path)['capture.ring_bytes'], 65536);
    assert.deepEqual(loadConfig(path)['capture.pids'], [1, 2]);
    assert.equal(loadConfig(path, { 'output.format': 'pretty' })['output.format'], 'pretty');
  });
  it('refuses an unknown key and suggests the right one', () => {
    assert.throws(() => loadConfig(file('[capture]\nring_byte = 65536\n')), refused(/no setting capture\.ring_byte/, /capture\.ring_bytes/));
  });
  it('refuses wrong types and values, and says what it wants', () => {
    assert.throws(() => loadConfig(file('[capture]\nring_bytes = "big"\n')), refused(/must be an integer/));
    assert.throws(() => loadConfig(file('[capture]\nring_bytes = 100000\n')), refused(/power of two/));
    assert.throws(() => loadConfig(file('[decode]\nshards = 0\n')), refused(/integer from 1 to 64/));
    assert.throws(() => loadConfig(file('[output]\nformat = "xml"\n')), refused(/one of auto, jsonl, pretty/));
    assert.throws(() => loadConfig(file('[capture]\npids = ["x"]\n')), refused(/list of integers/));
    assert.throws(() => loadConfig(file('[capture]\ncomms = [""]\n')), refused(/list of strings/));
  });
  it('takes a path for the control socket that fits one, and only loopback addresses for metrics', () => {
    const control = (path: string) => loadConfig(undefined, { 'control.path': path });
    for (const path of ['auto', '', '/run/x.sock', `/${'x'.repeat(94)}`]) assert.equal(control(path)['control.path'], path);
    for (const path of ['x.sock', './x.sock', `/${'x'.repeat(95)}`, `/${'ü'.repeat(48)}`])
      assert.throws(() => control(path), refused(/absolute path of at most 95 bytes/));
    const metrics = (address: string) => loadConfig(undefined, { 'metrics.listen': address });
    for (const address of ['', '127.0.0.1:9464', '127.9.9.9:1', '[::1]:65535']) assert.equal(metrics(address)['metrics.listen'], address);
    for (const address of ['0.0.0.0:9464', '[::]:9464', '10.0.0.1:1', 'localhost:9464', '127.0.0.1', '127.0.0.1:65536', '127.0.0.999:1', '127.0.0.1:1x'])
      assert.throws(() => metrics(address), refused(/a loopback address and a port/));
  });
  it('says where a file is not TOML, and that a file is missing', () => {
    assert.throws(() => loadConfig(file('[capture\n')), refused(/c\.toml:1:\d+/));
    assert.throws(() => loadConfig(join(folder, 'none.toml')), refused(/ENOENT/));
  });
  it('suggests only what is near', () => {
    assert.equal(nearest('decode.shard', Object.keys(settings)), 'decode.shards');
    assert.equal(nearest('zzz', Object.keys(settings)), undefined);
  });
});
