// What the coverage report says, as it is served: one row a process, how it is seen or why it is not. Types only.
import type { Hello } from './table.js';

/**
 * readable      plaintext was seen
 * detached      its probes gave no plaintext, and the self-check took them off
 * waiting       a handshake began moments ago
 * not_readable  TLS was seen on its sockets, and no plaintext
 * not_attached  it uses a known TLS library that could not be probed
 * late          its library was probed after it had begun to use it, and nothing was seen of it since
 * idle          it uses a probed library, and nothing was seen of it yet
 */
export type CoverageState = 'readable' | 'detached' | 'waiting' | 'not_readable' | 'not_attached' | 'late' | 'idle';

/** How plaintext is had: at the functions of a library found by symbol, or off a socket that is not encrypted. */
export type CoverageMethod = 'symbol' | 'socket';

export interface CoverageFile {
  /** null: the plaintext's file is not known (a kernel before 5.15, or one that is not probed any more). */
  readonly path: string | null;
  readonly family: string | null;
  readonly method: CoverageMethod;
  readonly attached: boolean;
  /** Why not, or why not all of it; null: all that the file has is probed. */
  readonly detail: string | null;
  readonly deleted: boolean;
  /** How long the process used it before it was probed, ms: what it said then was not seen. null: probed in time, or the process ran before the sensor. */
  readonly late_ms: number | null;
  readonly first_plaintext: { readonly at: string; readonly bytes: number; readonly direction: string; readonly looks: string } | null;
  readonly connections: number;
  readonly implausible: number;
}

export interface FoundStack {
  readonly name: string;
  readonly version: string | null;
  readonly file: string;
  readonly stripped: boolean | null;
  /** What encrypts below it. */
  readonly crypto: readonly string[];
}

export interface CoverageRow {
  readonly pid: number;
  /** ISO 8601; null: not known. */
  readonly started: string | null;
  readonly running: boolean;
  readonly exe: string | null;
  readonly arg0: string | null;
  readonly comm: string;
  /** null: not known. */
  readonly uid: number | null;
  readonly container: string | null;
  readonly state: CoverageState;
  /** A sentence for people; null: nothing to explain. */
  readonly reason: string | null;
  readonly files: readonly CoverageFile[];
  /** TLS stacks found in its files by their strings; empty unless it is not readable. */
  readonly stacks: readonly FoundStack[];
  /** ClientHellos seen on its sockets, whoever can read what follows. */
  readonly hellos: number;
  readonly last_hello: (Omit<Hello, 'atMs' | 'peerPort'> & { readonly at: string; readonly peer_port: number }) | null;
  /** Connections whose plaintext was seen. */
  readonly read_connections: number;
  readonly ai_events: number;
  readonly last_ai: string | null;
  /** Connections found to carry no AI traffic. */
  readonly not_ai: number;
}

export interface CoverageReport {
  /** ISO 8601. */
  readonly taken: string;
  readonly rows: readonly CoverageRow[];
  readonly states: Readonly<Record<CoverageState, number>>;
  /** Rows that did not fit, and files whose scan goes on: ask again. */
  readonly rows_left: number;
  readonly scans_pending: number;
  /** Processes that may not be looked into: whether they use TLS is not known. */
  readonly hidden: number;
}
