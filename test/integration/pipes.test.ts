// JSON-RPC through pipes and socket pairs: each byte once whichever end is in scope, and nothing of what is something else.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Direction, Kind, TlsFlag } from '../../host/src/gen/records.js';
import { PROGRAMS } from '../lib/clients.js';
import { mustProbe, ROOT } from '../lib/run.js';
import { Capture, type SeenRecord } from './native-kit.js';

const clients = join(ROOT, 'test', 'lib', 'clients');
const SERVER = [PROGRAMS.python, join(clients, 'mcp-server.py')];

/** Runs a command with everything it starts in file scope. */
async function observe(
  command: readonly string[],
  stdio: 'pipe' | 'inherit' = 'pipe',
): Promise<{ capture: Capture; records: SeenRecord[]; out: string; pid: number }> {
  const capture = new Capture({ captureAll: false });
  capture.start();
  capture.sensor.scopeAdd(process.pid, { capture: false, inherit: true, files: true });
  const [program, ...args] = command;
  const child: ChildProcess = spawn(program as string, args, { stdio: [stdio === 'pipe' ? 'pipe' : 'ignore', 'pipe', 'inherit'] });
  capture.sensor.scopeRemove(process.pid);
  let out = '';
  child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
  await new Promise((resolve) => child.once('close', resolve));
  const records = (await capture.stop()).filter((r) => r.kind === Kind.pipe_data);
  const bytes = (bucket: Parameters<Capture['ledger']>[0]) => capture.ledger(bucket).bytes;
  assert.equal(bytes('seen'), bytes('emitted') + bytes('truncated') + bytes('ring_full') + bytes('fault'));
  return { capture, records, out, pid: child.pid ?? 0 };
}

/** The streams, by the process that they are told of. */
function streamsOf(records: readonly SeenRecord[]): { tgid: number; direction: number; text: string; fd: number }[] {
  const streams = new Map<string, SeenRecord[]>();
  for (const record of records) {
    const { tgid, ssl, generation } = record.fields;
    const key = `${tgid}/${ssl}/${generation}`;
    streams.set(key, [...(streams.get(key) ?? []), record]);
  }
  return [...streams.values()].map((all) => {
    let offset = 0;
    for (const { fields, payload } of all) {
      assert.equal(fields['offset'], offset, 'offsets are contiguous');
      offset += payload.length;
    }
    const [first] = all as [SeenRecord];
    assert.ok((first.fields['flags'] ?? 0) & TlsFlag.opened);
    const { tgid = 0, direction = 0, target = 0 } = first.fields;
    return { tgid, direction, text: Buffer.concat(all.map(({ payload }) => payload)).toString(), fd: target };
  });
}

describe('pipes', () => {
  before(mustProbe);

  for (const [name, client] of [
    ['socket pairs of Node', [PROGRAMS.node, join(clients, 'mcp-client.mjs')]],
    ['pipes of Python', [PROGRAMS.python, join(clients, 'mcp-client.py')]],
  ] as const) {
    for (const greeting of [[], ['greeting']]) {
      test(`a tool server on ${name}${greeting.length ? ' that says a line of its own first' : ''}: every message once`, async () => {
        const { records, out, pid } = await observe([...client, ...SERVER, ...greeting]);
        const streams = streamsOf(records);
        const requests = streams.find(({ text }) => text.includes('"initialize"') && !text.includes('"echo"'));
        const answers = streams.find(({ text }) => text.includes('"echo"'));
        assert.ok(requests && answers, JSON.stringify(streams.map(({ text }) => text.slice(0, 80))));
        assert.equal(streams.length, 2);
        const messages = requests.text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as { id: number; method: string; params: { pad?: string } });
        assert.deepEqual(
          messages.map(({ id, method, params }) => [id, method, params.pad?.length ?? 0]),
          [0, 1, 2, 3].map((id) => [id, id ? 'tools/call' : 'initialize', 20_000 * id]),
        );
        const lines = answers.text.trimEnd().split('\n');
        assert.deepEqual(
          lines.map((line) => (JSON.parse(line) as { id: number }).id),
          [0, 1, 2, 3],
        );
        assert.equal(answers.text.length, Number(out), 'the client got as much');
        const server = [requests, answers].find(({ tgid }) => tgid !== pid);
        assert.ok(server, 'a stream that is told of the server');
        for (const { tgid, direction, fd } of [requests, answers]) {
          const writes = direction === Direction.write;
          if (tgid !== pid) assert.equal(fd, writes ? 1 : 0);
        }
      });
    }
  }

  test('what is no JSON-RPC is not seen, and counted once a stream', async () => {
    const { capture, records, out } = await observe([
      '/bin/sh',
      '-c',
      'seq 1 200000 | cat | wc -l; (echo "{\\"a\\": 1}"; sleep 0.1; echo "{\\"b\\": 2}") | cat',
    ]);
    assert.match(out, /200000/);
    assert.deepEqual(records, []);
    assert.equal(capture.ledger('seen').bytes, 0);
    assert.ok(capture.ledger('pipe_other').records >= 2);
  });

  for (const [before, seen] of [
    [3, true],
    [4, false],
  ] as const) {
    test(`JSON-RPC behind ${before} other calls is ${seen ? 'seen' : 'not'}`, async () => {
      const message = '{"jsonrpc":"2.0","method":"x"}';
      const { records } = await observe(['/bin/sh', '-c', `(for i in $(seq ${before}); do echo "line $i"; done; echo '${message}') | cat >/dev/null`]);
      assert.deepEqual(
        streamsOf(records).map(({ text }) => text),
        seen ? [`${message}\n`] : [],
      );
    });
  }
});
