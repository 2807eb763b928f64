// A running daemon answers for itself: status and metrics over its control socket, which only its owner may open, and a second daemon leaves it alone.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { HELD_BUCKETS } from '../../host/src/topology/ledger.js';
import type { Status } from '../../host/src/topology/status.js';
import { eventsOf, LAUNCHER, mustProbe, ofType, oispHost, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const folder = scratch('control');
const run = promisify(execFile);
let mock: Mock;
before(async () => {
  mustProbe();
  mock = await startMock();
});
after(async () => {
  await mock?.close();
});

/** A configuration file with a control socket of its own, so that this test meets no daemon of the machine. */
function settings(name: string, more = ''): { config: string; socket: string } {
  const config = join(folder, `${name}.toml`);
  const socket = join(folder, `${name}.sock`);
  writeFileSync(config, `[control]\npath = "${socket}"\n${more}`);
  return { config, socket };
}

async function ask(model: string): Promise<void> {
  const body = join(folder, `${model}.json`);
  writeFileSync(body, JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }));
  await run('curl', ['-sk', `${mock.url}/v1/chat/completions`, '-d', `@${body}`]);
}

async function statusOf(socket: string): Promise<Status> {
  const ended = await oispHost(['status', '--json', '--control', socket]);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as Status;
}

/** The status when nothing is under way: the machine may have traffic of its own. */
async function quietStatus(socket: string): Promise<Status> {
  let status = await statusOf(socket);
  const moving = () => status.ledger.stages.some(({ out_bytes }) => (out_bytes['in_flight'] ?? 0) > 0);
  for (let tries = 0; tries < 20 && moving(); tries += 1) status = await statusOf(socket);
  return status;
}

/** name and labels -> value, of the exposition format. */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

