// Makes the coverage report: joins what decoders noted of each process with what it runs and what is probed; it holds nothing itself.
import type { ProcessUses, Target, UsedFile } from '../sources/ebpf/index.js';
import { containerId } from '../transforms/enrich/container.js';
import type { CoverageFile, CoverageReport, CoverageRow, CoverageState, FoundStack } from './row.js';
import type { FileScan } from './scan-file.js';
import { type FileUse, type Hello, type ProcessRow, SOCKET } from './table.js';
import { detailOf, isTlsLibrary, reasonOf, stateOf } from './why.js';

/** What a report is made of. */
export interface CoverageParts {
  readonly rows: () => readonly ProcessRow[];
  readonly processes: () => AsyncIterable<ProcessUses>;
  readonly targets: () => readonly Target[];
  /** Files that could not be looked into, by path for people, with the reason. */
  readonly refusals: () => ReadonlyMap<string, string>;
  /** @returns undefined: not known in time. */
  readonly scan: (path: string, deadlineMs: number) => Promise<FileScan | undefined>;
}

const MAX_ROWS = 8192;
/** Longest time that a report waits for scans, all of them together. */
const SCAN_MS = 15_000;
/** Files of one process that are scanned. */
const MAX_SCANS = 24;
/** A start time of /proc is that much too early at most. */
const TICK_NS = 10_000_000n;

export async function makeReport(parts: CoverageParts, nowMs = Date.now()): Promise<CoverageReport> {
  const maker = new ReportMaker(parts, nowMs);
  const waiting = new Map(parts.rows().map((row) => [`${row.tgid}:${row.startNs}`, row]));
  const byTgid = Map.groupBy(waiting.values(), ({ tgid }) => tgid);
  for await (const uses of parts.processes()) {
    const row = byTgid.get(uses.tgid)?.find(({ startNs }) => startNs >= uses.startNs && startNs - uses.startNs < TICK_NS);
    if (row) waiting.delete(`${row.tgid}:${row.startNs}`);
    await maker.add(row, uses);
  }
  // Those that have ended since.
  for (const row of waiting.values()) await maker.add(row, undefined);
  return maker.finish();
}

class ReportMaker {
  readonly #rows: CoverageRow[] = [];
  readonly #states: Record<CoverageState, number> = { readable: 0, detached: 0, waiting: 0, not_readable: 0, not_attached: 0, idle: 0 };
  readonly #byId: ReadonlyMap<number, Target>;
  readonly #byFile: ReadonlyMap<string, Target>;
  readonly #refusals: ReadonlyMap<string, string>;
  readonly #deadlineMs = performance.now() + SCAN_MS;
  #left = 0;
  #pending = 0;

  constructor(
    private readonly parts: CoverageParts,
    private readonly nowMs: number,
  ) {
    const targets = parts.targets();
    this.#byId = new Map(targets.map((target) => [target.id, target]));
    this.#refusals = parts.refusals();
    this.#byFile = new Map(targets.map((target) => [`${target.dev}:${target.inode}`, target]));
  }

  /** @param row what was noted of it. @param uses what it runs and maps, while it runs. One of them is there. */
  async add(row: ProcessRow | undefined, uses: ProcessUses | undefined): Promise<void> {
    const files = this.#files(row, uses?.files ?? []);
    if (row === undefined && files.length === 0) return;
    if (this.#rows.length >= MAX_ROWS) {
      this.#left += 1;
      return;
    }
    const state = stateOf(row, files, this.nowMs);
    const pendingBefore = this.#pending;
    const stacks = state === 'not_readable' ? await this.#stacks(row, uses) : [];
    this.#states[state] += 1;
    this.#rows.push({
      ...who(row, uses),
      state,
      reason: reasonOf(state, { files, stacks, used: uses?.files.map(({ path }) => path), pending: this.#pending > pendingBefore }),
      files,
      stacks,
      hellos: row?.hellos ?? 0,
      last_hello: helloText(row?.lastHello ?? null),
      read_connections: files.reduce((sum, { connections }) => sum + connections, 0),
      ai_events: row?.aiEvents ?? 0,
      last_ai: iso(row?.lastAiMs ?? null),
      not_ai: row?.notAi ?? 0,
    });
  }

