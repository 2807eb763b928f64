// Proves that each house rule and each import rule can fail: a check that nothing fails is no check.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ROOT, scratch } from '../lib/run.js';

interface LintRules {
  RULES: Record<string, unknown>;
  checkFile(path: string, text: string): string[];
  checkWasm(path: string, bytes: Uint8Array): string[];
}
const script = join(ROOT, 'scripts', 'lint-rules.mjs');
const { RULES, checkFile, checkWasm } = (await import(pathToFileURL(script).href)) as LintRules;

// Words that must not stand in a committed file are put together here.
const MARK = `FIX${'ME'}`;
const MACHINE = `/${'root'}/.cache`;
const EMPTY_CATCH = `catch ${'{'} }`;

/** rule -> files that break it, files that look alike and do not. */
const EXAMPLES: Record<string, { bad: [string, string][]; good: [string, string][] }> = {
  'addon.cc speaks N-API and never libbpf': {
    bad: [['native/addon.cc', '// The door.\n#include <bpf/libbpf.h>\n']],
    good: [['native/addon.cc', '// The door.\n#include <napi.h>\n#include "sensor.h"\n']],
  },
  'only addon.cc speaks N-API': {
    bad: [
      ['native/sensor.cc', '// The sensor.\n#include <napi.h>\n'],
      ['native/sensor.h', '// The sensor.\n#include <node_api.h>\n'],
    ],
    good: [['native/sensor.cc', '// The sensor.\n#include <bpf/libbpf.h>\n']],
  },
  'a decoder imports only from env': {
    bad: [
      ['decoders-as/lib/x.ts', '// A clock.\n@external("wasi", "clock_time_get")\ndeclare function now(): u64;\n'],
      ['decoders-as/lib/x.ts', '// A door.\n@external("env", "open")\ndeclare function open(): i32;\n'],
    ],
    good: [['decoders-as/lib/x.ts', '// The log.\n@external("env", "log")\ndeclare function log(ptr: i32, len: i32): void;\n']],
  },
  'decoders-as imports nothing outside itself': {
    bad: [
      ['decoders-as/lib/x.ts', "// A leak.\nimport { a } from '../../host/src/errors';\n"],
      ['decoders-as/lib/x.ts', "// A package.\nimport {\n  a,\n} from 'msgpackr';\n"],
    ],
    good: [['decoders-as/modules/ai/index.ts', "// The ai module.\nimport { a } from '../../lib/bytes';\nexport const NAME = 'ai.request';\n"]],
  },
  'only the ebpf source loads native code': {
    bad: [
      ['host/src/topology/x.ts', '// A short cut.\nconst require = createRequire(import.meta.url);\n'],
      ['host/src/topology/x.ts', '// Another.\nprocess.dlopen(module, path);\n'],
    ],
    good: [
      ['host/src/sources/ebpf/native.ts', '// The one door.\nconst require = createRequire(import.meta.url);\n'],
      ['host/src/config/paths.ts', "// Where things are.\nexport const addon = 'oisp_native.node';\n"],
    ],
  },
  'a failure is never swallowed by an empty catch': {
    bad: [
      ['host/src/x.ts', `// X.\ntry { f(); } ${EMPTY_CATCH}\n`],
      ['scripts/x.mjs', `// X.\ntry { f(); } catch (error) ${'{'}\n}\n`],
    ],
    good: [['host/src/x.ts', '// X.\ntry { f(); } catch (error) { count(error); }\n']],
  },
  'nothing is left for later in a comment': {
    bad: [['README.md', `${MARK}: finish\n`]],
    good: [['README.md', 'A todo list is what the agent keeps.\n']],
  },
  'no path of one machine': {
    bad: [['docs/x.md', `see ${MACHINE}\n`]],
    good: [['host/src/x.ts', "// X.\n// Through /proc/<pid>/root/etc.\nconst other = '/proc/self/root/etc';\n"]],
  },
  'a source file starts with a sentence': {
    bad: [
      ['host/src/x.ts', "import a from 'a';\n"],
      ['scripts/x.sh', '#!/bin/sh\nset -eu\n'],
      ['bpf/tls/x.bpf.c', '#include <a.h>\n'],
    ],
    good: [
      ['scripts/x.sh', '#!/bin/sh\n# Does a thing.\nset -eu\n'],
      ['bpf/tls/x.bpf.c', '/* Probes. */\n'],
      ['schema/x.toml', '# The schema.\n'],
      ['docs/x.md', 'Plain.\n'],
    ],
  },
};

