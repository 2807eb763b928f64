// Writes events as JSON Lines to a file or standard output; counts what it could not deliver and retries a full disk, never drops silently.
import { fstatSync, statfsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError, reasonOf } from '../../errors.js';
import type { OispEvent, Sink } from '../../events/event.js';

/** Errors that may pass by themselves. */
const TRANSIENT: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EAGAIN', 'EIO', 'EINTR']);
const RETRY_MS = 500;
/** How long close() keeps trying before it gives up and counts the rest as dropped. */
const CLOSE_RETRIES = 4;
const MIN_FREE_BYTES = 4096;
/** What one write call is given at most. */
const WRITE_BYTES = 1 << 20;

export class JsonlSink implements Sink {
  readonly id = 'jsonl';
  private file: FileHandle | undefined;
  private closing = false;
  /** The reader went away (EPIPE): nothing more can be delivered. */
  private broken = false;
  private readonly counts = { written: 0, bytes: 0, dropped: 0, retries: 0 };

  /** @param path file to append to, or `-` for standard output. @param onTrouble told once when writing starts to fail, and once when it works again. */
  constructor(
    private readonly path: string,
    private readonly onTrouble: (text: string) => void = () => undefined,
  ) {}

  /** Opens the file (mode 0600) and makes sure that there is room. @throws HostError OUTPUT. */
  async open(): Promise<void> {
    if (this.path === '-') return;
    try {
      this.file = await open(this.path, 'a', 0o600);
      if (fstatSync(this.file.fd).isFile()) {
        const { bavail, bsize } = statfsSync(this.path);
        if (bavail * bsize < MIN_FREE_BYTES) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      }
    } catch (error) {
      await this.file?.close();
      this.file = undefined;
      throw new HostError(
        'OUTPUT',
        `cannot write events to ${this.path}: ${reasonOf(error)}`,
        'Name a file in a writable folder with free space with --output, or - for standard output.',
        { cause: error },
      );
    }
  }

  async write(events: readonly OispEvent[]): Promise<void> {
    let text = '';
    let lines = 0;
    for (const event of events) {
      text += `${JSON.stringify(event)}\n`;
      lines++;
      if (text.length < WRITE_BYTES) continue;
      await this.put(text, lines);
      text = '';
      lines = 0;
    }
    if (lines) await this.put(text, lines);
  }

  async close(): Promise<void> {
    this.closing = true;
    const file = this.file;
    this.file = undefined;
    await file?.close();
  }

  stopping(): void {
    this.closing = true;
  }

  stats(): ReturnType<Sink['stats']> {
    return { ...this.counts };
  }

  private async put(text: string, lines: number): Promise<void> {
    if (this.broken) {
      this.counts.dropped += lines;
      return;
    }
    let rest: Buffer = Buffer.from(text);
    for (let tries = 0; ; tries++) {
      try {
        rest = await this.writeAll(rest);
        if (tries) this.onTrouble(`${this.path}: writing works again`);
        this.counts.written += lines;
        this.counts.bytes += Buffer.byteLength(text);
        return;
      } catch (error) {
        const { code = '', rest: left } = error as NodeJS.ErrnoException & { rest?: Buffer };
        rest = left ?? rest;
        if (!tries) this.onTrouble(`${this.path}: cannot write events: ${reasonOf(error)}${TRANSIENT.has(code) ? '; trying again' : ''}`);
        if (!TRANSIENT.has(code) || (this.closing && tries >= CLOSE_RETRIES)) {
          this.broken = !TRANSIENT.has(code);
          this.counts.dropped += lines;
          return;
        }
        this.counts.retries++;
        await sleep(RETRY_MS);
      }
    }
  }

  /** Writes until nothing is left. An error carries the part not written as `rest`. */
  private async writeAll(bytes: Buffer): Promise<Buffer> {
    let rest = bytes;
    while (rest.length) {
      try {
        rest = rest.subarray(await this.writeSome(rest));
      } catch (error) {
        throw Object.assign(error as Error, { rest });
      }
    }
    return rest;
  }

  private async writeSome(bytes: Buffer): Promise<number> {
    if (this.file) return (await this.file.write(bytes)).bytesWritten;
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    return bytes.length;
  }
}
