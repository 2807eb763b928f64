// The kernel side of open files at its bounds: one sum for one open file, told once and in order; what cannot be followed or told is counted to the byte.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, test } from 'node:test';
import { FILE_FDS, FILE_INTERIM_S, FILE_TABLE, FileFlag, FileNameOffset, FileOpens, FileReads, Kind } from '../../host/src/gen/records.js';
import type { FileTelling, NativeOptions } from '../../host/src/sources/ebpf/native.js';
import { mustProbe, scratch, until } from '../lib/run.js';
import { Capture, type SeenRecord, sleep } from './native-kit.js';

const TELLING: FileTelling = { interimMs: FILE_INTERIM_S * 1000, reads: FileReads.user, opens: FileOpens.changes };
const running = new Set<Python>();

/** A program that runs one line of Python for every line of its input, and answers each with its number. */
class Python {
  readonly child: ChildProcess;
  private readonly gone: Promise<unknown>;
  private said = '';
  private lines = 0;

  constructor(folder: string) {
    const loop = "import os, sys\nfor number, line in enumerate(sys.stdin):\n  exec(line)\n  print(f'<{number}>', flush=True)\n";
    // A shell that waits: it is put into scope before it opens anything.
    this.child = spawn('/bin/sh', ['-c', 'read go; exec /usr/bin/python3 -c "$0"', loop], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (part: Buffer) => (this.said += part.toString()));
    this.gone = new Promise((resolve) => this.child.once('exit', resolve));
    running.add(this);
  }
  get pid(): number {
    return this.child.pid as number;
  }
  go(): void {
    this.child.stdin?.write('\n');
  }
  async run(line: string): Promise<void> {
    const answer = `<${this.lines++}>`;
    this.child.stdin?.write(`${line}\n`);
    await until(`an answer to ${line}`, () => this.said.includes(answer));
  }
  /** At the end of its input, or by a signal. */
  async end(signal?: NodeJS.Signals): Promise<void> {
    if (signal) this.child.kill(signal);
    this.child.stdin?.end();
    await this.gone;
    running.delete(this);
  }
}

