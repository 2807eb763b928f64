// The typed face of the native addon (native/addon.cc): loads it, says what it offers, and nothing else in the host may import it.
import { createRequire } from 'node:module';

/** Values are validated and defaulted here in TypeScript; the addon gets clean ones. */
export interface NativeOptions {
  /** Path of the BPF object file. */
  objectPath: string;
  /** Ring buffer size in bytes, a power of two and a multiple of the page size. */
  ringBytes: number;
  /** Number of shards, >= 1. */
  shards: number;
  /** A batch is handed over when it holds this many bytes... */
  batchBytes: number;
  /** ...or when its oldest record has waited this long (ms) while records keep coming. When the ring runs empty it is handed over at once. */
  flushMs: number;
  /** Bytes handed over and not yet credited, per shard, before the reader stops taking from the ring. */
  maxInFlightBytes: number;
  /** Capture every process (true) or only those in scope (false). */
  captureAll: boolean;
  /** Memory that batches are handed over in; without, or when it is all lent, each has a buffer of its own. */
  memory?: Uint8Array<SharedArrayBuffer>;
}

export interface NativeBatch {
  shard: number;
  /** Where in the options' memory it begins; it is lent until credit() names it. */
  slot?: number;
  /** Set when slot is not: the batch, from 0. */
  buffer?: ArrayBuffer;
  /** Bytes of the batch. */
  length: number;
  records: number;
  payloadBytes: number;
  /** Bit k: a record of kind k is in it. */
  kinds: number;
  /** CLOCK_REALTIME - CLOCK_BOOTTIME in ns when the batch was made. */
  clockOffsetNs: bigint;
}

/** What the scope map says of a process. */
export interface ScopeCell {
  /** Its activity is captured. */
  readonly capture: boolean;
  /** Processes that it forks from now on are captured and pass scope on. */
  readonly inherit: boolean;
  /** Its file activity is recorded, and that of the processes that it passes scope to. */
  readonly files: boolean;
}

/** What is told of files. */
export interface FileTelling {
  /** A file that stays open is told of anew after this many ms. */
  readonly interimMs: number;
  /** enum file_reads: which reads are told. */
  readonly reads: number;
  /** enum file_opens: which openings are told by an event of their own. */
  readonly opens: number;
}

export interface NativeStructLayout {
  size: number;
  fields: { name: string; offset: number; size: number }[];
}

export interface NativeStats {
  /** Kernel ledger: bucket number of enum ledger -> cell. */
  kernel: { records: number; bytes: number }[];
  ring: {
    /** Records and bytes (ring_buffer sample sizes) consumed. */
    records: number;
    bytes: number;
    /** Payload bytes of tls.data consumed. */
    payloadBytes: number;
    /** Times the reader waited for credit. */
    stalls: number;
    /** Times a sleeping reader was woken by the kernel. */
    wakeups: number;
    /** Bytes in the ring now, not yet consumed. */
    pendingBytes: number;
    sizeBytes: number;
    /** Records of an unknown kind or impossible size, and therefore dropped. */
    malformed: number;
  };
  batches: { count: number; bytes: number; records: number; payloadBytes: number; inFlightBytes: number[] };
  links: number;
  /** The processes of which most was left out because of their rate, the greatest first; at most 8. */
  shed: { tgid: number; calls: number; bytes: number }[];
}

