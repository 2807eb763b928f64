// Options of the eBPF source with their defaults and limits; refuses what the addon could not work with.
import { HostError } from '../../errors.js';
import { FILE_INTERIM_S, FileOpens, FileReads, TLS_CHUNK } from '../../gen/records.js';
import type { FileTelling, NativeOptions } from './native.js';
import type { ScopeOptions } from './scope.js';

export interface EbpfOptions {
  /** The BPF object file. */
  readonly objectPath: string;
  /** oisp_native.node. */
  readonly addonPath: string;
  /** 1..64. */
  readonly shards: number;
  /** Ring buffer, bytes: a power of two, 64 KiB..1 GiB. Default 8 MiB. */
  readonly ringBytes?: number;
  /** A batch is handed over at this size, bytes: 64 KiB..16 MiB. Default 256 KiB. */
  readonly batchBytes?: number;
  /** ...or when its oldest record is this old, ms: 1..1000. Default 20. */
  readonly flushMs?: number;
  /** Bytes handed over and not credited, per shard, before the source waits. At least two batches. Default 32 MiB. */
  readonly maxInFlightBytes?: number;
  readonly scope: ScopeOptions;
  /** TCP ports on which model servers speak unencrypted HTTP. Default none. */
  readonly plaintextPorts?: readonly number[];
  /** Payload bytes of a process that are copied in a second; 0, the default, is no limit. */
  readonly rateLimitBytes?: number;
  /** Which reads of files are told. Default user. */
  readonly fileReads?: keyof typeof FileReads;
  /** Which openings of files are told by an event of their own. Default changes. */
  readonly fileOpens?: keyof typeof FileOpens;
  /** A program that will be started under observation: it is probed before. */
  readonly command?: string;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** @throws HostError CONFIG that names the option and its range. */
export function resolveOptions(options: EbpfOptions): NativeOptions & { readonly memory: Uint8Array<SharedArrayBuffer> } {
  const batchBytes = inRange('batchBytes', options.batchBytes ?? 256 * KIB, 4 * TLS_CHUNK, 16 * MIB);
  const ringBytes = inRange('ringBytes', options.ringBytes ?? 8 * MIB, 64 * KIB, 1024 * MIB);
  if ((ringBytes & (ringBytes - 1)) !== 0) throw new HostError('CONFIG', `ringBytes must be a power of two, not ${ringBytes}`);
  const shards = inRange('shards', options.shards, 1, 64);
  const maxInFlightBytes = inRange('maxInFlightBytes', options.maxInFlightBytes ?? 32 * MIB, 2 * batchBytes, 1024 * MIB);
  return {
    objectPath: options.objectPath,
    shards,
    ringBytes,
    batchBytes,
    flushMs: inRange('flushMs', options.flushMs ?? 20, 1, 1000),
    maxInFlightBytes,
    captureAll: options.scope.all,
    // Address space: a page of it is only used once a batch has reached it, and the slots given back last are taken first.
    memory: new Uint8Array(new SharedArrayBuffer(shards * maxInFlightBytes)),
  };
}

export function fileTelling({ fileReads = 'user', fileOpens = 'changes' }: EbpfOptions): FileTelling {
  return { interimMs: FILE_INTERIM_S * 1000, reads: FileReads[fileReads], opens: FileOpens[fileOpens] };
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new HostError('CONFIG', `${name} must be a whole number from ${min} to ${max}, not ${value}`);
}
