// `oisp-host status`: what the running daemon sees, probes and has lost, as tables or as the JSON it gave; changes nothing.
import { loadConfig } from '../config/index.js';
import { controlPath } from '../config/paths.js';
import { detailOf } from '../coverage/why.js';
import { HostError } from '../errors.js';
import type { SourceStats } from '../events/source.js';
import type { Target } from '../sources/ebpf/index.js';
import { auditText } from '../topology/decoder-set.js';
import { HELD_BUCKETS } from '../topology/ledger.js';
import type { Status } from '../topology/status.js';
import { askDaemon } from './control-client.js';
import { bytesText, durationText, paint, plainText, table } from './terminal.js';

export interface AskFlags {
  config?: string;
  control?: string;
  json?: boolean;
}

/** Buckets in which bytes are no loss. */
const FINE = new Set(['emitted', 'read', 'handed_over', 'decoder', 'framing_bytes', 'body_wire_bytes', 'unrecognised_bytes', ...HELD_BUCKETS]);

/** The control socket that the flags mean. @throws HostError CONFIG, USAGE. */
export function socketOf(flags: AskFlags): string {
  const path = flags.control ?? controlPath(loadConfig(flags.config)['control.path']);
  if (path === undefined) throw new HostError('USAGE', 'no control socket is known for this user', 'Name it with --control, or ask as root.');
  return path;
}

/** @returns 0 when the daemon answered. */
export async function status(flags: AskFlags): Promise<number> {
  const told = await askDaemon<Status>(socketOf(flags), '/v1/status');
  if (flags.json) process.stdout.write(`${JSON.stringify(told)}\n`);
  else process.stdout.write(`${[...headLines(told), ...ledgerLines(told), ...flowLines(told), ...targetLines(told), ...decoderLines(told)].join('\n')}\n`);
  return 0;
}

const out = process.stdout;
const heading = (text: string) => ['', paint(out, 'bold', text)];

/** A table whose first row is its header. */
function titled(rows: readonly (readonly string[])[]): string[] {
  const [head = '', ...rest] = table(rows.map((row) => ['', ...row].map(plainText))).split('\n');
  return [paint(out, 'dim', head), ...rest];
}

function headLines({ version, pid, state, uptime_s, kernel, arch, scope, output, process: { resident_bytes, cpu_user_s, cpu_system_s } }: Status): string[] {
  const cpu = cpu_user_s + cpu_system_s;
  return [
    `${paint(out, 'bold', `oisp-host ${version}`)}, process ${pid}, ${paint(out, state === 'capturing' ? 'green' : 'yellow', state)} for ${durationText(uptime_s)}, kernel ${plainText(kernel)} (${arch})`,
    ...table([
      ['  sees', plainText(scope)],
      ['  writes to', output === '-' ? 'standard output' : plainText(output)],
      ['  uses', `${bytesText(resident_bytes)} resident, ${cpu.toFixed(1)} s of CPU time`],
    ]).split('\n'),
  ];
}

function ledgerLines({ ledger }: Status): string[] {
  const rows = ledger.stages.flatMap(({ stage, in_bytes, out_bytes, balanced }) => {
    const buckets = Object.entries(out_bytes).filter(([, bytes]) => bytes > 0);
    const [first, ...more] = buckets.length ? buckets : Object.entries(out_bytes).slice(0, 1);
    const mark = balanced ? '' : 'DOES NOT BALANCE';
    return [
      [stage, String(in_bytes), first?.[0] ?? '', String(first?.[1] ?? 0), mark || note(first)],
      ...more.map((bucket) => ['', '', bucket[0], String(bucket[1]), note(bucket)]),
    ];
  });
  const verdict = ledger.balanced ? paint(out, 'green', 'balanced') : paint(out, 'red', 'DOES NOT BALANCE');
  const lines = [...heading(`Payload bytes by stage: ${verdict}`), ...titled([['STAGE', 'IN', 'WHAT BECAME OF IT', 'BYTES', ''], ...rows])];
  if (ledger.unseen_calls) lines.push(paint(out, 'yellow', `  ${ledger.unseen_calls} TLS calls could not be followed: their bytes are in no stage`));
  return lines;

  function note(bucket: readonly [string, number] | undefined): string {
    return bucket === undefined || bucket[1] === 0 || FINE.has(bucket[0]) ? '' : 'lost';
  }
}

