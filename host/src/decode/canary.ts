// A module that is tried: it gets what the one in use gets, and nothing of what it makes goes anywhere.
import { DecoderError, type DecoderModule } from './decoder-module.js';
import { guarded, TookTooLong } from './guard.js';

/** What it did with the buffers of the one in use. */
export interface CanaryReport {
  readonly buffers: number;
  /** Buffers that it rejected and the other did not. */
  readonly rejected: number;
  readonly failure: string | null;
}

export class Canary {
  #buffers = 0;
  #rejected = 0;
  #failure: string | null = null;

  /** @param limitMs longest that a call may take */
  constructor(
    private readonly instance: DecoderModule,
    private readonly limitMs: number,
  ) {}

  /** @param error what the one in use said of the same buffer */
  process(bytes: Uint8Array, error: DecoderError | undefined): void {
    if (this.#failure !== null) return;
    this.#buffers++;
    this.#try(() => {
      try {
        this.instance.process(bytes, () => undefined);
      } catch (failure) {
        if (!(failure instanceof DecoderError) || failure.code !== 'rejected') throw failure;
        if (error?.code !== 'rejected') this.#rejected++;
      }
    });
  }

  tick(seconds: number): void {
    this.#try(() => this.instance.tick(seconds, () => undefined));
  }

  report(): CanaryReport {
    return { buffers: this.#buffers, rejected: this.#rejected, failure: this.#failure };
  }

  #try(call: () => void): void {
    if (this.#failure !== null) return;
    try {
      guarded(this.limitMs, call);
    } catch (error) {
      if (!(error instanceof DecoderError || error instanceof TookTooLong)) throw error;
      this.#failure = error.message;
    }
  }
}
