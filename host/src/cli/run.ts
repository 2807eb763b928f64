// `oisp-host run`: captures live until it is told to stop or its command has ended. Opens every output before it loads a probe.
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import type { Config } from '../config/index.js';
import { loadConfig } from '../config/index.js';
import { paths, version } from '../config/paths.js';
import { Coverage } from '../coverage/index.js';
import { loadDecoders } from '../decode/load.js';
import { HostError } from '../errors.js';
import type { Sink } from '../events/sink.js';
import { type FileOpens, type FileReads, InitFlag } from '../gen/records.js';
import { makeSink, type SinkName } from '../sinks/index.js';
import { EbpfSource, type FilesScope, readHostContext } from '../sources/ebpf/index.js';
import { Recorder } from '../sources/replay/recorder.js';
import { DecoderFolder } from '../topology/decoder-folder.js';
import { auditText, DecoderSet } from '../topology/decoder-set.js';
import { shrinkHeap } from '../topology/heap.js';
import { Pipeline } from '../topology/pipeline.js';
import { ShardPool } from '../topology/shard-pool.js';
import { type RunState, StatusReader } from '../topology/status.js';
import { ObservedCommand } from './command.js';
import { openControl } from './control.js';
import { tellRun } from './summary.js';
import { note } from './terminal.js';

export interface RunFlags {
  config?: string;
  output?: string;
  format?: string;
  pid?: number[];
  comm?: string[];
  exe?: string[];
  uid?: number[];
  cgroup?: string[];
  record?: string;
  control?: string;
  json?: boolean;
  quiet?: boolean;
}

/** @returns the exit code: the command's own when there is one. */
export async function run(command: readonly string[], flags: RunFlags): Promise<number> {
  const config = loadConfig(flags.config, overrides(flags));
  const say = flags.quiet ? () => undefined : note;
  const host = await readHostContext();
  const sink = openSink(config, say);
  await sink.open();
  const recorder =
    flags.record === undefined ? undefined : await Recorder.open(flags.record, host, config['decode.shards'], { onError: (error) => note(error.message) });
  if (recorder) say(`recording plaintext, secrets included, to ${flags.record} (mode 0600)`);
  for (const path of config['capture.exes']) if (!existsSync(path)) note(`${path} does not exist: nothing is captured of it before it does`);
  const decoders = loadDecoders(paths.decoders);
  const source = new EbpfSource(sourceOptions(config, command[0]));
  const ends = config['capture.roles'] === 'both' ? InitFlag.server_side : 0;
  const pool = new ShardPool({ shards: config['decode.shards'], decoders, host, version, flags: ends, deadlineMs: config['decode.deadline_ms'] });
  const coverage = new Coverage(source, (path, why) => note(`${path} is not probed any more: ${why}`));
  const pipeline = new Pipeline({
    source,
    pool,
    sink,
    log: say,
    live: true,
    ...(recorder && { recorder }),
    onNote: (noted) => {
      coverage.note(noted);
      if (config['capture.verdicts']) source.judge(noted);
    },
    onEvent: ({ head }) => coverage.event(head),
    onIncident: (incident) => modules.incident(incident),
  });
  const modules = new DecoderSet({
    pool,
    decoders,
    audit: (entry) => note(auditText(entry)),
    deliver: (answer) => pipeline.deliverInTurn(answer),
  });
  let state: RunState = 'starting';
  const scope = describeScope(config, command);
  const status = new StatusReader({
    ...{ version, host, scope, decoders: modules, source, pool, pipeline, sink, recorder, output: config['output.path'] },
    state: () => state,
    targets: () => source.targets(),
    lastProblem: () => source.lastProblem,
    coverage: () => coverage.stats(),
    control: () => control.stats(),
  });
  const folder = config['decode.folder'] === '' ? undefined : new DecoderFolder(config['decode.folder'], modules, note);
  const control = await openControl(config, { version, status, coverage, modules }, say);
  let exitCode = 0;
  try {
    await pool.load();
    const ended = Promise.withResolvers<void>();
    await pipeline.start((error) => (error ? ended.reject(error) : ended.resolve()));
    shrinkHeap();
    source.releaseStartupMemory();
    // A command gets the privileges of whoever started it: it is started first.
    const drop = () => say(`privileges kept: ${source.dropPrivileges(command.length > 0).join(', ') || 'none'}`);
    if (command.length === 0) drop();
    state = 'capturing';
    await folder?.open();
    say(
      `capturing ${scope}; ${source.targets().length} TLS files probed; events go to ${config['output.path'] === '-' ? 'standard output' : config['output.path']}`,
    );
    exitCode = command.length ? await observe(command, { source, host, ended: ended.promise, started: drop }) : await untilSignal(ended.promise);
    state = 'stopping';
    folder?.close();
    await modules.close();
    await pipeline.stop();
    await tellRun({ source, pipeline, pool, sink, recorder }, flags);
    if (sink.stats().dropped > 0 && exitCode === 0) exitCode = 1;
  } finally {
    // Closing twice is harmless: an error on the way must not leave probes or files behind.
    await control.close();
    folder?.close();
    await coverage.close();
    await source.stop();
    await recorder?.close();
    await sink.close();
    await pool.close();
  }
  return exitCode;
}

