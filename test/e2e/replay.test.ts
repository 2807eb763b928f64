// A recording gives the same events as the capture it was made of, byte for byte, as often as it is replayed, and needs no privileges.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startClient } from '../lib/clients.js';
import { mustProbe, ofType, oispHost, readEvents, scratch, startDaemon } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

describe('record and replay', () => {
  let mock: Mock;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(async () => {
    await mock?.close();
  });

  it('give the same events', { timeout: 60_000 }, async () => {
    const folder = scratch('replay');
    const [output, recording] = [join(folder, 'out.jsonl'), join(folder, 'capture.rec')];
    const daemon = await startDaemon(['--output', output, '--record', recording]);
    const clients = await Promise.all(
      (['node', 'python'] as const).map((client) => startClient(client, { url: mock.url, folder, marker: `${client}-rec`, wait: false })),
    );
    await Promise.all(clients.map((client) => client.finished));
    const ended = await daemon.stop();
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(statSync(recording).mode & 0o077, 0, 'a recording holds plaintext: only its owner may read it');

    const live = readFileSync(output, 'utf8');
    const first = await oispHost(['replay', recording]);
    const second = await oispHost(['replay', recording], { under: ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] });
    assert.deepEqual([first.code, second.code], [0, 0], first.stderr + second.stderr);
    assert.equal(ofType(readEvents(live), 'ai.request').length, 6);
    assert.equal(first.stdout, second.stdout, 'two replays');
    const sorted = (text: string) => text.split('\n').sort();
    assert.deepEqual(sorted(first.stdout), sorted(live), 'live and replayed events');
  });

  it('a file that is no recording is refused in one sentence', async () => {
    const ended = await oispHost(['replay', '/etc/passwd']);
    assert.notEqual(ended.code, 0);
    assert.match(ended.stderr, /^oisp-host: .*\/etc\/passwd/);
  });
});
