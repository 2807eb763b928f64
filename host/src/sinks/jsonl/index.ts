// Writes events as JSON Lines to a file or standard output; counts what it could not deliver and retries a full disk, never drops silently.
import { fstatSync, statfsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError, reasonOf } from '../../errors.js';
import type { OutgoingEvent } from '../../events/outgoing.js';
import type { Sink } from '../../events/sink.js';

/** Errors that may pass by themselves. */
const TRANSIENT: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EAGAIN', 'EIO', 'EINTR']);
const RETRY_MS = 500;
/** How long close() keeps trying before it gives up and counts the rest as dropped. */
const CLOSE_RETRIES = 4;
const MIN_FREE_BYTES = 4096;
/** What one write call is given, or one event more. */
const WRITE_BYTES = 1 << 20;
/** writev(2) takes no more (IOV_MAX). */
const MAX_PARTS = 1024;
const NEWLINE = Buffer.from('\n');

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

  async write(events: readonly OutgoingEvent[]): Promise<void> {
    let parts: Uint8Array[] = [];
    let bytes = 0;
    let lines = 0;
    for (const event of events) {
      for (const part of [...event.parts(), NEWLINE]) {
        parts.push(part);
        bytes += part.length;
      }
      lines++;
      if (bytes < WRITE_BYTES) continue;
      await this.put(parts, lines);
      [parts, bytes, lines] = [[], 0, 0];
    }
    if (lines) await this.put(parts, lines);
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

  private async put(parts: readonly Uint8Array[], lines: number): Promise<void> {
    if (this.broken) {
      this.counts.dropped += lines;
      return;
    }
    const left = [...parts];
    for (let tries = 0; ; tries++) {
      try {
        await this.writeAll(left);
        if (tries) this.onTrouble(`${this.path}: writing works again`);
        this.counts.written += lines;
        this.counts.bytes += parts.reduce((sum, part) => sum + part.length, 0);
        return;
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
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

  /** Writes until nothing is left; after an error, left is what was not written. */
  private async writeAll(left: Uint8Array[]): Promise<void> {
    while (left.length > 0) {
      let written = await this.writeSome(left.slice(0, MAX_PARTS));
      while (written > 0) {
        const first = left[0] as Uint8Array;
        if (written < first.length) left[0] = first.subarray(written);
        else left.shift();
        written -= Math.min(written, first.length);
      }
    }
  }

  private async writeSome(parts: Uint8Array[]): Promise<number> {
    if (this.file) return (await this.file.writev(parts)).bytesWritten;
    const bytes = Buffer.concat(parts);
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    return bytes.length;
  }
}