/** Error code property of errors thrown by the addon: the errno name, e.g. EPERM. */
export interface NativeSensor {
  /** Opens, sizes and loads the object and attaches the tracepoint programs. Throws Error with code (errno name) and a message that names the step and the program; libbpf's own last lines are in the property `log`. */
  load(): void;
  /** Layout of `struct oisp_<name>` in the loaded object's BTF, or undefined when it has none. */
  layout(name: string): NativeStructLayout | undefined;
  /** Attaches a uprobe (or uretprobe) program by name to a file offset, for every process (pid -1). `target` (u32) is told in every record of the probe. Returns a link id. Throws with code. */
  attachUprobe(program: string, path: string, fileOffset: number, isReturn: boolean, target: number): number;
  detach(link: number): void;
  /** How uprobes are attached here; known after load(). */
  uprobeMeans(): 'uprobe_multi' | 'perf_event';
  /** Puts a process into scope. */
  scopeAdd(tgid: number, cell: ScopeCell): void;
  scopeRemove(tgid: number): void;
  /** Processes with this thread name are in scope (at most 15 bytes are compared). */
  scopeAddComm(comm: string): void;
  /** Processes that execute this file are in scope from then on. dev: of its super block. Throws E2BIG at 256. */
  scopeAddExe(dev: bigint, inode: bigint, cell: ScopeCell): void;
  /** Processes that execute a program, are forked, or become this user. Throws E2BIG at 64. */
  scopeAddUid(uid: number, cell: ScopeCell): void;
  /** Processes that execute a program or are forked in this cgroup of the unified hierarchy or below. @param id inode number of its folder. Throws E2BIG at 64. */
  scopeAddCgroup(id: bigint, cell: ScopeCell): void;
  scopeRemoveExe(dev: bigint, inode: bigint): void;
  scopeRemoveCgroup(id: bigint): void;
  setCaptureAll(all: boolean): void;
  /** Whether the file activity of processes that are not in the scope map is recorded. */
  setFilesAll(all: boolean): void;
  /** Opens bits (enum gate) of a process's gate: which of its system calls the kernel side looks at. The kernel does it itself for what it sees begin. */
  gateAdd(tgid: number, bits: number): void;
  /** What is told of files; until it is set FILE_INTERIM_S, reads user, opens changes. */
  setFileTelling(telling: FileTelling): void;
  /** Has the kernel side tell of files that stay open and whose bytes have waited long enough. Throws with code (on kernels before 5.10). */
  sweepFiles(): void;
  /** Connections from or to this TCP port (0..65535) may carry unencrypted HTTP. */
  addPlainPort(port: number): void;
  /** Says what is to be done (enum verdict) with the connection that its records name so. */
  verdict(tgid: number, ssl: bigint, generation: bigint, verdict: number): void;
  /** Payload bytes of a process that are copied in a second (0: no limit); past it only the first SHED_HEAD bytes of each call are. */
  setRate(bytes: number): void;
  /** Starts the reader thread. onBatch runs on the main thread, once per batch. */
  start(onBatch: (batch: NativeBatch) => void): void;
  /** @param slot of the batch, if it has one: nobody reads it any more. */
  credit(shard: number, bytes: number, slot?: number): void;
  stats(): NativeStats;
  /** Detaches every probe, drains the ring to its end, hands over all batches, stops the thread; onDone is called after the last batch. Idempotent; safe before start. */
  stop(onDone: () => void): void;
  /** Frees everything. After stop. */
  close(): void;
}

export interface NativeAddon {
  Sensor: new (options: NativeOptions) => NativeSensor;
  /** Version of the libbpf in use, e.g. "1.1.2". */
  libbpfVersion: string;
  /** Returns memory that only the start of the process needed to the kernel: free heap pages, and program text, which comes back from the page cache as it is used. */
  releaseStartupMemory(): void;
  /**
   * Leaves every thread of the process with those of its capabilities that are in `keep` (bit n: capability n), none inheritable, the bounding
   * set cut down to them where CAP_SETPCAP allows it, and no_new_privs. Takes a few milliseconds and cannot be undone. Throws Error with code;
   * threads may differ then.
   */
  reducePrivileges(keep: bigint): void;
}

/** Loads the addon. @param path of oisp_native.node. Throws when it cannot be loaded (missing library, wrong architecture). */
export function loadNative(path: string): NativeAddon {
  return createRequire(import.meta.url)(path) as NativeAddon;
}
