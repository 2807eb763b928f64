// `npm run bench -- [NAME...] [--json] [--seconds N]`: runs benches one after the other and prints their figures as a table or as JSON.
import { parseArgs } from 'node:util';
import { benchDecode } from './decode.js';
import { benchIdle } from './idle.js';
import type { BenchResult } from './lib/measure.js';
import { benchRing } from './ring.js';
import { benchSwap } from './swap.js';
import { benchSyscalls } from './syscalls.js';

const DEFAULT_IDLE_SECONDS = 60;
const benches: Readonly<Record<string, (options: { seconds: number }) => Promise<BenchResult> | BenchResult>> = {
  decode: () => benchDecode(),
  swap: () => benchSwap(),
  ring: () => benchRing(),
  idle: ({ seconds }) => benchIdle(seconds),
  syscalls: () => benchSyscalls({ rounds: 60, slices: 60 }),
};

const HELP = `usage: npm run bench -- [NAME...] [--json] [--seconds N]

  decode   cost of decoding, as a ratio to JSON.parse and llhttp in the same run; needs no privileges
  swap     modules replaced under load: what is lost or told twice (nothing may be), and how long a shard stands still; needs no privileges
  ring     loss of TLS plaintext when a program writes as fast as it can; needs root
  idle     CPU and memory of a daemon that has nothing to do; needs root
  syscalls what the sensor adds to system calls of other programs, as a ratio to an empty BPF program; needs root

  --json       one JSON object per bench
  --seconds N  how long idle watches (default ${DEFAULT_IDLE_SECONDS})
`;

function show({ bench, rows }: BenchResult): string {
  const lines = [`\n${bench}`];
  for (const { name, ...figures } of rows) {
    lines.push(`  ${name}`);
    for (const [what, value] of Object.entries(figures))
      lines.push(`    ${what.padEnd(36)} ${typeof value === 'number' ? Number(value.toFixed(3)).toLocaleString('en') : value}`);
  }
  return lines.join('\n');
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      seconds: { type: 'string', default: String(DEFAULT_IDLE_SECONDS) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const seconds = Number(values.seconds);
  const unknown = positionals.filter((name) => !(name in benches));
  if (values.help || unknown.length || !(seconds > 0)) {
    process.stderr.write(`${unknown.length ? `there is no bench ${unknown.join(', ')}\n` : ''}${HELP}`);
    return values.help ? 0 : 2;
  }
  for (const name of positionals.length ? positionals : Object.keys(benches)) {
    const result = await benches[name]?.({ seconds });
    if (result) process.stdout.write(`${values.json ? JSON.stringify(result) : show(result)}\n`);
  }
  return 0;
}

process.exitCode = await main();
