// usage: mcp-http.mjs URL: calls three tools of an MCP server over HTTP with the protocol's own SDK and prints what it gave back, as JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const client = new Client({ name: 'caller', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const { tools } = await client.listTools();
const results = [];
for (const [name, args] of [
  ['get_weather', { city: 'Zürich' }],
  ['count', { upTo: 3 }],
  ['fail', {}],
]) {
  results.push(await client.callTool({ name, arguments: args }));
}
process.stdout.write(`${JSON.stringify({ tools: tools.map((tool) => tool.name), results })}\n`);
await client.close();
process.exit(0);
