// Where a built checkout (or an installed tree) keeps its parts, relative to this file; nothing is looked up in the working directory.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** dist/host/src/config -> the folder that holds package.json. */
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');

export const paths = {
  bpfObject: join(root, 'dist', 'bpf', 'oisp.bpf.o'),
  addon: join(root, 'dist', 'native', 'oisp_native.node'),
  decoders: join(root, 'dist', 'decoders'),
} as const;

/** Version of this build. */
export const version: string = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
