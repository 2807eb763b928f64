// Has files that stay open told of once in a while; it knows nothing of the files themselves. The end of the sensor tells of all of them by itself.
import { FILE_INTERIM_S } from '../../gen/records.js';
import type { NativeSensor } from './native.js';

/** A file that has gone quiet is told of after one interim time and a third at most. */
const EVERY_MS = (FILE_INTERIM_S * 1000) / 3;

export class FileSweep {
  readonly #sensor: Pick<NativeSensor, 'sweepFiles'>;
  readonly #timer: NodeJS.Timeout;
  #failed = 0;

  constructor(sensor: Pick<NativeSensor, 'sweepFiles'>, everyMs = EVERY_MS) {
    this.#sensor = sensor;
    this.#timer = setInterval(() => this.#sweep(), everyMs).unref();
  }

  /** Sweeps that the kernel refused: such files are then told when they are closed, or written to again. */
  get failed(): number {
    return this.#failed;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    try {
      this.#sensor.sweepFiles();
    } catch {
      this.#failed += 1;
    }
  }
}