describe('the control socket of a daemon', () => {
  it('tells what was seen, by the byte, while the daemon runs', { timeout: 120_000 }, async () => {
    const { config, socket } = settings('main');
    const output = join(folder, 'main.jsonl');
    const daemon = await startDaemon(['--config', config, '--output', output]);
    try {
      const before = await statusOf(socket);
      assert.equal(before.pid, daemon.pid);
      assert.equal(before.ledger.balanced, true, JSON.stringify(before.ledger));
      await ask('gpt-status');
      // Other programs of the machine may ask models of their own meanwhile.
      const written = () => {
        const events = eventsOf(output);
        const asked = ofType(events, 'ai.request').find(({ data }) => (data['model'] as { id?: string } | undefined)?.id === 'gpt-status');
        return ofType(events, 'ai.response').filter(({ related_events }) => asked !== undefined && related_events?.[0]?.event_id === asked.event_id).length;
      };
      for (let tries = 0; tries < 100 && written() === 0; tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(written(), 1);

      const status = await quietStatus(socket);
      assert.ok(status.uptime_s > 0 && status.version !== '' && status.kernel !== '');
      const stage = (name: string) => status.ledger.stages.find((one) => one.stage === name);
      const body = mock.log.at(-1)?.requestBytes ?? 0;
      assert.ok(body > 0 && (stage('decoder')?.in_bytes ?? 0) >= body, JSON.stringify(status.ledger));
      for (const { stage: name, in_bytes, out_bytes, balanced } of status.ledger.stages) {
        const out = Object.values(out_bytes).reduce((sum, bytes) => sum + bytes, 0);
        assert.deepEqual([out, balanced, out_bytes['in_flight'] ?? 0], [in_bytes, true, 0], `${name}: nothing is under way any more`);
      }
      const libssl = status.targets.find(({ path }) => /libssl\.so/.test(path));
      assert.ok(libssl?.functions.some(({ attached }) => attached));
      assert.deepEqual(status.decoders.map(({ name }) => name).sort(), ['ai', 'dns', 'http', 'network', 'system']);
      for (const { sha256 } of status.decoders) assert.match(sha256, /^[0-9a-f]{64}$/);
      assert.equal(status.shards.length, 1);
      assert.ok(status.sink.written >= 2);
      assert.ok(JSON.stringify(status).length < 1 << 20);
      assert.doesNotMatch(JSON.stringify(status), /"hi"|gpt-status/, 'nothing captured is in it');

      const plain = await oispHost(['status', '--control', socket]);
      assert.equal(plain.code, 0, plain.stderr);
      for (const word of [/libssl/, /kernel/, /decoder/, /balanced/, /http/]) assert.match(plain.stdout, word);
    } finally {
      await daemon.stop();
    }
    assert.equal(existsSync(socket), false, 'the socket goes with the daemon');
  });

  it('is for its owner alone, and speaks HTTP to anything that does', async () => {
    const { config, socket } = settings('mode');
    const daemon = await startDaemon(['--config', config, '--output', join(folder, 'mode.jsonl')]);
    try {
      const { mode } = statSync(socket);
      assert.equal((mode & 0o777).toString(8), '600');
      const { stdout } = await run('curl', ['-s', '--unix-socket', socket, 'http://localhost/v1/status']);
      assert.equal((JSON.parse(stdout) as Status).pid, daemon.pid);
      const denied = await oispHost(['status', '--control', socket], {
        under: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all,+dac_read_search', '--ambient-caps=+dac_read_search'],
      });
      assert.equal(denied.code, 3, denied.stderr);
    } finally {
      await daemon.stop();
    }
  });

  it('is left alone by a second daemon, and a dead one is replaced', { timeout: 120_000 }, async () => {
    const { config, socket } = settings('two');
    const first = await startDaemon(['--config', config, '--output', join(folder, 'first.jsonl')]);
    const second = await oispHost(['run', '--config', config, '--output', join(folder, 'second.jsonl'), '--', 'touch', join(folder, 'ran')]);
    assert.equal(second.code, 1, second.stderr);
    assert.match(second.stderr, new RegExp(`another.*${first.pid}`), 'it says who has the socket');
    assert.equal(existsSync(join(folder, 'ran')), false, 'nothing was captured');
    assert.equal((await statusOf(socket)).pid, first.pid, 'the first one still answers');
    await first.stop('SIGKILL').catch(() => undefined);
    assert.equal(existsSync(socket), true, 'it had no time to clean up');
    const dead = await oispHost(['status', '--control', socket]);
    assert.equal(dead.code, 1);
    assert.match(dead.stderr, /no oisp-host/);
    const third = await startDaemon(['--config', config, '--output', join(folder, 'third.jsonl')]);
    assert.equal((await statusOf(socket)).pid, third.pid);
    await third.stop();
  });

  it('is not made of a file that is something else', async () => {
    const { config, socket } = settings('file');
    writeFileSync(socket, 'precious');
    const ended = await oispHost(['run', '--config', config, '--output', '/dev/null', '--', 'true']);
    assert.equal(ended.code, 1, ended.stderr);
    assert.ok(ended.stderr.includes(socket));
    assert.equal(statSync(socket).size, 'precious'.length);
  });

  it('is there while run -- COMMAND runs, and the command can ask', async () => {
    const { config, socket } = settings('command');
    const ended = await oispHost([
      'run',
      '--config',
      config,
      '--output',
      join(folder, 'command.jsonl'),
      '--',
      'curl',
      '-s',
      '--unix-socket',
      socket,
      'http://x/v1/status',
    ]);
    assert.equal(ended.code, 0, ended.stderr);
    assert.match((JSON.parse(ended.stdout) as Status).scope, /curl and its descendants/);
  });

  it('that lies in the folder of somebody else does not keep the daemon from ending well', async () => {
    const theirs = join(folder, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, 65534, 65534);
    const socket = join(theirs, 'control.sock');
    const once = () => oispHost(['run', '--control', socket, '--output', join(folder, 'theirs.jsonl'), '--', 'true']);
    // The right to remove what is there was given up when everything was attached; the next daemon has it again at its start.
    for (const ended of [await once(), await once()]) assert.equal(ended.code, 0, ended.stderr);
  });

  it('can be switched off', async () => {
    const config = join(folder, 'off.toml');
    writeFileSync(config, '[control]\npath = ""\n');
    const ended = await oispHost(['run', '--config', config, '--output', join(folder, 'off.jsonl'), '--', 'true']);
    assert.equal(ended.code, 0, ended.stderr);
  });

  it('says what to do when no daemon runs', async () => {
    const ended = await oispHost(['status', '--control', join(folder, 'nobody.sock')]);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /^oisp-host: error: no oisp-host [^\n]*nobody\.sock[^\n]*\n {2}\S[^\n]*\n$/);
  });
});

