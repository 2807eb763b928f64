// Tests how the text of events leaves its shard: every text once, whatever its script, in rooms that are used again when they were given back, and not before.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OispEvent, ShardEvent } from '../../host/src/events/event.js';
import { giveBack, LentRooms, openEvents, sealEvents } from '../../host/src/events/outgoing.js';

const made = (text: string): ShardEvent => ({
  event: { event_id: 'e', event_type: 'ai.request', ts: 't', data: { text } } as unknown as OispEvent,
  exchange: 'c:0',
});
const textOf = (event: OispEvent) => event.data['text'];

describe('events on their way out', () => {
  it('are what they were, when their text needs more bytes than characters too', () => {
    for (const unit of ['a', 'å', '日', '\u{1f600}', '"\\\n', '\ud800']) {
      const texts = [unit.repeat(3), unit.repeat(100_000), unit];
      const opened = openEvents(sealEvents(texts.map(made), (bytes) => new Uint8Array(bytes)));
      assert.deepEqual(
        opened.map((event) => textOf(event.parse())),
        texts,
      );
      assert.deepEqual(opened[0]?.head, { event_id: 'e', event_type: 'ai.request', ts: 't', pid: undefined, exchange: 'c:0' });
    }
    assert.deepEqual(openEvents(sealEvents([], (bytes) => new Uint8Array(bytes))), []);
  });

  it('share a room with no other until it was given back', () => {
    const rooms = new LentRooms();
    const first = rooms.room(100_000);
    const second = rooms.room(100_000);
    assert.notEqual(first.buffer, second.buffer);
    giveBack({ bytes: first });
    assert.equal(rooms.room(200_000).buffer, first.buffer);
    // Too large to be kept, and too small to be worth a room.
    const large = rooms.room(5_000_000);
    assert.equal(large.length, 5_000_000);
    giveBack({ bytes: large });
    assert.notEqual(rooms.room(5_000_000).buffer, large.buffer);
    assert.ok(rooms.room(1000).buffer instanceof ArrayBuffer);
  });

  it('keeps no more rooms than its bound', () => {
    const rooms = new LentRooms();
    const lent = Array.from({ length: 12 }, () => rooms.room(100_000));
    assert.equal(new Set(lent.map(({ buffer }) => buffer)).size, 12);
    for (const bytes of lent) giveBack({ bytes });
    const kept = new Set(Array.from({ length: 12 }, () => rooms.room(100_000).buffer));
    assert.equal(lent.filter(({ buffer }) => kept.has(buffer)).length, 8);
  });
});
