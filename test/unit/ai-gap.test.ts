// Tests that a name with lost bytes in it is left out: a model that does not exist must not be told of.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { paths } from '../../host/src/config/paths.js';
import { loadDecoders } from '../../host/src/decode/load.js';
import { DecodeWorker } from '../../host/src/decode/worker.js';
import type { RawEvent } from '../../host/src/events/raw-event.js';
import { Wire } from '../lib/records.js';

/** Decodes a connection whose request and response lose `lost` bytes after `before`. */
function decode(body: string, before: string, lost: number, side: 'request' | 'response'): RawEvent[] {
  const whole = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }] });
  const request = side === 'request' ? body : whole;
  const answer = side === 'response' ? body : '{}';
  const wire = new Wire();
  const send = (way: 'write' | 'read', head: string, text: string, cut: boolean) => {
    const at = text.indexOf(before) + before.length;
    wire[way](`${head}content-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n`);
    if (!cut) wire[way](text);
    else
      wire[way](text.slice(0, at))
        .lose(way, lost)
        [way](text.slice(at + lost));
  };
  send('write', 'POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n', request, side === 'request');
  send('read', 'HTTP/1.1 200 OK\r\n', answer, side === 'response');
  const events: RawEvent[] = [];
  new DecodeWorker(loadDecoders(paths.decoders)).process(Buffer.concat(wire.close().records), {
    event: (event) => events.push(event),
    processStart: () => undefined,
    connectionNote: () => undefined,
    processEnd: () => undefined,
  });
  return events;
}

it('a request whose model has lost bytes names no model, and says that it is partial', () => {
  const [request] = decode('{"model":"gpt-4o-mini-2024-07-18","messages":[{"role":"user","content":"hi"}]}', '"gpt-4o', 5, 'request');
  assert.equal(request?.type, 'ai.request');
  assert.equal(request.data['model'], undefined);
  assert.equal(request.meta.completeness, 'partial');
  assert.equal(request.meta.missing_bytes, 5);
});

it('a response whose model has lost bytes is of the model that was asked', () => {
  const body =
    '{"id":"chatcmpl-0123456789","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"yo"},"finish_reason":"stop"}]}';
  const response = decode(body, '"gpt-4o-', 4, 'response').find(({ type }) => type === 'ai.response');
  assert.ok(response);
  assert.equal((response.data['model'] as { id: string }).id, 'gpt-4o');
  assert.equal(response.meta.completeness, 'partial');
  const renamed = decode(body, '"chatcmpl-', 4, 'response').find(({ type }) => type === 'ai.response');
  assert.equal(renamed?.data['provider_request_id'], undefined);
});
