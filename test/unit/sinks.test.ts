// Tests that sinks deliver every event once, say what they could not deliver, and refuse an output that cannot work before anything starts.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { HostError } from '../../host/src/errors.js';
import type { OispEvent } from '../../host/src/events/event.js';
import type { OutgoingEvent } from '../../host/src/events/outgoing.js';
import { ConsoleSink } from '../../host/src/sinks/console/index.js';
import { JsonlSink } from '../../host/src/sinks/jsonl/index.js';
import { sealedAndOpened } from '../lib/outgoing.js';

const folder = mkdtempSync(join(tmpdir(), 'oisp-sink-'));
after(() => rmSync(folder, { recursive: true }));

const eventOf = (id: string, data: Record<string, unknown>): OispEvent => ({
  oisp_version: '0.1',
  event_id: id,
  event_type: 'ai.response',
  ts: '2026-01-01T00:00:00.000000Z',
  source: { collector: 'oisp-host', collector_version: '0', capture_method: 'other' },
  confidence: { level: 'high', completeness: 'full' },
  data,
});
const event = (id: string, data: Record<string, unknown> = {}): OutgoingEvent =>
  sealedAndOpened([{ event: eventOf(id, data), exchange: null }])[0] as OutgoingEvent;

describe('the jsonl sink', () => {
  it('writes what was linked on the way, and text of any script, as it was', async () => {
    const path = join(folder, 'linked.jsonl');
    const sink = new JsonlSink(path);
    await sink.open();
    const events = sealedAndOpened(['å', '日本', '\u{1f600}', '\ud800'].map((text) => ({ event: eventOf(text, { text }), exchange: null })));
    events[1]?.relate({ event_id: 'q', relationship: 'parent' });
    // More parts than one system call takes.
    const many = Array.from({ length: 1000 }, (_, i) => event(String(i)));
    await sink.write([...events, ...many]);
    await sink.close();
    const lines = readFileSync(path, 'utf8').split('\n');
    assert.equal(lines.pop(), '');
    const seen = lines.map((line) => JSON.parse(line) as OispEvent);
    assert.deepEqual(
      seen.slice(0, 4).map(({ data }) => data['text']),
      ['å', '日本', '\u{1f600}', '\ud800'],
    );
    assert.deepEqual(
      seen.map(({ related_events }) => related_events).filter((related) => related !== undefined),
      [[{ event_id: 'q', relationship: 'parent' }]],
    );
    assert.equal(seen.length, 1004);
    assert.equal(sink.stats().bytes, statSync(path).size);
  });

  it('appends one line per event to a file only its owner can read', async () => {
    const path = join(folder, 'a.jsonl');
    for (const id of ['1', '2']) {
      const sink = new JsonlSink(path);
      await sink.open();
      await sink.write([event(id), event(`${id}b`)]);
      await sink.close();
      await sink.close();
      assert.deepEqual([sink.stats().written, sink.stats().dropped], [2, 0]);
    }
    const ids = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as OispEvent).event_id);
    assert.deepEqual(ids, ['1', '1b', '2', '2b']);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('refuses at open what cannot be written, and says what to do', async () => {
    for (const path of [join(folder, 'no', 'such', 'x.jsonl'), folder]) {
      await assert.rejects(
        new JsonlSink(path).open(),
        (error: unknown) => error instanceof HostError && error.code === 'OUTPUT' && error.message.includes(path) && error.hint !== undefined,
      );
    }
  });

  it('retries a full disk, counts, and drops only when it is told to stop', async () => {
    assert.ok(existsSync('/dev/full'));
    const told: string[] = [];
    const sink = new JsonlSink('/dev/full', (text) => told.push(text));
    await sink.open();
    const written = sink.write([event('1'), event('2')]);
    const outcome = await Promise.race([written.then(() => 'gave up'), new Promise((resolve) => setTimeout(() => resolve('still trying'), 700))]);
    assert.equal(outcome, 'still trying');
    sink.stopping();
    await written;
    assert.equal(sink.stats().dropped, 2);
    assert.equal(sink.stats().written, 0);
    assert.ok(sink.stats().retries >= 1);
    assert.match(told[0] ?? '', /ENOSPC; trying again/);
    await sink.close();
  });
});

describe('the console sink', () => {
  it('shows one line per event and lets no control character of the content through', async () => {
    const path = join(folder, 'p.txt');
    const sink = new ConsoleSink(path);
    await sink.open();
    await sink.write([event('1', { model: { id: 'm' }, finish_reason: 'stop', choices: [{ message: { content: 'a\u001b[31mred\nnext\u202e' } }] })]);
    await sink.close();
    const text = readFileSync(path, 'utf8');
    assert.equal(text.split('\n').length, 2);
    assert.ok(text.includes('a [31mred next'));
    assert.doesNotMatch(text.trimEnd(), /[\p{Cc}\p{Cf}]/u);
  });
});
