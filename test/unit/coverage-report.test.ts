// Tests the coverage report: every process with TLS has a row that says how it is seen or why it is not, and nothing is said that was not found.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type CoverageParts, makeReport } from '../../host/src/coverage/report.js';
import type { FileScan } from '../../host/src/coverage/scan-file.js';
import { CoverageTable } from '../../host/src/coverage/table.js';
import type { DescribedNote } from '../../host/src/events/raw-event.js';
import { ConnNote, Kind } from '../../host/src/gen/records.js';
import type { LateFile, ProcessUses, Target, UnreadableFile, UsedFile } from '../../host/src/sources/ebpf/index.js';
import { note } from '../lib/notes.js';

const NOW = Date.parse('2026-01-01T00:01:00Z');
const HELLO = {
  what: ConnNote.tls_hello,
  atMs: NOW - 60_000,
  detail: { sni: 'api.example', alpn: ['h2'], versions: ['1.3'], peer: '10.0.0.1', peer_port: 443 },
};

const target = (id: number, path: string, details: (string | undefined)[] = [undefined]): Target => ({
  id,
  path,
  dev: '1',
  inode: String(id),
  family: 'openssl',
  buildId: undefined,
  sinceMs: 0,
  functions: details.map((detail, i) => ({ func: `f${i}`, symbol: `SSL_f${i}`, attached: detail === undefined, ...(detail !== undefined && { detail }) })),
});
const file = (path: string, inode: number, options: { deleted?: boolean; reach?: string | undefined } = {}): UsedFile => ({
  ...{ path, dev: '1', inode: String(inode) },
  reach: async () => ('reach' in options ? options.reach : path),
  isDeleted: async () => options.deleted ?? false,
});
const uses = (files: UsedFile[], changes: Partial<ProcessUses> = {}): ProcessUses => ({
  ...{ tgid: 100, startNs: 0n, uid: 1000, comm: 'program', exe: files[0]?.path, arg0: 'program', cgroup: undefined, files, hidden: false },
  ...changes,
});
const scan = (changes: Partial<FileScan> = {}): FileScan => ({
  stacks: [],
  crypto: [],
  stripped: true,
  scannedBytes: 1,
  cut: false,
  refused: null,
  ...changes,
});

interface World {
  notes?: DescribedNote[];
  processes?: ProcessUses[];
  targets?: Target[];
  unreadable?: UnreadableFile[];
  late?: LateFile[];
  scans?: Record<string, FileScan | undefined>;
}

async function report(world: World) {
  const table = new CoverageTable((id) => world.targets?.find((one) => one.id === id));
  for (const one of world.notes ?? []) table.note(one);
  const scanned: string[] = [];
  const parts: CoverageParts = {
    rows: () => table.rows(),
    processes: async function* () {
      yield* world.processes ?? [];
    },
    targets: () => world.targets ?? [],
    unreadable: () => world.unreadable ?? [],
    late: () => world.late ?? [],
    scan: async (path) => {
      scanned.push(path);
      return world.scans && path in world.scans ? world.scans[path] : scan();
    },
  };
  return { ...(await makeReport(parts, NOW)), scanned };
}

/** The one row of a report. */
async function rowOf(world: World) {
  const { rows, scanned } = await report(world);
  assert.equal(rows.length, 1);
  return { row: rows[0]!, scanned };
}

const LIBSSL = target(1, '/lib/libssl.so.3');

