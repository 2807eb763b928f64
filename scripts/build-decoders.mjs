// Compiles every decoders-as/modules/<name>/index.ts to dist/decoders/<name>.wasm, and every decoders-as/scan/<name>.ts, which is no decoder, to
// dist/scan/<name>.wasm, with the shared asconfig.json; skips what is up to date.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const only = process.argv.slice(2);

/** Newest modification time below a folder, ms. */
function newest(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((time, entry) => Math.max(time, statSync(join(entry.parentPath, entry.name)).mtimeMs), 0);
}
const settings = statSync(join(root, 'asconfig.json')).mtimeMs;
const shared = Math.max(newest(join(root, 'decoders-as', 'abi')), newest(join(root, 'decoders-as', 'lib')), settings);
const modules = readdirSync(join(root, 'decoders-as', 'modules')).map((name) => {
  const folder = join('decoders-as', 'modules', name);
  return {
    name,
    what: 'decoder',
    source: join(folder, 'index.ts'),
    changed: Math.max(shared, newest(join(root, folder))),
    target: join('dist', 'decoders', `${name}.wasm`),
  };
});
const scans = readdirSync(join(root, 'decoders-as', 'scan')).map((file) => {
  const name = basename(file, '.ts');
  const source = join('decoders-as', 'scan', file);
  return { name, what: 'scan', source, changed: Math.max(settings, statSync(join(root, source)).mtimeMs), target: join('dist', 'scan', `${name}.wasm`) };
});
let failed = 0;
for (const { name, what, source, changed, target } of [...modules, ...scans]) {
  if (only.length && !only.includes(name)) continue;
  const built = statSync(join(root, target), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built > changed) continue;
  process.stdout.write(`${what} ${name}\n`);
  mkdirSync(join(root, dirname(target)), { recursive: true });
  const asc = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js');
  const result = spawnSync(process.execPath, [asc, source, '--config', 'asconfig.json', '--outFile', target], { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) failed++;
}
process.exit(failed ? 1 : 0);
