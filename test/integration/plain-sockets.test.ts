// Unencrypted HTTP through every way that bytes go through a socket: each byte once, at its place and with its peer, or counted.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Direction, Kind, PeerOffset, ProbeFunc, TlsDataOffset, TlsFlag } from '../../host/src/gen/records.js';
import { mustProbe, ROOT } from '../lib/run.js';
import { Capture, type SeenRecord } from './native-kit.js';

const HEAD = 'POST /x HTTP/1.1\r\n\r\n';
const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8) * 7 + 1));

interface Run {
  capture: Capture;
  localPort: number;
  data: SeenRecord[];
  closes: SeenRecord[];
}

describe('plaintext sockets', () => {
  let server: Server;
  let port = 0;
  before(async () => {
    mustProbe();
    // It sends back what it gets.
    server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    port = (server.address() as { port: number }).port;
  });
  after(() => server?.close());

  /** Runs one scenario of the fixture under a sensor that knows the port, unless it is to be found by scope. */
  async function observe(scenario: string, byScope = false): Promise<Run> {
    const capture = new Capture({ ringBytes: 16 << 20 });
    if (!byScope) capture.sensor.addPlainPort(port);
    else capture.sensor.scopeAdd(process.pid, { capture: false, inherit: true, files: true });
    capture.start();
    const fixture = join(ROOT, 'test', 'integration', 'fixtures', 'plain-socket.py');
    const child = spawn('/usr/bin/python3', [fixture, String(port), scenario], { stdio: ['pipe', 'pipe', 'inherit'] });
    const localPort = await new Promise<number>((resolve, reject) => {
      child.stdout.once('data', (text: Buffer) => resolve(Number(text.toString())));
      child.once('exit', (code) => reject(new Error(`${scenario} ended with ${code}`)));
    });
    child.stdin.end();
    await new Promise((resolve) => child.once('exit', resolve));
    const records = (await capture.stop()).filter((r) => r.fields['tgid'] === child.pid);
    const bytes = (bucket: Parameters<Capture['ledger']>[0]) => capture.ledger(bucket).bytes;
    const gone = bytes('truncated') + bytes('ring_full') + bytes('fault') + bytes('skipped') + bytes('passed_by') + bytes('shed');
    assert.equal(bytes('seen'), bytes('emitted') + gone, 'the kernel ledger balances');
    return { capture, localPort, data: records.filter((r) => r.kind === Kind.sock_data), closes: records.filter((r) => r.kind === Kind.sock_close) };
  }

  const of = (data: readonly SeenRecord[], direction: number) => data.filter((r) => r.fields['direction'] === direction);
  const bytesOf = (data: readonly SeenRecord[], direction: number) => Buffer.concat(of(data, direction).map((r) => r.payload));

  function assertContiguous(data: readonly SeenRecord[]): void {
    for (const direction of [Direction.read, Direction.write]) {
      let offset = 0;
      for (const record of of(data, direction)) {
        assert.equal(record.fields['offset'], offset);
        offset += record.payload.length;
      }
    }
  }

  for (const byScope of [false, true]) {
    test(`vectors of buffers arrive whole, with their peer and their end, found by ${byScope ? 'scope' : 'port'}`, async () => {
      const { data, closes, localPort } = await observe('vector', byScope);
      const sent = Buffer.concat([Buffer.from(HEAD), pattern(50_000)]);
      assert.ok(bytesOf(data, Direction.write).equals(sent));
      assert.ok(bytesOf(data, Direction.read).equals(sent));
      assertContiguous(data);
      const [first] = data;
      assert.ok(first);
      for (const { bytes, fields } of data) {
        const at = TlsDataOffset.peer;
        assert.deepEqual([bytes.readUInt16LE(at + PeerOffset.family), bytes[at + PeerOffset.protocol]], [2, 6]);
        assert.deepEqual([bytes.readUInt16LE(at + PeerOffset.local_port), bytes.readUInt16LE(at + PeerOffset.remote_port)], [localPort, port]);
        assert.deepEqual([...bytes.subarray(at + PeerOffset.remote_addr, at + PeerOffset.remote_addr + 4)], [127, 0, 0, 1]);
        assert.deepEqual([fields['ssl'], fields['generation'], fields['func']], [first.fields['ssl'], first.fields['generation'], ProbeFunc.sys_exit]);
      }
      assert.deepEqual(
        data.map((r) => (r.fields['flags'] ?? 0) & TlsFlag.opened),
        data.map((_, i) => (i === 0 ? TlsFlag.opened : 0)),
      );
      assert.deepEqual(
        closes.map(({ fields }) => [fields['ssl'], fields['generation'], fields['read_bytes'], fields['write_bytes'], fields['flags']]),
        [[first.fields['ssl'], first.fields['generation'], sent.length, sent.length, 0]],
      );
    });
  }

  test('bytes that a call only peeked at are told once', async () => {
    const { data } = await observe('peek');
    assert.equal(bytesOf(data, Direction.read).toString(), HEAD);
    assertContiguous(data);
  });

  test('bytes of a sendfile are a gap of known size', async () => {
    const { data, capture } = await observe('sendfile');
    assert.deepEqual(
      of(data, Direction.write).map((r) => [r.fields['offset'], r.payload.toString()]),
      [
        [0, HEAD],
        [HEAD.length + 12_345, 'behind it'],
      ],
    );
    assert.deepEqual(capture.ledger('passed_by'), { records: 1, bytes: 12_345 });
  });

  test('a call past the limit is cut and says so', async () => {
    const { data, capture } = await observe('long');
    const [, ...long] = of(data, Direction.write);
    assert.equal(
      long.reduce((sum, r) => sum + r.payload.length, 0),
      4 << 20,
    );
    assert.equal(long.at(-1)?.fields['flags'], TlsFlag.last | TlsFlag.truncated);
    assert.equal(long[0]?.fields['call_len'], 5 << 20);
    assert.equal(capture.ledger('truncated').bytes, 1 << 20);
  });

  test('a vector of more buffers than are followed is cut and counted', async () => {
    const { data, capture } = await observe('pieces');
    const { bytes } = capture.ledger('truncated');
    assert.ok(bytes > 0);
    assert.equal(bytesOf(data, Direction.write).toString(), `${HEAD}${'0123456789'.repeat(1000)}`.slice(0, -bytes));
    assert.equal(bytesOf(data, Direction.write).length, HEAD.length + 255 * 10);
  });

  test('what is no HTTP on the port is skipped until a POST begins', async () => {
    const { data, capture } = await observe('again');
    const written = of(data, Direction.write);
    const before = '\x16\x03\x01 no HTTP at all'.length;
    assert.deepEqual(
      written.map((r) => [r.fields['offset'], r.payload.toString(), (r.fields['flags'] ?? 0) & TlsFlag.resumed]),
      [
        [before, HEAD, TlsFlag.resumed],
        [before + HEAD.length, 'GET / HTTP/1.1\r\n\r\n', 0],
      ],
    );
    assert.ok(capture.ledger('skipped').bytes >= before);
  });

  test('sockets that follow one another are connections of their own, each with an end', async () => {
    const { data, closes } = await observe('many');
    // Two shards: only what is of one connection comes in order.
    const names = (records: readonly SeenRecord[]) => records.map(({ fields }) => `${fields['ssl']}/${fields['generation']}`).sort();
    assert.equal(new Set(names(data)).size, 50);
    assert.deepEqual(names(closes), names(data));
  });
});
