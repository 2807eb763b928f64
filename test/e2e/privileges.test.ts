// The least privileges: the daemon captures with exactly what the systemd unit leaves it, keeps only what it still needs, and needs all of that.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { PROGRAMS } from '../lib/clients.js';
import { type Daemon, eventsOf, mustProbe, ofType, oispHost, ROOT, scratch, startDaemon, until } from '../lib/run.js';
import { settingsOf, underCapabilities, unitCapabilities, unitSystemCalls } from '../lib/unit-file.js';
import { type Mock, startMock } from '../mock/server.js';

const TIMEOUT = { timeout: 120_000 };
/** Nobody: a user with no file and no process here. */
const OTHER = 65_534;
/** What is needed as long as programs come and go, where probes are uprobe_multi links. */
const LASTING = ['dac_read_search', 'sys_ptrace', 'checkpoint_restore'];
const BITS: Readonly<Record<string, number>> = { dac_read_search: 2, kill: 5, sys_ptrace: 19, sys_admin: 21, perfmon: 38, bpf: 39, checkpoint_restore: 40 };
const maskOf = (names: readonly string[]) => names.reduce((mask, name) => mask | (1n << BigInt(BITS[name] as number)), 0n);

const folder = scratch('privileges');
let mock: Mock;
before(async () => {
  mustProbe();
  // The other user reaches the folders in it, each with a mode of its own.
  chmodSync(folder, 0o755);
  mock = await startMock();
});
const children: ChildProcess[] = [];
const daemons: Daemon[] = [];
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const daemon of daemons) await daemon.stop();
  await mock?.close();
});

async function daemonUnder(output: string, under: readonly string[] = []): Promise<Daemon> {
  const daemon = await startDaemon(['--output', output], { under });
  daemons.push(daemon);
  return daemon;
}

/** A folder that only the other user may enter. */
function closedFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { mode: 0o700 });
  chownSync(path, OTHER, OTHER);
  return path;
}

function openFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { mode: 0o755 });
  return path;
}

/** Copies the libssl of curl: a file that no other program uses. */
function copyLibrary(to: string): string {
  const line = /libssl\.so\.\S+ => (\S+)/.exec(execFileSync('ldd', [PROGRAMS.curl], { encoding: 'utf8' }));
  if (line?.[1] === undefined) throw new Error('curl has no libssl of its own');
  const path = join(to, line[1].slice(line[1].lastIndexOf('/') + 1));
  copyFileSync(realpathSync(line[1]), path);
  return path;
}

interface Waiting {
  /** Makes one request for the model, and ends. */
  readonly go: (model: string) => Promise<void>;
}

/** curl as the other user, up and with its library mapped, that waits for what to do. */
async function waitingCurl(library: string): Promise<Waiting> {
  const under = ['setpriv', `--reuid=${OTHER}`, `--regid=${OTHER}`, '--clear-groups', 'env', `LD_LIBRARY_PATH=${dirname(library)}`];
  const child = spawn(under[0] as string, [...under.slice(1), PROGRAMS.curl, '--config', '-'], { stdio: ['pipe', 'ignore', 'inherit'], cwd: '/' });
  children.push(child);
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await until('curl maps its library', () => readFileSync(`/proc/${child.pid}/maps`, 'utf8').includes(library));
  const go = async (model: string) => {
    const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }).replaceAll('"', '\\"');
    child.stdin?.end(`url = "${mock.url}/v1/chat/completions"\ninsecure\nsilent\ndata = "${body}"\n`);
    assert.equal(await ended, 0, `curl got its answer for ${model}`);
  };
  return { go };
}

/** A request by a curl of this user, which any daemon that captures at all sees. */
async function plainRequest(model: string): Promise<void> {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] });
  await promisify(execFile)(PROGRAMS.curl, ['-sk', `${mock.url}/v1/chat/completions`, '-d', body]);
}

