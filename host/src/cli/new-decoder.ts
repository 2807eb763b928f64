// `oisp-host decoders new`: makes the folder of a decoder of one's own, which builds and passes its test as it is; overwrites nothing.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { paths } from '../config/paths.js';
import { loadDecoders } from '../decode/load.js';
import { HostError, reasonOf } from '../errors.js';

const NAME = /^[a-z][a-z0-9-]{0,31}$/;

export interface NewFlags {
  folder?: string;
  json?: boolean;
}

/** @returns the exit code. */
export function newDecoder(name: string, flags: NewFlags): number {
  if (!NAME.test(name)) throw new HostError('USAGE', `${name} is no name of a decoder`, 'Use a to z, 0 to 9 and -, at most 32, and begin with a letter.');
  if (loadDecoders(paths.decoders).some((decoder) => decoder.name === name))
    throw new HostError('USAGE', `there is a decoder ${name} already`, 'A module of that name would take its place: choose another.');
  const folder = resolve(flags.folder ?? name);
  if (existsSync(folder) && readdirSync(folder).length > 0) throw new HostError('OUTPUT', `${folder} is not empty`, 'Name another with --folder.');
  try {
    fill(folder, name);
  } catch (error) {
    throw new HostError('OUTPUT', `${folder} cannot be written: ${reasonOf(error)}`, undefined, { cause: error });
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ name, folder })}\n`);
  else
    process.stdout.write(`${folder} is a decoder that works. Next:\n\n  cd ${folder}\n  npm install && npm test\n\nThen change decoder.ts and the vectors.\n`);
  return 0;
}

function fill(folder: string, name: string): void {
  const compiler = (JSON.parse(readFileSync(paths.package, 'utf8')) as { devDependencies: Record<string, string> }).devDependencies['assemblyscript'] ?? '';
  const made = (text: string) => text.replaceAll('@NAME@', name).replaceAll('@ASSEMBLYSCRIPT@', compiler);
  mkdirSync(folder, { recursive: true });
  const copy = (from: string, to: string): void => {
    if (!statSync(from).isDirectory()) {
      writeFileSync(to, made(readFileSync(from, 'latin1')), 'latin1');
      return;
    }
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from)) copy(join(from, entry), join(to, entry));
  };
  copy(join(paths.decoderSources, 'template'), folder);
  for (const part of ['abi', 'lib']) cpSync(join(paths.decoderSources, part), join(folder, part), { recursive: true });
  cpSync(paths.decoderAbi, join(folder, 'decoder-abi.md'));
  cpSync(paths.asconfig, join(folder, 'asconfig.json'));
}
