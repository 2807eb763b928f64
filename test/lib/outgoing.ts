// Takes events the way they take between a shard and the sinks.
import type { ShardEvent } from '../../host/src/events/event.js';
import { type OutgoingEvent, openEvents, sealEvents } from '../../host/src/events/outgoing.js';

export const sealedAndOpened = (events: readonly ShardEvent[]): OutgoingEvent[] => openEvents(sealEvents(events, (bytes) => new Uint8Array(bytes)));
