// Tests what coverage remembers of processes and when it gives up a probe, each at its bound.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IMPLAUSIBLE_LIMIT, ProbeCheck } from '../../host/src/coverage/probe-check.js';
import { CoverageTable, SOCKET } from '../../host/src/coverage/table.js';
import type { EventHead } from '../../host/src/events/outgoing.js';
import { ConnNote, Kind } from '../../host/src/gen/records.js';
import { note } from '../lib/notes.js';

const event = (pid: number, type = 'ai.request'): EventHead => ({
  event_id: 'e',
  event_type: type,
  ts: '2026-01-01T00:00:05.000000Z',
  pid,
  exchange: null,
});

const fileOf = (target: number) => (target === 1 ? { path: '/lib/libssl.so.3', family: 'openssl' } : undefined);

describe('the coverage table', () => {
  it('keeps the first plaintext of each file, and counts the connections', () => {
    const table = new CoverageTable(fileOf);
    table.note(note({ target: 1, atMs: 1000, bytes: 70, detail: { direction: 'write', looks: 'http/1' } }));
    table.note(note({ target: 1, atMs: 2000, bytes: 99, detail: { direction: 'read', looks: 'h2' } }));
    table.note(note({ target: 2, what: ConnNote.implausible, detail: { from_start: true } }));
    table.note(note({ kind: Kind.tls_close, target: 7, atMs: 3000 }));
    table.note(note({ what: ConnNote.not_ai, detail: { reason: 'not_http' } }));
    const [row, another] = table.rows();
    assert.equal(another, undefined);
    assert.deepEqual(
      [...(row?.files.values() ?? [])],
      [
        {
          target: 1,
          path: '/lib/libssl.so.3',
          family: 'openssl',
          first: { atMs: 1000, bytes: 70, direction: 'write', looks: 'http/1' },
          connections: 2,
          implausible: 0,
        },
        { target: 2, path: null, family: null, first: null, connections: 0, implausible: 1 },
        { target: SOCKET, path: null, family: null, first: { atMs: 3000, bytes: 0, direction: 'unknown', looks: 'unknown' }, connections: 1, implausible: 0 },
      ],
    );
    assert.equal(row?.notAi, 1);
  });

  it('tells processes of one id apart, and gives an event to the newest', () => {
    const table = new CoverageTable(fileOf);
    table.note(note({ tgid: 7, startNs: 1n, exe: '/old' }));
    table.note(note({ tgid: 7, startNs: 2n, exe: '/new' }));
    table.event(event(7));
    table.event(event(7, 'process.exec'));
    table.event(event(8));
    assert.deepEqual(
      table.rows().map(({ exe, aiEvents, lastAiMs }) => [exe, aiEvents, lastAiMs]),
      [
        ['/old', 0, null],
        ['/new', 1, Date.parse('2026-01-01T00:00:05Z')],
      ],
    );
    assert.equal(table.counters().events_without_row, 1);
  });

  it('keeps the newest ClientHello, and nothing of it that is no text', () => {
    const table = new CoverageTable(fileOf);
    const detail = { sni: 'api.example', alpn: ['h2', 'http/1.1', null, { a: 1 }], versions: ['1.3', 771], peer: '10.0.0.1', peer_port: 443 };
    table.note(note({ what: ConnNote.tls_hello, detail: { sni: 'x'.repeat(400) } }));
    assert.equal(table.rows()[0]?.lastHello?.sni?.length, 255);
    table.note(note({ what: ConnNote.tls_hello, atMs: 9, detail }));
    const [row] = table.rows();
    assert.equal(row?.hellos, 2);
    assert.deepEqual(row?.lastHello, { atMs: 9, sni: 'api.example', alpn: ['h2', 'http/1.1'], versions: ['1.3', '771'], peer: '10.0.0.1', peerPort: 443 });
    table.note(note({ what: ConnNote.tls_hello, detail: { sni: 1, alpn: 'h2', versions: null, peer: null, peer_port: 'x' } }));
    assert.deepEqual(table.rows()[0]?.lastHello, { atMs: 1, sni: null, alpn: [], versions: [], peer: null, peerPort: 0 });
  });

  it('forgets the process told of longest ago at its bound', () => {
    const table = new CoverageTable(fileOf, 3);
    for (const tgid of [1, 2, 3, 1, 4]) table.note(note({ tgid }));
    assert.deepEqual(
      table.rows().map(({ tgid }) => tgid),
      [3, 1, 4],
    );
    assert.deepEqual([table.counters().rows, table.counters().forgotten], [3, 1]);
    table.event(event(2));
    assert.equal(table.counters().events_without_row, 1);
  });

  it('keeps sixteen files of a process', () => {
    const table = new CoverageTable(fileOf);
    for (let target = 1; target <= 20; target += 1) table.note(note({ target }));
    assert.equal(table.rows()[0]?.files.size, 16);
    assert.equal(table.counters().files_left, 4);
  });
});

describe('the self-check', () => {
  const implausible = (target: number, detail: Record<string, unknown> = { from_start: true }) => note({ target, what: ConnNote.implausible, detail });

  function checked(): { check: ProbeCheck; detached: (readonly [number, string])[] } {
    const detached: (readonly [number, string])[] = [];
    const check = new ProbeCheck((target, why) => detached.push([target, why]) > 0);
    return { check, detached };
  }

  it('takes probes off at the third connection that begins implausibly, once', () => {
    const { check, detached } = checked();
    for (let i = 1; i < IMPLAUSIBLE_LIMIT; i += 1) check.note(implausible(5));
    assert.equal(detached.length, 0);
    for (let i = 0; i < 3; i += 1) check.note(implausible(5));
    assert.deepEqual(
      detached.map(([target]) => target),
      [5],
    );
    assert.match(detached[0]?.[1] ?? '', /^self-check: 3 connections/);
    assert.equal(check.counters().detached, 1);
  });

  it('keeps probes that were right once, whatever came before or comes after', () => {
    const { check, detached } = checked();
    check.note(implausible(5));
    check.note(note({ target: 5, detail: { looks: 'http/1' } }));
    for (let i = 0; i < 9; i += 1) check.note(implausible(5));
    assert.equal(detached.length, 0);
  });

  it('takes too few bytes for no proof, and bytes from the middle for none either', () => {
    const { check, detached } = checked();
    for (const looks of ['short', 'websocket']) check.note(note({ target: 5, detail: { looks } }));
    for (const detail of [{ from_start: false }, {}, { from_start: 'true' }]) check.note(implausible(5, detail));
    for (let i = 1; i < IMPLAUSIBLE_LIMIT; i += 1) check.note(implausible(5));
    assert.equal(detached.length, 0);
    check.note(implausible(5));
    assert.equal(detached.length, 1);
  });

  it('judges each file by itself, and not one whose number is not known', () => {
    const { check, detached } = checked();
    for (const target of [1, 2, 3, 0, 0, 0, 0]) check.note(implausible(target));
    assert.equal(detached.length, 0);
  });

  it('watches so many files and no more', () => {
    const { check } = checked();
    for (let target = 1; target <= 1030; target += 1) check.note(implausible(target));
    assert.deepEqual(check.counters(), { watched: 1024, detached: 0, forgotten: 6 });
  });
});
