// Bench: what a running daemon costs while nothing happens: CPU time and resident memory of its process, from /proc.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BenchResult } from './lib/measure.js';

/** What users run: it sets the options of its Node. */
const CLI = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'bin', 'oisp-host');
/** proc(5): utime and stime are counted in clock ticks, 100 a second on Linux. */
const TICKS_PER_SECOND = 100;
/** A program that has just started is looked at again for 5 s, and the first program the daemon sees is its own start. */
const SETTLE_MS = 8000;

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function rssMb(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1]) / 1024;
}

/** @param seconds how long to watch. */
export async function benchIdle(seconds: number): Promise<BenchResult> {
  const child = spawn(CLI, ['run', '--output', '/dev/null', '--format', 'jsonl'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const pid = child.pid as number;
  const exited = once(child, 'exit');
  try {
    await ready(child.stderr, exited);
    await sleep(SETTLE_MS);
    const cpu = cpuSeconds(pid);
    const began = process.hrtime.bigint();
    await sleep(seconds * 1000);
    const took = Number(process.hrtime.bigint() - began) / 1e9;
    const used = cpuSeconds(pid) - cpu;
    const row = { name: 'idle', seconds: took, cpu_percent_of_one_core: (used / took) * 100, rss_mb: rssMb(pid) };
    return { bench: 'idle', rows: [row] };
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}

async function ready(stderr: NodeJS.ReadableStream, exited: Promise<unknown[]>): Promise<void> {
  let text = '';
  const capturing = new Promise<void>((resolve) => {
    stderr.on('data', (part: Buffer) => {
      text += part.toString();
      if (text.includes('capturing')) resolve();
    });
  });
  await Promise.race([
    capturing,
    exited.then(() => {
      throw new Error(`the daemon ended before it captured: ${text}`);
    }),
  ]);
}
