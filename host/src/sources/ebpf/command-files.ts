// Finds the program that a command line would start, and its interpreter, so that both are probed before they run; starts nothing.
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Candidate } from './candidates.js';
import { identify, openRegular } from './tls-file.js';

const MAX_SCRIPTS = 4;
const SHEBANG_BYTES = 256;

/**
 * @param command a path, or a name looked up in searchPath as a shell does.
 * @param searchPath directories joined by ":".
 * @returns the file, and for a script its interpreter (also through `env NAME`). Empty when nothing is found.
 */
export async function commandCandidates(command: string, searchPath = process.env['PATH'] ?? ''): Promise<Candidate[]> {
  const found: Candidate[] = [];
  let name: string | undefined = command;
  while (name !== undefined && found.length < MAX_SCRIPTS) {
    const path: string | undefined = await resolveProgram(name, searchPath);
    if (path === undefined) break;
    found.push({ path, shown: path });
    name = interpreterOf(await firstBytes(path));
  }
  return found;
}

async function resolveProgram(name: string, searchPath: string): Promise<string | undefined> {
  const places = name.includes('/') ? [name] : searchPath.split(':').map((directory) => join(directory || '.', name));
  for (const place of places) if ((await identify(place))?.regular) return await realpath(place);
  return undefined;
}

/** What `#!` names: "#!/usr/bin/env -S node --flag" gives "node". */
export function interpreterOf(head: string): string | undefined {
  if (!head.startsWith('#!')) return undefined;
  const words = head.slice(2).split('\n', 1)[0]?.trim().split(/\s+/) ?? [];
  const [program, ...rest] = words;
  if (program === undefined || program === '') return undefined;
  if (!/(^|\/)env$/.test(program)) return program;
  return rest.find((word) => !word.startsWith('-') && !word.includes('='));
}

async function firstBytes(path: string): Promise<string> {
  const opened = await openRegular(path);
  if ('refused' in opened) return '';
  try {
    const buffer = Buffer.alloc(SHEBANG_BYTES);
    const { bytesRead } = await opened.handle.read(buffer, 0, SHEBANG_BYTES, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await opened.handle.close();
  }
}
