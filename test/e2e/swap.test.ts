// Modules are swapped in a running daemon while a program talks: nothing is lost or told twice, each event names the module that made it, and a bad module is put out again.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kind } from '../../host/src/gen/records.js';
import type { ChangeReport, DecoderState } from '../../host/src/topology/decoder-set.js';
import type { Status } from '../../host/src/topology/status.js';
import { type Daemon, eventsOf, mustProbe, ofType, oispHost, ROOT, type SeenEvent, scratch, startDaemon, until } from '../lib/run.js';
import { onWord, renamed, type Shape, wasm } from '../lib/wasm-module.js';
import { type Mock, startMock } from '../mock/server.js';

const CLIENT = `
const https = require('node:https');
const [url, seconds] = process.argv.slice(1);
const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
const end = Date.now() + Number(seconds) * 1000;
const ask = (n) => new Promise((resolve, reject) => {
  const body = JSON.stringify({ model: 'gpt-swap', stream: n % 2 === 1, messages: [{ role: 'user', content: 'turn ' + n }] });
  const request = https.request(url + '/v1/chat/completions', { agent, method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length } }, (answer) => {
    answer.resume().on('end', resolve).on('error', reject);
  });
  request.on('error', reject).end(body);
});
let asked = 0;
const lane = async () => { while (Date.now() < end) await ask(asked++); };
Promise.all(Array.from({ length: 8 }, lane)).then(() => process.stdout.write(String(asked)));
`;

