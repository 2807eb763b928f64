// A small generator of pseudo-random numbers with a seed (xorshift32): the same seed gives the same run.

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** 0 up to, not including, n. */
  below(n: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** True once in n times. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }
}