function overrides(flags: RunFlags): Partial<Config> {
  return {
    ...(flags.output !== undefined && { 'output.path': flags.output }),
    ...(flags.format !== undefined && { 'output.format': flags.format }),
    ...(flags.pid !== undefined && { 'capture.pids': flags.pid }),
    ...(flags.comm !== undefined && { 'capture.comms': flags.comm }),
    ...(flags.exe !== undefined && { 'capture.exes': flags.exe.map((path) => resolve(path)) }),
    ...(flags.uid !== undefined && { 'capture.uids': flags.uid }),
    ...(flags.cgroup !== undefined && { 'capture.cgroups': flags.cgroup }),
    ...(flags.control !== undefined && { 'control.path': absolute(flags.control) }),
  };
}

/** A path given on the command line is meant from where the command was typed. */
const absolute = (path: string): string => (path === '' || path === 'auto' ? path : resolve(path));

/** The sink the configuration asks for, not yet open. */
export function openSink(config: Config, say: (text: string) => void): Sink {
  const pretty = config['output.format'] === 'pretty' || (config['output.format'] === 'auto' && config['output.path'] === '-' && process.stdout.isTTY);
  const name: SinkName = pretty ? 'console' : 'jsonl';
  return makeSink(name, { output: config['output.path'], onTrouble: say });
}

function sourceOptions(config: Config, command: string | undefined): ConstructorParameters<typeof EbpfSource>[0] {
  const pids = [...config['capture.pids']];
  const comms = [...config['capture.comms']];
  const exes = [...config['capture.exes']];
  const uids = [...config['capture.uids']];
  const cgroups = [...config['capture.cgroups']];
  const named = pids.length + comms.length + exes.length + uids.length + cgroups.length > 0;
  for (const pid of pids) requireProcess(pid);
  return {
    objectPath: paths.bpfObject,
    addonPath: paths.addon,
    shards: config['decode.shards'],
    ringBytes: config['capture.ring_bytes'],
    batchBytes: config['capture.batch_bytes'],
    flushMs: config['capture.flush_ms'],
    maxInFlightBytes: config['capture.max_in_flight_bytes'],
    rateLimitBytes: config['capture.rate_limit_bytes'],
    plaintextPorts: config['capture.plaintext_ports'],
    fileReads: config['capture.file_reads'] as keyof typeof FileReads,
    fileOpens: config['capture.file_opens'] as keyof typeof FileOpens,
    ...(command !== undefined && { command }),
    scope: {
      all: command === undefined && !named,
      pids,
      comms,
      exes,
      uids,
      cgroups,
      files: config['capture.files'] as FilesScope,
      agents: config['capture.agents'],
    },
  };
}

function requireProcess(pid: number): void {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') throw new HostError('USAGE', `there is no process ${pid}`, 'Name a running process with --pid.');
  }
}

function describeScope(config: Config, command: readonly string[]): string {
  const parts = [];
  if (command.length) parts.push(`${command[0]} and its descendants`);
  if (config['capture.pids'].length) parts.push(`processes ${config['capture.pids'].join(', ')} and their descendants`);
  if (config['capture.comms'].length) parts.push(`threads named ${config['capture.comms'].join(', ')}`);
  if (config['capture.exes'].length) parts.push(`programs ${config['capture.exes'].join(', ')}`);
  if (config['capture.uids'].length) parts.push(`users ${config['capture.uids'].join(', ')}`);
  if (config['capture.cgroups'].length) parts.push(`cgroups ${config['capture.cgroups'].join(', ')}`);
  return parts.length ? parts.join(', ') : 'every process';
}

/** What a shell adds to the number of the signal that ended a program. */
const SIGNAL_BASE = 128;
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls back on each stop signal until undone. */
function onStopSignals(listener: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of STOP_SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, listener);
  };
}

async function untilSignal(ended: Promise<void>): Promise<number> {
  const stopped = Promise.withResolvers<void>();
  onStopSignals((signal) => {
    // The first asks for a clean stop, which takes a moment; whoever asks again does not want to wait.
    if (stopping) process.exit(SIGNAL_BASE + constants.signals[signal]);
    stopping = true;
    stopped.resolve();
  });
  await Promise.race([stopped.promise, ended]);
  return 0;
}

let stopping = false;

interface Observation {
  readonly source: EbpfSource;
  readonly host: Awaited<ReturnType<typeof readHostContext>>;
  readonly ended: Promise<void>;
  /** Called when the command runs, or could not be started. */
  readonly started: () => void;
}

/** Runs the command in scope. A terminal's interrupt reaches it directly; a termination signal is passed on. */
async function observe(command: readonly string[], { source, host, ended, started }: Observation): Promise<number> {
  const observed = new ObservedCommand(command, host);
  const undo = onStopSignals((signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) observed.signal(signal);
  });
  source.observeChildren();
  try {
    const code = observed.run();
    started();
    return await Promise.race([code, ended.then(() => 1)]);
  } finally {
    source.stopObserving();
    undo();
    onStopSignals(() => undefined);
  }
}
