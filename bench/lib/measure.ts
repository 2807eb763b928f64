// Times a function: the best of several rounds, so that what is measured is the code and not what else the machine does.

/** @returns the least nanoseconds one call took, over rounds that each last about `roundMs`. */
export function bestNs(step: () => void, rounds = 9, roundMs = 120): number {
  for (let i = 0; i < 3; i++) step();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    let calls = 0;
    const began = process.hrtime.bigint();
    let took = 0;
    do {
      step();
      calls++;
      took = Number(process.hrtime.bigint() - began);
    } while (took < roundMs * 1e6);
    best = Math.min(best, took / calls);
  }
  return best;
}

/** The figures of one bench, ready for a table or for JSON. */
export interface BenchResult {
  readonly bench: string;
  readonly rows: ({ name: string } & Record<string, number | string>)[];
}
