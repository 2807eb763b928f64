// `npm run fuzz -- [--minutes N] [--seed N] [--findings FOLDER] [--json]`: searches for bytes that a decoder reads differently when they are cut differently, that trap it, or
// that make it grow. What is found becomes a vector in the folder.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../lib/run.js';
import { loadVectors, type Vector } from '../lib/vector.js';
import { Random } from './random.js';
import { Subject } from './subject.js';

const HELP = `usage: npm run fuzz -- [--minutes N] [--seed N] [--findings FOLDER] [--json]

  Half of the time the bytes of the vectors are cut at random, and must give the same events as the whole; half of the time they are damaged (bits turned,
  stretches lost, doubled, moved, spliced into one another), and must neither trap a decoder nor make it grow. Exit code 1 when something was found.

  --minutes N        how long (default 1)
  --seed N           repeat a run; without it the time decides, and it is printed
  --findings FOLDER  where what was found is written as vectors (default dist/fuzz)
  --json             one JSON object at the end
`;

/** Memory of a decoder may grow to this, as in the daemon. */
const MEMORY_MOST = 256 << 20;
const PROGRESS_MS = 5000;

interface Counts {
  recuts: number;
  differences: number;
  damaged: number;
  traps: number;
  rejected: number;
  unbalanced: number;
  bytes: number;
  peak_memory_bytes: Record<string, number>;
}

/** A vector whose bytes are as they were when something was found. */
function findingOf(what: string, vector: Vector, pieces: readonly Buffer[], sides: readonly string[]): string {
  const blocks = pieces.map((bytes, i) => `\`\`\`${sides[i]} base64\n${bytes.toString('base64')}\n\`\`\``);
  return `# Found: ${what}\n\nFrom ${vector.path}.\n\n${blocks.join('\n\n')}\n\n\`\`\`options\n${JSON.stringify(vector.options)}\n\`\`\`\n\n\`\`\`events\n[]\n\`\`\`\n`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      findings: { type: 'string', default: join(ROOT, 'dist', 'fuzz') },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const minutes = Number(values.minutes);
  const seed = Number(values.seed ?? Date.now() % 1_000_000_007);
  if (values.help || !(minutes > 0) || !Number.isInteger(seed)) {
    process.stderr.write(HELP);
    return values.help ? 0 : 2;
  }
  const random = new Random(seed);
  const vectors = loadVectors(join(ROOT, 'test', 'vectors'));
  const subject = new Subject();
  const counts: Counts = { recuts: 0, differences: 0, damaged: 0, traps: 0, rejected: 0, unbalanced: 0, bytes: 0, peak_memory_bytes: {} };
  process.stderr.write(`fuzz: seed ${seed}, ${vectors.length} vectors, ${minutes} minutes\n`);

  let findings = 0;
  const found = (what: string, vector: Vector, pieces: readonly Buffer[], sides: readonly string[]): void => {
    findings++;
    if (findings > 100) return;
    mkdirSync(values.findings, { recursive: true });
    const path = join(values.findings, `${seed}-${findings}.md`);
    writeFileSync(path, findingOf(what, vector, pieces, sides));
    process.stderr.write(`fuzz: ${what}, from ${vector.path}: ${path}\n`);
  };

  const began = Date.now();
  const end = began + minutes * 60_000;
  let told = began;
  for (let round = 0; Date.now() < end; round++) {
    const vector = random.pick(vectors);
    if (round % 2 === 0) {
      counts.recuts++;
      const whole = subject.whole(vector);
      // Every 32nd time modules are replaced meanwhile.
      const cut = round % 64 === 0 ? subject.swapped(vector, random) : subject.recut(vector, random);
      if (cut !== whole) {
        counts.differences++;
        found(
          'another cut gives other events',
          vector,
          vector.segments.map(({ bytes }) => bytes),
          vector.segments.map(({ side }) => side),
        );
      }
    } else {
      counts.damaged++;
      const { pieces, sides } = subject.damage(vector, random.pick(vectors), random);
      counts.bytes += pieces.reduce((n, piece) => n + piece.length, 0);
      const problem = subject.swallow(pieces, sides, random);
      if (problem) found(problem, vector, pieces, sides);
    }
    if (round % 256 === 0) {
      const state = subject.state();
      for (const [name, bytes] of Object.entries(state.memory)) counts.peak_memory_bytes[name] = Math.max(counts.peak_memory_bytes[name] ?? 0, bytes);
      [counts.traps, counts.rejected, counts.unbalanced] = [state.traps, state.rejected, state.unbalanced];
      // Timers and signals get their turn.
      await new Promise((next) => setImmediate(next));
    }
    if (!values.json && process.stderr.isTTY && Date.now() - told > PROGRESS_MS) {
      told = Date.now();
      process.stderr.write(`\rfuzz: ${Math.round((told - began) / 1000)} s, ${counts.recuts} cuts, ${counts.damaged} damaged, ${findings} found `);
    }
  }
  const grown = Object.entries(counts.peak_memory_bytes).filter(([, bytes]) => bytes > MEMORY_MOST);
  const failed = findings > 0 || counts.traps > 0 || counts.rejected > 0 || counts.unbalanced > 0 || grown.length > 0;
  if (values.json) process.stdout.write(`${JSON.stringify({ fuzz: { seed, minutes, ...counts, findings } })}\n`);
  else {
    const memory = Object.entries(counts.peak_memory_bytes).map(([name, bytes]) => `${name} ${(bytes / 1048576).toFixed(1)} MiB`);
    process.stdout.write(
      `\nfuzz: ${counts.recuts} cuts, ${counts.differences} differences; ${counts.damaged} damaged connections (${(counts.bytes / 1048576).toFixed(0)} MiB), `,
    );
    process.stdout.write(
      `${counts.traps} traps, ${counts.rejected} batches rejected, ${counts.unbalanced} times not balanced; peak memory: ${memory.join(', ')}\n`,
    );
  }
  return failed ? 1 : 0;
}

process.exitCode = await main();
