// The OISP v0.1 event as its shard makes it. Types only; the closed enums are generated.
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

/** An event in its shard, with the key that correlation joins it by. */
export interface ShardEvent {
  event: OispEvent;
  /** `conn:stream` of the exchange it belongs to, or null. */
  exchange: string | null;
}
