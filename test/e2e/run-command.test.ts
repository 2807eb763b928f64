// `oisp-host run` as a command: its exit codes, its end, what it refuses and how it says so.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { eventsOf, mustProbe, ofType, oispHost, readEvents, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const folder = scratch('run');
let mock: Mock;
before(async () => {
  mustProbe();
  mock = await startMock();
});
after(async () => {
  await mock?.close();
});

/** curl as the acceptance line types it. */
function curl(name: string): string[] {
  const body = join(folder, `${name}.json`);
  writeFileSync(body, JSON.stringify({ model: name, messages: [{ role: 'user', content: 'hi' }] }));
  return ['curl', '-sk', `${mock.url}/v1/chat/completions`, '-d', `@${body}`];
}

/** One sentence that says what is wrong, and at most one more, indented, that says what to do. */
function oneSentence(stderr: string): string {
  const [first = '', ...rest] = stderr.trimEnd().split('\n');
  assert.match(first, /^oisp-host: error: \S/);
  assert.ok(rest.length <= 1 && rest.every((line) => line.startsWith('  ')), `one sentence and one hint, not: ${stderr}`);
  return stderr;
}

const modelOf = ({ data }: SeenEvent) => (data['model'] as { id?: string } | undefined)?.id;

describe('run -- COMMAND', () => {
  it('writes the pair of events of the command to the file', async () => {
    const output = join(folder, 'pair.jsonl');
    const ended = await oispHost(['run', '--output', output, '--', ...curl('gpt-pair')]);
    assert.equal(ended.code, 0, ended.stderr);
    const events = eventsOf(output);
    assert.deepEqual([ofType(events, 'ai.request').length, ofType(events, 'ai.response').length], [1, 1]);
    assert.match(ended.stdout, /"chat\.completion"/, 'what the command printed is passed through');
  });

  it('writes the events to standard output with --output -', async () => {
    const [program, ...rest] = curl('gpt-stdout');
    const ended = await oispHost(['run', '--output', '-', '--', program as string, '-o', join(folder, 'answer'), ...rest]);
    assert.equal(ended.code, 0, ended.stderr);
    const events = readEvents(ended.stdout);
    assert.deepEqual([ofType(events, 'ai.request').length, ofType(events, 'ai.response').length], [1, 1]);
  });

  it('ends with the exit code of the command', async () => {
    const ended = await oispHost(['run', '--output', join(folder, 'seven.jsonl'), '--', 'sh', '-c', 'exit 7']);
    assert.equal(ended.code, 7, ended.stderr);
  });

  it('says so when there is no such command', async () => {
    const ended = await oispHost(['run', '--output', join(folder, 'none.jsonl'), '--', '/nonexistent/command']);
    assert.equal(ended.code, 127, 'as a shell would say');
    assert.match(ended.stderr, /\/nonexistent\/command/);
  });

  it('sees the tree of the command and nothing beside it', async () => {
    const output = join(folder, 'tree.jsonl');
    const [program, ...rest] = curl('gpt-inside');
    const other = await startDaemon(['--output', join(folder, 'all.jsonl')]);
    const script = `sh -c '${[program, ...rest].join(' ')} >/dev/null'`;
    const ended = await oispHost(['run', '--output', output, '--', 'sh', '-c', `${script}; sleep 1`]);
    const outside = await oispHost(['run', '--output', join(folder, 'idle.jsonl'), '--', 'sh', '-c', 'sleep 1']);
    await other.stop();
    assert.deepEqual([ended.code, outside.code], [0, 0], ended.stderr + outside.stderr);
    assert.equal(ofType(eventsOf(output), 'ai.request').length, 1, 'a grandchild is in scope');
    assert.equal(ofType(eventsOf(join(folder, 'idle.jsonl')), 'ai.request').length, 0);
    // A daemon that captures everybody sees what other programs of the machine ask, too.
    const here = ofType(eventsOf(join(folder, 'all.jsonl')), 'ai.request').filter((event) => modelOf(event) === 'gpt-inside');
    assert.equal(here.length, 1, 'two daemons at once see the same');
  });
});

