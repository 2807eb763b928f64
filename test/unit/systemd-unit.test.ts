// The systemd unit stands up to systemd's own judgement, and gives just the capabilities that the daemon says it uses.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { capabilityUses, lastingCapabilities } from '../../host/src/sources/ebpf/capabilities.js';
import { ROOT, scratch } from '../lib/run.js';
import { UNIT } from '../lib/unit-file.js';

const DROP_IN = join(ROOT, 'packaging', 'systemd', 'before-6.6.conf');
/** Tenths of systemd's exposure level, from 0 (none) to 100. */
const THRESHOLD = 30;

function capabilitiesOf(...files: string[]): string[] {
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n')).filter((line) => line.startsWith('CapabilityBoundingSet='));
  return lines.flatMap((line) => line.slice(line.indexOf('=') + 1).split(' ')).sort();
}
const usesOn = (release: string) => capabilityUses(release).map((use) => use.name);

test('the unit gives what the daemon uses on current kernels, and the drop-in the rest for old ones', () => {
  assert.deepEqual(capabilitiesOf(UNIT), usesOn('6.6.0').sort());
  assert.deepEqual(capabilitiesOf(UNIT, DROP_IN), usesOn('5.10.0').sort());
});

test('what lasts is used, and old kernels keep what they probe with', () => {
  assert.deepEqual(lastingCapabilities(true, false), ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH', 'CAP_CHECKPOINT_RESTORE']);
  for (const name of ['CAP_BPF', 'CAP_PERFMON', 'CAP_SYS_ADMIN']) assert.ok(lastingCapabilities(false, false).includes(name as 'CAP_BPF'), name);
  assert.ok(!lastingCapabilities(false, false).some((name) => name === 'CAP_SYS_RESOURCE'));
  assert.deepEqual(usesOn('5.15.0').includes('CAP_SYS_ADMIN'), true);
  assert.deepEqual(usesOn('5.15.0').includes('CAP_SYS_RESOURCE'), false);
});

const analyze = (...argv: string[]) => spawnSync('systemd-analyze', argv, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });

test('systemd understands every line of the unit and its drop-in', () => {
  const folder = scratch('unit');
  const copy = join(folder, 'oisp-host.service');
  // The program is not installed where the tests run.
  writeFileSync(copy, readFileSync(UNIT, 'utf8').replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'));
  mkdirSync(`${copy}.d`);
  copyFileSync(DROP_IN, join(`${copy}.d`, 'before-6.6.conf'));
  const ended = analyze('verify', '--man=no', copy);
  assert.deepEqual([ended.status, ended.stderr.split('\n').filter((line) => line.includes(folder))], [0, []], ended.stderr);
});

test('systemd finds little exposed', (t) => {
  const version = Number(/^systemd (\d+)/.exec(analyze('--version').stdout)?.[1]);
  assert.ok(version > 0, 'systemd-analyze is there: sh scripts/setup.sh test installs it');
  // Before 250 it judges running services only.
  if (version < 250) return t.diagnostic(`systemd ${version} cannot judge a unit that is not installed`);
  const ended = analyze('security', '--no-pager', '--offline=yes', `--threshold=${THRESHOLD}`, UNIT);
  assert.equal(ended.status, 0, ended.stdout + ended.stderr);
  t.diagnostic(ended.stdout.trim().split('\n').at(-1) ?? '');
});
