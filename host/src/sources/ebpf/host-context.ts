// Says what this machine is, as every event names it; reads files once and never runs a program.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname, release } from 'node:os';
import type { HostContext } from '../../events/source.js';
import { isErrno } from './tls-file.js';

const MAX_USERS = 4096;
const MAX_TEXT = 1 << 20;
/** Architectures as OISP spells them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** @returns what is known; an unreadable file leaves its field empty. */
export async function readHostContext(): Promise<HostContext> {
  const machineId = (await readText('/etc/machine-id')).trim() || (await readText('/var/lib/dbus/machine-id')).trim();
  const osRelease = (await readText('/etc/os-release')) || (await readText('/usr/lib/os-release'));
  return {
    hostname: hostname(),
    // A machine without an id (a container, a chroot) is told apart by its name, as well as that goes.
    deviceId: createHash('sha256')
      .update(machineId || hostname())
      .digest('hex'),
    osVersion: prettyName(osRelease),
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    kernelVersion: release(),
    users: parsePasswd(await readText('/etc/passwd')),
  };
}

/** PRETTY_NAME of an os-release file, unquoted; '' without one. */
export function prettyName(text: string): string {
  const value = /^PRETTY_NAME=(.*)$/m.exec(text)?.[1]?.trim() ?? '';
  const quoted = /^(["'])(.*)\1$/.exec(value);
  return (quoted?.[2] ?? value).replace(/\\(["'$`\\])/g, '$1');
}

/** uid -> name; the first of two names of one uid wins, as in getpwuid. At most 4096. */
export function parsePasswd(text: string): Record<string, string> {
  const users: Record<string, string> = {};
  let count = 0;
  for (const line of text.split('\n')) {
    const [name = '', , uid = ''] = line.split(':');
    if (name === '' || name.startsWith('#') || !/^[0-9]+$/.test(uid) || Object.hasOwn(users, uid)) continue;
    users[uid] = name;
    count += 1;
    if (count >= MAX_USERS) break;
  }
  return users;
}

async function readText(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).slice(0, MAX_TEXT);
  } catch (error) {
    if (isErrno(error)) return '';
    throw error;
  }
}