describe('open files', () => {
  let folder: string;
  let capture: Capture;
  let stopped: Promise<SeenRecord[]> | undefined;

  before(mustProbe);
  beforeEach(() => {
    folder = realpathSync(scratch('native-files'));
    stopped = undefined;
  });
  // A test that fails must not leave a sensor or a program behind: the process would never end.
  afterEach(async () => {
    await stop();
    for (const program of running) await program.end('SIGKILL');
  });

  function begin(telling: Partial<FileTelling> = {}, options: Partial<NativeOptions> = {}): void {
    capture = new Capture({ captureAll: false, ...options });
    capture.start();
    capture.sensor.setFileTelling({ ...TELLING, ...telling });
  }
  function program(files = true): Python {
    const python = new Python(folder);
    capture.sensor.scopeAdd(python.pid, { capture: true, inherit: true, files });
    python.go();
    return python;
  }
  const stop = (): Promise<SeenRecord[]> => {
    stopped ??= capture.stop();
    return stopped;
  };
  const pathOf = ({ bytes, fields }: SeenRecord): string =>
    `/${bytes
      .subarray(bytes.length - (fields['path_len'] as number))
      .toString()
      .split('\0')
      .filter(Boolean)
      .reverse()
      .join('/')}`;
  const sums = (records: SeenRecord[], name: string, ...fields: string[]) =>
    records
      .filter((record) => record.kind === Kind.file_io && pathOf(record) === join(folder, name))
      .map((record) => fields.map((field) => record.fields[field]));
  /** Every moved byte is told, skipped, or counted as lost. */
  function balanced(): void {
    const bytes = (['file_moved', 'file_told', 'file_skipped', 'file_full', 'file_ring_full'] as const).map((bucket) => capture.ledger(bucket).bytes);
    const [moved, ...rest] = bytes;
    assert.ok(moved);
    assert.equal(
      rest.reduce((sum, part) => sum + part, 0),
      moved,
      `moved, told, skipped, full, ring_full: ${bytes}`,
    );
  }

  test('one that stays open is told while it is written, when it has gone quiet, and for the rest at its end', async () => {
    begin({ interimMs: 200 });
    const python = program();
    await python.run("fd = os.open('log', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'a' * 10)");
    await sleep(300);
    await python.run("os.write(fd, b'b' * 20)");
    await python.run("os.write(fd, b'c' * 40)");
    await sleep(300);
    capture.sensor.sweepFiles();
    capture.sensor.sweepFiles();
    await python.run("os.write(fd, b'd' * 80)");
    await python.end();
    const records = await stop();
    assert.deepEqual(sums(records, 'log', 'write_bytes', 'write_calls', 'write_offset', 'write_end', 'flags', 'tgid'), [
      [30, 2, 0, 30, FileFlag.created | FileFlag.interim, python.pid],
      [40, 1, 30, 70, FileFlag.interim, python.pid],
      [80, 1, 70, 150, 0, python.pid],
    ]);
    balanced();
  });

  test('the end of the sensor tells of what is still open', async () => {
    begin();
    const python = program();
    await python.run("fd = os.open('open', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'abc')");
    assert.deepEqual(sums(await stop(), 'open', 'write_bytes', 'flags'), [[3, FileFlag.created | FileFlag.interim]]);
    balanced();
  });

  test('however many descriptors lead to it, it is one, told when the last of them is closed', async () => {
    begin();
    const python = program();
    await python.run("a = os.open('one', os.O_RDWR | os.O_CREAT, 0o600); b = os.dup(a); c = 40; os.dup2(a, c)");
    await python.run(
      "import fcntl; d = fcntl.fcntl(a, fcntl.F_DUPFD_CLOEXEC, 50); [os.write(fd, b'x') for fd in (a, b, c, d)]; os.close(a); os.closerange(b, c + 1)",
    );
    await python.run("os.write(d, b'yy'); os.pread(d, 3, 1)");
    await python.run('os.close(d)');
    await python.end();
    assert.deepEqual(sums(await stop(), 'one', 'write_bytes', 'write_calls', 'read_bytes', 'read_offset', 'read_end', 'flags'), [
      [6, 5, 3, 1, 4, FileFlag.created],
    ]);
    balanced();
  });

  test('a descriptor that leads elsewhere without a close is noticed', async () => {
    begin();
    const python = program();
    await python.run("a = os.open('first', os.O_WRONLY | os.O_CREAT, 0o600); b = os.open('second', os.O_WRONLY | os.O_CREAT, 0o600); os.write(a, b'1')");
    await python.run("os.dup2(b, a); os.write(a, b'22'); os.write(b, b'22')");
    await python.end();
    const records = await stop();
    assert.deepEqual(sums(records, 'first', 'write_bytes'), [[1]]);
    assert.deepEqual(sums(records, 'second', 'write_bytes'), [[4]]);
  });

  test('an exec divides: what the program before it moved is its own, and comes first', async () => {
    begin();
    const python = program();
    await python.run("kept = os.open('kept', os.O_WRONLY | os.O_CREAT, 0o600); gone = os.open('gone', os.O_WRONLY | os.O_CREAT, 0o600)");
    await python.run("made = os.open('made', os.O_WRONLY | os.O_CREAT, 0o600); [os.set_inheritable(fd, True) for fd in (kept, made)]");
    python.child.stdin?.write("os.write(kept, b'old'); os.write(gone, b'old'); os.execv('/bin/sh', ['sh', '-c', f'echo newer >&{kept}; echo x >&{made}'])\n");
    await python.end();
    const records = await stop();
    assert.deepEqual(sums(records, 'gone', 'write_bytes', 'flags'), [[3, FileFlag.created]]);
    assert.deepEqual(sums(records, 'kept', 'write_bytes', 'flags'), [
      [3, FileFlag.created | FileFlag.interim],
      [6, 0],
    ]);
    assert.deepEqual(sums(records, 'made', 'write_bytes', 'flags'), [[2, FileFlag.created]], 'what an opening did waits for who writes');
    const of = (kind: number) => records.flatMap((record, i) => (record.kind === kind && record.fields['tgid'] === python.pid ? [i] : []));
    const [old] = records.flatMap((record, i) => (record.kind === Kind.file_io && pathOf(record) === join(folder, 'kept') ? [i] : []));
    assert.ok((old as number) < (of(Kind.sys_exec).at(-1) as number));
    balanced();
  });

  test('what an opening did goes to a child that writes, but not from a parent that has written', async () => {
    begin();
    const python = program();
    const child = "os.fork() or (os.write(fd, b'child'), os._exit(0)); os.wait(); os.close(fd)";
    await python.run(`fd = os.open('given', os.O_WRONLY | os.O_CREAT, 0o600); ${child}`);
    await python.run(`fd = os.open('given', os.O_WRONLY | os.O_TRUNC); os.write(fd, b'parent'); ${child}`);
    await python.end();
    const records = await stop();
    assert.deepEqual(sums(records, 'given', 'write_bytes', 'write_offset', 'flags'), [
      [5, 0, FileFlag.created],
      [5, 6, 0],
      [6, 0, FileFlag.truncated],
    ]);
    balanced();
  });

  test('a process that is killed with as many open as are followed: each is told before its end', async () => {
    begin();
    const python = program();
    await python.run('import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))');
    await python.run(`fds = [os.open('many', os.O_WRONLY | os.O_CREAT, 0o600) for n in range(1500)]; low = [fd for fd in fds if fd < ${FILE_FDS}]`);
    assert.ok(capture.ledger('file_full').records >= 1500 - FILE_FDS, 'descriptors past the bound are counted');
    await python.run("[os.write(fd, b'xy') for fd in low]; os.write(fds[-1], b'high')");
    assert.equal(capture.ledger('file_full').bytes, 4);
    await python.end('SIGKILL');
    const records = await stop();
    const told = sums(records, 'many', 'write_bytes').filter(([bytes]) => bytes === 2);
    const followed = FILE_FDS - 3;
    assert.ok(told.length > followed - 20 && told.length <= followed, `${told.length} files`);
    assert.equal(records.findLast(({ kind, fields }) => kind !== Kind.sys_map && fields['tgid'] === python.pid)?.kind, Kind.sys_exit);
    balanced();
  });

  test('as many as the table holds are followed, more are counted, and its room comes back', async () => {
    begin();
    const programs = Array.from({ length: Math.ceil(FILE_TABLE / 1000) + 1 }, () => program());
    await Promise.all(programs.map((python) => python.run('import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))')));
    const open = "fds = [os.open('x', os.O_WRONLY | os.O_CREAT, 0o600) for n in range(1000)]";
    for (const python of programs) await python.run(open);
    const over = programs.length * 1000 - FILE_TABLE;
    assert.ok(capture.ledger('file_full').records >= over, `${capture.ledger('file_full').records} of at least ${over}`);
    for (const python of programs) await python.run("[os.write(fd, b'x') for fd in fds]");
    for (const python of programs) await python.end();
    const after = program();
    await after.run("fd = os.open('after', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'room again')");
    await after.end();
    const records = await stop();
    assert.deepEqual(sums(records, 'after', 'write_bytes'), [[10]]);
    assert.ok(sums(records, 'x', 'write_bytes').length <= FILE_TABLE);
    balanced();
  });

  test('what a full ring refuses is kept and told later; only an address that is used again loses it, counted', async () => {
    begin({ opens: FileOpens.none }, { ringBytes: 1 << 16, maxInFlightBytes: 1 });
    capture.hold = true;
    const python = program();
    await python.run("[os.close(os.open('fill', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)) for n in range(2000)]");
    assert.ok(capture.ledger('file_ring_full').records > 0, 'the ring is full, and addresses were used again');
    await python.run(
      "a = os.open('kept', os.O_WRONLY | os.O_CREAT, 0o600); b = os.open('kept', os.O_WRONLY); os.write(a, b'abc'); os.write(b, b'defg'); os.close(a); os.close(b)",
    );
    capture.hold = false;
    for (const { shard, length } of capture.batches) capture.sensor.credit(shard, length);
    await until('the ring is empty', () => capture.stats().ring.pendingBytes === 0);
    capture.sensor.sweepFiles();
    await python.end();
    const kept = sums(await stop(), 'kept', 'write_bytes').flat() as number[];
    assert.equal(kept.reduce((sum, bytes) => sum + bytes, 0) + capture.ledger('file_ring_full').bytes, 7);
    assert.ok(kept.length > 0, 'the last one at least');
    balanced();
  });

  test('reads: none, of what the user works with, or all', async () => {
    const told = async (reads: number) => {
      begin({ reads });
      stopped = undefined;
      const python = program();
      await python.run("open('own', 'w').write('mine'); open('own').read(); import json.decoder; open('/proc/self/status').read(9)");
      await python.end();
      const records = (await stop()).filter(({ kind, fields }) => kind === Kind.file_io && fields['read_bytes'] && fields['tgid'] === python.pid);
      balanced();
      return {
        own: records.filter((record) => pathOf(record) === join(folder, 'own')).length,
        system: records.some((record) => pathOf(record).startsWith('/usr/lib/')),
      };
    };
    assert.deepEqual(await told(FileReads.none), { own: 0, system: false });
    assert.deepEqual(await told(FileReads.user), { own: 1, system: false });
    assert.ok(capture.ledger('file_skipped').bytes > 0);
    assert.deepEqual(await told(FileReads.all), { own: 1, system: true });
  });

  test('openings: none, those that change something, or all', async () => {
    const told = async (opens: number) => {
      begin({ opens });
      stopped = undefined;
      const python = program();
      await python.run(
        "os.close(os.open('w', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)); os.close(os.open('w', os.O_RDONLY)); os.close(os.open('w', os.O_RDWR))",
      );
      await python.end();
      return (await stop())
        .filter((record) => record.kind === Kind.file_open && pathOf(record) === join(folder, 'w'))
        .map(({ fields }) => (fields['open_flags'] as number) & 0o1103);
    };
    assert.deepEqual(await told(FileOpens.none), []);
    assert.deepEqual(await told(FileOpens.changes), [0o1101, 2]);
    assert.deepEqual(await told(FileOpens.all), [0o1101, 0, 2]);
  });

  test('one that is mapped to be written says so; one in memory only is no file', async () => {
    begin();
    const python = program();
    await python.run(
      "import mmap; fd = os.open('mapped', os.O_RDWR | os.O_CREAT, 0o600); os.ftruncate(fd, 4096); memory = mmap.mmap(fd, 4096); os.close(fd); memory[0] = 1",
    );
    await python.run("m = os.memfd_create('secret'); os.write(m, b'x'); os.close(m)");
    await python.end();
    const records = await stop();
    // mmap.mmap() keeps a copy of the descriptor.
    assert.deepEqual(sums(records, 'mapped', 'write_bytes', 'flags'), [[0, FileFlag.created | FileFlag.truncated | FileFlag.mapped]]);
    assert.deepEqual(
      records.filter((record) => record.kind === Kind.file_io && pathOf(record).includes('secret')),
      [],
    );
  });

  test('paths and names longer than their areas are cut, and say so', async () => {
    begin();
    const python = program();
    await python.run("name = 'd' * 200; [(os.mkdir(name), os.chdir(name)) for n in range(6)]");
    await python.run("fd = os.open('deep', os.O_WRONLY | os.O_CREAT, 0o600); os.write(fd, b'1'); os.close(fd); os.unlink('deep')");
    await python.run(`os.close(os.open('b', os.O_WRONLY | os.O_CREAT, 0o600)); os.unlink('./' * 600 + 'b')`);
    await python.end();
    const records = await stop();
    const deep = records.filter((record) => record.kind === Kind.file_io && pathOf(record).endsWith('/deep'));
    assert.deepEqual(
      deep.map(({ fields }) => fields['flags']),
      [FileFlag.created | FileFlag.path_cut],
    );
    const names = records.filter(({ kind }) => kind === Kind.file_name).map(({ fields }) => [fields['flags'], fields['name_len']]);
    assert.deepEqual(names, [
      [FileFlag.path_cut, 4],
      [FileFlag.path_cut | FileFlag.name_cut, 0],
    ]);
  });

  test('an absolute name is one below the root of the process', async () => {
    begin();
    const python = program();
    await python.run("os.mkdir('root'); os.close(os.open('root/a', os.O_WRONLY | os.O_CREAT, 0o600)); os.chroot('root'); os.unlink('/a')");
    await python.end('SIGKILL');
    const [name] = (await stop()).filter(({ kind }) => kind === Kind.file_name);
    const text = name?.bytes.subarray(FileNameOffset.text).toString();
    assert.equal(text, `${[...join(folder, 'root').split('/').filter(Boolean).reverse(), ''].join('\0')}/a`);
  });

  test('a process in scope without file scope opens what it likes', async () => {
    begin();
    const python = program(false);
    await python.run("open('quiet', 'w').write('x')");
    await python.end();
    const records = await stop();
    assert.ok(records.some(({ kind, fields }) => kind === Kind.sys_exit && fields['tgid'] === python.pid));
    assert.deepEqual(
      records.filter(({ kind }) => kind === Kind.file_io || kind === Kind.file_open),
      [],
    );
    assert.equal(capture.ledger('file_moved').records, 0);
  });
});

test('a file whose position stands still is written at its beginning', async () => {
  const capture = new Capture({ captureAll: false });
  capture.start();
  const program = new Python(realpathSync(scratch('native-comm')));
  capture.sensor.scopeAdd(program.pid, { capture: true, inherit: true, files: true });
  program.go();
  await program.run("fd = os.open('/proc/self/comm', os.O_WRONLY); os.write(fd, b'renamed'); os.close(fd)");
  await program.end();
  const told = (await capture.stop()).filter((record) => record.kind === Kind.file_io && record.bytes.includes('comm\0'));
  assert.deepEqual(
    told.map(({ fields }) => [fields['write_bytes'], fields['write_offset']]),
    [[7, 0]],
  );
});
