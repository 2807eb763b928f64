// Reads the settings of the systemd units in packaging/ and runs programs under what they allow, without systemd; for the tests.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './run.js';

const FOLDER = join(ROOT, 'packaging', 'systemd');
export const UNIT = join(FOLDER, 'oisp-host.service');
const DROP_IN = join(FOLDER, 'before-6.6.conf');

/** The files that apply to this kernel. */
function files(): string[] {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 6) ? [UNIT] : [UNIT, DROP_IN];
}

/** Values of a setting that may be given several times, in order. */
export function settingsOf(name: string): string[] {
  const lines = files().flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  return lines.filter((line) => line.startsWith(`${name}=`)).flatMap((line) => line.slice(name.length + 1).split(' '));
}

/** Capabilities of the unit, as setpriv spells them: "bpf". */
export function unitCapabilities(): string[] {
  return settingsOf('CapabilityBoundingSet').map((name) => name.replace(/^CAP_/, '').toLowerCase());
}

/** setpriv with its arguments: what is run has these capabilities and can get no others. @param names as setpriv spells them. */
export function underCapabilities(names: readonly string[]): string[] {
  return ['setpriv', '--no-new-privs', '--inh-caps=-all', `--bounding-set=${['-all', ...names.map((name) => `+${name}`)].join(',')}`];
}

/** System calls of SystemCallFilter=, its groups resolved: a name is allowed when the last word on it allows it. */
export function unitSystemCalls(): string[] {
  const groups = new Map<string, string[]>();
  let group: string[] = [];
  for (const line of execFileSync('systemd-analyze', ['--no-pager', 'syscall-filter'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')) {
    if (line.startsWith('@')) {
      group = [];
      groups.set(line.trim(), group);
    } else if (/^ +[@a-z]/.test(line)) group.push(line.trim());
  }
  const resolve = (name: string): string[] => (name.startsWith('@') ? (groups.get(name) ?? []).flatMap(resolve) : [name]);
  const allowed = new Set(resolve('@default'));
  let allow = true;
  for (const line of files().flatMap((file) => readFileSync(file, 'utf8').split('\n'))) {
    if (!line.startsWith('SystemCallFilter=')) continue;
    const words = line.slice('SystemCallFilter='.length);
    allow = !words.startsWith('~');
    for (const call of words.replace(/^~/, '').split(' ').flatMap(resolve)) {
      if (allow) allowed.add(call);
      else allowed.delete(call);
    }
  }
  return [...allowed];
}
