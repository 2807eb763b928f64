// Server name and protocol of a connection, as the program's own calls of its TLS library tell them, in the events of its exchanges.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PROGRAMS } from '../lib/clients.js';
import { eventsOf, mustProbe, ofType, oispHost, scratch } from '../lib/run.js';
import { type Mock, startMock } from '../mock/server.js';

const ASK = `
import http.client, json, ssl, sys
context = ssl._create_unverified_context()
context.set_alpn_protocols(['http/1.1'])
connection = http.client.HTTPSConnection('localhost', int(sys.argv[1]), context=context)
connection.connect()
assert connection.sock.selected_alpn_protocol() == 'http/1.1'
connection.request('POST', '/v1/chat/completions', json.dumps({'model': 'gpt-names', 'messages': [{'role': 'user', 'content': 'x'}]}), {'content-type': 'application/json'})
print(connection.getresponse().status)
`;

describe('names of TLS', { timeout: 120_000 }, () => {
  let mock: Mock;
  before(async () => {
    mustProbe();
    mock = await startMock();
  });
  after(() => mock.close());

  it('are in the events of an exchange', async () => {
    const folder = scratch('tls-names');
    const script = join(folder, 'ask.py');
    writeFileSync(script, ASK);
    const output = join(folder, 'out.jsonl');
    const ended = await oispHost(['run', '--output', output, '--', PROGRAMS.python, script, String(mock.port)]);
    assert.equal(ended.stdout.trim(), '200', ended.stderr);
    const events = eventsOf(output);
    for (const type of ['ai.request', 'ai.response']) {
      const [event] = ofType(events, type);
      assert.deepEqual(event?.ext?.oisp_host?.['tls'], { sni: 'localhost', alpn: 'http/1.1' }, type);
    }
  });
});
