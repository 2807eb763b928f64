// The OISP v0.1 event as it leaves a shard, and how it travels to the sinks. Types only; the closed enums are generated.
import type { EventTypeName } from '../gen/events.js';

export interface ProcessRef {
  pid: number;
  exe?: string;
  name?: string;
  cmdline?: string;
}

export interface ProcessContext extends ProcessRef {
  ppid?: number;
  cmdline_args?: string[];
  cwd?: string;
  start_time?: string;
  parent?: ProcessRef;
  ancestors?: ProcessRef[];
  thread_id?: number;
  container_id?: string;
  cgroup?: string;
}

export interface Confidence {
  level: string;
  completeness: string;
  reasons?: string[];
  missing?: string[];
  limitations?: string[];
  process_attribution?: string;
  content_source?: string;
  ai_detection_method?: string;
  redaction_applied?: boolean;
  redaction_profile?: string;
}

export interface RelatedEvent {
  event_id: string;
  relationship: 'parent' | 'child' | 'caused_by' | 'causes' | 'related';
}

export interface OispEvent {
  oisp_version: string;
  event_id: string;
  event_type: EventTypeName | (string & {});
  ts: string;
  ts_mono?: number;
  host?: Record<string, unknown>;
  actor?: { uid: number; gid?: number; user?: string };
  process?: ProcessContext;
  app?: Record<string, unknown>;
  web_context?: Record<string, unknown>;
  source: { collector: string; collector_version: string; capture_method: string; capture_point?: string };
  confidence: Confidence;
  data: Record<string, unknown>;
  attrs?: Record<string, unknown>;
  ext?: Record<string, unknown>;
  related_events?: RelatedEvent[];
}

/** An event on its way out of a shard, with the key that correlation joins it by. */
export interface ShardEvent {
  event: OispEvent;
  /** `conn:stream` of the exchange it belongs to, or null. */
  exchange: string | null;
}

/** Where events end. write() resolves when the sink can take more; it counts what it could not deliver and never throws for one event. */
export interface Sink {
  readonly id: string;
  open(): Promise<void>;
  write(events: readonly OispEvent[]): Promise<void>;
  /** The daemon is stopping: from now on trouble ends in counted drops after a few tries, so that the stop does not hang. */
  stopping(): void;
  /** Delivers what it still holds, then frees everything. Idempotent, safe before open. */
  close(): Promise<void>;
  stats(): { written: number; bytes: number; dropped: number; retries: number };
}
