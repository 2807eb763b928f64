// Links events by id: an answer to its request, a tool call to the answer that asked for it. Bounded; sees only events that left their shard.
import type { RelatedEvent } from '../../events/event.js';
import type { OutgoingEvent } from '../../events/outgoing.js';
import { EventType } from '../../gen/events.js';

interface Exchange {
  request?: string;
  response?: string;
}

export interface CorrelateCounters {
  exchanges: number;
  /** Exchanges forgotten at the bound. */
  evicted: number;
  linked: number;
}

export class Correlator {
  private readonly exchanges = new Map<string, Exchange>();
  private evicted = 0;
  private linked = 0;

  /** @param maxExchanges exchanges remembered; the oldest is forgotten first. */
  constructor(private readonly maxExchanges = 65536) {}

  /** Adds related_events in place. Events of one exchange must come in order: request, response, tool calls. */
  add(event: OutgoingEvent): void {
    const { exchange, event_type, event_id } = event.head;
    if (exchange === null) return;
    const known = this.exchanges.get(exchange) ?? this.remember(exchange);
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
        break;
      default:
    }
  }

  counters(): CorrelateCounters {
    return { exchanges: this.exchanges.size, evicted: this.evicted, linked: this.linked };
  }

  private link(event: OutgoingEvent, id: string, relationship: RelatedEvent['relationship']): void {
    this.linked++;
    event.relate({ event_id: id, relationship });
  }

  private remember(key: string): Exchange {
    const made: Exchange = {};
    this.exchanges.set(key, made);
    if (this.exchanges.size > this.maxExchanges) {
      this.evicted++;
      const [oldest] = this.exchanges.keys();
      if (oldest !== undefined) this.exchanges.delete(oldest);
    }
    return made;
  }
}
