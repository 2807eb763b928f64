// Bench: what the sensor adds to every system call of a process it has nothing to do with, against a BPF program on sys_enter that does nothing.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Gate } from '../host/src/gen/records.js';
import { loadNative, type NativeSensor } from '../host/src/sources/ebpf/native.js';
import type { BenchResult } from './lib/measure.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const SOURCE = join(ROOT, 'bench', 'lib', 'syscall-loop.c');

/** Calls whose cost is told, and how many make a slice of about 0.3 ms. */
const LOOPS = { getppid: 2000, open_close: 300 } as const;
type Loop = keyof typeof LOOPS;

/**
 * What the sensor knows of the process, as its gate says: nothing (it began after the sensor, and does neither TLS nor file work in scope),
 * that it may have sockets (it began before), or that its files are recorded.
 */
const PROCESSES = ['began_after', 'began_before', 'files_in_scope'] as const;
type ProcessKind = (typeof PROCESSES)[number];

/** How long to wait for a moment in which nobody else has programs on system calls, all in all. */
const PATIENCE_MS = 300_000;
const QUIET_POLL_MS = 100;

export interface SyscallsOptions {
  /** Times that every state is measured, in turn. */
  readonly rounds: number;
  /** Slices in a turn; the least of all slices of a state counts. */
  readonly slices: number;
}

/** One helper process: a line goes in, a line comes out. */
class Helper {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  constructor(program: string, role: string) {
    this.#child = spawn(program, [role], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async ask(line: string): Promise<number> {
    this.#child.stdin?.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`the helper ended at "${line}"; it needs root`);
    return Number(value);
  }

  close(): void {
    this.#lines.close();
    this.#child.kill();
  }
}

/** Least nanoseconds of a call, by loop and state. */
type Least = Map<string, number>;

async function measure(least: Least, state: string, loop: Helper, slices: number): Promise<void> {
  for (const [name, calls] of Object.entries(LOOPS)) {
    const ns = await loop.ask(`${name} ${slices} ${calls}`);
    const key = `${name} ${state}`;
    least.set(key, Math.min(least.get(key) ?? Number.POSITIVE_INFINITY, ns));
  }
}

/** @throws Error when it is not root, or when other programs look at system calls all the time, so that there is nothing to compare with. */
export async function benchSyscalls({ rounds, slices }: SyscallsOptions): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'oisp-bench-'));
  const program = compile(folder);
  const empty = new Helper(program, 'empty');
  const loops = Object.fromEntries(PROCESSES.map((kind) => [kind, new Helper(program, 'loop')])) as Record<ProcessKind, Helper>;
  try {
    const least: Least = new Map();
    const until = Date.now() + PATIENCE_MS;
    for (let round = 0; round < rounds; round++) await runRound(least, { empty, loops, slices, until });
    return { bench: 'syscalls', rows: PROCESSES.flatMap((kind) => (Object.keys(LOOPS) as Loop[]).map((loop) => row(least, loop, kind))) };
  } finally {
    for (const helper of [empty, ...Object.values(loops)]) helper.close();
    rmSync(folder, { recursive: true });
  }
}

function compile(folder: string): string {
  const out = join(folder, 'syscall-loop');
  const flags = execFileSync('pkg-config', ['--cflags', 'libbpf'], { encoding: 'utf8' }).split(/\s+/).filter(Boolean);
  execFileSync(process.env['CC'] ?? 'cc', ['-O2', '-Wall', '-Wextra', '-Werror', ...flags, SOURCE, '-o', out, '-lbpf', '-lelf', '-lz'], { stdio: 'inherit' });
  return out;
}

interface Round {
  readonly empty: Helper;
  readonly loops: Record<ProcessKind, Helper>;
  readonly slices: number;
  /** Date.now() at which waiting for a quiet moment ends. */
  readonly until: number;
}

/** Nothing, the empty program, the sensor, one after the other. */
async function runRound(least: Least, round: Round): Promise<void> {
  const { empty, loops } = round;
  await quietly(least, round, 'nothing', (work) => work());
  await quietly(least, round, 'empty', async (work) => {
    await empty.ask('attach');
    await work();
    await empty.ask('detach');
  });
  await quietly(least, round, 'sensor', (work) => withSensor(loops, work));
}

/** Measures every process in one state; again, when somebody else's programs were on system calls before or after. */
async function quietly(
  least: Least,
  { empty, loops, slices, until }: Round,
  state: string,
  during: (work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  for (;;) {
    const seen: Least = new Map();
    const quiet = (await empty.ask('others')) === 0;
    if (quiet) {
      await during(async () => {
        for (const kind of PROCESSES) await measure(seen, `${kind} ${state}`, loops[kind], slices);
      });
    }
    if (quiet && (await empty.ask('others')) === 0) {
      for (const [key, ns] of seen) least.set(key, Math.min(least.get(key) ?? Number.POSITIVE_INFINITY, ns));
      return;
    }
    if (Date.now() > until) throw new Error('other BPF programs are on the system calls of this machine: stop them, and measure again');
    await sleep(QUIET_POLL_MS);
  }
}

/** Runs the work while the kernel part is loaded as the daemon loads it, its ring drained and its records thrown away. */
async function withSensor(loops: Record<ProcessKind, Helper>, work: () => Promise<void>): Promise<void> {
  const { Sensor } = loadNative(join(ROOT, 'dist', 'native', 'oisp_native.node'));
  const objectPath = join(ROOT, 'dist', 'bpf', 'oisp.bpf.o');
  const sensor = new Sensor({ objectPath, ringBytes: 8 << 20, shards: 1, batchBytes: 256 << 10, flushMs: 20, maxInFlightBytes: 16 << 20, captureAll: true });
  try {
    sensor.load();
    sensor.start(({ shard, length }) => sensor.credit(shard, length));
    openGates(sensor, loops);
    await work();
  } finally {
    await new Promise<void>((resolve) => sensor.stop(resolve));
    sensor.close();
  }
}

function openGates(sensor: NativeSensor, loops: Record<ProcessKind, Helper>): void {
  sensor.gateAdd(loops.began_before.pid, Gate.sockets);
  sensor.scopeAdd(loops.files_in_scope.pid, { capture: true, inherit: true, files: true });
  sensor.gateAdd(loops.files_in_scope.pid, Gate.files | Gate.pipes);
}

function row(least: Least, loop: Loop, kind: ProcessKind): BenchResult['rows'][number] {
  const of = (state: string) => least.get(`${loop} ${kind} ${state}`) as number;
  const [nothing, empty, sensor] = [of('nothing'), of('empty'), of('sensor')];
  const added = { empty: empty - nothing, sensor: sensor - nothing };
  return {
    name: `${loop}_${kind}`,
    loop,
    process: kind,
    nothing_ns: nothing,
    empty_sys_enter_added_ns: added.empty,
    sensor_added_ns: added.sensor,
    ratio: added.sensor / added.empty,
  };
}