describe('swapping modules in a running daemon', () => {
  const folder = scratch('swap');
  const output = join(folder, 'out.jsonl');
  const socket = join(folder, 'control.sock');
  const watched = join(folder, 'decoders');
  let mock: Mock;
  let daemon: Daemon;
  const file = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, `${name}.wasm`);
    writeFileSync(path, bytes);
    return path;
  };
  const original = (name: string) => readFileSync(join(ROOT, 'dist', 'decoders', `${name}.wasm`));
  const byHand = (name: string, shape: Shape) => file(name, wasm(shape));
  const decoders = async (...args: string[]) => await oispHost(['decoders', ...args, '--control', socket], { timeoutMs: 120_000 });
  const status = async (): Promise<Status> => JSON.parse((await oispHost(['status', '--json', '--control', socket])).stdout) as Status;

  /** Lets a program ask for so many seconds. @returns how often it asked */
  const talk = (seconds: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, ['-e', CLIENT, mock.url, String(seconds)], { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.on('data', (bytes: Buffer) => {
        text += bytes.toString();
      });
      child.once('exit', (code) => (code === 0 ? resolve(Number(text)) : reject(new Error(`the client ended with ${code}`))));
    });

  /** Events of the model since the last call. */
  let told = 0;
  const exchanged = (): SeenEvent[] =>
    eventsOf(output).filter(({ event_type, data }) => event_type.startsWith('ai.') && (data['model'] as { id?: string } | undefined)?.id === 'gpt-swap');
  const fresh = (): SeenEvent[] => {
    const all = exchanged();
    const since = all.slice(told);
    told = all.length;
    return since;
  };

  before(
    async () => {
      mustProbe();
      mkdirSync(watched, { mode: 0o700 });
      const config = join(folder, 'oisp.toml');
      writeFileSync(config, `[control]\npath = "${socket}"\n[decode]\nfolder = "${watched}"\nshards = 2\n`);
      mock = await startMock();
      daemon = await startDaemon(['--config', config, '--output', output, '--json']);
    },
    { timeout: 120_000 },
  );
  after(async () => {
    await daemon?.stop();
    await mock?.close();
  });

  it('loses no record and tells none twice while a program talks', { timeout: 180_000 }, async () => {
    const talking = talk(14);
    await sleep(1000);
    const hashes = new Set<string>();
    for (const name of ['http', 'ai']) {
      const ended = await decoders('swap', name, file(`${name}-two`, renamed(original(name), 'two')), '--json');
      assert.equal(ended.code, 0, ended.stderr);
      const report = JSON.parse(ended.stdout) as ChangeReport;
      assert.equal(report.shards.length, 2);
      assert.ok((report.canary?.buffers ?? 0) > 0, 'it was tried with what the program says');
      hashes.add(report.entry.to?.sha256 ?? '');
    }
    const asked = await talking;
    assert.ok(asked > 100, String(asked));
    await until('every response is told', () => exchanged().length >= 2 * asked, 20_000);
    const events = fresh();
    assert.deepEqual([ofType(events, 'ai.request').length, ofType(events, 'ai.response').length], [asked, asked]);
    assert.equal(new Set(events.map(({ event_id }) => event_id)).size, 2 * asked, 'each once');
    assert.deepEqual(
      events.filter(({ confidence }) => confidence.completeness !== 'full').map(({ event_type, confidence }) => [event_type, confidence]),
      [],
    );
    const made = new Set(events.map(({ ext }) => String(ext?.oisp_host?.['sha256'])));
    assert.equal(made.size, 2, 'by the module before and by the one after');
    assert.ok([...made].some((hash) => hashes.has(hash)));
    const { ledger } = await status();
    assert.equal(ledger.balanced, true, JSON.stringify(ledger));
  });

  it('rolls back, pins and lists', { timeout: 120_000 }, async () => {
    assert.equal((await decoders('pin', 'ai')).code, 0);
    const pinned = await decoders('swap', 'ai', file('ai-three', renamed(original('ai'), 'three')));
    assert.equal(pinned.code, 1);
    assert.match(pinned.stderr, /pinned/);
    assert.equal((await decoders('unpin', 'ai')).code, 0);
    const back = await decoders('rollback', 'ai');
    assert.equal(back.code, 0, back.stderr);
    assert.match(back.stdout, /decoder ai: rollback, /);
    const rows = JSON.parse((await decoders('list', '--json')).stdout) as DecoderState[];
    assert.deepEqual(rows.map(({ name, state }) => [name, state]).sort(), [
      ['ai', 'in use'],
      ['dns', 'in use'],
      ['http', 'in use'],
      ['network', 'in use'],
      ['system', 'in use'],
    ]);
    const again = await decoders('rollback', 'ai');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /no module before/);
    const { decoder_audit } = await status();
    assert.deepEqual(
      decoder_audit.map(({ action, decoder, by }) => `${action} ${decoder} by ${by}`),
      ['swap http', 'swap ai', 'pin ai', 'refused ai', 'unpin ai', 'rollback ai'].map((text) => `${text} by the control socket`),
    );
    assert.match((await oispHost(['status', '--control', socket])).stdout, /decoder ai: rollback/);
    assert.match(daemon.stderr(), /decoder ai: rollback/, 'an audit line for each');
  });

  for (const [name, shape, reason] of [
    ['import', { imports: '(import "env" "fetch" (func))' }, /imports env\.fetch/],
    ['foreign', { abi: 0x20000 }, /ABI 2\.0/],
    ['trap', { process: 'unreachable' }, /oisp_process: unreachable/],
    ['lying', { outLength: '(i32.const 2000000000)' }, /claims 2000000000 bytes/],
    ['greedy', { init: '(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (i32.const -1)' }, /oisp_init failed/],
  ] as [string, Shape, RegExp][]) {
    it(`refuses a module that is ${name}, and goes on`, { timeout: 120_000 }, async () => {
      const ended = await decoders('swap', 'ai', byHand(name, { ...shape, name: 'ai' }));
      assert.equal(ended.code, 1, ended.stdout);
      assert.match(ended.stderr, reason);
    });
  }

  for (const [what, then] of [
    ['traps', 'unreachable'],
    ['loops for ever', '(loop $again (br $again))'],
  ] as const) {
    it(`puts a module out again that ${what} on what a program says, and decodes on`, { timeout: 120_000 }, async () => {
      fresh();
      const bad = byHand('bad', { ...onWord('turn', then), name: 'bad', consumes: [Kind.http_body], produces: [] });
      const ended = await decoders('swap', 'bad', bad);
      assert.equal(ended.code, 0, ended.stderr);
      const asked = await talk(2);
      await until('every response is told', () => exchanged().length >= told + 2 * asked, 20_000);
      const events = fresh();
      assert.equal(events.length, 2 * asked, 'the other modules lose nothing');
      const { decoder_audit, decoders: rows, ledger } = await status();
      assert.deepEqual([decoder_audit.at(-1)?.action, decoder_audit.at(-1)?.decoder], ['remove', 'bad']);
      assert.equal(
        rows.some(({ name }) => name === 'bad'),
        false,
      );
      assert.equal(ledger.balanced, true, JSON.stringify(ledger));
    });
  }

  it('takes what is put into the folder it watches, but not from a file that others may write', { timeout: 60_000 }, async () => {
    const put = (bytes: Uint8Array, mode: number) => {
      const path = file('late', bytes);
      chmodSync(path, mode);
      renameSync(path, join(watched, 'late.wasm'));
    };
    const late = wasm({ ...onWord('none', 'unreachable'), name: 'late', consumes: [Kind.http_head], produces: [] });
    put(late, 0o666);
    await until('the file is refused', () => /late\.wasm in .* is not used: it can be written by others/.test(daemon.stderr()));
    put(late, 0o644);
    await until('the module is there', () => /decoder late: add, .* by the watched folder/.test(daemon.stderr()), 20_000);
  });
});