  finish(): CoverageReport {
    return { taken: new Date(this.nowMs).toISOString(), rows: this.#rows, states: this.#states, rows_left: this.#left, scans_pending: this.#pending };
  }

  /** The files that plaintext came from, those of the process that are probed, and its known TLS libraries that are not. */
  #files(row: ProcessRow | undefined, used: readonly UsedFile[]): CoverageFile[] {
    const out = [...(row?.files.values() ?? [])].map((use) => fileOfUse(use, this.#byId.get(use.target), used));
    const told = new Set(row?.files.keys());
    for (const file of used) {
      const target = this.#byFile.get(`${file.dev}:${file.inode}`);
      if (target && !told.has(target.id)) out.push(fileOfUse({ target: target.id, first: null, connections: 0, implausible: 0 }, target, used));
      else if (!target && isTlsLibrary(file.path)) out.push(unexamined(file, this.#refusals.get(file.path)));
    }
    return out;
  }

  /** What speaks TLS in the files of a process that nothing was read of. */
  async #stacks(row: ProcessRow | undefined, uses: ProcessUses | undefined): Promise<FoundStack[]> {
    const probed = (file: UsedFile) => this.#byFile.get(`${file.dev}:${file.inode}`)?.functions.some(({ attached }) => attached) === true;
    const files = uses?.files.filter((file) => !probed(file)) ?? [];
    // A process that has ended is known by the path of its program, which leads nowhere in a container.
    const paths = uses ? files.map(({ path, reach }) => ({ path, reach })) : row?.exe && row.container === null ? [{ path: row.exe, reach: row.exe }] : [];
    const found: FoundStack[] = [];
    for (const { path, reach } of paths.slice(0, MAX_SCANS)) {
      const scan = await this.parts.scan(reach, this.#deadlineMs);
      if (scan === undefined) this.#pending += 1;
      const crypto = scan?.crypto.map(({ name, version }) => [name, version].filter(Boolean).join(' ')) ?? [];
      for (const { name, version } of scan?.stacks ?? []) found.push({ name, version, file: path, stripped: scan?.stripped ?? null, crypto });
    }
    return found;
  }
}

/** A file that plaintext came from, or that is probed. */
function fileOfUse({ target, first, connections, implausible }: FileUse, probed: Target | undefined, used: readonly UsedFile[]): CoverageFile {
  const at = probed && used.find(({ dev, inode }) => dev === probed.dev && inode === probed.inode);
  return {
    path: at?.path ?? probed?.path ?? null,
    family: probed?.family ?? null,
    method: target === SOCKET ? 'socket' : 'symbol',
    attached: target === SOCKET || (probed?.functions.some(({ attached }) => attached) ?? false),
    detail: probed ? detailOf(probed.functions) : null,
    deleted: at?.deleted ?? false,
    first_plaintext: first && { at: new Date(first.atMs).toISOString(), bytes: first.bytes, direction: first.direction, looks: first.looks },
    connections,
    implausible,
  };
}

/** A TLS library by its name, of which nothing is probed. */
function unexamined({ path, deleted }: UsedFile, refusal: string | undefined): CoverageFile {
  const detail = refusal ?? (deleted ? 'deleted: another file, or none, has its name' : 'holds none of the functions that can be probed');
  return { path, family: null, method: 'symbol', attached: false, detail, deleted, first_plaintext: null, connections: 0, implausible: 0 };
}

function who(row: ProcessRow | undefined, uses: ProcessUses | undefined) {
  const container = row?.container ?? (uses?.cgroup === undefined ? null : (containerId(uses.cgroup) ?? null));
  return {
    pid: row?.tgid ?? uses?.tgid ?? 0,
    started: iso(row?.startedMs ?? null),
    running: uses !== undefined,
    exe: uses?.exe ?? row?.exe ?? null,
    arg0: row?.arg0 ?? uses?.arg0 ?? null,
    comm: uses?.comm ?? row?.comm ?? '',
    uid: uses?.uid ?? row?.uid ?? 0,
    container,
  };
}

function helloText(hello: Hello | null): CoverageRow['last_hello'] {
  if (hello === null) return null;
  const { atMs, peerPort, ...rest } = hello;
  return { at: new Date(atMs).toISOString(), ...rest, peer_port: peerPort };
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
