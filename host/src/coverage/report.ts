// Makes the coverage report: joins what decoders noted of each process with what it executes and what is probed; it holds nothing itself.
import type { LateFile, ProcessUses, Target, UnreadableFile, UsedFile } from '../sources/ebpf/index.js';
import { containerId } from '../transforms/enrich/container.js';
import type { CoverageFile, CoverageReport, CoverageRow, CoverageState, FoundStack } from './row.js';
import type { FileScan } from './scan-file.js';
import { type FileUse, type Hello, type ProcessRow, SOCKET } from './table.js';
import { detailOf, isTlsLibrary, nameOf, reasonOf, stateOf } from './why.js';

/** What a report is made of. */
export interface CoverageParts {
  readonly rows: () => readonly ProcessRow[];
  readonly processes: () => AsyncIterable<ProcessUses>;
  readonly targets: () => readonly Target[];
  readonly unreadable: () => readonly UnreadableFile[];
  readonly late: () => readonly LateFile[];
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
    await maker.add(uses.tgid, row, uses);
  }
  // Those that have ended since.
  for (const row of waiting.values()) await maker.add(row.tgid, row, undefined);
  for (const { tgid } of parts.late()) await maker.add(tgid, undefined, undefined);
  return maker.finish();
}

class ReportMaker {
  readonly #rows: CoverageRow[] = [];
  readonly #told = new Set<number>();
  readonly #states: Record<CoverageState, number> = { readable: 0, detached: 0, waiting: 0, not_readable: 0, not_attached: 0, late: 0, idle: 0 };
  readonly #targets: readonly Target[];
  readonly #byFile: ReadonlyMap<string, Target>;
  readonly #refusals: ReadonlyMap<string, string>;
  readonly #late: ReadonlyMap<number, LateFile[]>;
  readonly #deadlineMs = performance.now() + SCAN_MS;
  #left = 0;
  #pending = 0;
  #hidden = 0;

