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
  /** Where the sources of decoders are, which a new one begins with. */
  decoderSources: join(root, 'decoders-as'),
  decoderAbi: join(root, 'schema', 'decoder-abi.md'),
  asconfig: join(root, 'asconfig.json'),
  package: join(root, 'package.json'),
} as const;

/** Where the control socket is when `control.path` is "auto". @returns undefined for a user without a runtime directory. */
function automaticControlPath(): string | undefined {
  if (process.getuid?.() === 0) return '/run/oisp-host/control.sock';
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime?.startsWith('/') ? join(runtime, 'oisp-host', 'control.sock') : undefined;
}

/** @param setting value of `control.path`. @returns the path of the control socket, undefined when there is none. */
export function controlPath(setting: string): string | undefined {
  return setting === 'auto' ? automaticControlPath() : setting || undefined;
}

/** Version of this build. */
export const version: string = (JSON.parse(readFileSync(paths.package, 'utf8')) as { version: string }).version;
