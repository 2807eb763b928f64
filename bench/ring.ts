// Bench: how much of a program's TLS traffic is lost when it writes as fast as it can, by the daemon's own ledger.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { Ledger } from '../host/src/topology/ledger.js';
import type { BenchResult } from './lib/measure.js';
import { PSK } from './lib/psk.js';

const here = dirname(fileURLToPath(import.meta.url));
const CLI = join(here, '..', '..', 'bin', 'oisp-host');
const LOAD = join(here, 'lib', 'tls-load.js');

interface Case {
  readonly name: string;
  readonly count: number;
  readonly size: number;
}

const CASES: readonly Case[] = [
  { name: '8_kib_writes', count: 50_000, size: 8192 },
  { name: '200_b_writes', count: 100_000, size: 200 },
];

export async function benchRing(): Promise<BenchResult> {
  const rows: BenchResult['rows'] = [];
  for (const one of CASES) rows.push(await runCase(one));
  return { bench: 'ring', rows };
}

async function runCase({ name, count, size }: Case): Promise<BenchResult['rows'][number]> {
  const server = createServer(PSK.server, (socket) => {
    let left = Number.POSITIVE_INFINITY;
    socket.on('error', () => socket.destroy());
    socket.on('data', (part) => {
      // The head comes first; what it announces is counted down, then answered.
      if (left === Number.POSITIVE_INFINITY) left = count * size + part.indexOf('\r\n\r\n') + 4;
      left -= part.length;
      if (left <= 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const unobserved = await timed([process.execPath, LOAD, String(port), String(count), String(size)]);
  const observed = await timed([
    CLI,
    'run',
    '--json',
    '--output',
    '/dev/null',
    '--format',
    'jsonl',
    '--',
    process.execPath,
    LOAD,
    String(port),
    String(count),
    String(size),
  ]);
  server.close();
  const { ledger, source } = JSON.parse(observed.stderr.split('\n').find((line) => line.startsWith('{')) ?? '{}') as {
    ledger: Ledger;
    source: { kernel: { seen: { calls: number; bytes: number } } };
  };
  const { calls, bytes } = source.kernel.seen;
  const lost = Object.values(ledger.lost).reduce((sum, reason) => sum + reason, 0);
  return {
    name,
    calls,
    seen_mb: bytes / 1e6,
    lost_bytes: lost,
    lost_percent: (lost / bytes) * 100,
    balanced: ledger.balanced ? 1 : 0,
    seconds_unobserved: unobserved.seconds,
    seconds_with_daemon_start_and_stop: observed.seconds,
  };
}

async function timed([program = '', ...argv]: readonly string[]): Promise<{ seconds: number; stderr: string }> {
  const began = process.hrtime.bigint();
  const child = spawn(program, argv, { stdio: ['ignore', 'inherit', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${argv.join(' ')} ended with ${code}: ${stderr}`);
  return { seconds: Number(process.hrtime.bigint() - began) / 1e9, stderr };
}