/** Models of the requests that were told of; the daemon sees the whole machine, so only those that end with the label, sorted. */
const modelsIn = (output: string, label: string) =>
  ofType(eventsOf(output), 'ai.request')
    .map(({ data }) => String((data['model'] as { id?: string } | undefined)?.id))
    .filter((model) => model.endsWith(`-${label}`))
    .sort();

/** Sets of the threads of a process, each different one once. */
function threadSets(pid: number): { permitted: bigint; effective: bigint; bounding: bigint; inheritable: bigint; noNewPrivs: string }[] {
  const found = new Map<string, ReturnType<typeof threadSets>[number]>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    const field = (name: string) => new RegExp(`^${name}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '';
    const set = (name: string) => BigInt(`0x${field(name)}`);
    const sets = { permitted: set('CapPrm'), effective: set('CapEff'), bounding: set('CapBnd'), inheritable: set('CapInh'), noNewPrivs: field('NoNewPrivs') };
    found.set(Object.values(sets).join(), sets);
  }
  return [...found.values()];
}

/** Waits until the daemon has told of the model, trying anew: a program that has just started may be faster than its discovery. */
async function seenWithin(output: string, model: string, attempt: () => Promise<void>): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await attempt();
    if (eventsOf(output).some(({ data }) => (data['model'] as { id?: string } | undefined)?.id === model)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`${model} was not captured in 20 attempts`);
}

describe('privileges', () => {
  it('are dropped by every thread once everything is attached', TIMEOUT, async () => {
    const daemon = await daemonUnder(join(folder, 'drop.jsonl'));
    const kept = maskOf(LASTING);
    const sets = threadSets(daemon.pid);
    await daemon.stop();
    assert.deepEqual(sets, [{ permitted: kept, effective: kept, bounding: kept, inheritable: 0n, noNewPrivs: '1' }]);
    for (const name of LASTING) assert.match(daemon.stderr(), new RegExp(`privileges kept:.*CAP_${name.toUpperCase()}\\b`));
    assert.doesNotMatch(daemon.stderr(), /privileges kept:.*CAP_(BPF|PERFMON|SYS_ADMIN|KILL)/);
  });

  it('of the unit, its system calls and a read-only system are enough, also for what comes later in a closed folder', TIMEOUT, async () => {
    const output = join(folder, 'unit.jsonl');
    const readOnly = ['unshare', '--mount', 'sh', '-c', 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"', 'sh'];
    const filter = [PROGRAMS.python, join(ROOT, 'test', 'lib', 'clients', 'under-filter.py'), unitSystemCalls().join()];
    assert.deepEqual([settingsOf('ProtectSystem'), settingsOf('NoNewPrivileges')], [['strict'], ['yes']]);
    // LogsDirectory= is what stays writable.
    const writable = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" "$0" && exec "$@"', folder];
    const under = [...writable, ...readOnly, ...underCapabilities(unitCapabilities()), ...filter];
    const daemon = await daemonUnder(output, under);
    const kept = maskOf(LASTING);
    const sets = threadSets(daemon.pid);
    await plainRequest('gpt-unit');
    const library = copyLibrary(closedFolder('unit-closed'));
    await seenWithin(output, 'gpt-later', async () => (await waitingCurl(library)).go('gpt-later'));
    const ended = await daemon.stop();
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(modelsIn(output, 'unit'), ['gpt-unit']);
    for (const { permitted, effective, noNewPrivs } of sets) assert.deepEqual([permitted, effective, noNewPrivs], [kept, kept, '1']);
  });

  it('are enough for an ordinary user who has them', TIMEOUT, async () => {
    const output = join(closedFolder('ordinary'), 'out.jsonl');
    const plus = unitCapabilities()
      .map((name) => `+${name}`)
      .join();
    const user = [`--reuid=${OTHER}`, `--regid=${OTHER}`, '--clear-groups', `--inh-caps=-all,${plus}`, `--ambient-caps=${plus}`];
    const daemon = await daemonUnder(output, ['setpriv', ...user]);
    const [sets, ...others] = threadSets(daemon.pid);
    await plainRequest('gpt-ordinary');
    await daemon.stop();
    assert.deepEqual(modelsIn(output, 'ordinary'), ['gpt-ordinary']);
    assert.deepEqual([others, sets?.permitted, sets?.inheritable], [[], maskOf(LASTING), 0n]);
  });

  for (const name of ['bpf', 'perfmon']) {
    it(`without CAP_${name.toUpperCase()} capture does not start, and it is named`, TIMEOUT, async () => {
      const under = underCapabilities(unitCapabilities().filter((one) => one !== name && one !== 'sys_admin'));
      const ended = await oispHost(['run', '--output', '/dev/null'], { under });
      assert.equal(ended.code, 3, ended.stderr);
      assert.match(ended.stderr, new RegExp(`add CAP_${name.toUpperCase()}\\b`));
      const check = await oispHost(['check', '--json'], { under });
      const missing = (JSON.parse(check.stdout) as { checks: { name: string; status: string }[] }).checks.filter(
        (one) => /^cap_/.test(one.name) && one.status !== 'ok',
      );
      assert.deepEqual([check.code, missing.map((one) => [one.name, one.status])], [3, [[`cap_${name}`, 'fail']]]);
    });
  }

  // Each of the lasting ones: what only it makes visible is not seen without it, everything else is, and check says what is missing.
  for (const { name, prepare } of [
    { name: 'dac_read_search', prepare: (library: string) => library },
    { name: 'sys_ptrace', prepare: (library: string) => rmSync(library) },
    { name: 'checkpoint_restore', prepare: (library: string) => rmSync(library) },
  ]) {
    it(`without CAP_${name.toUpperCase()} one thing is not seen`, TIMEOUT, async () => {
      const library = copyLibrary(name === 'dac_read_search' ? closedFolder(name) : openFolder(name));
      const [hidden, shown] = [await waitingCurl(library), await waitingCurl(library)];
      prepare(library);
      const under = underCapabilities(unitCapabilities().filter((one) => one !== name && one !== 'sys_admin'));
      const blind = await runWith(under, name, hidden);
      assert.deepEqual(blind, [`gpt-plain-${name}`]);
      const seeing = await runWith(underCapabilities(unitCapabilities()), `${name}-there`, shown);
      assert.deepEqual(seeing, [`gpt-plain-${name}-there`, `gpt-program-${name}-there`]);
      const check = await oispHost(['check'], { under });
      assert.match(check.stdout, new RegExp(`warn +cap_${name} +missing: it `));
      assert.equal(check.code, 0, 'capture works, with less to see');
    });
  }

  it('of whoever started it are what an observed command gets', TIMEOUT, async () => {
    const own = readFileSync('/proc/self/status', 'latin1').match(/^(Cap|NoNew).*$/gm);
    // The sleep outlasts the drop: what the command then starts has them, too.
    const ended = await oispHost(['run', '--output', join(folder, 'command.jsonl'), '--', 'sh', '-c', 'sleep 1; grep -E "^(Cap|NoNew)" /proc/self/status']);
    assert.deepEqual(ended.stdout.trim().split('\n'), own);
    assert.match(ended.stderr, /privileges kept:.*CAP_KILL/, 'to pass signals on to a command of another user');
    assert.doesNotMatch(ended.stderr, /privileges kept:.*CAP_(BPF|PERFMON|SYS_ADMIN)/);
  });
});

/** Starts a daemon, lets the waiting program and a plain one make their requests, and gives the models that were told of. */
async function runWith(under: readonly string[], label: string, program: Waiting): Promise<string[]> {
  const output = join(folder, `${label}.jsonl`);
  const daemon = await daemonUnder(output, under);
  await plainRequest(`gpt-plain-${label}`);
  await program.go(`gpt-program-${label}`);
  await daemon.stop();
  return modelsIn(output, label);
}
