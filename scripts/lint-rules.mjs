// The house rules that neither Biome nor dependency-cruiser can check, by searching files; never changes one.
// usage: lint-rules.mjs [ROOT]      exit 0: clean, 1: findings on standard output, one a line
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const BINARY = /\.(png|wasm|node|bin|gz|o)$/;
const SOURCE = /(\.(ts|mjs|cjs|js|sh|c|cc|h|toml)|^bin\/[\w-]+|^\.ci\/run)$/;
const COMMENT = /^(\/\/|\/\*|#(?!!|include|define|if|pragma)) ?\S/;
// Written in pieces, so that this file passes its own checks.
const MARKS = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
const MACHINE_PATHS = new RegExp(`(?<![\\w.)}\\]>*$-])/(${['wo' + 'rk', 'ro' + 'ot'].join('|')})/`);

/** One line of text that matches, as "line N", or undefined. */
function lineOf(text, pattern) {
  const index = text.split('\n').findIndex((line) => pattern.test(line));
  return index < 0 ? undefined : index + 1;
}

/** rule name -> (path, text) -> line of the first finding, or undefined. Paths are relative to the root, with slashes. */
export const RULES = {
  'addon.cc speaks N-API and never libbpf': (path, text) => (path === 'native/addon.cc' ? lineOf(text, /#\s*include\s*[<"](bpf\/|linux\/bpf)/) : undefined),
  'only addon.cc speaks N-API': (path, text) =>
    /^native\/.*\.(cc|cpp|h|hpp)$/.test(path) && path !== 'native/addon.cc' ? lineOf(text, /#\s*include\s*[<"](napi\.h|node_api\.h|js_native_api)/) : undefined,
  'a decoder imports only from env': (path, text) =>
    /^decoders-as\/.*\.ts$/.test(path) ? lineOf(text, /@external\s*\(\s*(?!['"]env['"]\s*,\s*['"](memory|abort|log)['"])/) : undefined,
  'decoders-as imports nothing outside itself': (path, text) => {
    if (!/^decoders-as\/.*\.ts$/.test(path)) return undefined;
    const lines = text.split('\n');
    const index = lines.findIndex((line) => {
      const target = /^\s*(?:(?:import|export|\})[^'"=]*\bfrom\s*|import\s*)['"]([^'"]+)['"]/.exec(line)?.[1];
      if (target === undefined) return false;
      return !target.startsWith('.') || !join(dirname(path), target).startsWith('decoders-as/');
    });
    return index < 0 ? undefined : index + 1;
  },
  'only the ebpf source loads native code': (path, text) =>
    /^host\/src\/.*\.ts$/.test(path) && !path.startsWith('host/src/sources/ebpf/')
      ? lineOf(text, /\bcreateRequire\b|\bdlopen\b|\b(require|import)\([^)]*\.node['"`]/)
      : undefined,
  'a failure is never swallowed by an empty catch': (path, text) => {
    if (!/\.(ts|mjs|cjs|js)$/.test(path)) return undefined;
    const found = /catch\s*(\([^)]*\)\s*)?\{\s*\}/.exec(text);
    return found ? text.slice(0, found.index).split('\n').length : undefined;
  },
  'nothing is left for later in a comment': (path, text) => (path === 'package-lock.json' ? undefined : lineOf(text, MARKS)),
  'no path of one machine': (_path, text) => lineOf(text, MACHINE_PATHS),
  'a source file starts with a sentence': (path, text) => {
    if (!SOURCE.test(path)) return undefined;
    const lines = text.split('\n');
    const first = lines[0]?.startsWith('#!') ? 1 : 0;
    return COMMENT.test(lines[first] ?? '') ? undefined : first + 1;
  },
};

/** Findings of one file, as "path:line: rule". */
export function checkFile(path, text) {
  return Object.entries(RULES).flatMap(([rule, find]) => {
    const line = find(path, text);
    return line === undefined ? [] : [`${path}:${line}: ${rule}`];
  });
}

/** Findings of one built decoder: what it imports beside the three things the ABI lends it. */
export function checkWasm(path, bytes) {
  return WebAssembly.Module.imports(new WebAssembly.Module(bytes))
    .filter((entry) => entry.module !== 'env' || !['memory', 'abort', 'log'].includes(entry.name))
    .map((entry) => `${path}: imports ${entry.module}.${entry.name}, which the decoder ABI does not lend`);
}

/** Files that are or would be committed; a tree without git gives all but what is built or installed. */
function files(root) {
  const git = spawnSync('git', ['-c', `safe.directory=${root}`, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (git.status === 0) return git.stdout.split('\0').filter((path) => path !== '');
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/^(\.git|\.setup|dist|node_modules)\//.test(path));
}

function main(root) {
  const findings = [];
  for (const path of files(root)) {
    // A file that git still lists but that was just removed is no finding.
    if (BINARY.test(path) || !statSync(join(root, path), { throwIfNoEntry: false })?.isFile()) continue;
    findings.push(...checkFile(path, readFileSync(join(root, path), 'utf8')));
  }
  const built = join(root, 'dist', 'decoders');
  const modules = statSync(built, { throwIfNoEntry: false }) ? readdirSync(built).filter((name) => name.endsWith('.wasm')) : [];
  for (const name of modules) findings.push(...checkWasm(`dist/decoders/${name}`, readFileSync(join(built, name))));
  for (const finding of findings) process.stdout.write(`${finding}\n`);
  return findings.length === 0 ? 0 : 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  process.exit(main(resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'))));
}
