// Links events by id: an answer to its request, a tool call to the answer that asked for it, a result to its call. Bounded; sees only events that left their shard.
import type { RelatedEvent } from '../../events/event.js';
import type { OutgoingEvent } from '../../events/outgoing.js';
import { EventType } from '../../gen/events.js';

interface Exchange {
  request?: string;
  response?: string;
}

export interface CorrelateCounters {
  exchanges: number;
  /** Tool calls whose result may still come. */
  calls: number;
  /** Exchanges and calls forgotten at the bound. */
  evicted: number;
  linked: number;
}

export class Correlator {
  private readonly exchanges = new Map<string, Exchange>();
  /** Event of each tool call, by process and id of the call. */
  private readonly calls = new Map<string, string>();
  private evicted = 0;
  private linked = 0;

  /** @param bound exchanges, and calls, remembered; the oldest is forgotten first. */
  constructor(private readonly bound = 65536) {}

  /** Adds related_events in place. Events of one exchange must come in order: request, response, tool calls. */
  add(event: OutgoingEvent): void {
    const { exchange, event_type, event_id, call, pid } = event.head;
    if (exchange === null) return;
    const known = this.exchangeOf(exchange);
    const callKey = call === undefined ? undefined : `${pid}:${call}`;
    switch (event_type) {
      case EventType.ai_request:
        known.request = event_id;
        break;
      case EventType.ai_response:
        known.response = event_id;
        if (known.request !== undefined) this.link(event, known.request, 'parent');
        break;
      case EventType.tool_call:
        if (known.response !== undefined) this.link(event, known.response, 'caused_by');
        if (callKey !== undefined) this.remember(this.calls, callKey, event_id);
        break;
      case EventType.tool_result: {
        const asked = callKey === undefined ? undefined : this.calls.get(callKey);
        if (asked !== undefined) this.link(event, asked, 'parent');
        break;
      }
      default:
    }
  }

  counters(): CorrelateCounters {
    return { exchanges: this.exchanges.size, calls: this.calls.size, evicted: this.evicted, linked: this.linked };
  }

  private link(event: OutgoingEvent, id: string, relationship: RelatedEvent['relationship']): void {
    this.linked++;
    event.relate({ event_id: id, relationship });
  }

  private exchangeOf(key: string): Exchange {
    const known = this.exchanges.get(key);
    if (known !== undefined) return known;
    const made: Exchange = {};
    this.remember(this.exchanges, key, made);
    return made;
  }

  private remember<T>(table: Map<string, T>, key: string, value: T): void {
    table.set(key, value);
    if (table.size <= this.bound) return;
    this.evicted++;
    const [oldest] = table.keys();
    if (oldest !== undefined) table.delete(oldest);
  }
}