describe('run', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`ends well on ${signal} and keeps the tail`, async () => {
      const output = join(folder, `${signal}.jsonl`);
      const daemon = await startDaemon(['--output', output]);
      const [program, ...rest] = curl(`gpt-${signal}`);
      await promisify(execFile)(program as string, rest);
      const ended = await daemon.stop(signal);
      assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
      const events = eventsOf(output);
      const asked = ofType(events, 'ai.request').filter((event) => modelOf(event) === `gpt-${signal}`);
      const answered = ofType(events, 'ai.response').filter(({ related_events }) => related_events?.[0]?.event_id === asked[0]?.event_id);
      assert.deepEqual([asked.length, answered.length], [1, 1]);
    });
  }

  it('refuses an output that cannot be written, before anything is captured', async () => {
    mkdirSync(join(folder, 'a-folder'));
    for (const output of [join(folder, 'missing', 'out.jsonl'), join(folder, 'a-folder')]) {
      const ended = await oispHost(['run', '--output', output, '--', 'touch', join(folder, 'ran')]);
      assert.ok(ended.code === 1 || ended.code === 2, `exit code ${ended.code}`);
      assert.ok(oneSentence(ended.stderr).includes(output));
      assert.equal(existsSync(join(folder, 'ran')), false, 'the command did not run');
    }
  });

  it('refuses an output on a full disk, before anything is captured', async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'oisp-test-full', disk]);
    try {
      assert.throws(() => writeFileSync(join(disk, 'filler'), Buffer.alloc(1 << 20)), /ENOSPC/);
      const ended = await oispHost(['run', '--output', join(disk, 'out.jsonl'), '--', 'touch', join(folder, 'ran')]);
      assert.equal(ended.code, 1, ended.stderr);
      assert.match(oneSentence(ended.stderr), /space|ENOSPC/);
      assert.equal(existsSync(join(folder, 'ran')), false, 'the command did not run');
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  it('calls an unknown option a usage error', async () => {
    const ended = await oispHost(['run', '--no-such-option']);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /--no-such-option/);
  });

  // Without CAP_DAC_READ_SEARCH an ordinary user could not even read a checkout below another user's home.
  const READ = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=+dac_read_search'];
  for (const [who, under] of [
    ['root without capabilities', ['setpriv', '--bounding-set=-all', '--inh-caps=-all']],
    ['an ordinary user', ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...READ]],
  ] as const) {
    it(`without privileges (${who}) says what to do and ends with 3`, async () => {
      const ended = await oispHost(['run', '--output', '/dev/null'], { under });
      assert.equal(ended.code, 3, ended.stderr);
      assert.match(oneSentence(ended.stderr), /root|sudo|CAP_/);
    });

    it(`check without privileges (${who}) says so and ends with 3`, async () => {
      const ended = await oispHost(['check', '--json'], { under });
      assert.equal(ended.code, 3, ended.stderr);
      assert.equal(typeof JSON.parse(ended.stdout), 'object');
    });
  }
});

describe('other commands', () => {
  it('check says that this machine will do', async () => {
    const ended = await oispHost(['check']);
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    assert.match(ended.stdout, /BTF/i);
    const json = await oispHost(['check', '--json']);
    assert.equal(typeof JSON.parse(json.stdout), 'object');
  });

  it('decoders list names the modules of the chain', async () => {
    const ended = await oispHost(['decoders', 'list', '--json']);
    assert.equal(ended.code, 0, ended.stderr);
    for (const name of ['http', 'ai', 'system']) assert.match(ended.stdout, new RegExp(`"${name}"`));
  });

  it('help is enough to use it', async () => {
    const ended = await oispHost(['--help']);
    assert.equal(ended.code, 0);
    for (const command of ['run', 'check', 'decode', 'replay', 'decoders']) assert.match(ended.stdout, new RegExp(`^ *${command}\\b`, 'm'));
    const run = await oispHost(['run', '--help']);
    for (const option of ['--config', '--output', '--format', '--pid', '--comm', '--record']) assert.ok(run.stdout.includes(option), option);
  });

  it('an unknown command is a usage error', async () => {
    assert.equal((await oispHost(['frobnicate'])).code, 2);
  });
});
