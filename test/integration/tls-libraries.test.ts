// TLS libraries beside OpenSSL, in programs that use them: every byte once and in order, names and sockets with them, and nothing of what is no TLS.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { Direction, Kind, NameKind, PeerOffset, ProbeFunc, ProbeFuncText, TlsDataOffset } from '../../host/src/gen/records.js';
import { mustProbe, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';
import { Capture, compileFixture, Fixture, installedLibraries, type SeenRecord } from './native-kit.js';

const AF_INET = 2;
const AF_UNIX = 1;

/** A sensor with probes on the installed libraries of these families. */
async function startCapture(families: readonly string[]): Promise<Capture> {
  const capture = new Capture();
  const probed = (await installedLibraries(families)).map((file) => capture.attach(file));
  assert.ok(
    probed.some((functions) => functions > 0),
    `a library of ${families.join()} is installed`,
  );
  capture.start();
  return capture;
}

const pkgConfig = (name: string) => execFileSync('pkg-config', ['--cflags', '--libs', name], { encoding: 'utf8' }).trim().split(/\s+/);

interface Stream {
  readonly text: string;
  readonly funcs: string[];
}

/** What one process said and heard, all its connections together. */
function streamOf(records: readonly SeenRecord[], tgid: number, direction: number): Stream {
  const own = records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === tgid && r.fields['direction'] === direction);
  let next = new Map<string, number>();
  for (const { fields, payload } of own) {
    const key = `${fields['ssl']}/${fields['generation']}`;
    assert.equal(fields['offset'], next.get(key) ?? 0, 'contiguous');
    next = next.set(key, fields['offset']! + payload.length);
  }
  return { text: Buffer.concat(own.map((r) => r.payload)).toString('latin1'), funcs: own.map((r) => ProbeFuncText[r.fields['func']!]!) };
}

const familyOf = ({ bytes }: SeenRecord) => bytes.readUInt16LE(TlsDataOffset.peer + PeerOffset.family);
const localPortOf = ({ bytes }: SeenRecord) => bytes.readUInt16LE(TlsDataOffset.peer + PeerOffset.local_port);
const remotePortOf = ({ bytes }: SeenRecord) => bytes.readUInt16LE(TlsDataOffset.peer + PeerOffset.remote_port);

/** Names that were told, by kind. */
function namesOf(records: readonly SeenRecord[], tgid: number): [number, string][] {
  return records
    .filter((r) => r.kind === Kind.tls_name && r.fields['tgid'] === tgid)
    .map((r) => [r.fields['what']!, r.bytes.subarray(r.bytes.length - r.fields['len']!).toString('latin1')]);
}

const closesOf = (records: readonly SeenRecord[], tgid: number) =>
  records.filter((r) => r.kind === Kind.tls_close && r.fields['tgid'] === tgid).map((r) => [r.fields['func'], r.fields['write_bytes']]);

/** Runs a client that somebody else wrote; it is over when it has printed `until`, or by itself. */
async function client(program: string, args: readonly string[], input: string, until: RegExp): Promise<number> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  const seen = new Promise<void>((resolve, reject) => {
    const look = (part: Buffer) => {
      out += part.toString('latin1');
      if (until.test(out)) resolve();
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('error', reject);
    child.once('close', (code) => (until.test(out) ? resolve() : reject(new Error(`${program} ended with ${code}: ${out}`))));
  });
  child.stdin.write(input);
  await seen;
  child.stdin.end();
  // tstclnt waits for more on a connection that the server has ended.
  const patience = setTimeout(() => child.kill('SIGKILL'), 2000);
  await new Promise((resolve) => (child.exitCode === null && child.signalCode === null ? child.once('close', resolve) : resolve(undefined)));
  clearTimeout(patience);
  return child.pid!;
}

const request = (mark: string) => `POST /sink?id=${mark}. HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody`;

