// The eBPF source: loads the sensor, attaches it to every TLS library of the machine, hands its batches on; never decodes a record.
import { readFile } from 'node:fs/promises';
import type { ConnectionNote } from '../../events/raw-event.js';
import type { RecordBatch, Source, SourceStats } from '../../events/source.js';
import { ConnNote, Gate, Ledger, Verdict } from '../../gen/records.js';
import type { SeenAgent } from './agent-watch.js';
import { AttachTable, type Target } from './attach.js';
import { type CapabilityName, capabilityMask, effectiveCapabilities, lastingCapabilities } from './capabilities.js';
import { commandCandidates } from './command-files.js';
import { Discovery } from './discovery.js';
import { FileReport, type LateFile, type UnreadableFile } from './file-report.js';
import { FileSweep } from './file-sweep.js';
import { fileUses, type ProcessUses } from './file-uses.js';
import { checkLayouts } from './layout-check.js';
import type { NativeBatch, NativeSensor, ScopeCell } from './native.js';
import { isPermission, loadFailure, openAddon, privilegesKept, probesRefused } from './native-errors.js';
import { type EbpfOptions, fileTelling, resolveOptions } from './options.js';
import { processIds } from './proc-files.js';
import { type ProcessWatcher, peekProcesses } from './process-peek.js';
import { type Snapshot, takeSnapshot } from './process-snapshot.js';
import { Scope } from './scope.js';
import { nativeStats } from './source-stats.js';

export type { SeenAgent } from './agent-watch.js';
export type { Target, TargetFunction } from './attach.js';
export type { LateFile, UnreadableFile } from './file-report.js';
export type { ProcessUses, UsedFile } from './file-uses.js';
export { readHostContext } from './host-context.js';
export type { EbpfOptions } from './options.js';
export type { FilesScope, ScopeOptions } from './scope.js';

/** How often it is asked whether the kernel side lost process records. */
/** In the place of a slot: a batch of the snapshot, which the addon knows nothing of. */
const SNAPSHOT = -1;
const LOSS_CHECK_MS = 5_000;

type OnBatch = (batch: RecordBatch) => void;

/**
 *     load -> compare layouts -> scope -> snapshot to every shard -> reader -> attach to files
 *
 * The reader runs before the probes are attached, so that the ring is already drained when the first call is captured. The
 * snapshot comes first: tracepoints fill the ring since load(), so no process can fall between the two.
 */
