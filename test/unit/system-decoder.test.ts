// Tests the system decoder on records as the kernel makes them: paths, arguments, exits, forks, the snapshot, and bytes that are none of these.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pack, unpackMultiple } from 'msgpackr';
import { paths } from '../../host/src/config/paths.js';
import { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { DecodeWorker } from '../../host/src/decode/worker.js';
import type { ProcessEnd, ProcessStart, RawEvent } from '../../host/src/events/raw-event.js';
import { Kind, PathFlag, ProcHow, RecHeaderOffset, SysExecOffset, SysExitOffset, SysForkOffset } from '../../host/src/gen/records.js';

const decoder = loadDecoder(join(paths.decoders, 'system.wasm'));
const LIMITS = { inBytes: 1 << 20, outBytes: 1 << 20, maxConnections: 16, memoryBytes: 64 << 20 };

function decode(...records: Uint8Array[]) {
  const out = { events: [] as RawEvent[], starts: [] as ProcessStart[], ends: [] as ProcessEnd[] };
  new DecodeWorker([decoder]).process(Buffer.concat(records), {
    event: (event) => out.events.push(event),
    processStart: (start) => out.starts.push(start),
    processEnd: (end) => out.ends.push(end),
    connectionNote: () => undefined,
  });
  return out;
}

function header(record: Buffer, kind: number): Buffer {
  record.writeUInt16LE(kind, RecHeaderOffset.kind);
  record.writeUInt32LE(record.length, RecHeaderOffset.size);
  record.writeBigUInt64LE(9_000_000_000n, RecHeaderOffset.ts_ns);
  record.writeUInt32LE(42, RecHeaderOffset.tgid);
  record.writeUInt32LE(43, RecHeaderOffset.tid);
  record.writeUInt32LE(1000, RecHeaderOffset.uid);
  record.writeUInt32LE(1001, RecHeaderOffset.gid);
  record.writeBigUInt64LE(5_000_000_000n, RecHeaderOffset.start_ns);
  record.write('thread-name', RecHeaderOffset.comm);
  return record;
}

interface Exec {
  exe?: string[];
  cwd?: string[];
  cgroup?: string[];
  args?: string;
  argsTotal?: number;
  flags?: number;
  script?: string;
  interp?: string;
}

/** Components are given root first, as one reads a path; the kernel writes them leaf first. */
function exec({ exe = [], cwd = [], cgroup = [], args = '', argsTotal = args.length, flags = 0, script = '', interp = '' }: Exec): Uint8Array {
  const record = header(Buffer.alloc(SysExecOffset.args + args.length), Kind.sys_exec);
  const put = (parts: string[], at: number, lengthAt: number) => {
    const text = [...parts]
      .reverse()
      .map((part) => `${part}\0`)
      .join('');
    record.write(text, at);
    record.writeUInt32LE(Buffer.byteLength(text), lengthAt);
  };
  put(exe, SysExecOffset.exe, SysExecOffset.exe_len);
  put(cwd, SysExecOffset.cwd, SysExecOffset.cwd_len);
  put(cgroup, SysExecOffset.cgroup, SysExecOffset.cgroup_len);
  for (const [text, at, lengthAt] of [
    [script, SysExecOffset.script, SysExecOffset.script_len],
    [interp, SysExecOffset.interp, SysExecOffset.interp_len],
  ] as const) {
    record.write(text, at);
    record.writeUInt32LE(text.length, lengthAt);
  }
  for (const [number, at] of [
    [11, SysExecOffset.pid_ns],
    [12, SysExecOffset.mnt_ns],
    [13, SysExecOffset.net_ns],
    [14, SysExecOffset.pid_in_ns],
  ] as const)
    record.writeUInt32LE(number, at);
  record.write(args, SysExecOffset.args, 'latin1');
  record.writeUInt32LE(args.length, SysExecOffset.args_len);
  record.writeUInt32LE(argsTotal, SysExecOffset.args_total);
  record.writeUInt32LE(flags, SysExecOffset.flags);
  record.writeUInt32LE(7, SysExecOffset.ppid);
  return pack([Kind.sys_exec, record]);
}

function exit(status: number): Uint8Array {
  const record = header(Buffer.alloc(SysExitOffset.SIZE), Kind.sys_exit);
  record.writeUInt32LE(status, SysExitOffset.exit_code);
  record.writeBigUInt64LE(12_000_000n, SysExitOffset.utime_ns);
  record.writeBigUInt64LE(3_000_000n, SysExitOffset.stime_ns);
  record.writeBigUInt64LE(2048n, SysExitOffset.max_rss_kb);
  return pack([Kind.sys_exit, record]);
}

describe('sys.exec', () => {
  it('joins paths from leaf to root and splits the arguments', () => {
    const { events, starts } = decode(exec({ exe: ['usr', 'bin', 'bash'], cwd: ['home', 'me'], cgroup: ['user.slice'], args: 'bash\0-c\0echo x\0\0' }));
    assert.deepEqual({ ...events[0]?.data }, { exe: '/usr/bin/bash', args: ['bash', '-c', 'echo x', ''], cwd: '/home/me', is_shell: true, is_script: false });
    assert.deepEqual(events[0]?.meta.ext, { namespaces: { pid: 11, mnt: 12, net: 13 }, pid_in_namespace: 14 });
    assert.equal(events[0]?.type, 'process.exec');
    assert.equal(events[0]?.origin.length, SysExecOffset.exe);
    const [start] = starts;
    assert.deepEqual(
      [start?.how, start?.tgid, start?.ppid, start?.startNs, start?.uid, start?.gid, start?.comm, start?.cgroup],
      [ProcHow.exec, 42, 7, 5_000_000_000n, 1000, 1001, 'thread-name', '/user.slice'],
    );
  });
  it('names the script and its interpreter', () => {
    const { events } = decode(exec({ exe: ['usr', 'bin', 'dash'], cwd: ['home', 'me'], args: '/bin/sh\0../x.sh\0', script: '../x.sh', interp: '/bin/sh' }));
    assert.deepEqual([events[0]?.data['is_script'], events[0]?.data['interpreter'], events[0]?.data['script_path']], [true, '/bin/sh', '/home/x.sh']);
    assert.equal(events[0]?.data['cwd'], '/home/me');
  });
  it('finds the script in the arguments of an interpreter', () => {
    for (const [program, args, script] of [
      ['dash', 'sh\0x.sh\0-c\0', '/home/me/x.sh'],
      ['bash', 'bash\0-eu\0-o\0pipefail\0/x.sh\0', '/x.sh'],
      ['bash', 'bash\0--rcfile\0/rc\0--\0-x.sh\0', '/home/me/-x.sh'],
      ['bash', 'bash\0-euc\0echo\0', undefined],
      ['sh', 'sh\0-s\0arg\0', undefined],
      ['sh', '-sh\0', undefined],
      ['python3.13', 'python3\0-W\0error\0-u\0../main.py\0--x\0', '/home/main.py'],
      ['python3', 'python3\0-Wignore\0main.py\0', '/home/me/main.py'],
      ['python3', 'python3\0-m\0http.server\0', undefined],
      ['python3', 'python3\0-\0x\0', undefined],
      ['node', 'node\0--import\0./hook.mjs\0--enable-source-maps\0dist/cli.js\0chat\0', '/home/me/dist/cli.js'],
      ['node', 'node\0-r\0a\0b.js', '/home/me/b.js'],
      ['node', 'node\0-e\0 1\0', undefined],
      ['nodejs', 'node\0--test\0a.js\0', undefined],
      ['perl', 'perl\0-I\0lib\0-w\0a.pl\0', '/home/me/a.pl'],
      ['ruby', 'ruby\0-e\0puts\0', undefined],
      ['cat', 'cat\0x.sh\0', undefined],
      ['node', '', undefined],
    ] as const) {
      const data = decode(exec({ exe: ['usr', 'bin', program], cwd: ['home', 'me'], args })).events[0]?.data;
      assert.equal(data?.['script_path'], script, args);
      assert.equal(data?.['is_script'], script !== undefined, args);
      assert.equal(data?.['interpreter'], script === undefined ? undefined : `/usr/bin/${program}`, args);
    }
  });
  it('says what was cut', () => {
    const { events } = decode(exec({ exe: ['x'], args: 'a\0bc', argsTotal: 5000, flags: PathFlag.args_cut | PathFlag.cwd_cut, cwd: ['deep', 'er'] }));
    assert.deepEqual(events[0]?.data['args'], ['a', 'bc']);
    assert.equal(events[0]?.data['cwd'], '.../deep/er');
    assert.equal(events[0]?.meta.completeness, 'partial');
    assert.equal(events[0]?.meta.missing_bytes, 4996);
    assert.ok(events[0]?.meta.ext?.['namespaces'], 'and what is there all the same');
  });
  it('names a program whose path could not be read by its thread', () => {
    const { events, starts } = decode(exec({ flags: 0 }));
    assert.equal(starts[0]?.exe, null);
    assert.equal(events[0]?.data['exe'], 'thread-name');
  });
  it('replaces what is not UTF-8', () =>
    assert.deepEqual(decode(exec({ exe: ['x'], args: '\xff\xfe\0ok\0' })).events[0]?.data['args'], ['\ufffd\ufffd', 'ok']));
});

describe('sys.exit', () => {
  it('tells an exit code, times and memory', () => {
    const { events, ends } = decode(exit(7 << 8));
    assert.deepEqual(
      { ...events[0]?.data },
      { exit_code: 7, termination_type: 'normal', runtime_ms: 4000, cpu_user_ms: 12, cpu_system_ms: 3, max_rss_kb: 2048 },
    );
    assert.equal(ends[0]?.tgid, 42);
  });
  it('tells the signal and whether there was a core dump', () => {
    assert.deepEqual(
      ['signal', 'signal_name', 'termination_type', 'exit_code'].map((key) => decode(exit(15)).events[0]?.data[key]),
      [15, 'SIGTERM', 'signaled', 143],
    );
    assert.equal(decode(exit(11 | 0x80)).events[0]?.data['termination_type'], 'coredump');
    assert.equal(decode(exit(40)).events[0]?.data['signal_name'], 'SIGRT');
  });
});

it('sys.fork makes a table entry that names its parent', () => {
  const record = header(Buffer.alloc(SysForkOffset.SIZE), Kind.sys_fork);
  record.writeUInt32LE(77, SysForkOffset.child_tgid);
  record.writeBigUInt64LE(8n, SysForkOffset.child_start_ns);
  const { starts, events } = decode(pack([Kind.sys_fork, record]));
  assert.deepEqual(
    events.map(({ type, data }) => [type, data]),
    [['process.fork', { child_pid: 77, is_thread: false }]],
  );
  assert.deepEqual(
    [starts[0]?.how, starts[0]?.tgid, starts[0]?.ppid, starts[0]?.startNs, starts[0]?.parentStartNs, starts[0]?.exe],
    [ProcHow.fork, 77, 42, 8n, 5_000_000_000n, null],
  );
});

it('sys.proc makes a table entry', () => {
  const { starts } = decode(pack([Kind.sys_proc, 5, 1, 1234567890123n, 0, 0, 'c', '/bin/c', ['c', '-v'], null, '/']));
  assert.deepEqual(
    [starts[0]?.how, starts[0]?.tgid, starts[0]?.startNs, starts[0]?.exe, starts[0]?.args, starts[0]?.cwd],
    [ProcHow.snapshot, 5, 1234567890123n, '/bin/c', ['c', '-v'], null],
  );
});

it('records too short for their kind are counted, and whatever the bytes, nothing traps', () => {
  const module = new DecoderModule(decoder.compiled, LIMITS);
  module.process(pack([Kind.sys_exec, Buffer.alloc(10)]), () => undefined);
  assert.equal(module.stats()['malformed'], 1);
  fc.assert(
    fc.property(fc.constantFrom(Kind.sys_exec, Kind.sys_exit, Kind.sys_fork), fc.uint8Array({ minLength: 0, maxLength: 8000 }), (kind, bytes) => {
      const given: unknown[] = [];
      module.process(pack([kind, bytes]), (_lane, out) => given.push(...unpackMultiple(out)));
      return true;
    }),
    { numRuns: 500 },
  );
});