describe('house rules', () => {
  it('each have an example that breaks them', () => {
    assert.deepEqual(Object.keys(EXAMPLES).sort(), Object.keys(RULES).sort());
  });
  for (const [rule, { bad, good }] of Object.entries(EXAMPLES)) {
    it(rule, () => {
      for (const [path, text] of bad) assert.match(checkFile(path, text).join('\n'), new RegExp(`^${path}:\\d+: ${rule}$`, 'm'));
      for (const [path, text] of good) assert.deepEqual(checkFile(path, text), []);
    });
  }

  it('a built decoder that imports more than the ABI lends is found', () => {
    // (import "env" "abort" (func)) and (import "wasi" "now" (func)), by hand: type section, import section.
    const name = (text: string) => [text.length, ...Buffer.from(text)];
    const entry = (module: string, field: string) => [...name(module), ...name(field), 0, 0];
    const section = (id: number, bytes: number[]) => [id, bytes.length, ...bytes];
    const imports = [...entry('env', 'abort'), ...entry('wasi', 'now')];
    const bytes = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(1, [1, 0x60, 0, 0]), ...section(2, [2, ...imports])]);
    assert.deepEqual(checkWasm('x.wasm', bytes), ['x.wasm: imports wasi.now, which the decoder ABI does not lend']);
  });

  it('the command fails on a tree that breaks one', () => {
    const root = scratch('lint');
    writeFileSync(join(root, 'a.ts'), 'export {};\n');
    const ended = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
    assert.equal(ended.status, 1);
    assert.equal(ended.stdout, 'a.ts:1: a source file starts with a sentence\n');
    writeFileSync(join(root, 'a.ts'), '// Nothing.\nexport {};\n');
    assert.equal(spawnSync(process.execPath, [script, root]).status, 0);
  });
});

/** rule -> the file that imports and what it imports. */
const IMPORTS: Record<string, [from: string, to: string]> = {
  'never-1-rooms-meet-in-topology': ['host/src/sources/a.ts', 'host/src/decode/b.ts'],
  'never-2-transforms-stay-apart': ['host/src/transforms/enrich/a.ts', 'host/src/transforms/redact/b.ts'],
  'never-3-events-and-gen-are-the-floor': ['host/src/events/a.ts', 'host/src/errors.ts'],
  'never-4-host-loads-wasm-only': ['host/src/decode/a.ts', 'decoders-as/lib/b.ts'],
  'never-5-one-door-to-native': ['host/src/topology/a.ts', 'native/b.ts'],
  'never-6-shard-code-knows-no-configuration': ['host/src/decode/a.ts', 'host/src/config/b.ts'],
  'never-7-nothing-imports-the-front-ends': ['host/src/topology/a.ts', 'host/src/cli/b.ts'],
  'never-7-the-api-is-given-what-it-serves': ['host/src/api/a.ts', 'host/src/topology/b.ts'],
  'never-7-observers-are-observed-by-nobody': ['host/src/topology/a.ts', 'host/src/coverage/b.ts'],
  'no-tests-in-the-daemon': ['host/src/decode/a.ts', 'test/lib/b.ts'],
};

/** A tree of a file that is imported and two that import it: a.ts its value, and beside it a-type.ts only its type. */
function tree(from: string, to: string): string {
  const root = scratch('imports');
  for (const path of [from, to]) mkdirSync(dirname(join(root, path)), { recursive: true });
  for (const folder of ['host', 'test', 'bench']) mkdirSync(join(root, folder), { recursive: true });
  const target = '../'.repeat(from.split('/').length - 1) + to.replace(/\.ts$/, '.js');
  writeFileSync(join(root, from), `// Imports.\nimport { b } from '${target}';\nconsole.log(b);\n`);
  writeFileSync(join(root, from.replace(/\.ts$/, '-type.ts')), `// Imports a type.\nimport type { B } from '${target}';\nexport type A = B;\n`);
  writeFileSync(join(root, to), '// Imported.\nexport const b = 1;\nexport type B = number;\n');
  writeFileSync(join(root, 'package.json'), '{ "name": "t", "type": "module" }');
  for (const name of ['tsconfig.json', 'node_modules']) symlinkSync(join(ROOT, name), join(root, name));
  return root;
}

function cruise(root: string, output: string) {
  const program = join(ROOT, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');
  const args = [program, '--config', join(ROOT, '.dependency-cruiser.cjs'), '--output-type', output, 'host', 'test', 'bench'];
  return spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
}

/** "rule file" of everything dependency-cruiser finds, files without their folder. */
function broken(root: string): string[] {
  const ended = cruise(root, 'json');
  assert.equal(ended.status, 0, ended.stderr);
  const { summary } = JSON.parse(ended.stdout) as { summary: { violations: { rule: { name: string }; from: string }[] } };
  return summary.violations.map((violation) => `${violation.rule.name} ${basename(violation.from)}`);
}

describe('import rules', () => {
  for (const [rule, [from, to]] of Object.entries(IMPORTS)) {
    it(`${rule}: ${from} may not import ${to}`, () => {
      const found = broken(tree(from, to));
      assert.ok(found.includes(`${rule} a.ts`), found.join('\n'));
      assert.ok(found.includes(`${rule} a-type.ts`), 'importing only a type counts too');
    });
  }

  it('what topology/ does is allowed: it joins the rooms', () => {
    assert.deepEqual(broken(tree('host/src/topology/a.ts', 'host/src/decode/b.ts')), []);
  });

  it('a broken rule fails the lint step', () => {
    assert.notEqual(cruise(tree('host/src/sources/a.ts', 'host/src/sinks/b.ts'), 'err-long').status, 0);
  });
});