function flowLines({ source, pipeline, shards, sink, sink_name, last_problem }: Status): string[] {
  const discovery = (source['discovery'] ?? {}) as SourceStats;
  const files = (discovery['files'] ?? {}) as SourceStats;
  const looks = Object.entries(files).map(([outcome, count]) => `${count} ${outcome}`);
  const lines = [
    ...heading('Flow'),
    ...table([
      ['  source', `${source['links'] ?? 0} probes attached, ${pipeline.records} records in ${pipeline.batches} batches`],
      ['  discovery', `${discovery['execs'] ?? 0} programs started, looks at files: ${looks.join(', ') || 'none'}`],
      ...(last_problem === null ? [] : [['  last problem', plainText(last_problem)]]),
      ['  sink', `${sink_name}: ${sink.written} events (${bytesText(sink.bytes)}) written, ${sink.dropped} dropped, ${sink.retries} retries`],
    ]).split('\n'),
    ...heading('Shards'),
  ];
  const rows = shards.flatMap((shard, number) =>
    Object.entries(shard.modules).map(([name, { rejected, traps, quarantined, given_up, memory_bytes, counters }]) => [
      String(number),
      name,
      bytesText(memory_bytes),
      String(rejected),
      String(traps),
      String(quarantined + given_up),
      Object.entries(counters)
        .filter(([, value]) => value > 0)
        .slice(0, MOST_COUNTERS)
        .map(([counter, value]) => `${counter} ${value}`)
        .join(', '),
    ]),
  );
  return [...lines, ...titled([['SHARD', 'MODULE', 'MEMORY', 'REJECTED', 'TRAPS', 'LEFT OUT', 'COUNTERS'], ...rows])];
}

/** Counters of a module that a line shows; --json has all. */
const MOST_COUNTERS = 6;

function targetLines({ targets }: Status): string[] {
  const rows = targets.map((target) => [target.path, target.family, ...probesOf(target)]);
  return [
    ...heading(`Files with a TLS library (${targets.length})`),
    ...(rows.length ? titled([['FILE', 'FAMILY', 'PROBED', 'NOT PROBED'], ...rows]) : ['  none']),
  ];
}

function probesOf({ functions }: Target): [string, string] {
  const attached = functions.filter((one) => one.attached).length;
  return [`${attached} of ${functions.length}`, detailOf(functions) ?? '-'];
}

function decoderLines({ decoders, decoder_audit, shards }: Status): string[] {
  const rows = decoders.map(({ name, version, sha256, bytes, state, pinned }) => [
    name,
    version,
    sha256.slice(0, 12),
    bytesText(bytes),
    `${state}${pinned ? ', pinned' : ''}`,
  ]);
  const off = decoders.filter(({ state }) => state === 'off').map(({ name }) => name);
  const replaced = shards.reduce((sum, shard) => sum + shard.replaced, 0);
  return [
    ...heading('Decoders'),
    ...titled([['NAME', 'VERSION', 'SHA-256', 'SIZE', 'STATE'], ...rows]),
    ...(off.length ? [paint(out, 'red', `  switched off after faults, so that what they read is not decoded: ${off.join(', ')}`)] : []),
    ...(replaced ? [paint(out, 'yellow', `  ${replaced} shard threads did not return and were replaced`)] : []),
    ...decoder_audit.slice(-MOST_CHANGES).map((entry) => `  ${entry.at} ${plainText(auditText(entry))}`),
  ];
}

/** Changes of modules that are shown; --json has more. */
const MOST_CHANGES = 8;