export class EbpfSource implements Source {
  readonly #options: EbpfOptions;
  readonly #native: ReturnType<typeof resolveOptions>;
  readonly #snapshot = { processes: 0, skipped: 0, batches: 0, bytes: 0 };
  readonly #report = new FileReport();
  /** Scope first: an agent's files are open before its libraries are. */
  readonly #watcher: ProcessWatcher = {
    onExec: (tgid, atMs) => {
      this.#scope?.onExec(tgid);
      this.#discovery?.onExec(tgid, atMs);
    },
    onMap: (tgid, file, atMs) => this.#discovery?.onMap(tgid, file, atMs),
    onExit: (tgid) => this.#discovery?.onExit(tgid),
  };
  #sensor: NativeSensor | undefined;
  #table: AttachTable | undefined;
  #discovery: Discovery | undefined;
  #sweep: FileSweep | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #scope: Scope | undefined;
  #lossTimer: NodeJS.Timeout | undefined;
  #unreadable = 0;
  readonly #verdicts = { given: 0, failed: 0 };
  #lastNative: SourceStats = {};
  #lastTargets: Target[] = [];

  /** @throws HostError CONFIG for an option out of range. */
  constructor(options: EbpfOptions) {
    this.#options = options;
    this.#native = resolveOptions(options);
  }

  /**
   * Resolves when every file found is probed. The source does not end by itself: onEnd is never called.
   * @throws HostError PERMISSION, UNSUPPORTED, LAYOUT or NATIVE; nothing is left attached then.
   */
  start(onBatch: OnBatch, _onEnd: (error?: Error) => void): Promise<void> {
    if (this.#starting !== undefined || this.#stopping !== undefined) throw new Error('a source is started once');
    this.#starting = this.#start(onBatch);
    return this.#starting;
  }

  credit(shard: number, bytes: number, slot?: number): void {
    if (slot !== SNAPSHOT) this.#sensor?.credit(shard, bytes, slot);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Only processes that this one starts from now on are captured, with all their descendants. Needs scope.all false. */
  observeChildren(): void {
    this.#running().scopeAdd(process.pid, { ...this.#cell(), capture: false });
  }

  /** Processes started from now on are not captured; those that run stay so. */
  stopObserving(): void {
    this.#running().scopeRemove(process.pid);
  }

  /** Takes what a decoder noted of a connection: one that carries no AI traffic is not copied any more. */
  judge(note: ConnectionNote): void {
    if (note.what !== ConnNote.not_ai || note.generation === 0n || this.#sensor === undefined) return;
    const verdict = note.detail['all'] === true ? Verdict.skip_all : Verdict.skip_requests;
    try {
      this.#sensor.verdict(note.tgid, note.ssl, note.generation, verdict);
      this.#verdicts.given += 1;
    } catch {
      // The connection is copied on, which costs only time.
      this.#verdicts.failed += 1;
    }
  }

  /**
   * Takes every privilege from this process that capture no longer needs, once and for all: what finds and probes further files stays. A
   * command that is to run with the privileges of whoever started it is started before.
   * @param command whether one is being observed.
   * @returns what is left, which is never more than there was.
   * @throws HostError NATIVE; threads may differ then, and the process should end.
   */
  dropPrivileges(command: boolean): CapabilityName[] {
    const links = this.#running().uprobeMeans() === 'uprobe_multi';
    try {
      openAddon(this.#options.addonPath).reducePrivileges(capabilityMask(lastingCapabilities(links, command)));
    } catch (error) {
      throw privilegesKept(error);
    }
    return this.privileges();
  }

  /** The capabilities of this process, of those the sensor has a use for. */
  privileges(): CapabilityName[] {
    return [...effectiveCapabilities()];
  }

  /** Gives memory that only the start needed back to the kernel. Breakpoints in this process's own text go with it, which spares it the traps. */
  releaseStartupMemory(): void {
    openAddon(this.#options.addonPath).releaseStartupMemory();
  }

  /** Every file with a TLS library that was found, and what of it is probed. */
  targets(): Target[] {
    return this.#table?.targets() ?? this.#lastTargets;
  }

  /** Files that could not be looked into, with the reason; the newest last, at most 256. */
  unreadableFiles(): UnreadableFile[] {
    return this.#report.unreadable;
  }

  /** Files that were probed after a process already used them: its first bytes may be missing. The newest last, at most 256. */
  lateFiles(): LateFile[] {
    return this.#report.lateFiles;
  }

  /** Processes that were recognised as agents; the newest last, at most 256. */
  agents(): SeenAgent[] {
    return this.#scope?.agents ?? [];
  }

  /** The running processes in scope with the files that they execute. */
  async *fileUses(): AsyncGenerator<ProcessUses> {
    if (this.#scope !== undefined) yield* fileUses(await this.#scope.members());
  }

  /** Takes the probes off one file and keeps them off. @param why for people. @returns false when there are none. */
  detachTarget(id: number, why: string): boolean {
    return this.#table?.detachTarget(id, why) ?? false;
  }

  /** What discovery last stumbled over, for people; undefined when all went well. */
  get lastProblem(): string | undefined {
    return this.#discovery?.lastProblem ?? this.#scope?.lastProblem ?? this.#retellFailed;
  }

  stats(): SourceStats {
    const native = this.#sensor === undefined ? this.#lastNative : nativeStats(this.#sensor.stats());
    return {
      ...native,
      snapshot: { ...this.#snapshot },
      scope: this.#scope?.stats() ?? {},
      discovery: this.#discovery?.stats() ?? {},
      file_sweeps_failed: this.#sweep?.failed ?? 0,
      process_peek: { unreadable: this.#unreadable },
      targets: this.targets().length,
      verdicts: { ...this.#verdicts },
    };
  }

  async #start(onBatch: OnBatch): Promise<void> {
    const addon = openAddon(this.#options.addonPath);
    try {
      const sensor = new addon.Sensor(this.#native);
      this.#sensor = sensor;
      sensor.load();
      checkLayouts((name) => sensor.layout(name));
      sensor.setFileTelling(fileTelling(this.#options));
      sensor.setRate(this.#options.rateLimitBytes ?? 0);
      for (const port of this.#options.plaintextPorts ?? []) sensor.addPlainPort(port);
      this.#scope = new Scope(sensor, this.#options.scope);
      await this.#scope.apply();
      // What runs already may have any kind of socket open.
      for (const tgid of await processIds()) sensor.gateAdd(tgid, Gate.sockets);
      this.#onBatch = onBatch;
      await this.#deliverSnapshot(onBatch);
      await this.#capture(sensor, onBatch);
    } catch (error) {
      // stop() would wait for this very start.
      await this.#release();
      throw loadFailure(error);
    }
  }

  retell(shard: number): void {
    if (this.#onBatch === undefined || this.#stopping !== undefined) return;
    this.#deliverSnapshot(this.#onBatch, shard).catch((error: Error) => {
      this.#retellFailed = error.message;
    });
  }
  #onBatch: OnBatch | undefined;
  #retellFailed: string | undefined;

  /** @param only the shard that is told; undefined: each. */
  async #deliverSnapshot(onBatch: OnBatch, only?: number): Promise<void> {
    const { batchBytes, maxInFlightBytes, shards } = this.#native;
    // Half the credit of a shard, so that kernel records can follow before it is worked off.
    const snapshot: Snapshot = await takeSnapshot({ batchBytes, totalBytes: maxInFlightBytes / 2 });
    const clockOffsetNs = await clockOffset();
    this.#snapshot.processes = snapshot.processes;
    this.#snapshot.skipped = snapshot.skipped;
    for (const { bytes, records } of snapshot.batches) {
      for (let shard = 0; shard < shards; shard += 1) {
        if (only !== undefined && shard !== only) continue;
        this.#snapshot.batches += 1;
        this.#snapshot.bytes += bytes.length;
        onBatch({ shard, bytes: bytes.slice(), slot: SNAPSHOT, records, payloadBytes: 0, clockOffsetNs });
      }
    }
  }

  async #capture(sensor: NativeSensor, onBatch: OnBatch): Promise<void> {
    const table = new AttachTable(sensor, this.#report);
    const discovery = new Discovery(table);
    this.#table = table;
    this.#discovery = discovery;
    sensor.start((batch) => this.#onNativeBatch(batch, onBatch));
    this.#sweep = new FileSweep(sensor);
    if (this.#options.command !== undefined) await discovery.addFiles(await commandCandidates(this.#options.command));
    await discovery.scanAll();
    this.#watchLoss(sensor, discovery);
    refuseWithoutRights(table.targets());
  }

  /** Records that the ring had no room for may have told of a program or a library. */
  #watchLoss(sensor: NativeSensor, discovery: Discovery): void {
    const lost = (): number => sensor.stats().kernel[Ledger.sys_ring_full]?.records ?? 0;
    let before = lost();
    this.#lossTimer = setInterval(() => {
      const now = lost();
      if (now > before) discovery.onLoss();
      before = now;
    }, LOSS_CHECK_MS).unref();
  }

  #onNativeBatch({ shard, slot, buffer, length, records, payloadBytes, kinds, clockOffsetNs }: NativeBatch, onBatch: OnBatch): void {
    const bytes = slot === undefined ? new Uint8Array(buffer as ArrayBuffer, 0, length) : this.#native.memory.subarray(slot, slot + length);
    // Process records go to every shard: one of them tells all.
    if (shard === 0 && !peekProcesses(bytes, clockOffsetNs, this.#watcher)) this.#unreadable += 1;
    onBatch({ shard, bytes, records, payloadBytes, kinds, clockOffsetNs, ...(slot !== undefined && { slot }) });
  }

  async #stop(): Promise<void> {
    const discovery = this.#discovery?.close();
    // A start that fails has told its caller, and has released everything.
    await this.#starting?.catch(() => undefined);
    await discovery;
    await this.#release();
  }

  /** Drains the ring through onBatch and frees the sensor; the last numbers stay readable. */
  async #release(): Promise<void> {
    clearInterval(this.#lossTimer);
    await this.#discovery?.close();
    await this.#scope?.close();
    this.#sweep?.close();
    const sensor = this.#sensor;
    if (sensor === undefined) return;
    await new Promise<void>((resolve) => sensor.stop(resolve));
    this.#lastNative = nativeStats(sensor.stats());
    this.#lastTargets = this.targets();
    this.#table = undefined;
    this.#sensor = undefined;
    sensor.close();
  }

  #cell(): ScopeCell {
    return this.#scope?.cell ?? { capture: true, inherit: true, files: true };
  }

  #running(): NativeSensor {
    if (this.#sensor === undefined) throw new Error('the source is not running');
    return this.#sensor;
  }
}

/** Files are there, and none can be probed because the kernel says no: capture would be silent, so it does not start. */
function refuseWithoutRights(targets: readonly Target[]): void {
  const functions = targets.flatMap((target) => target.functions);
  const refused = functions.find((f) => f.detail !== undefined && isPermission(f.detail));
  if (refused?.detail !== undefined && !functions.some((f) => f.attached)) throw probesRefused(refused.detail);
}

/**
 * CLOCK_REALTIME minus CLOCK_BOOTTIME for the snapshot's batches, which come before the addon's first. /proc/uptime is the
 * boot clock in steps of 10 ms, as coarse as the start times in the snapshot are; kernel batches carry the exact value.
 */
async function clockOffset(): Promise<bigint> {
  const [seconds = '0'] = (await readFile('/proc/uptime', 'latin1')).split(' ');
  return BigInt(Date.now()) * 1_000_000n - BigInt(Math.round(Number(seconds) * 100)) * 10_000_000n;
}
