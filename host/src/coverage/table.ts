// What was seen of the TLS and AI connections of each process, from the notes of decoders and from events; bounded, and it holds no captured bytes.
import type { EventHead } from '../events/outgoing.js';
import type { DescribedNote } from '../events/raw-event.js';
import { ConnNote, Kind } from '../gen/records.js';

/** In place of a file's number: plaintext that was not encrypted. */
export const SOCKET = -1;

/** How plaintext was first had from one file in one process, and what became of its connections since. */
export interface FileUse {
  /** Number of the probed file; 0: not known. SOCKET: no file, the bytes were read off a socket. */
  readonly target: number;
  /** Where it was when it was first used; null: not known. A file that nobody uses any more is no target. */
  readonly path: string | null;
  readonly family: string | null;
  /** First plaintext of all connections; null: only implausible bytes so far. */
  first: { readonly atMs: number; readonly bytes: number; readonly direction: string; readonly looks: string } | null;
  /** Connections whose first bytes were plausible, and those whose were not. */
  connections: number;
  implausible: number;
}

/** The newest ClientHello of a process. */
export interface Hello {
  readonly atMs: number;
  readonly sni: string | null;
  readonly alpn: readonly string[];
  readonly versions: readonly string[];
  readonly peer: string | null;
  readonly peerPort: number;
}

export interface ProcessRow {
  readonly tgid: number;
  /** CLOCK_BOOTTIME; tells processes with one id apart. */
  readonly startNs: bigint;
  readonly startedMs: number;
  uid: number;
  exe: string | null;
  arg0: string | null;
  comm: string;
  container: string | null;
  readonly files: Map<number, FileUse>;
  hellos: number;
  lastHello: Hello | null;
  /** Connections that a decoder found to carry no AI traffic. */
  notAi: number;
  aiEvents: number;
  lastAiMs: number | null;
}

export interface CoverageCounters {
  rows: number;
  /** Rows pushed out at the bound: their processes are not in the report. */
  forgotten: number;
  notes: number;
  /** Files of one process past the bound. */
  files_left: number;
  /** AI events of processes without a row. */
  events_without_row: number;
}

const MAX_ROWS = 4096;
const MAX_FILES = 16;
const MAX_NAMES = 8;
const MAX_NAME = 255;

export class CoverageTable {
  /** Least recently told first. */
  readonly #rows = new Map<string, ProcessRow>();
  /** Newest process of each id: an event names its process by that. */
  readonly #newest = new Map<number, string>();
  readonly #counters = { forgotten: 0, notes: 0, files_left: 0, events_without_row: 0 };
  readonly #maxRows: number;

  readonly #fileOf: (target: number) => { readonly path: string; readonly family: string } | undefined;

  /** @param fileOf names a probed file by its number. @param maxRows processes kept, ended ones included. */
  constructor(fileOf: (target: number) => { readonly path: string; readonly family: string } | undefined, maxRows = MAX_ROWS) {
    this.#fileOf = fileOf;
    this.#maxRows = maxRows;
  }

  note(note: DescribedNote): void {
    this.#counters.notes += 1;
    const row = this.#rowOf(note);
    if (note.what === ConnNote.tls_hello) {
      row.hellos += 1;
      row.lastHello = helloOf(note);
    } else if (note.what === ConnNote.not_ai) row.notAi += 1;
    else if (note.what === ConnNote.first_plaintext || note.what === ConnNote.implausible) this.#firstBytes(row, note);
  }

  /** Takes AI events into account; others are none of its business. */
  event({ event_type, ts, pid }: EventHead): void {
    if (pid === undefined || !event_type.startsWith('ai.')) return;
    const row = this.#rows.get(this.#newest.get(pid) ?? '');
    if (row === undefined) {
      this.#counters.events_without_row += 1;
      return;
    }
    row.aiEvents += 1;
    row.lastAiMs = Date.parse(ts);
  }

  /** Every row, the one told of last at the end. */
  rows(): ProcessRow[] {
    return [...this.#rows.values()];
  }

  counters(): CoverageCounters {
    return { rows: this.#rows.size, ...this.#counters };
  }

  #rowOf(note: DescribedNote): ProcessRow {
    const key = `${note.tgid}:${note.startNs}`;
    const row = this.#rows.get(key) ?? newRow(note);
    // What a process is called changes with its exec.
    row.exe = note.exe ?? row.exe;
    row.arg0 = note.arg0 ?? row.arg0;
    row.comm = note.comm || row.comm;
    row.uid = note.uid;
    row.container = note.container ?? row.container;
    this.#rows.delete(key);
    this.#rows.set(key, row);
    this.#newest.set(note.tgid, key);
    if (this.#rows.size > this.#maxRows) this.#forgetOldest();
    return row;
  }

  #forgetOldest(): void {
    for (const [key, { tgid }] of this.#rows) {
      this.#rows.delete(key);
      if (this.#newest.get(tgid) === key) this.#newest.delete(tgid);
      this.#counters.forgotten += 1;
      return;
    }
  }

  #firstBytes(row: ProcessRow, note: DescribedNote): void {
    const target = note.kind === Kind.tls_data ? note.target : SOCKET;
    let use = row.files.get(target);
    if (use === undefined) {
      if (row.files.size >= MAX_FILES) {
        this.#counters.files_left += 1;
        return;
      }
      const file = this.#fileOf(target);
      use = { target, path: file?.path ?? null, family: file?.family ?? null, first: null, connections: 0, implausible: 0 };
      row.files.set(target, use);
    }
    if (note.what === ConnNote.implausible) {
      use.implausible += 1;
      return;
    }
    use.connections += 1;
    use.first ??= {
      atMs: note.atMs,
      bytes: note.bytes,
      direction: text(note.detail['direction']) ?? 'unknown',
      looks: text(note.detail['looks']) ?? 'unknown',
    };
  }
}

function newRow(note: DescribedNote): ProcessRow {
  const { tgid, startNs, startedMs, uid, exe, arg0, comm, container } = note;
  return { tgid, startNs, startedMs, uid, exe, arg0, comm, container, files: new Map(), hellos: 0, lastHello: null, notAi: 0, aiEvents: 0, lastAiMs: null };
}

/** A detail is what a module gave: nothing in it is taken for granted. */
function text(value: unknown): string | null {
  return typeof value === 'string' ? value.slice(0, MAX_NAME) : null;
}

function texts(value: unknown): string[] {
  return Array.isArray(value)
    ? value.slice(0, MAX_NAMES).flatMap((one) => (one === null || typeof one === 'object' ? [] : [String(one).slice(0, MAX_NAME)]))
    : [];
}

function helloOf({ atMs, detail }: DescribedNote): Hello {
  const port = detail['peer_port'];
  return {
    atMs,
    sni: text(detail['sni']),
    alpn: texts(detail['alpn']),
    versions: texts(detail['versions']),
    peer: text(detail['peer']),
    peerPort: typeof port === 'number' ? port : 0,
  };
}
