// `oisp-host decoders`: which decoder modules there are, what each consumes and produces, and whether one can be trusted; changes nothing.
import { Worker } from 'node:worker_threads';
import { paths } from '../config/paths.js';
import { loadDecoders } from '../decode/load.js';
import type { Verdict } from '../decode/verify.js';
import { KindText } from '../gen/records.js';
import { bytesText, paint, table } from './terminal.js';

const kinds = (numbers: readonly number[]): string[] => numbers.map((kind) => KindText[kind] ?? String(kind));

export function listDecoders(flags: { json?: boolean }): number {
  const decoders = loadDecoders(paths.decoders);
  if (flags.json) {
    const rows = decoders.map(({ name, version, compiled, bytes, consumes, produces }) => ({
      name,
      version,
      sha256: compiled.sha256,
      bytes,
      consumes: kinds(consumes),
      produces: kinds(produces),
    }));
    process.stdout.write(`${JSON.stringify(rows)}\n`);
    return 0;
  }
  const rows = decoders.map(({ name, version, compiled, bytes, consumes, produces }) => [
    name,
    version,
    compiled.sha256.slice(0, 12),
    bytesText(bytes),
    `${kinds(consumes).join(' ')} -> ${kinds(produces).join(' ')}`,
  ]);
  const [head = '', ...rest] = table([['NAME', 'VERSION', 'SHA-256', 'SIZE', 'CONSUMES -> PRODUCES'], ...rows]).split('\n');
  process.stdout.write(`${[paint(process.stdout, 'bold', head), ...rest].join('\n')}\n`);
  return 0;
}

/** A module that takes longer is taken to hang. */
const VERIFY_MS = 60_000;

/** Tries a module in a thread of its own. */
function tried(path: string, limitMs: number): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('../decode/verify-entry.js', import.meta.url), { workerData: { path } });
    const timer = setTimeout(() => {
      void worker.terminate();
      resolve({ path, passed: false, checks: [{ name: 'returns', passed: false, detail: `it did not return within ${limitMs / 1000} s: it hangs` }] });
    }, limitMs);
    worker.once('message', (verdict: Verdict) => {
      clearTimeout(timer);
      resolve(verdict);
    });
    worker.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

/** Says whether a module keeps the rules. @returns the exit code. */
export async function verifyDecoder(path: string, flags: { json?: boolean; timeout?: number }): Promise<number> {
  const verdict = await tried(path, flags.timeout === undefined ? VERIFY_MS : flags.timeout * 1000);
  if (flags.json) process.stdout.write(`${JSON.stringify(verdict)}\n`);
  else {
    for (const { name, passed, detail } of verdict.checks) {
      const mark = passed ? paint(process.stdout, 'green', 'ok  ') : paint(process.stdout, 'red', 'FAIL');
      process.stdout.write(`${mark} ${name}: ${detail}\n`);
    }
    const identity = verdict.sha256 === undefined ? '' : ` (SHA-256 ${verdict.sha256})`;
    process.stdout.write(verdict.passed ? `${verdict.name} ${verdict.version} keeps the rules${identity}\n` : `refused: ${path}\n`);
  }
  return verdict.passed ? 0 : 1;
}
