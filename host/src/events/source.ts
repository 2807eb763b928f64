// What every source of records gives to the topology: batches per shard, credit back, counters. It knows no source in particular.

/** Records for one shard, in order: concatenated msgpack arrays as schema/decoder-abi.md describes them. */
export interface RecordBatch {
  /** 0..shards-1. Records of one connection always carry the same shard. */
  readonly shard: number;
  /** The whole of an ArrayBuffer, so that it can be transferred, or a part of shared memory, which stays as it is until the batch's credit. */
  readonly bytes: Uint8Array;
  /** What the source wants to be told with the credit: which part of its memory is free again. */
  readonly slot?: number;
  /** Records in the batch. */
  readonly records: number;
  /** Payload bytes of its tls.data records, as the loss ledger counts them. */
  readonly payloadBytes: number;
  /** Bit k is set when a record of kind k may be in it: a module that consumes none of these is spared the batch. Absent: any kind. */
  readonly kinds?: number;
  /** CLOCK_REALTIME minus CLOCK_BOOTTIME, nanoseconds, when the batch was made; adds to a record's ts_ns to give wall time. */
  readonly clockOffsetNs: bigint;
}

/** Numbers a source keeps, nested by stage; every leaf is a count or a byte count. */
export type SourceStats = { readonly [name: string]: number | SourceStats };

/** Where records come from. start() resolves when capture is running (or, for a file, at once). */
export interface Source {
  /** @param onBatch takes ownership of the bytes; must not throw. @param onEnd called once when the source has no more (a file's end). */
  start(onBatch: (batch: RecordBatch) => void, onEnd: (error?: Error) => void): Promise<void>;
  /** A shard has finished with that many bytes of batches: the source may send more. @param slot of the batch. */
  credit(shard: number, bytes: number, slot?: number): void;
  /** A shard has forgotten everything: tells it of the processes again, where the source knows of them. */
  retell?(shard: number): void;
  /** Stops taking, hands over everything already taken through onBatch, then resolves. Idempotent. */
  stop(): Promise<void>;
  stats(): SourceStats;
}

/** What the machine is, as events name it; fixed for the life of a source and part of a recording. */
export interface HostContext {
  readonly hostname: string;
  /** /etc/machine-id, hashed so that the id itself is not spread. */
  readonly deviceId: string;
  readonly osVersion: string;
  readonly arch: string;
  readonly kernelVersion: string;
  /** uid -> user name, from /etc/passwd. */
  readonly users: Readonly<Record<string, string>>;
}
