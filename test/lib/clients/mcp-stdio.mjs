// usage: mcp-stdio.mjs: starts two tool servers of MCP's own SDK and calls a tool of both at the same time, three times; prints what came back as JSON. With `serve NAME`: is a server.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { z } from 'zod';

const [role, name] = process.argv.slice(2);

if (role === 'serve') {
  const server = new McpServer({ name, version: '1.0.0' });
  server.registerTool('get_weather', { inputSchema: { city: z.string() } }, ({ city }) => ({
    content: [{ type: 'text', text: `${name}: sunny in ${city}, 24 °C` }],
  }));
  await server.connect(new StdioServerTransport());
} else {
  const start = async (server) => {
    const client = new Client({ name: 'agent', version: '1.0.0' });
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [process.argv[1], 'serve', server] }));
    return client;
  };
  // One after the other: the first exchange of each shows which pipes belong together.
  const servers = { north: await start('north'), south: await start('south') };
  const given = [];
  const ask = async (server, city) => {
    const { content } = await servers[server].callTool({ name: 'get_weather', arguments: { city } });
    given.push({ server, city, text: content[0].text });
  };
  for (const city of ['Oslo', 'Zürich', 'Rome']) await Promise.all([ask('north', `${city} N`), ask('south', `${city} S`)]);
  for (const client of Object.values(servers)) await client.close();
  process.stdout.write(JSON.stringify(given));
}
