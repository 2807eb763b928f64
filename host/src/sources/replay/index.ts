// The replay source: gives the batches of a recording as the live source gave them, as fast as credit allows; never changes a byte.
import { crc32 } from 'node:zlib';
import { HostError, reasonOf } from '../../errors.js';
import type { HostContext, RecordBatch, Source, SourceStats } from '../../events/source.js';
import { ByteReader } from './byte-reader.js';
import { decodeFrame, decodeHeader, decodePrefix, FRAME_BYTES, type FrameHeader, isEnd, PREFIX_BYTES } from './format.js';

export { Recorder, type RecorderOptions } from './recorder.js';

export interface ReplayOptions {
  /** Bytes handed over and not credited, per shard, before reading waits. Default 16 MiB. */
  readonly maxInFlightBytes?: number;
}

type OnBatch = (batch: RecordBatch) => void;
type OnEnd = (error?: Error) => void;

const DEFAULT_IN_FLIGHT = 16 << 20;

/** Owns its file from open() to stop() or the end. */
export class ReplaySource implements Source {
  /** The machine the recording was made on. */
  readonly host: HostContext;
  /** Batches carry shard 0..shards-1. */
  readonly shards: number;
  readonly #path: string;
  readonly #reader: ByteReader;
  readonly #maxInFlight: number;
  readonly #inFlight: number[];
  readonly #counters = { frames: 0, records: 0, bytes: 0, payload_bytes: 0, stalls: 0, truncated: 0, corrupt: 0, unfinished: 0 };
  #running: Promise<void> | undefined;
  #stopped = false;
  #wake: (() => void) | undefined;

  private constructor(path: string, reader: ByteReader, header: { host: HostContext; shards: number }, maxInFlight: number) {
    this.#path = path;
    this.#reader = reader;
    this.host = header.host;
    this.shards = header.shards;
    this.#maxInFlight = maxInFlight;
    this.#inFlight = new Array<number>(header.shards).fill(0);
  }

  /** Opens a recording and reads its header. @throws HostError INPUT when there is no such file, RECORDING when it is not one of ours or damaged. */
  static async open(path: string, options: ReplayOptions = {}): Promise<ReplaySource> {
    const reader = await ByteReader.open(path).catch((error: unknown) => {
      throw new HostError('INPUT', `${path} cannot be read: ${reasonOf(error)}`, 'Give the path of a recording.', { cause: error });
    });
    try {
      const prefix = decodePrefix(await reader.take(PREFIX_BYTES), path);
      const body = await reader.take(prefix.length);
      if (body.length < prefix.length) throw new HostError('RECORDING', `${path} ends inside its header`, 'Make the recording again.');
      return new ReplaySource(path, reader, decodeHeader(body, prefix.crc, path), options.maxInFlightBytes ?? DEFAULT_IN_FLIGHT);
    } catch (error) {
      await reader.close();
      if (error instanceof HostError) throw error;
      throw new HostError('INPUT', `${path} cannot be read: ${reasonOf(error)}`, 'Give the path of a recording.', { cause: error });
    }
  }

  /**
   * Resolves at once; batches follow. onEnd gets an error when the file is cut inside a frame or damaged: every whole frame
   * before that place has been handed over by then. Not called after stop().
   */
  async start(onBatch: OnBatch, onEnd: OnEnd): Promise<void> {
    if (this.#running !== undefined || this.#stopped) throw new Error('a source is started once');
    this.#running = this.#run(onBatch, onEnd);
  }

  credit(shard: number, bytes: number): void {
    this.#inFlight[shard] = Math.max(0, (this.#inFlight[shard] ?? 0) - bytes);
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#running;
    await this.#reader.close();
  }

  /** truncated: 1 when the file ends inside a frame; corrupt: 1 when a frame is damaged; unfinished: 1 when only the end mark is missing (the recorder was killed). */
  stats(): SourceStats {
    const inFlight = Object.fromEntries(this.#inFlight.map((bytes, shard) => [String(shard), bytes]));
    return { replay: { ...this.#counters }, batches: { in_flight_bytes: inFlight } };
  }

  async #run(onBatch: OnBatch, onEnd: OnEnd): Promise<void> {
    let problem: HostError | undefined;
    try {
      problem = await this.#readFrames(onBatch);
    } catch (error) {
      problem = new HostError('INPUT', `${this.#path} cannot be read: ${reasonOf(error)}`, undefined, { cause: error });
    }
    await this.#reader.close();
    if (!this.#stopped) onEnd(problem);
  }

  async #readFrames(onBatch: OnBatch): Promise<HostError | undefined> {
    while (!this.#stopped) {
      const raw = await this.#reader.take(FRAME_BYTES);
      if (raw.length === 0) {
        this.#counters.unfinished = 1;
        return undefined;
      }
      if (raw.length < FRAME_BYTES) return this.#cut();
      const header = decodeFrame(raw, this.shards);
      if (typeof header === 'string') return this.#damaged(header);
      if (isEnd(header)) return header.records === this.#counters.frames >>> 0 ? undefined : this.#damaged('frames are missing');
      await this.#awaitCredit(header);
      if (this.#stopped) return undefined;
      const bytes = await this.#reader.takeOwned(header.length);
      if (bytes === undefined) return this.#cut();
      if (crc32(bytes) !== header.crc) return this.#damaged('a frame does not match its checksum');
      this.#deliver(header, bytes, onBatch);
    }
    return undefined;
  }

  #deliver({ shard, records, payloadBytes, clockOffsetNs }: FrameHeader, bytes: Uint8Array<ArrayBuffer>, onBatch: OnBatch): void {
    this.#inFlight[shard] = (this.#inFlight[shard] ?? 0) + bytes.length;
    this.#counters.frames += 1;
    this.#counters.records += records;
    this.#counters.bytes += bytes.length;
    this.#counters.payload_bytes += payloadBytes;
    onBatch({ shard, bytes, records, payloadBytes, clockOffsetNs });
  }

  /** A frame larger than the whole credit passes when nothing else is in flight. */
  async #awaitCredit({ shard, length }: FrameHeader): Promise<void> {
    let waited = false;
    while (!this.#stopped) {
      const inFlight = this.#inFlight[shard] ?? 0;
      if (inFlight === 0 || inFlight + length <= this.#maxInFlight) return;
      if (!waited) this.#counters.stalls += 1;
      waited = true;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #cut(): HostError {
    this.#counters.truncated = 1;
    return new HostError(
      'RECORDING',
      `${this.#path} ends inside a frame, after ${this.#counters.frames} whole ones`,
      'The recorder was stopped while writing; what came before was replayed.',
    );
  }

  #damaged(what: string): HostError {
    this.#counters.corrupt = 1;
    return new HostError('RECORDING', `${this.#path} is damaged after ${this.#counters.frames} frames: ${what}`, 'What came before was replayed.');
  }
}
