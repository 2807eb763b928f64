// Gives the addon's numbers their names of the loss ledger; counts nothing itself.
import type { SourceStats } from '../../events/source.js';
import { LedgerText } from '../../gen/records.js';
import type { NativeStats } from './native.js';

/** Kernel buckets by name of enum ledger, the ring, and the batches handed over. */
export function nativeStats(native: NativeStats): SourceStats {
  const { kernel, ring, batches, links, shed } = native;
  return {
    kernel: Object.fromEntries(
      Object.entries(LedgerText).map(([bucket, name]) => {
        const cell = kernel[Number(bucket)];
        return [name, { calls: cell?.records ?? 0, bytes: cell?.bytes ?? 0 }];
      }),
    ),
    ring: {
      records: ring.records,
      bytes: ring.bytes,
      payload_bytes: ring.payloadBytes,
      stalls: ring.stalls,
      wakeups: ring.wakeups,
      pending_bytes: ring.pendingBytes,
      size_bytes: ring.sizeBytes,
      malformed: ring.malformed,
    },
    batches: {
      count: batches.count,
      bytes: batches.bytes,
      records: batches.records,
      payload_bytes: batches.payloadBytes,
      in_flight_bytes: Object.fromEntries(batches.inFlightBytes.map((bytes, shard) => [String(shard), bytes])),
    },
    links,
    // By process id: of whom most was left out because of their rate.
    rate_limited: Object.fromEntries(shed.map(({ tgid, calls, bytes }) => [String(tgid), { calls, bytes }])),
  };
}
