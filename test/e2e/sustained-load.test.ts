// 10,000 TLS writes of 8 KiB a second for ten seconds, the sensor on one core and the program on the other: nothing is lost, every request is told once and whole.
// With a ring of 256 KiB the same load balances to the byte, and what calls itself whole is.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createReadStream, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { before, describe, it } from 'node:test';
import { counterOf, type Statistics, statisticsOf } from '../lib/ledger.js';
import { mustProbe, oispHost, ROOT, type SeenEvent, scratch } from '../lib/run.js';

const RATE = 10_000;
/** What is asked of the client, so that it does not end below the rate for a pause. */
const ASKED = 10_300;
const [RAMP, SECONDS, SIZE, WRITES] = [1, 10, 8192, 8];
const BLOCK = 4096;
/** Bytes of a request that are text; the rest is an image. */
const TEXT = (WRITES * SIZE) / 4;
/** The first core also serves the machine's interrupts, which a program that only writes minds less. */
const [SENSOR_CORE, CLIENT_CORE] = ['1', '0'];

interface Told {
  readonly requests: number;
  readonly request_bytes: number;
  readonly answer_bytes: number;
  readonly writes_per_second: number;
}

/** What the events say, by number of request. */
interface Seen {
  readonly whole: Set<number>;
  readonly partial: Set<number>;
  readonly answers: number;
}

/** The text of a request, as the client makes it: numbered words, and the request's own number at the beginning of each block. */
function promptOf(request: number, length: number): string {
  const parts: string[] = [];
  for (let at = 0; at < length; at += parts.at(-1)?.length ?? 0) parts.push(`w${at} `);
  const text = Buffer.from(parts.join('').slice(0, length));
  for (let at = 0; at + BLOCK <= length; at += BLOCK) text.write(`load-${String(request).padStart(8, '0')} `, at);
  return text.toString();
}

describe('a sustained load', () => {
  const folder = scratch('sustained');
  const client = join(folder, 'paced-load');

  before(() => {
    mustProbe();
    assert.ok(availableParallelism() >= 2, 'the sensor and the program need a core each');
    const source = join(ROOT, 'test', 'lib', 'clients', 'paced-load.c');
    execFileSync(process.env['CC'] ?? 'cc', ['-O2', '-Wall', '-Wextra', '-Werror', source, '-o', client, '-lssl', '-lcrypto', '-lpthread'], { stdio: 'pipe' });
  });

  async function load(name: string, options: readonly string[]): Promise<{ told: Told; statistics: Statistics; output: string }> {
    const output = join(folder, `${name}.jsonl`);
    const command = ['taskset', '-c', CLIENT_CORE, client, RAMP, SECONDS, ASKED, SIZE, WRITES].map(String);
    const ended = await oispHost(['run', '--json', '--output', output, ...options, '--', ...command], {
      under: ['taskset', '-c', SENSOR_CORE],
      timeoutMs: 120_000,
    });
    assert.equal(ended.code, 0, ended.stderr);
    const told = JSON.parse(ended.stdout) as Told;
    const busy = `this machine gave the program ${told.writes_per_second} writes a second, of ${RATE}; its load average is ${loadavg()[0]}`;
    assert.ok(told.writes_per_second >= RATE, busy);
    return { told, statistics: statisticsOf(ended.stderr), output };
  }

  /** Reads the events as they come, since they are too many to hold; each request may be there once. */
  async function read(output: string): Promise<Seen> {
    const seen = { whole: new Set<number>(), partial: new Set<number>(), answers: 0 };
    for await (const line of createInterface({ input: createReadStream(output) })) {
      const event = JSON.parse(line) as SeenEvent;
      if (event.event_type === 'ai.response') seen.answers++;
      if (event.event_type !== 'ai.request') continue;
      const { model, messages } = event.data as { model?: { id?: string }; messages?: { content?: string }[] };
      const number = Number(model?.id?.replace('load-', ''));
      if (event.confidence.completeness !== 'full') {
        if (Number.isInteger(number)) seen.partial.add(number);
        continue;
      }
      const content = messages?.[0]?.content ?? '';
      assert.ok(Number.isInteger(number) && !seen.whole.has(number), `request ${model?.id} is told once`);
      // Compared with ===, since a difference of 16 KiB would be printed whole.
      assert.ok(content === promptOf(number, TEXT), `request ${number} is as it was sent`);
      seen.whole.add(number);
    }
    rmSync(output);
    return seen;
  }

  /** Each request was written once, each answer written by one end and read by the other. */
  const moved = ({ requests, request_bytes, answer_bytes }: Told): number => requests * (request_bytes + 2 * answer_bytes);
  const kernelStage = ({ ledger }: Statistics) => ledger.stages.find(({ stage }) => stage === 'kernel');
  const sum = (buckets: Record<string, number>): number => Object.values(buckets).reduce((total, bytes) => total + bytes, 0);

  it('loses nothing with the default configuration', { timeout: 300_000 }, async (t) => {
    const { told, statistics, output } = await load('default', []);
    assert.equal(sum(statistics.ledger.lost), 0, JSON.stringify(statistics.ledger));
    assert.equal(kernelStage(statistics)?.in_bytes, moved(told));
    const { whole, partial, answers } = await read(output);
    assert.deepEqual([whole.size, partial.size, answers], [told.requests, 0, told.requests]);
    t.diagnostic(`${told.writes_per_second} writes of ${SIZE} bytes a second, ${moved(told)} bytes in all, 0 lost`);
  });

  it('accounts for every byte with a ring that is too small, and marks what it touched', { timeout: 300_000 }, async (t) => {
    const config = join(folder, 'small.toml');
    writeFileSync(config, '[capture]\nring_bytes = 262144\n');
    const { told, statistics, output } = await load('small', ['--config', config]);
    const kernel = kernelStage(statistics);
    assert.equal(kernel?.in_bytes, moved(told), 'all that moved was seen');
    assert.equal(sum(kernel.out_bytes), kernel.in_bytes, JSON.stringify(kernel));
    const lost = sum(statistics.ledger.lost);
    assert.ok(lost > 0, 'a ring of 256 KiB holds 3 ms of this load');
    assert.equal(counterOf(statistics, 'http', 'gap_bytes'), lost, 'the decoder found every lost byte as a gap');
    // What read() takes for whole it has compared with what was sent: a request that was touched is in partial, or its head was lost too.
    const { whole, partial } = await read(output);
    assert.ok(whole.size < told.requests && [...partial].every((number) => !whole.has(number)));
    t.diagnostic(`${lost} of ${moved(told)} bytes lost; ${whole.size} requests whole, ${partial.size} partial, of ${told.requests}`);
  });
});
