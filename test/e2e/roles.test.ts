// A client and a model server on one machine, both captured: one exchange by default, one of each end where both are asked for, and each says which it is.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';

const FORMAT = 'openai';
/** Requests of one tool round trip, and results in them. */
const [REQUESTS, RESULTS] = [3, 1];

describe('both ends of an exchange', () => {
  const folder = scratch('roles');
  let server: ChildProcess;
  let url = '';

  before(async () => {
    mustProbe();
    server = spawn(process.execPath, [join(ROOT, 'dist', 'test', 'mock', 'main.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
    url = await new Promise<string>((resolve, reject) => {
      server.stdout?.once('data', (line: Buffer) => resolve(/https:\S+/.exec(line.toString())?.[0] ?? ''));
      server.once('exit', (code) => reject(new Error(`the model server ended with ${code}`)));
    });
  });
  after(() => server?.kill());

  async function run(roles: string): Promise<{ events: SeenEvent[]; client: number }> {
    const config = join(folder, `${roles}.toml`);
    const output = join(folder, `${roles}.jsonl`);
    writeFileSync(config, `[capture]\nroles = "${roles}"\n`);
    const daemon = await startDaemon(['--config', config, '--output', output]);
    const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
    const client = spawn(PROGRAMS.node, [join(ROOT, 'test', 'lib', 'clients', 'tool-loop.mjs'), url, FORMAT], { stdio: 'ignore', env });
    const code = await new Promise((resolve) => client.once('exit', resolve));
    assert.equal(code, 0);
    const ended = await daemon.stop();
    assert.equal(ended.code, 0, ended.stderr);
    // Other programs of the machine may ask models of their own meanwhile.
    const pids = [client.pid, server.pid];
    return { events: eventsOf(output).filter(({ process }) => pids.includes(process?.pid)), client: client.pid as number };
  }

  const roleOf = (event: SeenEvent) => event.ext?.oisp_host?.['role'];

  it('is told once, by its client, unless both are asked for', async () => {
    const { events, client } = await run('client');
    for (const [type, count] of [
      ['ai.request', REQUESTS],
      ['ai.response', REQUESTS],
      ['agent.tool_result', RESULTS],
    ] as const) {
      const told = ofType(events, type);
      assert.equal(told.length, count, type);
      assert.ok(told.every((event) => event.process?.pid === client && roleOf(event) === 'client'));
    }
  });

  it('is told from each end, with the same content, when both are', async () => {
    const { events, client } = await run('both');
    const byEnd = (type: string, end: string) => ofType(events, type).filter((event) => roleOf(event) === end);
    for (const [type, count] of [
      ['ai.request', REQUESTS],
      ['ai.response', REQUESTS],
      ['agent.tool_call', RESULTS],
      ['agent.tool_result', RESULTS],
    ] as const) {
      const [clients, servers] = [byEnd(type, 'client'), byEnd(type, 'server')];
      assert.deepEqual([clients.length, servers.length], [count, count], type);
      assert.ok(clients.every((event) => event.process?.pid === client) && servers.every((event) => event.process?.pid === server.pid));
    }
    const said = (end: string) => byEnd('ai.request', end).map(({ data }) => data['messages']);
    assert.deepEqual(said('server'), said('client'));
    const linked = byEnd('agent.tool_result', 'server')[0]?.related_events?.[0]?.event_id;
    assert.equal(linked, byEnd('agent.tool_call', 'server')[0]?.event_id);
  });
});
