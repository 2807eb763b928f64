// Tells by which numbers the kernel side knows a file; opens it for an instant, reads nothing of it.
import { readFile } from 'node:fs/promises';
import { openRegular } from './tls-file.js';

export interface KernelIdentity {
  /** Of the super block: on btrfs stat(2) tells another one for each subvolume. */
  readonly dev: bigint;
  readonly inode: bigint;
}

/**
 * @param path of a regular file.
 * @returns undefined when it cannot be opened. On overlayfs the inode may differ too, so that a rule by these numbers does not meet such a file.
 */
export async function kernelIdentity(path: string): Promise<KernelIdentity | undefined> {
  const opened = await openRegular(path);
  if ('refused' in opened) return undefined;
  const { handle, identity } = opened;
  try {
    const mount = /^mnt_id:\s*([0-9]+)/m.exec(await readFile(`/proc/self/fdinfo/${handle.fd}`, 'latin1'))?.[1];
    const dev = mount === undefined ? undefined : deviceOfMount(await readFile('/proc/self/mountinfo', 'utf8'), mount);
    return { dev: dev ?? identity.dev, inode: identity.inode };
  } finally {
    await handle.close();
  }
}

/** "ID PARENT MAJOR:MINOR ..." of /proc/PID/mountinfo, as stat(2) would encode it; undefined when the mount is not in it. */
export function deviceOfMount(mountinfo: string, id: string): bigint | undefined {
  for (const line of mountinfo.split('\n')) {
    const [own, , device = ''] = line.split(' ');
    const [major, minor] = device.split(':');
    if (own === id && major !== undefined && minor !== undefined) return makeDev(BigInt(major), BigInt(minor));
  }
  return undefined;
}

/** A device number as stat has it. */
export function makeDev(major: bigint, minor: bigint): bigint {
  return ((major & ~0xfffn) << 32n) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | (minor & 0xffn);
}
