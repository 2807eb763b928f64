// Every metric the daemon has: its name, its labels, what it means and where in a Status its values are. Label values come from code, never from captured bytes.
import type { SourceStats } from '../events/source.js';
import { HELD_BUCKETS } from '../topology/ledger.js';
import type { Status } from '../topology/status.js';

/** A value and its label values, in the order of `labels`. */
export type Sample = readonly [number, ...string[]];

export interface MetricRow {
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (status: Status) => Iterable<Sample>;
}

/** A module names its own counters; more than this many of one module are left out and counted. */
export const MAX_MODULE_COUNTERS = 64;
const COUNTER_NAME = /^[a-z][a-z0-9_]{0,47}$/;

const one =
  (read: (status: Status) => number) =>
  (status: Status): Sample[] => [[read(status)]];

function part(stats: SourceStats, name: string): SourceStats {
  const value = stats[name];
  return typeof value === 'object' ? value : {};
}

/** The numbers right below a part of the source's statistics. */
function* numbersOf(stats: SourceStats): Generator<[string, number]> {
  for (const [name, value] of Object.entries(stats)) if (typeof value === 'number') yield [name, value];
}

/** The same as samples with the name for a label. */
function numbers(stats: SourceStats): Sample[] {
  return [...numbersOf(stats)].map(([name, value]): Sample => [value, name]);
}

function* kernelCells(status: Status, what: 'calls' | 'bytes'): Generator<Sample> {
  for (const [bucket, cell] of Object.entries(part(status.source, 'kernel'))) if (typeof cell === 'object') yield [Number(cell[what] ?? 0), bucket];
}

const GAUGES_OF_RING = new Set(['pending_bytes', 'size_bytes']);

function* ledgerBuckets(status: Status, held: boolean): Generator<Sample> {
  for (const { stage, out_bytes } of status.ledger.stages) {
    for (const [reason, bytes] of Object.entries(out_bytes)) if (HELD_BUCKETS.has(reason) === held) yield [bytes, stage, reason];
  }
}

/** Counters of each module, summed over the shards so that their number does not grow with them. */
function moduleCounters(status: Status): { samples: Sample[]; left: number } {
  const sums = new Map<string, Map<string, number>>();
  let left = 0;
  for (const shard of status.shards) {
    for (const [module, { counters }] of Object.entries(shard.modules)) {
      const own = sums.get(module) ?? new Map<string, number>();
      sums.set(module, own);
      for (const [name, value] of Object.entries(counters)) {
        if (!COUNTER_NAME.test(name) || (!own.has(name) && own.size >= MAX_MODULE_COUNTERS)) left += 1;
        else own.set(name, (own.get(name) ?? 0) + value);
      }
    }
  }
  return { samples: [...sums].flatMap(([module, own]) => [...own].map(([name, value]): Sample => [value, module, name])), left };
}

function modules(read: (module: Status['shards'][number]['modules'][string]) => number): (status: Status) => Sample[] {
  return ({ shards }) => shards.flatMap((shard, number) => Object.entries(shard.modules).map(([name, module]): Sample => [read(module), String(number), name]));
}

function shards(read: (shard: Status['shards'][number]) => Record<string, number>): (status: Status) => Sample[] {
  return (status) => status.shards.flatMap((shard, number) => Object.entries(read(shard)).map(([name, value]): Sample => [value, String(number), name]));
}

function* replacements(status: Status): Generator<Sample> {
  const sums = new Map<string, number>();
  for (const { redact } of status.shards) for (const [kind, times] of Object.entries(redact.replacements)) sums.set(kind, (sums.get(kind) ?? 0) + times);
  for (const [kind, times] of sums) yield [times, kind];
}

function* functionStates({ targets }: Status): Generator<Sample> {
  const counts = new Map<string, Map<string, number>>();
  for (const { family, functions } of targets) {
    const own =
      counts.get(family) ??
      new Map<string, number>([
        ['attached', 0],
        ['failed', 0],
      ]);
    counts.set(family, own);
    for (const { attached } of functions) own.set(attached ? 'attached' : 'failed', (own.get(attached ? 'attached' : 'failed') ?? 0) + 1);
  }
  for (const [family, own] of counts) for (const [state, count] of own) yield [count, family, state];
}

const counter = (help: string, labels: readonly string[], samples: MetricRow['samples']): MetricRow => ({ kind: 'counter', help, labels, samples });
const gauge = (help: string, labels: readonly string[], samples: MetricRow['samples']): MetricRow => ({ kind: 'gauge', help, labels, samples });

