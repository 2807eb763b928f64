// What leaves the decoder chain: events before the envelope, and what decoders tell of processes. Types only.

/** meta of an event record, as schema/decoder-abi.md lists it. */
export interface EventMeta {
  level?: 'high' | 'medium' | 'low' | 'inferred';
  completeness?: string;
  reasons?: string[];
  missing?: string[];
  limitations?: string[];
  missing_bytes?: number;
  detection?: string;
  provider?: string;
  auth?: AuthSeen;
  role?: string;
  ext?: Record<string, unknown>;
}

/** How a request authenticated itself. `key` is a secret: it ends in the redact step. */
export interface AuthSeen {
  scheme: string;
  header?: string;
  key?: string;
}

/** Which module it was, to the byte. */
export interface DecoderIdentity {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}

/** One event as a decoder module made it. */
export interface RawEvent {
  decoder: DecoderIdentity;
  type: string;
  /** Nanoseconds, CLOCK_BOOTTIME. */
  ts: bigint;
  /** The kernel record's fixed part, rec_header first; may be empty. */
  origin: Uint8Array;
  /** 16 hex digits, or null for events of no connection. */
  conn: string | null;
  stream: number | null;
  index: number;
  data: Record<string, unknown>;
  meta: EventMeta;
}

/** A process, as sys.exec, sys.fork or the snapshot tells of it. */
export interface ProcessStart {
  how: number;
  ts: bigint;
  tgid: number;
  ppid: number;
  startNs: bigint;
  parentStartNs: bigint;
  uid: number;
  gid: number;
  comm: string;
  exe: string | null;
  args: string[] | null;
  cwd: string | null;
  cgroup: string | null;
  flags: number;
}

export interface ProcessEnd {
  ts: bigint;
  tgid: number;
  startNs: bigint;
}

/** What a decoder found out about a connection (conn.note). It holds no captured content but names that the connection itself told. */
export interface ConnectionNote {
  /** enum conn_note. */
  what: number;
  /** Nanoseconds, CLOCK_BOOTTIME. */
  ts: bigint;
  tgid: number;
  startNs: bigint;
  uid: number;
  /** Name of the thread. */
  comm: string;
  /** Kind of the kernel record that it is about. */
  kind: number;
  /** Length of the call in which the connection's first bytes moved; 0 where it is not about plaintext. */
  bytes: number;
  /** 16 hex digits, or null where no connection is named. */
  conn: string | null;
  /** Number of the probed file; 0: not known. */
  target: number;
  /** The address and generation that name the connection to the kernel side; zero where the record has none. */
  ssl: bigint;
  generation: bigint;
  detail: Record<string, unknown>;
}

/** A note with who it is about, as the process table of its shard knew it then: the process may be gone when somebody asks. */
export interface DescribedNote extends ConnectionNote {
  /** Milliseconds since 1970. */
  atMs: number;
  /** When the process started, milliseconds since 1970. */
  startedMs: number;
  exe: string | null;
  /** Its first argument, which is what it calls itself; scrubbed like an event. */
  arg0: string | null;
  container: string | null;
}

/** Takes what the chain gives the host, in order. */
export interface HostRecords {
  event(event: RawEvent): void;
  processStart(start: ProcessStart): void;
  processEnd(end: ProcessEnd): void;
  connectionNote(note: ConnectionNote): void;
}
