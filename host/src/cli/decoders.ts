// `oisp-host decoders`: which decoder modules there are and whether one can be trusted; swaps, rolls back and pins those of a running daemon.
import { readFileSync } from 'node:fs';
import { paths } from '../config/paths.js';
import { loadDecoders } from '../decode/load.js';
import { VERIFY_MS, verifyInThread } from '../decode/verify-thread.js';
import { HostError, reasonOf } from '../errors.js';
import { KindText } from '../gen/records.js';
import { auditText, type ChangeReport, type DecoderState } from '../topology/decoder-set.js';
import { askDaemon, orderDaemon } from './control-client.js';
import { type AskFlags, socketOf } from './status.js';
import { bytesText, note, paint, plainText, table } from './terminal.js';

const kinds = (numbers: readonly number[]): string[] => numbers.map((kind) => KindText[kind] ?? String(kind));

/** What is listed: the modules of a running daemon, or those that one would load. */
type Row = Omit<DecoderState, 'state' | 'pinned' | 'previous'> & Partial<Pick<DecoderState, 'state' | 'pinned' | 'previous'>>;

export interface ListFlags extends AskFlags {
  /** Those on disk, whatever runs. */
  installed?: boolean;
}

export async function listDecoders(flags: ListFlags): Promise<number> {
  const rows = flags.installed ? installed() : await ofDaemon(flags);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(rows.map((row) => ({ ...row, consumes: kinds(row.consumes), produces: kinds(row.produces) })))}\n`);
    return 0;
  }
  const lines = rows.map(({ name, version, sha256, bytes, consumes, produces, state, pinned, previous }) => [
    plainText(name),
    plainText(version),
    sha256.slice(0, 12),
    bytesText(bytes),
    ...(state === undefined ? [] : [`${state}${pinned ? ', pinned' : ''}`, previous?.[0] ? plainText(previous[0].version) : '']),
    `${kinds(consumes).join(' ')} -> ${kinds(produces).join(' ')}`,
  ]);
  const more = flags.installed ? [] : ['STATE', 'BEFORE'];
  const [head = '', ...rest] = table([['NAME', 'VERSION', 'SHA-256', 'SIZE', ...more, 'CONSUMES -> PRODUCES'], ...lines]).split('\n');
  process.stdout.write(`${[paint(process.stdout, 'bold', head), ...rest].join('\n')}\n`);
  return 0;
}

function installed(): Row[] {
  return loadDecoders(paths.decoders).map(({ name, version, compiled, bytes, consumes, produces }) => ({
    ...{ name, version, sha256: compiled.sha256, bytes, consumes, produces },
  }));
}

/** Without a daemon, and none named, those on disk are meant. */
async function ofDaemon(flags: ListFlags): Promise<Row[]> {
  try {
    return await askDaemon<DecoderState[]>(socketOf(flags), '/v1/decoders');
  } catch (error) {
    if (flags.control !== undefined || flags.config !== undefined || !(error instanceof HostError) || error.code === 'INPUT') throw error;
    flags.installed = true;
    if (!flags.json) note('no daemon is running: these are the modules that one would load');
    return installed();
  }
}

/** Says whether a module keeps the rules. @returns the exit code. */
export async function verifyDecoder(path: string, flags: { json?: boolean; timeout?: number }): Promise<number> {
  const verdict = await verifyInThread(path, { limitMs: flags.timeout === undefined ? VERIFY_MS : flags.timeout * 1000 });
  if (flags.json) process.stdout.write(`${JSON.stringify(verdict)}\n`);
  else {
    for (const { name, passed, detail } of verdict.checks) {
      const mark = passed ? paint(process.stdout, 'green', 'ok  ') : paint(process.stdout, 'red', 'FAIL');
      process.stdout.write(`${mark} ${name}: ${detail}\n`);
    }
    const identity = verdict.sha256 === undefined ? '' : ` (SHA-256 ${verdict.sha256})`;
    process.stdout.write(verdict.passed ? `${verdict.name} ${verdict.version} keeps the rules${identity}\n` : `refused: ${path}\n`);
  }
  return verdict.passed ? 0 : 1;
}

/** Has the daemon put a file into the place of a module, or beside the others. @returns the exit code. */
export async function swapDecoder(name: string, path: string, flags: AskFlags): Promise<number> {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new HostError('INPUT', `${path} cannot be read: ${reasonOf(error)}`, undefined, { cause: error });
  }
  if (!flags.json && process.stderr.isTTY) note('the daemon verifies it and tries it beside the one in use, which takes some seconds');
  return tell(await order(flags, 'swap', name, bytes), flags);
}

export async function rollbackDecoder(name: string, flags: AskFlags): Promise<number> {
  return tell(await order(flags, 'rollback', name), flags);
}

export async function pinDecoder(name: string, flags: AskFlags, pinned: boolean): Promise<number> {
  return tell(await order(flags, pinned ? 'pin' : 'unpin', name), flags);
}

function order(flags: AskFlags, what: string, name: string, body?: Uint8Array): Promise<ChangeReport> {
  return orderDaemon<ChangeReport>(socketOf(flags), `/v1/decoders/${what}?name=${encodeURIComponent(name)}`, body);
}

function tell(report: ChangeReport, flags: AskFlags): number {
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return 0;
  }
  const { entry, canary, shards } = report;
  process.stdout.write(`${plainText(auditText(entry))}\n`);
  if (canary) process.stdout.write(`tried beside the one in use with ${canary.buffers} buffers: no fault\n`);
  shards.forEach(({ bytes, held, pause_ms }, shard) => {
    const rest = held > 0 ? `; the one before sees ${held} open ones through` : '';
    process.stdout.write(`shard ${shard}: ${bytesText(bytes)} handed over, it stood still for ${pause_ms.toFixed(1)} ms${rest}\n`);
  });
  return 0;
}