describe('metrics', () => {
  it('say the same over the control socket and over a loopback port', { timeout: 120_000 }, async () => {
    const port = await freePort();
    const { config, socket } = settings('metrics', `[metrics]\nlisten = "127.0.0.1:${port}"\n`);
    const output = join(folder, 'metrics.jsonl');
    const daemon = await startDaemon(['--config', config, '--output', output]);
    try {
      await ask('gpt-metrics');
      for (let tries = 0; tries < 100 && eventsOf(output).length < 4; tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
      const status = await statusOf(socket);
      const bySocket = await run('curl', ['-s', '-i', '--unix-socket', socket, 'http://localhost/metrics']);
      assert.match(bySocket.stdout, /content-type: text\/plain; version=0\.0\.4/i);
      const text = execFileSync('curl', ['-s', `http://127.0.0.1:${port}/metrics`], { encoding: 'utf8' });
      const found = samples(text);
      for (const name of found.keys()) assert.match(name, /^oisp_host_[a-z_]+(\{|$)/);
      for (const { stage, in_bytes, out_bytes } of status.ledger.stages) {
        assert.ok((found.get(`oisp_host_ledger_in_bytes_total{stage="${stage}"}`) ?? -1) >= in_bytes, stage);
        for (const bucket of Object.keys(out_bytes).filter((one) => !HELD_BUCKETS.has(one))) {
          assert.ok(found.has(`oisp_host_ledger_bytes_total{stage="${stage}",reason="${bucket}"}`), `${stage} ${bucket}`);
        }
      }
      assert.ok((found.get('oisp_host_sink_events_total{sink="jsonl",outcome="written"}') ?? 0) >= 2);
      assert.ok((found.get('oisp_host_process_resident_memory_bytes') ?? 0) > 1 << 20);
      const other = await run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:${port}/v1/status`]);
      assert.equal(other.stdout, '404', 'nothing but metrics is to be had over TCP');
    } finally {
      await daemon.stop();
    }
  });

  it('are not offered to the network', async () => {
    const { config } = settings('open', '[metrics]\nlisten = "0.0.0.0:9464"\n');
    const ended = await oispHost(['run', '--config', config, '--output', '/dev/null', '--', 'true']);
    assert.equal(ended.code, 2, ended.stderr);
    assert.match(ended.stderr, /metrics\.listen must be .*loopback/);
  });
});

describe('the default control socket', () => {
  it('is used when nothing is said, unless somebody has it', { timeout: 120_000 }, async () => {
    // A /run of its own: whoever captures on this machine keeps the real one.
    const alone = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs oisp-test-run /run && exec "$@"', 'sh'];
    const inner = join(folder, 'inner.jsonl');
    const script = `stat -c '%a %A' /run/oisp-host /run/oisp-host/control.sock && '${LAUNCHER}' status --json && '${LAUNCHER}' run --output '${inner}' -- true`;
    const ended = await oispHost(['run', '--output', join(folder, 'outer.jsonl'), '--', 'sh', '-c', script], { under: alone });
    assert.equal(ended.code, 0, ended.stderr);
    const [room, socket, json = ''] = ended.stdout.split('\n');
    assert.deepEqual([room, socket], ['700 drwx------', '600 srw-------']);
    const { pid } = JSON.parse(json) as Status;
    assert.match(ended.stderr, new RegExp(`another oisp-host \\(process ${pid}\\) answers at /run/oisp-host/control.sock; .*goes on without`));
    assert.equal(existsSync(inner), true, 'the second one captured all the same');
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}
