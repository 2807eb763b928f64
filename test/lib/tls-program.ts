// Compiles and runs the TLS client of test/e2e/fixtures, linked to a libssl of the test's own or with OpenSSL inside; it watches nothing.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './run.js';

const SOURCE = join(ROOT, 'test', 'e2e', 'fixtures', 'tls-client.c');

/** @returns the path of the built program. @param linked dynamic: it loads libssl.so.3; static: it carries OpenSSL with its symbols. */
export function buildClient(folder: string, name: string, linked: 'dynamic' | 'static'): string {
  const out = join(folder, name);
  const libraries = linked === 'dynamic' ? ['-lssl', '-lcrypto'] : ['-l:libssl.a', '-l:libcrypto.a', '-ldl', '-pthread'];
  execFileSync(process.env['CC'] ?? 'cc', ['-O1', '-Wall', '-Wextra', '-Werror', SOURCE, '-o', out, ...libraries], { stdio: 'pipe' });
  return out;
}

/** Copies the machine's libssl.so.3 into a folder of its own, which is what LD_LIBRARY_PATH takes. @returns the folder and the copy. */
export function ownLibrary(folder: string): { folder: string; path: string } {
  const own = join(folder, 'lib');
  mkdirSync(own, { recursive: true });
  const path = join(own, 'libssl.so.3');
  copyFileSync(machineLibrary(), path);
  return { folder: own, path };
}

/** The libssl.so.3 that programs here load. */
export function machineLibrary(): string {
  const line = execFileSync('ldconfig', ['-p'], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } })
    .split('\n')
    .find((entry) => entry.trim().startsWith('libssl.so.3 '));
  if (line === undefined) throw new Error('libssl.so.3 is not installed: run sh scripts/setup.sh test');
  return realpathSync(line.slice(line.indexOf('=>') + 2).trim());
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A client process: each ask() is one connection with one exchange. */
export class TlsClient {
  readonly #child: ChildProcess;
  #said = '';

  /** @param uid it runs as this user. @param before arguments before the port, where the program is one that starts the client. */
  constructor(program: string, port: number, env: NodeJS.ProcessEnv = {}, uid?: number, before: readonly string[] = []) {
    this.#child = spawn(program, [...before, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
      ...(uid !== undefined && { uid }),
    });
    running.add(this.#child);
    this.#child.stdout?.on('data', (part: Buffer) => (this.#said += part.toString()));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Resolves when the exchange is over. */
  async ask(model: string): Promise<void> {
    this.#child.stdin?.write(`${model}\n`);
    while (!this.#said.includes(`${model}\n`)) {
      if (this.#child.exitCode !== null) throw new Error(`the client ended with ${this.#child.exitCode} instead of asking ${model}`);
      await Promise.race([once(this.#child.stdout as NodeJS.ReadableStream, 'data'), once(this.#child, 'exit')]);
    }
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    running.delete(this.#child);
  }
}

/** A whole life of a client: one exchange. */
export async function runClient(program: string, port: number, model: string, env: NodeJS.ProcessEnv = {}): Promise<number> {
  const client = new TlsClient(program, port, env);
  await client.ask(model);
  await client.end();
  return client.pid;
}