describe('GnuTLS', { timeout: 60_000 }, () => {
  let capture: Capture;
  let mock: Mock;
  let records: SeenRecord[];
  const pids: Record<string, number> = {};
  before(async () => {
    mustProbe();
    mock = await startMock();
    capture = await startCapture(['gnutls']);
    const program = new Fixture(compileFixture('native-gnutls', pkgConfig('gnutls')));
    await program.go();
    await program.end();
    pids['fixture'] = program.pid;
    pids['wget'] = await client('wget', ['-q', '--no-check-certificate', '-O', '-', '--post-data=body', `${mock.url}/sink?id=wget.`], '', /sha256/);
    pids['gnutls-cli'] = await client('gnutls-cli', ['--insecure', '-p', String(mock.port), '127.0.0.1'], request('cli'), /sha256/);
    records = await capture.stop();
  });
  after(() => mock.close());

  it('tells what each record function moved, once, corked or not', () => {
    const said = 'send.send2rangecork1cork2last.';
    const written = streamOf(records, pids['fixture']!, Direction.write);
    assert.equal(written.text, said);
    assert.deepEqual(new Set(written.funcs), new Set(['gnutls_record_send2', 'gnutls_record_send_range']));
    const read = streamOf(records, pids['fixture']!, Direction.read);
    assert.equal(read.text, said);
    assert.deepEqual([...new Set(read.funcs)], ['gnutls_record_recv', 'gnutls_record_recv_seq']);
    assert.equal(capture.ledger('frame_lost').records, 0);
    assert.equal(capture.ledger('fault').records, 0);
  });

  it('ends a connection with gnutls_bye or gnutls_deinit', () => {
    assert.deepEqual(
      closesOf(records, pids['fixture']!).toSorted(([, a], [, b]) => a! - b!),
      [
        [ProbeFunc.gnutls_deinit, 0],
        [ProbeFunc.gnutls_bye, 30],
      ],
    );
  });

  it('tells server name and protocols', () => {
    assert.deepEqual(namesOf(records, pids['fixture']!), [
      [NameKind.server, 'models.example'],
      [NameKind.offered, '\x02h2\x08http/1.1'],
    ]);
  });

  it('knows the socket that it was given', () => {
    const own = records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === pids['fixture']);
    assert.deepEqual([...new Set(own.map(familyOf))], [AF_UNIX]);
  });

  for (const program of ['wget', 'gnutls-cli']) {
    it(`sees ${program}, on the socket that the server saw`, () => {
      const pid = pids[program]!;
      assert.match(streamOf(records, pid, Direction.write).text, /^POST \/sink\?id=\w+\. HTTP\/1\.1\r\n.*\r\n\r\nbody$/s);
      assert.match(streamOf(records, pid, Direction.read).text, /^HTTP\/1\.1 200 OK\r\n.*"sha256":"[0-9a-f]{64}"\}/s);
      const port = mock.log.find((e) => e.path === `/sink?id=${program === 'wget' ? 'wget' : 'cli'}.`)?.peerPort;
      for (const record of records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === pid)) {
        assert.deepEqual([familyOf(record), localPortOf(record), remotePortOf(record)], [AF_INET, port, mock.port]);
      }
    });
  }
});

describe('NSS', { timeout: 60_000 }, () => {
  let capture: Capture;
  let mock: Mock;
  let records: SeenRecord[];
  let fixture = 0;
  let tstclnt = 0;
  before(async () => {
    mustProbe();
    mock = await startMock();
    capture = await startCapture(['nss', 'nspr']);
    const program = new Fixture(compileFixture('native-nss', pkgConfig('nss')), mock.port, scratch('nss'));
    await program.go();
    await program.end();
    fixture = program.pid;
    tstclnt = await client('tstclnt', ['-h', '127.0.0.1', '-p', String(mock.port), '-o', '-D'], request('tstclnt'), /sha256/);
    records = await capture.stop();
  });
  after(() => mock.close());

  it('tells what went through TLS, by all four functions, and a look at bytes not at all', () => {
    const written = streamOf(records, fixture, Direction.write);
    const asked = ['nss-0-write', 'nss-0-send'].map((mark) => request(mark).replace('Connection: close\r\n', ''));
    assert.equal(written.text, asked.join(''));
    assert.deepEqual([...new Set(written.funcs)], ['pr_write', 'pr_send']);
    const read = streamOf(records, fixture, Direction.read);
    assert.equal(read.text.match(/HTTP\/1\.1 200 OK/g)?.length, 2);
    assert.deepEqual([...new Set(read.funcs)], ['pr_read', 'pr_recv']);
  });

  it('tells nothing of files, pipes and plain sockets that go through the same functions', () => {
    const noise = records.filter((r) => r.kind === Kind.tls_data && r.payload.includes('this is no TLS'));
    assert.deepEqual(noise, []);
    const connections = new Set(records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === fixture).map((r) => r.fields['generation']));
    assert.equal(connections.size, 1);
    assert.equal(capture.ledger('frame_lost').records, 0);
  });

  it('ends the connection with PR_Close, once', () => {
    const [[func, bytes], ...more] = closesOf(records, fixture) as [[number, number]];
    assert.deepEqual([func, bytes, more], [ProbeFunc.pr_close, streamOf(records, fixture, Direction.write).text.length, []]);
  });

  it('tells the server name', () => {
    assert.deepEqual(namesOf(records, fixture), [[NameKind.server, 'models.example']]);
  });

  it('sees tstclnt, too, and knows both sockets', () => {
    assert.equal(streamOf(records, tstclnt, Direction.write).text, request('tstclnt'));
    assert.match(streamOf(records, tstclnt, Direction.read).text, /"sha256":"[0-9a-f]{64}"\}/);
    for (const [pid, mark] of [
      [fixture, 'nss-0-write'],
      [tstclnt, 'tstclnt'],
    ] as const) {
      const port = mock.log.find((e) => e.path === `/sink?id=${mark}.`)?.peerPort;
      for (const record of records.filter((r) => r.kind === Kind.tls_data && r.fields['tgid'] === pid)) {
        assert.deepEqual([familyOf(record), localPortOf(record), remotePortOf(record)], [AF_INET, port, mock.port]);
      }
    }
  });
});
