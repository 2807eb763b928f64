// Times steps against one another: in turn, many rounds, the best round of each, so that all see the same machine and none its noise.

/** Runs once and returns what it measured, in nanoseconds; what it prepares or cleans up outside of that is not counted. */
export type Step = () => number;

/** A step that is timed as a whole. */
export function timed(work: () => void): Step {
  return () => {
    const began = process.hrtime.bigint();
    work();
    return Number(process.hrtime.bigint() - began);
  };
}

/** @returns for each step the least mean nanoseconds of a round; rounds of the steps alternate and last about `roundMs` each. */
export function bestOfEach(steps: readonly Step[], rounds = 15, roundMs = 60): number[] {
  const best = steps.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [i, step] of steps.entries()) best[i] = Math.min(best[i] as number, meanNs(step, roundMs));
  }
  return best;
}

function meanNs(step: Step, roundMs: number): number {
  const end = performance.now() + roundMs;
  let calls = 0;
  let sum = 0;
  do {
    sum += step();
    calls++;
  } while (performance.now() < end);
  return sum / calls;
}

/** The figures of one bench, ready for a table or for JSON. */
export interface BenchResult {
  readonly bench: string;
  readonly rows: ({ name: string } & Record<string, number | string>)[];
}