describe('the coverage report', () => {
  it('says when and how a process was first read, and searches nothing for that', async () => {
    const first = note({ atMs: NOW - 5000, bytes: 77, detail: { direction: 'write', looks: 'http/1' } });
    const { row, scanned } = await rowOf({
      notes: [first, note()],
      processes: [uses([file('/bin/program', 9), file('/lib/libssl.so.3', 1)])],
      targets: [LIBSSL],
    });
    assert.deepEqual([row.state, row.reason, row.read_connections, row.running], ['readable', null, 2, true]);
    assert.deepEqual(row.files, [
      {
        ...{
          path: '/lib/libssl.so.3',
          family: 'openssl',
          method: 'symbol',
          attached: true,
          detail: null,
          deleted: false,
          late_ms: null,
          connections: 2,
          implausible: 0,
        },
        first_plaintext: { at: '2026-01-01T00:00:55.000Z', bytes: 77, direction: 'write', looks: 'http/1' },
      },
    ]);
    assert.deepEqual(scanned, []);
  });

  it('names the stack of a program whose TLS cannot be read', async () => {
    const found = scan({ stacks: [{ name: 'rustls', version: '0.23.12' }], crypto: [{ name: 'aws-lc', version: '1.9.0' }] });
    const { row } = await rowOf({ notes: [note(HELLO)], processes: [uses([file('/bin/codex', 9)])], scans: { '/bin/codex': found } });
    assert.equal(row.state, 'not_readable');
    assert.equal(row.reason, 'rustls 0.23.12 (aws-lc 1.9.0) in codex, stripped: not readable by symbol');
    assert.deepEqual(row.stacks, [{ name: 'rustls', version: '0.23.12', file: '/bin/codex', stripped: true, crypto: ['aws-lc 1.9.0'] }]);
    assert.deepEqual(row.last_hello, { at: '2026-01-01T00:00:00.000Z', sni: 'api.example', alpn: ['h2'], versions: ['1.3'], peer: '10.0.0.1', peer_port: 443 });
  });

  it('looks beside a probed program for the one that did the talking', async () => {
    const node = target(2, '/bin/node');
    const scans = { '/opt/http.node': scan({ stacks: [{ name: 'rustls', version: null }], stripped: false }) };
    const { row, scanned } = await rowOf({
      notes: [note(HELLO)],
      processes: [uses([file('/bin/node', 2), file('/opt/http.node', 3)])],
      targets: [node],
      scans,
    });
    assert.deepEqual([row.state, row.reason], ['not_readable', 'rustls in http.node: no probe reads it']);
    assert.deepEqual(scanned, ['/opt/http.node'], 'what is probed is known already');
  });

  const reasons: [string, World, string, RegExp][] = [
    ['a handshake of this moment', { notes: [note({ ...HELLO, atMs: NOW - 100 })], processes: [uses([file('/bin/x', 9)])] }, 'waiting', /handshake/],
    ['Java', { notes: [note(HELLO)], processes: [uses([file('/bin/java', 9), file('/jvm/libjvm.so', 8)])] }, 'not_readable', /^Java brings/],
    ['a program that names nothing', { notes: [note(HELLO)], processes: [uses([file('/bin/x', 9)])] }, 'not_readable', /none of its files names/],
    [
      'a probed library that was passed by',
      { notes: [note(HELLO)], processes: [uses([file('/lib/libssl.so.3', 1)])], targets: [LIBSSL] },
      'not_readable',
      /libssl\.so\.3, which is probed/,
    ],
    ['a scan that takes longer', { notes: [note(HELLO)], processes: [uses([file('/bin/x', 9)])], scans: { '/bin/x': undefined } }, 'not_readable', /ask again/],
    [
      'a process that has ended',
      { notes: [note({ ...HELLO, exe: '/bin/gone' })], scans: { '/bin/gone': scan({ refused: 'ENOENT' }) } },
      'not_readable',
      /has ended/,
    ],
    [
      'a library that may not be probed',
      { processes: [uses([file('/bin/x', 9), file('/lib/libssl.so.3', 1)])], targets: [target(1, '/lib/libssl.so.3', ['EPERM', 'EPERM'])] },
      'not_attached',
      /^libssl\.so\.3: EPERM$/,
    ],
    [
      'a library that is deleted',
      { processes: [uses([file('/bin/x', 9), file('/lib/libssl.so.3', 7, { deleted: true })])] },
      'not_attached',
      /^libssl\.so\.3: deleted/,
    ],
    [
      'a library that could not be opened',
      {
        processes: [uses([file('/bin/x', 9), file('/lib/libssl-81ffa89e.so.1.1', 7)])],
        unreadable: [{ path: '/lib/libssl-81ffa89e.so.1.1', reason: 'denied', detail: 'EACCES', tgid: 100, looks: 1 }],
      },
      'not_attached',
      /EACCES/,
    ],
    [
      'probes that the self-check took off',
      {
        notes: [note({ what: ConnNote.implausible })],
        targets: [target(1, '/lib/libssl.so.3', ['self-check: 3 connections began with bytes that are no plaintext'])],
      },
      'detached',
      /libssl\.so\.3: self-check/,
    ],
    ['a probed library that nobody used', { processes: [uses([file('/lib/libssl.so.3', 1)])], targets: [LIBSSL] }, 'idle', /no TLS call/],
  ];
  for (const [name, world, state, reason] of reasons) {
    it(`has a row and a reason for ${name}`, async () => {
      const { row } = await rowOf(world);
      assert.equal(row.state, state);
      assert.match(row.reason ?? '', reason);
    });
  }

  it('says that the first bytes of a process may be missing when its library was probed late', async () => {
    const late = [
      { path: '/lib/libssl.so.3', tgid: 100, afterMs: 35.4 },
      { path: '/other', tgid: 7, afterMs: 1 },
    ];
    const world = { processes: [uses([file('/lib/libssl.so.3', 1)])], targets: [LIBSSL], late };
    const read = await report({ ...world, notes: [note()] });
    assert.equal(read.rows[0]?.state, 'readable');
    assert.equal(read.rows[0]?.reason, 'its first bytes may be missing: libssl.so.3 was probed after 35 ms');
    assert.equal((await report(world)).rows[0]?.state, 'late');
    const before = await report({ ...world, late: [{ path: '/lib/libssl.so.3', tgid: 100, afterMs: undefined }] });
    assert.deepEqual([before.rows[0]?.state, before.rows[0]?.files[0]?.late_ms], ['idle', null], 'it ran before the sensor: nothing was to be seen yet');
  });

  it('has a row for a process that is gone, and of which only a file that was probed late is known', async () => {
    const late = [
      { path: '/tmp/x/libssl.so.3', tgid: 7, afterMs: 12 },
      { path: '/tmp/x/more.so', tgid: 7, afterMs: 13 },
    ];
    const { row } = await rowOf({ late });
    assert.deepEqual([row.pid, row.state, row.running, row.exe, row.uid], [7, 'late', false, null, null]);
    assert.equal(row.files.length, 2);
    assert.match(row.reason ?? '', /libssl\.so\.3 was probed after 12 ms; .*more\.so/);
  });

  it('names the file of plaintext that nobody uses any more', async () => {
    const table = new CoverageTable(() => ({ path: '/tmp/gone/libssl.so.3', family: 'openssl' }));
    table.note(note());
    const none = async function* (): AsyncGenerator<ProcessUses> {
      yield* [];
    };
    const { rows } = await makeReport(
      { rows: () => table.rows(), processes: none, targets: () => [], unreadable: () => [], late: () => [], scan: async () => undefined },
      NOW,
    );
    assert.deepEqual([rows[0]?.files[0]?.path, rows[0]?.files[0]?.attached], ['/tmp/gone/libssl.so.3', true]);
  });

  it('counts the processes that may not be looked into, and has a row when TLS was seen of one', async () => {
    const processes = [uses([], { hidden: true, exe: '/bin/x' }), uses([], { tgid: 101, hidden: true })];
    const { rows, hidden } = await report({ notes: [note(HELLO)], processes });
    assert.deepEqual([hidden, rows.length, rows[0]?.state], [2, 1, 'not_readable']);
  });

  it('says which file it could not look into', async () => {
    const scans = { '/bin/x': scan({ refused: 'EACCES' }) };
    const { row } = await rowOf({ notes: [note(HELLO)], processes: [uses([file('/bin/x', 9), file('/bin/y', 8, { reach: undefined })])], scans });
    assert.equal(row.reason, 'TLS was seen; its files cannot be looked into: x: EACCES, y: no path leads to it');
  });

  it('knows a file on a file system whose maps name another device', async () => {
    const { row } = await rowOf({ notes: [note()], processes: [uses([{ ...file('/lib/libssl.so.3', 1), dev: '99' }])], targets: [LIBSSL] });
    assert.equal(row.files.length, 1);
  });

  it('says once what several functions have in common', async () => {
    const some = target(1, '/lib/libssl.so.3', [undefined, 'symbol missing', 'symbol missing', 'EPERM']);
    const { row } = await rowOf({ processes: [uses([file('/lib/libssl.so.3', 1)])], targets: [some] });
    assert.equal(row.files[0]?.detail, 'SSL_f1, SSL_f2 (symbol missing); SSL_f3 (EPERM)');
  });

  it('says of a library that is still probed that what it was given is no plaintext', async () => {
    const { row } = await rowOf({ notes: [note({ what: ConnNote.implausible })], processes: [uses([file('/lib/libssl.so.3', 1)])], targets: [LIBSSL] });
    assert.deepEqual([row.state, row.reason], ['idle', 'what its library was given does not look like plaintext']);
  });

  it('takes an AI event for proof that a process is read', async () => {
    const { row } = await rowOf({ notes: [note(HELLO), note({ what: ConnNote.not_ai })], processes: [uses([file('/bin/x', 9)])] });
    assert.equal(row.state, 'readable');
  });

  it('leaves out processes that have nothing to do with TLS', async () => {
    const { rows } = await report({ processes: [uses([file('/bin/sh', 9), file('/lib/libc.so.6', 8)])], targets: [LIBSSL] });
    assert.deepEqual(rows, []);
  });

  it('tells plaintext off a socket from that of a library, and a file that is not known', async () => {
    const { row } = await rowOf({ notes: [note({ kind: Kind.tls_close }), note({ target: 0 })] });
    assert.deepEqual(
      row.files.map(({ path, method, attached }) => [path, method, attached]),
      [
        [null, 'socket', true],
        [null, 'symbol', true],
      ],
    );
    assert.equal(row.state, 'readable');
  });

  it('joins a process with what was noted of it by its start, to the tick of /proc', async () => {
    const notes = [note({ startNs: 1_234_567_890n, exe: '/bin/old' }), note({ startNs: 9_876_543_210n, exe: '/bin/new' })];
    const { rows } = await report({ notes, processes: [uses([file('/bin/new', 9)], { startNs: 9_870_000_000n })] });
    assert.deepEqual(
      rows.map(({ exe, running }) => [exe, running]),
      [
        ['/bin/new', true],
        ['/bin/old', false],
      ],
    );
  });

  it('looks for no program of a container by a path of this machine', async () => {
    const { scanned } = await rowOf({ notes: [note({ ...HELLO, container: 'c'.repeat(64) })] });
    assert.deepEqual(scanned, []);
  });

  it('says of each state how many, and bounds the files that it searches', async () => {
    const files = Array.from({ length: 40 }, (_, i) => file(`/lib/x${i}.so`, 100 + i));
    const { states, scanned } = await report({ notes: [note(HELLO)], processes: [uses(files)] });
    assert.equal(states.not_readable, 1);
    assert.equal(scanned.length, 24);
  });
});
