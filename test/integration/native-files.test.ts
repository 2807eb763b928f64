// The kernel side of open files at its bounds: what stays open is told in between, what cannot be followed is counted, and what is out of scope is not looked at.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileFlag, Kind } from '../../host/src/gen/records.js';
import { scratch, until } from '../lib/run.js';
import { Capture, type SeenRecord, sleep } from './native-kit.js';

/** A program that runs one line of Python for every line of its input, and answers each with its number. */
class Python {
  readonly child: ChildProcess;
  private said = '';
  private lines = 0;
  constructor(folder: string) {
    const loop = "import os, sys\nfor number, line in enumerate(sys.stdin):\n  exec(line)\n  print(f'<{number}>', flush=True)\n";
    this.child = spawn('/bin/sh', ['-c', 'read go; exec /usr/bin/python3 -c "$0"', loop], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (part: Buffer) => (this.said += part.toString()));
  }
  get pid(): number {
    return this.child.pid as number;
  }
  /** Lets it begin: until then it is a shell that waits, so that it can be put into scope before it opens anything. */
  go(): void {
    this.child.stdin?.write('\n');
  }
  async run(line: string): Promise<void> {
    const answer = `<${this.lines++}>`;
    this.child.stdin?.write(`${line}\n`);
    await until(`an answer to ${line}`, () => this.said.includes(answer));
  }
  async end(): Promise<void> {
    this.child.stdin?.end();
    await new Promise((resolve) => this.child.once('exit', resolve));
  }
}

const pathOf = ({ bytes, fields }: SeenRecord): string => {
  const area = bytes.subarray(bytes.length - (fields['path_len'] as number));
  return `/${area.toString().split('\0').filter(Boolean).reverse().join('/')}`;
};

test('a file that stays open is told while it is written, when it has gone quiet, and for the rest at the end of its process', async () => {
  const folder = realpathSync(scratch('native-files'));
  const capture = new Capture({ captureAll: false });
  capture.start();
  capture.sensor.setFileInterim(200);
  const program = new Python(folder);
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: true });
  program.go();
  await program.run("fd = os.open('log', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'a' * 10)");
  await sleep(300);
  await program.run("os.write(fd, b'b' * 20)");
  await program.run("os.write(fd, b'c' * 40)");
  await sleep(300);
  capture.sensor.sweepFiles();
  capture.sensor.sweepFiles();
  await program.run("os.write(fd, b'd' * 80)");
  await program.end();
  const told = (await capture.stop()).filter((record) => record.kind === Kind.file_io && pathOf(record) === join(folder, 'log'));
  assert.deepEqual(
    told.map(({ fields }) => [fields['write_bytes'], fields['write_offset'], fields['flags']]),
    [
      [30, 0, FileFlag.created | FileFlag.interim],
      [40, 30, FileFlag.interim],
      [80, 70, 0],
    ],
  );
  for (const { fields } of told) assert.equal(fields['tgid'], program.pid, 'also what a sweep told is the program, not the sensor');
});

test('descriptors past the bound are counted, and work again below it', async () => {
  const folder = realpathSync(scratch('native-files'));
  const capture = new Capture({ captureAll: false });
  capture.start();
  const program = new Python(folder);
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: true });
  program.go();
  await program.run('import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))');
  await program.run("low = os.open('low', os.O_WRONLY | os.O_CREAT, 0o600)");
  const before = capture.ledger('file_full').records;
  await program.run("os.dup2(low, 1500); os.write(1500, b'high')");
  assert.equal(capture.ledger('file_full').records - before, 2, 'the dup2 and the write');
  await program.run("os.dup2(low, 1023); os.write(1023, b'last'); os.close(1023)");
  await program.end();
  const told = (await capture.stop()).filter((record) => record.kind === Kind.file_io && pathOf(record) === join(folder, 'low'));
  assert.deepEqual(
    told.map(({ fields }) => [fields['fd'], fields['write_bytes']]),
    [[1023, 4]],
  );
});

test('as many files as the map holds are followed, and one more is counted', async () => {
  const folder = realpathSync(scratch('native-files'));
  const capture = new Capture({ captureAll: false });
  capture.start();
  const programs = [new Python(folder), new Python(folder), new Python(folder)];
  for (const program of programs) {
    capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: true });
    program.go();
    await program.run('import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))');
  }
  for (const [i, program] of programs.entries()) await program.run(`fds = [os.open(f'${i}-{n}', os.O_WRONLY | os.O_CREAT, 0o600) for n in range(900)]`);
  assert.ok(capture.ledger('file_full').records >= 3 * 900 - 2048);
  for (const program of programs) await program.run("[os.write(fd, b'x') for fd in fds]");
  for (const program of programs) await program.end();
  const after = new Python(folder);
  capture.sensor.scopeAdd(after.pid, { capture: true, inherit: true, files: true });
  after.go();
  await after.run("fd = os.open('after', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'room again')");
  await after.end();
  const told = (await capture.stop()).filter((record) => record.kind === Kind.file_io && pathOf(record).startsWith(folder));
  const written = told.filter(({ fields }) => fields['write_bytes'] === 1).length;
  assert.ok(written > 2048 - 100 && written <= 2048, `${written} of 2700 files`);
  assert.ok(
    told.some((record) => pathOf(record) === join(folder, 'after')),
    'the room of processes that have ended is free again',
  );
});

test('a process in scope without file scope opens what it likes', async () => {
  const folder = realpathSync(scratch('native-files'));
  const capture = new Capture({ captureAll: false });
  capture.start();
  const program = new Python(folder);
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: false });
  program.go();
  await program.run("open('quiet', 'w').write('x')");
  await program.end();
  const records = await capture.stop();
  assert.ok(records.some(({ kind, fields }) => kind === Kind.sys_exit && fields['tgid'] === program.pid));
  assert.deepEqual(
    records.filter(({ kind }) => kind === Kind.file_io || kind === Kind.file_open),
    [],
  );
});

test('a file whose position stands still is written at its beginning', async () => {
  const capture = new Capture({ captureAll: false });
  capture.start();
  const program = new Python(realpathSync(scratch('native-comm')));
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: true });
  program.go();
  await program.run("fd = os.open('/proc/self/comm', os.O_WRONLY); os.write(fd, b'renamed'); os.close(fd)");
  await program.end();
  const told = (await capture.stop()).filter((record) => record.kind === Kind.file_io && pathOf(record).endsWith('/comm'));
  assert.deepEqual(
    told.map(({ fields }) => [fields['write_bytes'], fields['write_offset']]),
    [[7, 0]],
  );
});
