// Agents are recognised without being named: a native one, a script and one of the configuration, running or started later; what they and their children write is told, what others write is not.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, eventsOf, mustProbe, ofType, type SeenEvent, scratch, startDaemon } from '../lib/run.js';

/** What a shell writes after a moment, in a child of its own. */
const line = (path: string, wait = 0.5): string => `sleep ${wait}; /bin/sh -c 'echo text > ${path}'; :`;

describe('agents', () => {
  const folder = realpathSync(scratch('agents'));
  const output = join(folder, 'out.jsonl');
  const at = (name: string): string => join(folder, name);
  const children: ChildProcess[] = [];
  let daemon: Daemon | undefined;
  let written: string[] = [];

  before(
    async () => {
      mustProbe();
      mkdirSync(at('bin'));
      for (const name of ['claude', 'house-agent', 'stranger']) copyFileSync('/bin/sh', at(`bin/${name}`));
      writeFileSync(at('gemini.js'), `setTimeout(() => require('node:fs').writeFileSync('${at('by-script')}', 'text'), 500)`);
      writeFileSync(at('oisp.toml'), '[capture]\nagents = ["house-agent"]\n');
      const early = spawn(at('bin/claude'), ['-c', `read line; ${line(at('by-early'), 0)}`], { stdio: ['pipe', 'ignore', 'ignore'] });
      children.push(early);
      daemon = await startDaemon(['--config', at('oisp.toml'), '--output', output, '--format', 'jsonl']);
      early.stdin?.end('go\n');
      const run = (program: string, args: readonly string[]) => assert.equal(spawnSync(program, args, { stdio: 'ignore' }).status, 0);
      run(at('bin/house-agent'), ['-c', line(at('by-named'))]);
      run(process.execPath, [at('gemini.js')]);
      run(at('bin/stranger'), ['-c', line(at('by-stranger'))]);
      // It is a rule of the kernel by now.
      run(at('bin/claude'), ['-c', `echo text > ${at('by-again')}`]);
      await sleep(200);
      const ended = await daemon.stop();
      assert.equal(ended.code, 0, ended.stderr);
      const events: SeenEvent[] = eventsOf(output);
      written = ofType(events, 'file.write').map((event) => String(event.data['path']));
    },
    { timeout: 60_000 },
  );
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await daemon?.stop();
  });

  const told = (name: string): number => written.filter((path) => path === at(name)).length;

  it('one that ran before the sensor', () => assert.equal(told('by-early'), 1, JSON.stringify(written)));
  it('one that the configuration names', () => assert.equal(told('by-named'), 1));
  it('a script', () => assert.equal(told('by-script'), 1));
  it('one that was seen before, from its first write on', () => assert.equal(told('by-again'), 1));
  it('and nobody else', () => assert.equal(told('by-stranger'), 0));
});
