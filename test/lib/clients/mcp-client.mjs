// usage: mcp-client.mjs SERVER ARGS...: starts a tool server, whose standard input and output are Unix sockets here, and makes 4 calls; prints their answers' size.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const [server, ...args] = process.argv.slice(2);
const child = spawn(server, args, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
let bytes = 0;
for (let id = 0; id < 4; id++) {
  const params =
    id === 0 ? { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'client', version: '1' } } : { pad: 'q'.repeat(20_000 * id) };
  // The member that names the protocol comes late, as common clients write it.
  child.stdin.write(`${JSON.stringify({ method: id === 0 ? 'initialize' : 'tools/call', params, jsonrpc: '2.0', id })}\n`);
  for (;;) {
    const { value } = await lines.next();
    if (!value.startsWith('{')) continue;
    bytes += value.length + 1;
    break;
  }
}
child.stdin.end();
process.stdout.write(`${bytes}\n`);
