// Lists where runtimes that carry their own TLS library are usually installed; only names paths, opens nothing but directories.
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isErrno } from './tls-file.js';

/** `*` stands for one directory level. */
const SYSTEM_PATTERNS = ['/usr/bin/node', '/usr/bin/nodejs', '/usr/local/bin/node', '/opt/*/bin/node', '/snap/node/current/bin/node'] as const;
const HOME_PATTERNS = [
  '.nvm/versions/node/*/bin/node',
  '.volta/tools/image/node/*/bin/node',
  '.asdf/installs/nodejs/*/bin/node',
  '.local/share/fnm/node-versions/*/installation/bin/node',
  '.local/share/mise/installs/node/*/bin/node',
  '.fnm/node-versions/*/installation/bin/node',
  '.vscode-server/bin/*/node',
  '.vscode-server/cli/servers/*/server/node',
  '.cursor-server/bin/*/node',
  '.cursor-server/cli/servers/*/server/node',
  '.windsurf-server/bin/*/node',
] as const;
const MAX_HOMES = 256;
const MAX_MATCHES = 64;

/** Candidate paths, which may not exist. At most 64 per pattern, and the homes of 256 users. */
export async function runtimePaths(passwdPath = '/etc/passwd'): Promise<string[]> {
  const homes = await homeDirectories(passwdPath);
  const patterns = [...SYSTEM_PATTERNS, ...homes.flatMap((home) => HOME_PATTERNS.map((pattern) => join(home, pattern)))];
  const paths: string[] = [];
  for (const pattern of patterns) paths.push(...(await expand(pattern)));
  return paths;
}

async function expand(pattern: string): Promise<string[]> {
  const star = pattern.indexOf('/*/');
  if (star < 0) return [pattern];
  const parent = pattern.slice(0, star);
  const names = await list(parent);
  return names.slice(0, MAX_MATCHES).map((name) => join(parent, name, pattern.slice(star + 3)));
}

/** Homes of at most 256 users. */
export async function homeDirectories(passwdPath = '/etc/passwd'): Promise<string[]> {
  const homes = new Set<string>();
  for (const line of (await read(passwdPath)).split('\n')) {
    const home = line.split(':')[5];
    if (home?.startsWith('/') && dirname(home) !== home) homes.add(home);
    if (homes.size >= MAX_HOMES) break;
  }
  return [...homes];
}

async function list(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (isErrno(error)) return [];
    throw error;
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error)) return '';
    throw error;
  }
}
