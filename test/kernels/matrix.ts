// `npm run test:kernels [-- NAME...] [--json]`: boots each guest of guests.tsv in qemu, one after the other, and judges by the tests that ran in it.
// Exit code 0: every guest that could be had passed; 1: one failed; 69: none could be had.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { ROOT } from '../lib/run.js';

/** What a guest may take: without hardware virtualization, and beside other work, minutes. */
const LIMIT_MS = 20 * 60_000;
const NONE_AVAILABLE = 69;
const KERNELS = join(ROOT, '.setup', 'guests');
const BUILT = join(ROOT, 'dist', 'kernels');

type Arch = 'x64' | 'arm64';

interface Guest {
  readonly name: string;
  readonly arch: Arch;
}

/** What came of a guest. release is absent when it said nothing. */
interface Result extends Guest {
  readonly status: 'passed' | 'failed' | 'unavailable';
  readonly release?: string;
  readonly passed: number;
  readonly failed: number;
  readonly seconds: number;
  readonly reason?: string;
}

function guestsOf(names: readonly string[]): Guest[] {
  const all = readFileSync(join(ROOT, 'test', 'kernels', 'guests.tsv'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('\t'))
    .map(([name, arch]): Guest => ({ name: name as string, arch: arch as Arch }));
  for (const name of names) {
    if (all.some((guest) => guest.name === name)) continue;
    process.stderr.write(`test:kernels: no guest is named ${name}; there are ${all.map((guest) => guest.name).join(', ')}\n`);
    process.exit(2);
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

function canUse(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The command that boots a guest, with hardware virtualization where this machine has it for that architecture. */
function qemu({ name, arch }: Guest): [string, string[]] {
  const kvm = arch === process.arch && canUse('/dev/kvm');
  // What is newer on arm64 authenticates pointers, and emulating that takes most of the time.
  const emulated = arch === 'arm64' ? 'cortex-a72' : 'max';
  const accel = kvm ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', emulated];
  const machine = arch === 'arm64' ? ['-machine', 'virt'] : [];
  const terminal = arch === 'arm64' ? 'ttyAMA0' : 'ttyS0';
  const boot = ['-kernel', join(KERNELS, name, 'vmlinuz'), '-initrd', join(BUILT, `${arch}.cpio`), '-append', `console=${terminal} quiet panic=-1`];
  const devices = ['-smp', '2', '-m', '2048', '-nographic', '-no-reboot', '-nic', 'none'];
  return [arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64', [...machine, ...accel, ...devices, ...boot]];
}

/** Reads a guest's console: TAP from the test runner, and two comments of its init. */
class Console {
  release: string | undefined;
  ended = false;
  readonly counts = new Map<string, number>();
  readonly failures: string[] = [];

  line(text: string): void {
    const kernel = /^# kernel (\S+)/.exec(text);
    if (kernel !== null) this.release = kernel[1];
    if (text === '# end') this.ended = true;
    const count = /^# (pass|fail|cancelled|skipped|todo) ([0-9]+)$/.exec(text);
    if (count !== null) this.counts.set(count[1] as string, Number(count[2]));
    const failure = /^\s*not ok [0-9]+ - (.*)$/.exec(text);
    if (failure !== null) this.failures.push(failure[1] as string);
  }

  get failed(): number {
    return ['fail', 'cancelled', 'skipped', 'todo'].reduce((sum, what) => sum + (this.counts.get(what) ?? 0), 0);
  }
}

function judge(guest: Guest, told: Console, ending: string | undefined, seconds: number): Result {
  const passed = told.counts.get('pass') ?? 0;
  const base = { ...guest, ...(told.release === undefined ? {} : { release: told.release }), passed, failed: told.failed, seconds };
  const log = `dist/kernels/${guest.name}.log`;
  if (ending !== undefined || !told.ended) return { ...base, status: 'failed', reason: `${ending ?? 'the guest stopped before its tests ended'}: see ${log}` };
  if (told.failed > 0) return { ...base, status: 'failed', reason: `${told.failures.join('; ')}: see ${log}` };
  if (passed === 0) return { ...base, status: 'failed', reason: `no test ran: see ${log}` };
  return { ...base, status: 'passed' };
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(128 + osConstants.signals[signal]));

async function boot(guest: Guest): Promise<Result> {
  const begin = Date.now();
  const told = new Console();
  const [program, args] = qemu(guest);
  const log = createWriteStream(join(BUILT, `${guest.name}.log`));
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.stderr.pipe(log, { end: false });
  createInterface({ input: child.stdout }).on('line', (line) => {
    log.write(`${line}\n`);
    told.line(line.trimEnd());
  });
  let ending: string | undefined;
  const timer = setTimeout(() => {
    ending = `not done within ${LIMIT_MS / 60_000} minutes`;
    child.kill('SIGKILL');
  }, LIMIT_MS);
  await new Promise<void>((resolve) => {
    child.once('error', (error) => {
      ending = `${program}: ${error.message}`;
      resolve();
    });
    child.once('close', (code) => {
      if (code !== 0) ending ??= `${program} ended with code ${code}`;
      resolve();
    });
  });
  running.delete(child);
  clearTimeout(timer);
  log.end();
  return judge(guest, told, ending, Math.round((Date.now() - begin) / 1000));
}

function describe({ name, arch, status, release, passed, failed, seconds, reason }: Result): string {
  const what = status === 'unavailable' ? 'not to be had' : `${status}, ${passed} passed, ${failed} failed, ${seconds} s`;
  return `${name.padEnd(12)} ${arch.padEnd(6)} ${(release ?? '-').padEnd(32)} ${what}${reason === undefined ? '' : `: ${reason}`}\n`;
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean', default: false } } });
mkdirSync(BUILT, { recursive: true });
const results: Result[] = [];
for (const guest of guestsOf(positionals)) {
  const unavailable = join(KERNELS, guest.name, 'unavailable');
  if (existsSync(unavailable)) {
    results.push({ ...guest, status: 'unavailable', passed: 0, failed: 0, seconds: 0, reason: readFileSync(unavailable, 'utf8').trim() });
  } else {
    process.stderr.write(`test:kernels: booting guest ${guest.name} (${guest.arch}); its console goes to dist/kernels/${guest.name}.log\n`);
    results.push(await boot(guest));
  }
  if (!values.json) process.stdout.write(describe(results.at(-1) as Result));
}
if (values.json) process.stdout.write(`${JSON.stringify({ guests: results })}\n`);
if (results.every(({ status }) => status === 'unavailable')) process.exitCode = NONE_AVAILABLE;
else if (results.some(({ status }) => status === 'failed')) process.exitCode = 1;
