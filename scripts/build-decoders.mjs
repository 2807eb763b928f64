// Compiles every decoders-as/modules/<name>/index.ts to dist/decoders/<name>.wasm with the shared asconfig.json; skips what is up to date.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'dist', 'decoders');
const only = process.argv.slice(2);
mkdirSync(out, { recursive: true });

/** Newest modification time below a folder, ms. */
function newest(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((time, entry) => Math.max(time, statSync(join(entry.parentPath, entry.name)).mtimeMs), 0);
}
const shared = Math.max(newest(join(root, 'decoders-as', 'abi')), newest(join(root, 'decoders-as', 'lib')), statSync(join(root, 'asconfig.json')).mtimeMs);
let failed = 0;
for (const name of readdirSync(join(root, 'decoders-as', 'modules')).sort()) {
  if (only.length && !only.includes(name)) continue;
  const source = join(root, 'decoders-as', 'modules', name);
  const target = join(out, `${name}.wasm`);
  const built = statSync(target, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built > Math.max(shared, newest(source))) continue;
  process.stdout.write(`decoder ${name}\n`);
  const asc = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js');
  const args = [asc, join('decoders-as', 'modules', name, 'index.ts'), '--config', 'asconfig.json', '--outFile', join('dist', 'decoders', `${name}.wasm`)];
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) failed++;
}
process.exit(failed ? 1 : 0);
