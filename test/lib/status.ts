// A status as a daemon would tell it, for tests of what is made of one; no daemon runs for it.
import type { SourceStats } from '../../host/src/events/source.js';
import { makeLedger } from '../../host/src/topology/ledger.js';
import type { PooledStats } from '../../host/src/topology/shard-pool.js';
import type { Status } from '../../host/src/topology/status.js';

/** @param modules counters by module name. */
export function shardStats(modules: Record<string, Record<string, number>>): PooledStats {
  const told = Object.entries(modules).map(([name, counters]) => [
    name,
    {
      version: '1',
      sha256: 'ab'.repeat(32),
      off: false,
      held: 0,
      rejected: 1,
      traps: 0,
      quarantined: 0,
      given_up: 0,
      abandoned: 0,
      memory_bytes: 4096,
      counters,
    },
  ]);
  return {
    modules: Object.fromEntries(told) as PooledStats['modules'],
    host: { events: 3, unknown: 0, malformed: 0 },
    enrich: { entries: 7, evicted: 0, unknown: 0, no_origin: 0 },
    redact: { redacted: 2, failed: 0, replacements: { openai_key: 2 } },
    notes_dropped: 0,
    replaced: 0,
    uncounted_bytes: 0,
  };
}

const cell = (calls: number, bytes: number) => ({ calls, bytes });

export const SOURCE: SourceStats = {
  kernel: {
    seen: cell(4, 1000),
    emitted: cell(3, 900),
    truncated: cell(0, 0),
    ring_full: cell(1, 100),
    fault: cell(0, 0),
    frame_lost: cell(0, 0),
    conn_lost: cell(0, 0),
  },
  ring: { records: 9, bytes: 2000, payload_bytes: 900, stalls: 0, wakeups: 2, pending_bytes: 0, size_bytes: 8192, malformed: 0 },
  batches: { count: 2, bytes: 2000, records: 9, payload_bytes: 900, in_flight_bytes: { 0: 0 } },
  links: 12,
  discovery: { execs: 5, sweeps: 1, queued: 0, waiting: 0, files: { attached: 1, known: 4 } },
  snapshot: { processes: 20, skipped: 0, batches: 1, bytes: 3000 },
};

/** A daemon that lost 100 of 1000 bytes. @param shards statistics of its shards. */
export function sampleStatus(shards: readonly PooledStats[] = [shardStats({ http: { in_bytes: 900, framing_bytes: 900 } })]): Status {
  const pipeline = { batches: 2, records: 9, payload_bytes: 900, failed_bytes: 0, failed_batches: 0, events: 3 };
  return {
    version: '0.1.0',
    pid: 4711,
    state: 'capturing',
    started: '2026-01-01T00:00:00.000Z',
    uptime_s: 61.5,
    kernel: '6.1.0',
    arch: 'x86_64',
    scope: 'every process',
    output: '-',
    sink_name: 'jsonl',
    decoders: [
      { name: 'http', version: '1', sha256: 'ab'.repeat(32), bytes: 1000, consumes: [1], produces: [32], state: 'in use', pinned: false, previous: [] },
    ],
    decoder_audit: [],
    targets: [],
    last_problem: null,
    process: { cpu_user_s: 1.5, cpu_system_s: 0.5, resident_bytes: 80_000_000, heap_used_bytes: 9_000_000 },
    coverage: { table: { rows: 2, forgotten: 0 }, self_check: { watched: 1, detached: 0 }, scanner: { scans: 3 } },
    control: { answers: { 200: 5, 404: 1 }, refused_connections: 1, expired_connections: 0 },
    ledger: makeLedger(SOURCE, pipeline, shards, true),
    source: SOURCE,
    pipeline,
    correlate: { exchanges: 1, evicted: 0 } as unknown as Status['correlate'],
    shards,
    sink: { written: 3, bytes: 4000, dropped: 0, retries: 0 },
  };
}
