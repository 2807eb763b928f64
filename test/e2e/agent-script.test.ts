// A script that does what an agent does: asks for a name, connects, calls a model, works on files, starts programs, dies of a signal. Every event of it is there
// once, with the right paths, bytes, codes and parents.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type DnsServer, startDnsServer } from '../lib/dns-server.js';
import { type Ended, eventsOf, mustProbe, oispHost, ROOT, type SeenEvent, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const NAME = 'models.agent.test';
const RESOLVER = '127.0.73.53';
const ANSWER = 'answer.json';

/** The command's first process is this shell; everything else is a child of it. */
const SCRIPT = `#!/bin/sh
set -eu
mount --bind "$RESOLV_CONF" /etc/resolv.conf
curl -sk -H 'content-type: application/json' -d @"$BODY" -o ${ANSWER} "$URL"
printf 'first line\\n' > notes.txt
printf 'second\\n' >> notes.txt
mkdir sub
mv notes.txt sub/plan.txt
cat ${ANSWER} > /dev/null
rm sub/plan.txt
sh -c 'kill -TERM $$' || true
kill -KILL $$
`;

interface Endpoint {
  readonly ip?: string;
  readonly port?: number;
}

describe('an agent-like script', () => {
  let mock: Mock;
  let dns: DnsServer;
  let ended: Ended;
  let events: SeenEvent[];
  let work: string;
  let output: string;

  before(async () => {
    mustProbe();
    const folder = realpathSync(scratch('agent-script'));
    work = join(folder, 'work');
    mkdirSync(work);
    output = join(folder, 'out.jsonl');
    mock = await startMock();
    dns = await startDnsServer(RESOLVER, { [NAME]: { a: ['127.0.0.1'] } });
    writeFileSync(join(folder, 'resolv.conf'), `nameserver ${RESOLVER}\noptions timeout:2\n`);
    const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'What is in this folder?' }] };
    writeFileSync(join(folder, 'body.json'), JSON.stringify(body));
    writeFileSync(join(folder, 'agent.sh'), SCRIPT, { mode: 0o755 });
    // A mount namespace of its own, so that the resolver is this command's and no one else's.
    ended = await oispHost(['run', '--json', '--format', 'jsonl', '--output', output, '--', 'unshare', '-m', join(folder, 'agent.sh')], {
      cwd: work,
      env: { RESOLV_CONF: join(folder, 'resolv.conf'), BODY: join(folder, 'body.json'), URL: `https://${NAME}:${mock.port}/v1/chat/completions` },
    });
    events = eventsOf(output);
  });

  after(async () => {
    await dns?.close();
    await mock?.close();
  });

  /** The one event of that type that the condition holds for. */
  function one(type: string, what: string, holds: (data: Record<string, unknown>, event: SeenEvent) => boolean): SeenEvent {
    const found = events.filter((event) => event.event_type === type && holds(event.data, event));
    assert.equal(found.length, 1, `${type} ${what}: ${JSON.stringify(found.map(({ data, process }) => ({ data, pid: process?.pid })))}`);
    return found[0] as SeenEvent;
  }
  const exec = (program: string) => one('process.exec', program, ({ args }) => ((args as string[])[0] ?? '').endsWith(program));
  const shell = () =>
    one('process.exec', 'agent.sh', ({ args }) => (args as string[]).some((arg) => arg.endsWith('agent.sh')) && !(args as string[])[0]?.endsWith('unshare'));
  const pidOf = (event: SeenEvent) => event.process?.pid;

  it('ends as the script did, with nothing lost', () => {
    assert.equal(ended.code, 128 + 9, ended.stderr);
    assert.match(ended.stderr, /"balanced":true/);
  });

  it('execs have their parents, scripts their interpreter', () => {
    const script = shell();
    assert.equal(script.data['interpreter'], '/bin/sh');
    assert.equal(script.data['script_path'], join(work, '..', 'agent.sh'));
    assert.equal(script.data['is_script'], true);
    for (const program of ['mount', 'curl', 'mkdir', 'mv', 'cat', 'rm']) {
      const event = exec(program);
      assert.equal(event.process?.ppid, pidOf(script), `${program} is a child of the script`);
      assert.equal(event.data['cwd'], work);
    }
  });

  it('exits have their codes and signals', () => {
    const exitOf = (pid: number | undefined) => one('process.exit', `of ${pid}`, (_, event) => pidOf(event) === pid);
    for (const program of ['mount', 'curl', 'mkdir', 'mv', 'cat', 'rm']) {
      const { data } = exitOf(pidOf(exec(program)));
      assert.deepEqual([data['exit_code'], data['termination_type']], [0, 'normal'], program);
    }
    const child = exitOf(pidOf(one('process.exec', 'sh -c', ({ args }) => (args as string[])[1] === '-c')));
    assert.deepEqual([child.data['signal_name'], child.data['exit_code'], child.data['termination_type']], ['SIGTERM', 128 + 15, 'signaled']);
    assert.equal(child.process?.ppid, pidOf(shell()));
    assert.equal(exitOf(pidOf(shell())).data['signal_name'], 'SIGKILL');
  });

  it('the name was asked for, and answered', () => {
    const asked = dns.log.filter(({ name }) => name === NAME);
    assert.deepEqual(asked.map(({ type }) => type).sort(), [1, 28], 'curl asks for both kinds of address');
    for (const type of ['A', 'AAAA']) {
      const event = one('network.dns', type, ({ query_name, query_type }) => query_name === NAME && query_type === type);
      assert.equal(pidOf(event), pidOf(exec('curl')));
      assert.equal(event.data['response_code'], 'NOERROR');
      assert.equal(event.data['resolver'], RESOLVER);
      assert.ok(Number(event.data['latency_ms']) > 0);
    }
  });

  it('the connection is there from its beginning to its end', () => {
    const curl = pidOf(exec('curl'));
    const [{ peerPort, requestBytes } = { peerPort: 0, requestBytes: 0 }] = mock.log;
    const connect = one('network.connect', 'to the model', ({ dest }, event) => pidOf(event) === curl && (dest as Endpoint).port === mock.port);
    assert.equal((connect.data['dest'] as Endpoint).ip, '127.0.0.1');
    assert.equal((connect.data['src'] as Endpoint).port, peerPort);
    assert.deepEqual([connect.data['success'], connect.data['protocol']], [true, 'tcp']);
    const flow = one('network.flow', 'to the model', ({ dest }, event) => pidOf(event) === curl && (dest as Endpoint).port === mock.port);
    assert.ok(Number(flow.data['bytes_sent']) > requestBytes, 'the request, and what TLS adds');
  });

  it('the call to the model is one request and one answer', () => {
    const curl = pidOf(exec('curl'));
    const request = one('ai.request', 'of curl', (_, event) => pidOf(event) === curl);
    const response = one('ai.response', 'of curl', (_, event) => pidOf(event) === curl);
    assert.equal((request.data['model'] as { id: string }).id, 'gpt-4o-mini');
    assert.equal(response.data['status_code'], 200);
    assert.equal(request.confidence.completeness, 'full');
  });

  it('files are told with absolute paths and exact bytes', () => {
    const answer = join(work, ANSWER);
    const size = statSync(answer).size;
    assert.equal(size, mock.log[0]?.responseBytes);
    const saved = one('file.write', 'the answer', ({ path }) => path === answer);
    assert.deepEqual([saved.data['bytes_written'], saved.data['created'], pidOf(saved)], [size, true, pidOf(exec('curl'))]);
    const read = one('file.read', 'the answer', ({ path }) => path === answer);
    assert.deepEqual([read.data['bytes_read'], pidOf(read)], [size, pidOf(exec('cat'))]);

    const notes = events.filter((event) => event.event_type === 'file.write' && event.data['path'] === join(work, 'notes.txt'));
    assert.deepEqual(
      notes.map(({ data }) => [data['bytes_written'], data['offset'], data['created'] ?? false]),
      [
        ['first line\n'.length, 0, true],
        ['second\n'.length, 'first line\n'.length, false],
      ],
    );
    for (const event of notes) assert.equal(pidOf(event), pidOf(shell()));
    const renamed = one('file.rename', 'the notes', ({ old_path }) => old_path === join(work, 'notes.txt'));
    assert.deepEqual([renamed.data['new_path'], pidOf(renamed)], [join(work, 'sub', 'plan.txt'), pidOf(exec('mv'))]);
    const deleted = one('file.delete', 'the plan', ({ path }) => path === join(work, 'sub', 'plan.txt'));
    assert.equal(pidOf(deleted), pidOf(exec('rm')));
  });

  it('every event is valid, and no id is used twice', () => {
    assert.equal(new Set(events.map(({ event_id }) => event_id)).size, events.length);
    const validator = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (!existsSync(validator)) return;
    const { status, stdout, stderr } = spawnSync(process.execPath, [validator, output], { encoding: 'utf8', cwd: ROOT });
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.ok(readFileSync(output, 'utf8').length > 0);
  });
});
