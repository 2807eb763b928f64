// Reads a file from front to back in large blocks and gives it out in exact pieces; never reads a byte twice or keeps what it gave.
import { type FileHandle, open } from 'node:fs/promises';

const BLOCK = 1 << 20;

/** Owns its file until close(). One call at a time. */
export class ByteReader {
  readonly #file: FileHandle;
  readonly #block = Buffer.alloc(BLOCK);
  #start = 0;
  #end = 0;
  #closed: Promise<void> | undefined;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws the system's error when the file cannot be opened for reading. */
  static async open(path: string): Promise<ByteReader> {
    return new ByteReader(await open(path, 'r'));
  }

  /** The next length bytes, or fewer at the end of the file. */
  async take(length: number): Promise<Buffer> {
    const out = Buffer.alloc(length);
    return out.subarray(0, await this.#fill(out));
  }

  /** The next length bytes as the whole of a buffer that can be transferred; undefined when the file ends before. */
  async takeOwned(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const out = new Uint8Array(length);
    return (await this.#fill(out)) === length ? out : undefined;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#file.close();
    return this.#closed;
  }

  async #fill(out: Uint8Array): Promise<number> {
    let done = 0;
    while (done < out.length) {
      if (this.#start === this.#end) {
        this.#start = 0;
        this.#end = (await this.#file.read(this.#block, 0, BLOCK, null)).bytesRead;
        if (this.#end === 0) break;
      }
      const part = this.#block.subarray(this.#start, Math.min(this.#end, this.#start + out.length - done));
      out.set(part, done);
      this.#start += part.length;
      done += part.length;
    }
    return done;
  }
}
