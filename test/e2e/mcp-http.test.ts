// MCP over HTTP with the protocol's own SDK on both sides, answered as JSON and as a stream: each call of a tool and what came of it, and nothing for the rest of the protocol.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';
import { PROGRAMS } from '../lib/clients.js';
import { type Daemon, eventsOf, mustProbe, ofType, ROOT, type SeenEvent, scratch, startDaemon } from '../lib/run.js';
import { makeCertificate } from '../lib/tls.js';

const run = promisify(execFile);

interface Given {
  tools: string[];
  results: { content: { text: string }[]; structuredContent?: object; isError?: boolean }[];
}

function toolServer(): McpServer {
  const server = new McpServer({ name: 'tools', version: '1.0.0' });
  server.registerTool('get_weather', { description: 'Tells the weather.', inputSchema: { city: z.string() } }, ({ city }) => ({
    content: [{ type: 'text', text: `sunny in ${city}, 24 °C` }],
  }));
  server.registerTool('count', { inputSchema: { upTo: z.number() }, outputSchema: { numbers: z.array(z.number()) } }, ({ upTo }) => ({
    content: [],
    structuredContent: { numbers: Array.from({ length: upTo }, (_, i) => i) },
  }));
  server.registerTool('fail', { inputSchema: {} }, () => ({ content: [{ type: 'text', text: 'no such thing' }], isError: true }));
  return server;
}

/** An MCP server of one session on loopback. */
async function serve(enableJsonResponse: boolean, closers: (() => void)[]): Promise<string> {
  const certificate = makeCertificate();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID, enableJsonResponse });
  await toolServer().connect(transport as Parameters<McpServer['connect']>[0]);
  const server: Server = createServer({ key: certificate.key, cert: certificate.cert }, (request, response) => void transport.handleRequest(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
    certificate.remove();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

describe('MCP over HTTP', () => {
  const closers: (() => void)[] = [];
  let daemon: Daemon | undefined;
  before(() => mustProbe());
  after(async () => {
    await daemon?.stop();
    for (const close of closers) close();
  });

  for (const json of [true, false]) {
    it(json ? 'answered as JSON' : 'answered as a stream', { timeout: 60_000 }, async () => {
      const url = await serve(json, closers);
      const output = join(scratch(`mcp-${json}`), 'out.jsonl');
      daemon = await startDaemon(['--output', output]);
      const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' };
      const { stdout } = await run(PROGRAMS.node, [join(ROOT, 'test', 'lib', 'clients', 'mcp-http.mjs'), url], { env });
      await daemon.stop();
      const given = JSON.parse(stdout) as Given;
      assert.deepEqual(given.tools, ['get_weather', 'count', 'fail']);
      const events = eventsOf(output).filter((event) => !event.event_type.startsWith('process.') && !event.event_type.startsWith('network.'));
      const calls = ofType(events, 'agent.tool_call');
      const results = ofType(events, 'agent.tool_result');
      assert.deepEqual([calls.length, results.length, events.length], [3, 3, 6]);
      check(calls, results, given, new URL(url).host);
    });
  }
});

function check(calls: SeenEvent[], results: SeenEvent[], given: Given, host: string): void {
  assert.deepEqual(
    calls.map((call) => [(call.data['tool'] as { name: string }).name, call.data['arguments']]),
    [
      ['get_weather', { city: 'Zürich' }],
      ['count', { upTo: 3 }],
      ['fail', {}],
    ],
  );
  results.forEach((result, i) => {
    const call = calls[i] as SeenEvent;
    const told = given.results[i] as Given['results'][number];
    const text = told.content.length ? told.content.map((part) => part.text).join('\n') : JSON.stringify(told.structuredContent);
    assert.deepEqual([result.data['result'], result.data['success']], [text, told.isError !== true]);
    assert.equal(result.data['call_id'], call.data['call_id']);
    assert.deepEqual(call.data['tool'], {
      name: (call.data['tool'] as { name: string }).name,
      type: (result.data['tool'] as { type: string }).type,
      provider: 'mcp',
      server: host,
    });
    assert.deepEqual(result.related_events, [{ event_id: call.event_id, relationship: 'parent' }]);
    assert.deepEqual([call.confidence.completeness, result.confidence.completeness], ['full', 'full']);
    assert.equal(result.ext?.oisp_host?.['format'], 'mcp');
  });
}
