// Answers whether capture would work here and what it would see, for `oisp-host check`; leaves nothing loaded or attached.
import type { HostError } from '../../errors.js';
import { allCandidates, type Candidate } from './candidates.js';
import { checkLayouts } from './layout-check.js';
import { machineChecks, type PreflightCheck } from './machine-facts.js';
import type { NativeSensor } from './native.js';
import { loadFailure, openAddon, probeFailure } from './native-errors.js';
import { resolveOptions } from './options.js';
import { examine, fileKey, identify, openRegular, type TlsFile } from './tls-file.js';

export type { PreflightCheck } from './machine-facts.js';

/** One function of a file: would it be probed, and if not, why. */
export interface PreflightFunction {
  readonly func: string;
  readonly symbol: string;
  readonly found: boolean;
  readonly detail?: string;
}

/** A file with a TLS library. */
export interface PreflightFile {
  readonly path: string;
  readonly family: string;
  readonly buildId: string | undefined;
  readonly functions: readonly PreflightFunction[];
  /** Running processes that execute or map it. */
  readonly processes: number;
}

export interface Preflight {
  readonly checks: readonly PreflightCheck[];
  /** unsupported outweighs permission: no right helps on a kernel that cannot do it. */
  readonly verdict: 'ok' | 'permission' | 'unsupported';
  readonly files: readonly PreflightFile[];
}

export interface PreflightOptions {
  readonly objectPath: string;
  readonly addonPath: string;
}

/** Reads the machine, looks at every file and loads the object once. Takes up to a few seconds on a busy machine. Never throws for what it finds. */
export async function preflight(options: PreflightOptions): Promise<Preflight> {
  const facts = machineChecks();
  const { files, refused, tls } = await findFiles();
  const checks = [...facts, filesCheck(files, refused), ...(await loadChecks(options, tls[0]))];
  return { checks, verdict: verdictOf(facts, checks), files };
}

function verdictOf(facts: readonly PreflightCheck[], checks: readonly PreflightCheck[]): Preflight['verdict'] {
  const failed = (list: readonly PreflightCheck[], means: string): boolean => list.some((c) => c.status === 'fail' && c.means === means);
  if (failed(facts, 'unsupported')) return 'unsupported';
  // Without rights the trial load fails in ways that say nothing about the kernel.
  if (failed(checks, 'permission')) return 'permission';
  return failed(checks, 'unsupported') ? 'unsupported' : 'ok';
}

interface FoundTls {
  readonly path: string;
  readonly tls: TlsFile;
}

interface FileRow {
  readonly found: FoundTls | undefined;
  readonly tgids: Set<number>;
}

async function findFiles(): Promise<{ files: PreflightFile[]; refused: number; tls: FoundTls[] }> {
  const rows = new Map<string, FileRow>();
  let refused = 0;
  for await (const candidate of allCandidates()) {
    const identity = await identify(candidate.path);
    if (identity === undefined) continue;
    const key = fileKey(identity);
    let row = rows.get(key);
    if (row === undefined) {
      row = { found: await examineCandidate(candidate), tgids: new Set() };
      rows.set(key, row);
      if (row.found === undefined) refused += 1;
    }
    if (candidate.tgid !== undefined) row.tgids.add(candidate.tgid);
  }
  const hits = [...rows.values()].filter((row) => row.found !== undefined);
  return { files: hits.map((row) => describe(row.found as FoundTls, row.tgids.size)), refused, tls: hits.map((row) => row.found as FoundTls) };
}

async function examineCandidate({ path, shown }: Candidate): Promise<FoundTls | undefined> {
  const opened = await openRegular(path);
  if ('refused' in opened) return undefined;
  try {
    const examination = await examine(opened.handle);
    return 'tls' in examination ? { path: shown, tls: examination.tls } : undefined;
  } finally {
    await opened.handle.close();
  }
}

function describe({ path, tls }: FoundTls, processes: number): PreflightFile {
  const functions = tls.functions.map(({ probe: { func, symbol }, offset }): PreflightFunction => {
    return offset === undefined ? { func, symbol, found: false, detail: 'symbol missing' } : { func, symbol, found: true };
  });
  return { path, family: tls.family, buildId: tls.buildId, functions, processes };
}

function filesCheck(files: readonly PreflightFile[], refused: number): PreflightCheck {
  const processes = files.reduce((sum, file) => sum + file.processes, 0);
  const detail = `${files.length} files with a TLS library, used by ${processes} processes; ${refused} programs without one`;
  if (files.length > 0) return { name: 'tls_files', status: 'ok', detail };
  return {
    name: 'tls_files',
    status: 'warn',
    detail,
    hint: 'Nothing to capture is installed or running yet; a library that appears later is found when a program uses it.',
  };
}

/** Loads the object, compares the layouts and probes one function for an instant. */
async function loadChecks({ objectPath, addonPath }: PreflightOptions, first: FoundTls | undefined): Promise<PreflightCheck[]> {
  const checks: PreflightCheck[] = [];
  let sensor: NativeSensor | undefined;
  try {
    const addon = openAddon(addonPath);
    checks.push({ name: 'addon', status: 'ok', detail: `libbpf ${addon.libbpfVersion}` });
    sensor = new addon.Sensor(resolveOptions({ objectPath, addonPath, shards: 1, ringBytes: 64 << 10, scope: { all: false, pids: [], comms: [] } }));
    sensor.load();
    checks.push({ name: 'load', status: 'ok', detail: objectPath });
    checkLayouts((name) => sensor?.layout(name));
    checks.push({ name: 'layout', status: 'ok', detail: 'the object and this build agree' });
    if (first !== undefined) checks.push(tryProbe(sensor, first));
  } catch (error) {
    checks.push(failedCheck(loadFailure(error), checks.length));
  } finally {
    await unload(sensor);
  }
  return checks;
}

async function unload(sensor: NativeSensor | undefined): Promise<void> {
  if (sensor === undefined) return;
  await new Promise<void>((resolve) => sensor.stop(resolve));
  sensor.close();
}

function tryProbe(sensor: NativeSensor, { path, tls }: FoundTls): PreflightCheck {
  const found = tls.functions.find((f) => f.offset !== undefined && f.probe.exit !== undefined);
  if (found?.offset === undefined || found.probe.exit === undefined) return { name: 'probe', status: 'ok', detail: 'nothing to try' };
  try {
    sensor.detach(sensor.attachUprobe(found.probe.exit, path, found.offset, true, 0));
    return { name: 'probe', status: 'ok', detail: `${found.probe.symbol} of ${path}` };
  } catch (error) {
    return failedCheck(probeFailure(error), 3);
  }
}

function failedCheck(error: HostError, step: number): PreflightCheck {
  const name = ['addon', 'load', 'layout', 'probe'][step] ?? 'load';
  const means = error.code === 'PERMISSION' ? 'permission' : 'unsupported';
  return { name, status: 'fail', detail: error.message, hint: error.hint ?? 'Run with --log-level debug and report what it says.', means };
}
