// Puts a listening server at a path that others may want too: replaces what a dead daemon left, never what is alive or no socket.
import { chmodSync, type Stats } from 'node:fs';
import { link, lstat, mkdir, rename, rmdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { HostError, reasonOf } from '../errors.js';

const OWNER_ONLY = 0o600;
const OWNER_FOLDER = 0o700;
/** umask that leaves a new socket to its owner. */
const OWNER_UMASK = 0o177;
const TRIES = 4;
const PROBE_MS = 2_000;

/** Tells the names apart under which this process makes sockets before they are published. */
let claims = 0;

/** A path that this process listens at. */
export interface Claim {
  /** Takes the path away, unless somebody else has it by now, and the folder if it was made for it and is empty. Idempotent. */
  release(): Promise<void>;
}

/** Somebody answers at the path. */
export class PathTaken extends Error {}

/**
 *     listen at PATH.PID.N  ->  link to PATH   fails when something is there: a live socket ends it, a dead one is moved aside and tried again
 *
 * A link never replaces anything, so of two daemons that start at once one gets the path and the other one finds it alive.
 * @throws PathTaken, or HostError OUTPUT when the socket cannot be made; the server then does not listen.
 */
export async function listenAt(server: Server, path: string): Promise<Claim> {
  const madeFolder = await makeFolder(path);
  claims = (claims + 1) % 1000;
  const own = `${path}.${process.pid}.${claims}`;
  try {
    await removeSocket(own);
    await listenPrivately(server, own);
    chmodSync(own, OWNER_ONLY);
    const { ino } = await lstat(own);
    await publish(own, path);
    return { release: () => release(path, ino, madeFolder) };
  } catch (error) {
    server.close();
    if (madeFolder) await removeFolder(path);
    if (error instanceof PathTaken || error instanceof HostError) throw error;
    throw new HostError('OUTPUT', `cannot make the control socket ${path}: ${reasonOf(error)}`, 'Name another path with control.path, or "" for none.', {
      cause: error,
    });
  } finally {
    await removeSocket(own);
  }
}

/** @returns whether it made the folder. Only the last component is made: a whole missing path is a mistake. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), OWNER_FOLDER);
    return true;
  } catch (error) {
    // Anything but "it is there" shows again, and better, when the socket is made.
    void error;
    return false;
  }
}

function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // listen() binds before it returns: only this socket is made under the umask.
    const before = process.umask(OWNER_UMASK);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

async function publish(own: string, path: string): Promise<void> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    try {
      await link(own, path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const there = await look(path);
    if (there === undefined) continue;
    if (!there.isSocket()) throw new HostError('OUTPUT', `${path} is there and is no socket`, 'Remove it, or name another path with control.path.');
    if (await answers(path)) throw new PathTaken(path);
    await moveAside(path, `${own}.old`, there.ino);
  }
  throw new PathTaken(path);
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whether somebody listens. A full queue is somebody too. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(PROBE_MS, () => end(true));
    socket.once('connect', () => end(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => end(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}

/** Removes the dead socket that was looked at, and puts back what another daemon may have placed there since. */
async function moveAside(path: string, aside: string, inode: number): Promise<void> {
  try {
    await rename(path, aside);
    if ((await lstat(aside)).ino !== inode) await link(aside, path);
  } catch (error) {
    // Gone, or taken again: the next try sees which.
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  await removeSocket(aside);
}

async function removeSocket(path: string): Promise<void> {
  if ((await look(path))?.isSocket()) await unlink(path);
}

async function release(path: string, inode: number, madeFolder: boolean): Promise<void> {
  try {
    if ((await look(path))?.ino === inode) await unlink(path);
  } catch (error) {
    // In somebody else's folder it takes a right that was given up after the start. What is left is a dead socket: the next daemon replaces it.
    if (!['EACCES', 'EPERM', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  if (madeFolder) await removeFolder(path);
}

/** Leaves a folder that others use. */
async function removeFolder(path: string): Promise<void> {
  try {
    await rmdir(dirname(path));
  } catch (error) {
    if (!['ENOTEMPTY', 'ENOENT', 'EEXIST', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