  constructor(
    private readonly parts: CoverageParts,
    private readonly nowMs: number,
  ) {
    this.#targets = parts.targets();
    // By device and inode, and for file systems whose maps name another device by inode and path.
    this.#byFile = new Map(this.#targets.flatMap((target) => [`${target.dev}:${target.inode}`, `${target.inode}:${target.path}`].map((key) => [key, target])));
    this.#refusals = new Map(parts.unreadable().map(({ path, reason, detail }) => [path, `${reason} (${detail})`]));
    this.#late = Map.groupBy(
      parts.late().filter(({ afterMs }) => afterMs !== undefined),
      ({ tgid }) => tgid,
    );
  }

  /** @param row what was noted of it. @param uses what it executes, while it runs. With neither it is known only by a file that was probed late. */
  async add(tgid: number, row: ProcessRow | undefined, uses: ProcessUses | undefined): Promise<void> {
    if (uses?.hidden) this.#hidden += 1;
    if (row === undefined && uses === undefined && this.#told.has(tgid)) return;
    const files = await this.#files(tgid, row, uses?.files ?? []);
    if (row === undefined && files.length === 0) return;
    this.#told.add(tgid);
    if (this.#rows.length >= MAX_ROWS) {
      this.#left += 1;
      return;
    }
    const state = stateOf(row, files, this.nowMs);
    const evidence = state === 'not_readable' ? await this.#search(row, uses) : { stacks: [], pending: false, refused: [] };
    this.#states[state] += 1;
    this.#rows.push({
      ...who(tgid, row, uses),
      state,
      reason: reasonOf(state, { files, used: uses?.files.map(({ path }) => path), ...evidence }),
      files,
      stacks: evidence.stacks,
      ...seen(row, files),
    });
  }

  finish(): CoverageReport {
    const rows = { rows: this.#rows, states: this.#states, rows_left: this.#left };
    return { taken: new Date(this.nowMs).toISOString(), ...rows, scans_pending: this.#pending, hidden: this.#hidden };
  }

  #target({ dev, inode, path }: UsedFile): Target | undefined {
    return this.#byFile.get(`${dev}:${inode}`) ?? this.#byFile.get(`${inode}:${path}`);
  }

  /** The files that plaintext came from, those of the process that are probed, and its known TLS libraries that are not. */
  async #files(tgid: number, row: ProcessRow | undefined, used: readonly UsedFile[]): Promise<CoverageFile[]> {
    const late = new Map(this.#late.get(tgid)?.map(({ path, afterMs = 0 }) => [path, Math.round(afterMs)]));
    const uses = new Map<number, { use: FileUse; at?: UsedFile }>([...(row?.files.values() ?? [])].map((use) => [use.target, { use }]));
    const unknown: CoverageFile[] = [];
    for (const at of used) {
      const target = this.#target(at);
      if (target) uses.set(target.id, { use: uses.get(target.id)?.use ?? unused(target), at });
      else if (isTlsLibrary(at.path)) unknown.push(unexamined(at.path, await at.isDeleted(), this.#refusals.get(at.path)));
    }
    const known = [...uses.values()].map(async ({ use, at }) => {
      const path = at?.path ?? use.path;
      const lateMs = path === null ? null : (late.get(path) ?? null);
      if (path !== null) late.delete(path);
      return this.#known(use, { path, lateMs, deleted: (await at?.isDeleted()) ?? false });
    });
    const files = [...(await Promise.all(known)), ...unknown];
    // What is left was used by a process that has ended, before its file was probed.
    if (used.length === 0) for (const [path, lateMs] of late) files.push(this.#lateOnly(path, lateMs));
    return files;
  }

  #known(use: FileUse, { path, lateMs, deleted }: { path: string | null; lateMs: number | null; deleted: boolean }): CoverageFile {
    const probed = this.#targets.find(({ id }) => id === use.target);
    const { first, connections, implausible, family } = use;
    return {
      path,
      family,
      method: use.target === SOCKET ? 'socket' : 'symbol',
      attached: use.target === SOCKET || (probed ? probed.functions.some(({ attached }) => attached) : first !== null),
      detail: probed ? detailOf(probed.functions) : null,
      deleted,
      late_ms: lateMs,
      first_plaintext: first && { at: new Date(first.atMs).toISOString(), bytes: first.bytes, direction: first.direction, looks: first.looks },
      connections,
      implausible,
    };
  }

  #lateOnly(path: string, lateMs: number): CoverageFile {
    const target = this.#targets.find((one) => one.path === path);
    const use = target ? unused(target) : { target: 0, path, family: null, first: null, connections: 0, implausible: 0 };
    return { ...this.#known(use, { path, lateMs, deleted: false }), attached: true };
  }

  /** Looks for what speaks TLS in the files of a process that nothing was read of. */
  async #search(row: ProcessRow | undefined, uses: ProcessUses | undefined): Promise<{ stacks: FoundStack[]; pending: boolean; refused: string[] }> {
    const stacks: FoundStack[] = [];
    const refused: string[] = [];
    let pending = 0;
    for (const { path, reach } of this.#searched(row, uses).slice(0, MAX_SCANS)) {
      const at = await reach();
      const scan = at === undefined ? undefined : await this.parts.scan(at, this.#deadlineMs);
      if (at !== undefined && scan === undefined) pending += 1;
      if (at === undefined || scan?.refused) refused.push(`${nameOf(path)}: ${scan?.refused ?? 'no path leads to it'}`);
      const crypto = scan?.crypto.map(({ name, version }) => [name, version].filter(Boolean).join(' ')) ?? [];
      for (const { name, version } of scan?.stacks ?? []) stacks.push({ name, version, file: path, stripped: scan?.stripped ?? null, crypto });
    }
    this.#pending += pending;
    return { stacks, pending: pending > 0, refused };
  }

  /** What is probed is known already, and the C library of a program is none. */
  #searched(row: ProcessRow | undefined, uses: ProcessUses | undefined): Pick<UsedFile, 'path' | 'reach'>[] {
    if (uses) return uses.files.filter((file) => !NO_TLS.test(nameOf(file.path)) && !this.#target(file)?.functions.some(({ attached }) => attached));
    // A process that has ended is known by the path of its program, which leads nowhere in a container.
    const path = row?.container === null ? row.exe : null;
    return path === null ? [] : [{ path, reach: async () => path }];
  }
}

/** Libraries that nearly every process has, and that are known to speak no TLS. */
const NO_TLS = /^(?:ld-linux|ld-musl|lib(?:c|m|dl|rt|z|pthread|resolv|stdc\+\+|gcc_s|crypto)[-.])/;

function unused({ id, path, family }: Target): FileUse {
  return { target: id, path, family, first: null, connections: 0, implausible: 0 };
}

/** A TLS library by its name, of which nothing is probed. */
function unexamined(path: string, deleted: boolean, refusal: string | undefined): CoverageFile {
  const detail = refusal ?? (deleted ? 'deleted: its name leads to another file, or to none' : 'holds none of the functions that can be probed');
  return { path, family: null, method: 'symbol', attached: false, detail, deleted, late_ms: null, first_plaintext: null, connections: 0, implausible: 0 };
}

function who(tgid: number, row: ProcessRow | undefined, uses: ProcessUses | undefined) {
  const container = row?.container ?? (uses?.cgroup === undefined ? null : (containerId(uses.cgroup) ?? null));
  return {
    pid: tgid,
    started: iso(row?.startedMs ?? null),
    running: uses !== undefined,
    exe: uses?.exe ?? row?.exe ?? null,
    arg0: row?.arg0 ?? uses?.arg0 ?? null,
    comm: uses?.comm ?? row?.comm ?? '',
    uid: uses?.uid ?? row?.uid ?? null,
    container,
  };
}

function seen(row: ProcessRow | undefined, files: readonly CoverageFile[]) {
  return {
    hellos: row?.hellos ?? 0,
    last_hello: helloText(row?.lastHello ?? null),
    read_connections: files.reduce((sum, { connections }) => sum + connections, 0),
    ai_events: row?.aiEvents ?? 0,
    last_ai: iso(row?.lastAiMs ?? null),
    not_ai: row?.notAi ?? 0,
  };
}

function helloText(hello: Hello | null): CoverageRow['last_hello'] {
  if (hello === null) return null;
  const { atMs, peerPort, ...rest } = hello;
  return { at: new Date(atMs).toISOString(), ...rest, peer_port: peerPort };
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
