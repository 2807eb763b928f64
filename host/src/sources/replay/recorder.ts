// Writes every batch of a source to a recording beside the live pipeline; never slows capture down and never stops it.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { HostError, reasonOf } from '../../errors.js';
import type { HostContext, RecordBatch, SourceStats } from '../../events/source.js';
import { encodeEnd, encodeFrame, encodeHeader } from './format.js';

/** Bytes that wait for the disk before batches are left out. */
const MAX_QUEUED_BYTES = 64 << 20;

export interface RecorderOptions {
  /** Replace an existing file instead of refusing it. Default false. */
  readonly overwrite?: boolean;
  /** Called once when writing fails; recording has stopped by then. */
  readonly onError?: (error: HostError) => void;
}

/** Owns its file until close(). A recording holds plaintext: its mode is 0600. */
export class Recorder {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #onError: (error: HostError) => void;
  readonly #counters = { frames: 0, bytes: 0, dropped_frames: 0, dropped_bytes: 0, failed: 0 };
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing: Promise<void> | undefined;
  #failed = false;
  #closed: Promise<void> | undefined;

  private constructor(path: string, file: FileHandle, onError: (error: HostError) => void) {
    this.#path = path;
    this.#file = file;
    this.#onError = onError;
  }

  /**
   * Creates the file and writes its header.
   * @param shards 1..64, as many as the recorded source feeds.
   * @throws HostError OUTPUT when the file exists (without overwrite) or cannot be made.
   */
  static async open(path: string, host: HostContext, shards: number, options: RecorderOptions = {}): Promise<Recorder> {
    const file = await create(path, options.overwrite ?? false);
    const recorder = new Recorder(path, file, options.onError ?? (() => undefined));
    recorder.#enqueue([encodeHeader({ host, shards })]);
    await recorder.#writing;
    if (recorder.#failed) {
      await recorder.close();
      throw new HostError('OUTPUT', `${path} cannot be written`, 'Give a path on a disk with room.');
    }
    return recorder;
  }

  /** Appends a batch. Copies its bytes, so that the caller may transfer them; returns at once and never throws. */
  write(batch: RecordBatch): void {
    const full = this.#queuedBytes + batch.bytes.length > MAX_QUEUED_BYTES;
    // Length 0 is the end mark, and an empty batch says nothing.
    if (batch.bytes.length === 0) return;
    if (this.#failed || this.#closed !== undefined || full) {
      this.#counters.dropped_frames += 1;
      this.#counters.dropped_bytes += batch.bytes.length;
      return;
    }
    this.#counters.frames += 1;
    this.#enqueue([encodeFrame(batch), Buffer.from(batch.bytes)]);
  }

  /** Writes what waits and the end mark, then closes the file. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** frames and bytes include what still waits; dropped_* is what the disk was too slow for or came after a failure. */
  stats(): SourceStats {
    return { ...this.#counters, queued_bytes: this.#queuedBytes };
  }

  async #close(): Promise<void> {
    if (!this.#failed) this.#enqueue([encodeEnd(this.#counters.frames)]);
    await this.#writing;
    await this.#file.close();
  }

  #enqueue(parts: readonly Buffer[]): void {
    for (const part of parts) {
      this.#queue.push(part);
      this.#queuedBytes += part.length;
      this.#counters.bytes += part.length;
    }
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0 && !this.#failed) {
        const parts = this.#queue;
        this.#queue = [];
        await writeAll(this.#file, parts);
        this.#queuedBytes -= parts.reduce((sum, part) => sum + part.length, 0);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing = undefined;
    }
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#counters.failed += 1;
    this.#queue = [];
    this.#queuedBytes = 0;
    const text = `Recording to ${this.#path} has stopped: ${reasonOf(error)}`;
    this.#onError(new HostError('OUTPUT', text, 'Capture goes on; the recording is readable up to its last whole batch.', { cause: error }));
  }
}

/** An own file that nobody else can read, at no moment: a link or a file of another mode is not written through. */
async function create(path: string, overwrite: boolean): Promise<FileHandle> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW } = constants;
  try {
    const file = await open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | (overwrite ? O_TRUNC : O_EXCL), 0o600);
    await file.chmod(0o600);
    return file;
  } catch (error) {
    const reason = reasonOf(error);
    const hint = reason === 'EEXIST' ? 'Remove it first, or give another path.' : 'Give a path in a directory that this user may write to.';
    throw new HostError('OUTPUT', `${path} cannot be created: ${reason}`, hint, { cause: error });
  }
}

/** writev may write a part only, on a full disk for example. */
async function writeAll(file: FileHandle, parts: readonly Buffer[]): Promise<void> {
  const { bytesWritten } = await file.writev(parts);
  let skip = bytesWritten;
  for (const part of parts) {
    const done = Math.min(skip, part.length);
    skip -= done;
    for (let at = done; at < part.length; ) at += (await file.write(part, at)).bytesWritten;
  }
}