/** Name without the prefix `oisp_host_` -> metric. */
export const metricTable: Readonly<Record<string, MetricRow>> = {
  info: gauge('1, with the version of the daemon and of the kernel.', ['version', 'kernel', 'arch'], ({ version, kernel, arch }) => [
    [1, version, kernel, arch],
  ]),
  start_time_seconds: gauge(
    'When the daemon started, seconds since 1970.',
    [],
    one(({ started }) => Date.parse(started) / 1000),
  ),
  decoder_info: gauge('1, for each decoder module in use.', ['module', 'version', 'sha256'], ({ decoders }) =>
    decoders.map(({ name, version, sha256 }): Sample => [1, name, version, sha256]),
  ),

  ledger_in_bytes_total: counter('Payload bytes that came into a stage.', ['stage'], ({ ledger }) =>
    ledger.stages.map(({ stage, in_bytes }): Sample => [in_bytes, stage]),
  ),
  ledger_bytes_total: counter('Payload bytes of a stage by what became of them.', ['stage', 'reason'], (status) => ledgerBuckets(status, false)),
  ledger_held_bytes: gauge('Payload bytes that a stage holds and has not decided about.', ['stage', 'reason'], (status) => ledgerBuckets(status, true)),
  ledger_lost_bytes_total: counter('Payload bytes that no event can hold, by reason.', ['reason'], ({ ledger }) =>
    Object.entries(ledger.lost).map(([reason, bytes]): Sample => [bytes, reason]),
  ),
  ledger_unseen_calls_total: counter(
    'TLS calls whose length was never learnt, so that no stage counts their bytes.',
    [],
    one(({ ledger }) => ledger.unseen_calls),
  ),
  ledger_balanced: gauge('1 when every stage passed on exactly what came in, 0 when not.', ['stage'], ({ ledger }) =>
    ledger.stages.map(({ stage, balanced }): Sample => [balanced ? 1 : 0, stage]),
  ),
  kernel_calls_total: counter('Calls or records of a bucket of the kernel ledger.', ['bucket'], (status) => kernelCells(status, 'calls')),
  kernel_bytes_total: counter('Bytes of a bucket of the kernel ledger.', ['bucket'], (status) => kernelCells(status, 'bytes')),

  ring_total: counter('What the reader of the ring buffer did: records, bytes, stalls for credit, wakeups, malformed records.', ['what'], ({ source }) =>
    [...numbersOf(part(source, 'ring'))].filter(([name]) => !GAUGES_OF_RING.has(name)).map(([name, value]): Sample => [value, name]),
  ),
  ring_pending_bytes: gauge(
    'Bytes in the ring buffer that are not read yet.',
    [],
    one(({ source }) => Number(part(source, 'ring')['pending_bytes'] ?? 0)),
  ),
  ring_size_bytes: gauge(
    'Size of the ring buffer.',
    [],
    one(({ source }) => Number(part(source, 'ring')['size_bytes'] ?? 0)),
  ),
  batches_total: counter('What was handed to the shards: batches (count), bytes, records, payload bytes.', ['what'], ({ source }) =>
    numbers(part(source, 'batches')),
  ),
  in_flight_bytes: gauge('Bytes of batches that a shard was given and is not done with.', ['shard'], ({ source }) =>
    [...numbersOf(part(part(source, 'batches'), 'in_flight_bytes'))].map(([shard, value]): Sample => [value, shard]),
  ),
  links: gauge(
    'Probes that are attached, returns counted apart.',
    [],
    one(({ source }) => Number(source['links'] ?? 0)),
  ),
  target_functions: gauge('Functions of TLS libraries by whether they are probed.', ['family', 'state'], functionStates),
  targets: gauge(
    'Files with a TLS library that are known.',
    [],
    one(({ targets }) => targets.length),
  ),
  discovery_total: counter('What the search for files did; queued and waiting are levels.', ['what'], ({ source }) => numbers(part(source, 'discovery'))),
  discovery_files_total: counter('Looks at a file by outcome.', ['outcome'], ({ source }) => numbers(part(part(source, 'discovery'), 'files'))),
  snapshot: gauge('The processes that ran before capture: told, skipped, batches, bytes.', ['what'], ({ source }) => numbers(part(source, 'snapshot'))),

  pipeline_total: counter('What went through the pipeline: batches, records, payload bytes, failed bytes, events.', ['what'], ({ pipeline }) =>
    Object.entries(pipeline).map(([name, value]): Sample => [value, name]),
  ),
  correlate: gauge('What linking events remembers and did.', ['what'], ({ correlate }) =>
    Object.entries(correlate).map(([name, value]): Sample => [value, name]),
  ),
  module_rejected_total: counter(
    'Buffers that a decoder module rejected as malformed.',
    ['shard', 'module'],
    modules(({ rejected }) => rejected),
  ),
  module_traps_total: counter(
    'Instances of a decoder module lost to a trap.',
    ['shard', 'module'],
    modules(({ traps }) => traps),
  ),
  module_quarantined_total: counter(
    'Records that a decoder module trapped on twice, which were left out, and those given up with their buffer.',
    ['shard', 'module', 'what'],
    ({ shards }) =>
      shards.flatMap(({ modules: all }, shard) =>
        Object.entries(all).flatMap(([name, { quarantined, given_up }]): Sample[] => [
          [quarantined, String(shard), name, 'trapped'],
          [given_up, String(shard), name, 'given_up'],
        ]),
      ),
  ),
  module_off: gauge(
    '1 for a decoder module that was switched off after faults: what it reads is not decoded.',
    ['shard', 'module'],
    modules(({ off }) => (off ? 1 : 0)),
  ),
  module_held: gauge(
    'Connections or exchanges that the module before this one still sees through.',
    ['shard', 'module'],
    modules(({ held }) => held),
  ),
  shard_threads_replaced_total: counter('Threads of a shard that did not return from a module and were replaced.', ['shard'], ({ shards: all }) =>
    all.map((shard, number): Sample => [shard.replaced, String(number)]),
  ),
  module_memory_bytes: gauge(
    'Linear memory of a decoder module.',
    ['shard', 'module'],
    modules((module) => module.memory_bytes),
  ),
  module_counter: gauge(
    'A number that a decoder module keeps of itself, summed over the shards; most only grow.',
    ['module', 'counter'],
    (status) => moduleCounters(status).samples,
  ),
  module_counters_left: gauge(
    'Numbers of decoder modules that are left out here: an odd name, or too many.',
    [],
    one((status) => moduleCounters(status).left),
  ),
  decoded_total: counter(
    'What the decoders gave a shard: events, and records dropped as unknown or malformed.',
    ['shard', 'what'],
    shards(({ host }) => ({ ...host })),
  ),
  notes_dropped_total: counter('Notes of decoders on connections that did not fit into one answer of a shard.', ['shard'], ({ shards: all }) =>
    all.map((shard, number): Sample => [shard.notes_dropped, String(number)]),
  ),
  enrich: gauge(
    'The process table of a shard: entries, and lookups that failed.',
    ['shard', 'what'],
    shards(({ enrich }) => ({ ...enrich })),
  ),
  redact_total: counter(
    'Events by what redaction did: redacted, or failed and dropped.',
    ['shard', 'what'],
    shards(({ redact: { redacted, failed } }) => ({ redacted, failed })),
  ),
  redact_replacements_total: counter('Secrets replaced, by kind.', ['kind'], replacements),

  coverage: gauge('What the coverage report keeps: rows, rows forgotten at the bound, notes.', ['what'], ({ coverage }) => numbers(part(coverage, 'table'))),
  self_check: gauge('The self-check of probes: files watched, files whose probes it took off, files forgotten.', ['what'], ({ coverage }) =>
    numbers(part(coverage, 'self_check')),
  ),
  scanner: gauge('Searches for TLS stacks in files: done, bytes, known, forgotten, not queued, failed.', ['what'], ({ coverage }) =>
    numbers(part(coverage, 'scanner')),
  ),
  control_answers_total: counter('Answers over the control socket and the metrics port, by status code.', ['code'], ({ control }) =>
    numbers(part(control, 'answers')),
  ),
  control_connections_refused_total: counter(
    'Connections closed unanswered because too many were open.',
    [],
    one(({ control }) => Number(control['refused_connections'] ?? 0)),
  ),
  control_connections_expired_total: counter(
    'Connections broken at their deadline.',
    [],
    one(({ control }) => Number(control['expired_connections'] ?? 0)),
  ),

  sink_events_total: counter('Events that a sink was given, by outcome.', ['sink', 'outcome'], ({ sink, sink_name }) => [
    [sink.written, sink_name, 'written'],
    [sink.dropped, sink_name, 'dropped'],
  ]),
  sink_bytes_total: counter('Bytes that a sink wrote.', ['sink'], ({ sink, sink_name }) => [[sink.bytes, sink_name]]),
  sink_retries_total: counter('Times a sink tried again.', ['sink'], ({ sink, sink_name }) => [[sink.retries, sink_name]]),

  process_cpu_seconds_total: counter('CPU time of the daemon.', ['mode'], ({ process }) => [
    [process.cpu_user_s, 'user'],
    [process.cpu_system_s, 'system'],
  ]),
  process_resident_memory_bytes: gauge(
    'Resident memory of the daemon.',
    [],
    one(({ process }) => process.resident_bytes),
  ),
  process_heap_used_bytes: gauge(
    'JavaScript heap in use on the main thread.',
    [],
    one(({ process }) => process.heap_used_bytes),
  ),
};
