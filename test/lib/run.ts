// Runs the oisp-host command the way a person would, for the tests: the daemon until it is stopped, other commands until they end; leaves no process behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: compiled tests live in dist/test/lib. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const LAUNCHER = join(ROOT, 'bin', 'oisp-host');

/** As much of an event as the tests read. */
export interface SeenEvent {
  event_id: string;
  event_type: string;
  ts: string;
  process?: { pid: number; exe?: string; ppid?: number; name?: string };
  source?: Record<string, unknown>;
  confidence: { level: string; completeness: string; reasons?: string[]; missing?: string[]; content_source?: string };
  data: Record<string, unknown>;
  ext?: { oisp_host?: Record<string, unknown> };
  related_events?: { event_id: string; relationship: string }[];
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Largest resident set seen, KiB. */
  readonly peakKb: number;
}

/** Multiplies time limits, for machines that are known to be slow: guests without hardware virtualization. */
const PATIENCE = Number(process.env['OISP_TEST_PATIENCE'] ?? 1);

const children = new Set<ChildProcess>();
const folders: string[] = [];
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Throws what a person should do when this machine or account cannot run probes: a test that needs them fails, it is never skipped. */
export function mustProbe(): void {
  if (process.getuid?.() !== 0) throw new Error('this test attaches uprobes and needs root: run npm test as root or with sudo');
  if (!existsSync('/sys/kernel/btf/vmlinux')) throw new Error('this test attaches uprobes and needs a kernel with BTF (/sys/kernel/btf/vmlinux)');
}

/** A folder for one test, removed at the end of the process. */
export function scratch(label: string): string {
  const folder = mkdtempSync(join(tmpdir(), `oisp-${label}-`));
  folders.push(folder);
  return folder;
}

export function readEvents(text: string): SeenEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => {
      try {
        return JSON.parse(line) as SeenEvent;
      } catch (error) {
        throw new Error(`line ${i + 1} of the output is no JSON: ${line.slice(0, 200)}`, { cause: error });
      }
    });
}

export const eventsOf = (path: string): SeenEvent[] => readEvents(readFileSync(path, 'utf8'));
export const ofType = (events: readonly SeenEvent[], type: string): SeenEvent[] => events.filter((event) => event.event_type === type);

function peakOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const path = `/proc/${pid}/status`;
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0;
    throw error;
  }
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** A command to run it under, such as setpriv with its arguments. */
  readonly under?: readonly string[];
  readonly input?: string | Buffer;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

function start(args: readonly string[], options: RunOptions): ChildProcess {
  const [program, ...rest] = [...(options.under ?? []), LAUNCHER, ...args];
  const child = spawn(program as string, rest, { stdio: ['pipe', 'pipe', 'pipe'], cwd: options.cwd ?? ROOT, env: { ...process.env, ...options.env } });
  children.add(child);
  child.once('close', () => children.delete(child));
  child.stdin?.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  child.stdin?.end(options.input);
  return child;
}

function watch(child: ChildProcess, args: readonly string[], limitMs: number): { ended: Promise<Ended>; stderr: () => string } {
  const timeoutMs = limitMs * PATIENCE;
  const out: Buffer[] = [];
  let err = '';
  let peakKb = 0;
  child.stdout?.on('data', (part: Buffer) => out.push(part));
  child.stderr?.on('data', (part: Buffer) => (err += part.toString()));
  const sampler = setInterval(() => {
    peakKb = Math.max(peakKb, peakOf(child.pid));
  }, 50);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearInterval(sampler);
      clearTimeout(timer);
      if (late) reject(new Error(`oisp-host ${args.join(' ')} did not end within ${timeoutMs} ms; standard error: ${err.slice(-2000)}`));
      else resolve({ code, signal, stdout: Buffer.concat(out).toString(), stderr: err, peakKb });
    });
  });
  return { ended, stderr: () => err };
}

/** Runs a command to its end. */
export function oispHost(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return watch(start(args, options), args, options.timeoutMs ?? 60_000).ended;
}

export interface Daemon {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  stderr(): string;
  /** Sends the signal and resolves with how it ended; a daemon that does not end within 20 s is killed and the test fails. Idempotent. */
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

const READY = /^oisp-host: capturing/m;

/** Starts `oisp-host run ARGS` and resolves when it says that it captures. */
export async function startDaemon(args: readonly string[], options: RunOptions = {}): Promise<Daemon> {
  mustProbe();
  const child = start(['run', ...args], options);
  const watched = watch(child, ['run', ...args], options.timeoutMs ?? 300_000);
  watched.ended.catch(() => undefined);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`oisp-host run said nothing of capturing within ${30 * PATIENCE} s; standard error: ${watched.stderr()}`));
    }, 30_000 * PATIENCE);
    const look = () => {
      if (!READY.test(watched.stderr())) return;
      clearTimeout(timer);
      child.stderr?.off('data', look);
      resolve();
    };
    child.stderr?.on('data', look);
    watched.ended.then(
      (ended) => {
        clearTimeout(timer);
        reject(new Error(`oisp-host run ended with ${ended.signal ?? ended.code} before it captured: ${ended.stderr}`));
      },
      (error: Error) => reject(error),
    );
  });
  let stopping: Promise<Ended> | undefined;
  const stop = (signal: NodeJS.Signals = 'SIGTERM') => {
    stopping ??= stopWithin(child, watched.ended, signal);
    return stopping;
  };
  return { pid: child.pid ?? -1, ended: watched.ended, stderr: watched.stderr, stop };
}

async function stopWithin(child: ChildProcess, ended: Promise<Ended>, signal: NodeJS.Signals): Promise<Ended> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000 * PATIENCE);
  const result = await ended;
  clearTimeout(timer);
  if (result.signal === 'SIGKILL')
    throw new Error(`oisp-host run did not end within ${20 * PATIENCE} s after ${signal}; standard error: ${result.stderr.slice(-2000)}`);
  return result;
}

/** The newest line of standard error that is a JSON object with `key`: how `--json` gives statistics. */
export function jsonLine<T>(stderr: string, key: string): T {
  for (const line of stderr.split('\n').reverse()) {
    if (!line.startsWith('{')) continue;
    const value = JSON.parse(line) as Record<string, unknown>;
    if (key in value) return value as T;
  }
  throw new Error(`standard error holds no JSON line with "${key}": ${stderr.slice(-2000)}`);
}

/** Waits until a condition holds, looking every 50 ms. */
export async function until(what: string, holds: () => boolean, timeoutMs = 10_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
