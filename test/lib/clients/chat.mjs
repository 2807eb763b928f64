// usage: chat.mjs URL FOLDER [wait]: posts plain.json, stream.json and tool.json with fetch (Node's own OpenSSL); with "wait" only after a line came in.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [url, folder, wait] = process.argv.slice(2);
if (wait === 'wait') {
  process.stdout.write('waiting\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.destroy();
}
const headers = { 'content-type': 'application/json', authorization: `Bearer ${process.env.OISP_TEST_KEY ?? 'test-key'}` };
if (process.env.OISP_TEST_COOKIE) headers.cookie = process.env.OISP_TEST_COOKIE;
if (process.env.OISP_TEST_X_API_KEY) headers['x-api-key'] = process.env.OISP_TEST_X_API_KEY;
for (const [name, path] of [
  ['plain', '/v1/chat/completions'],
  ['stream', '/v1/chat/completions'],
  ['tool', '/v1/messages'],
  ['large', '/v1/chat/completions'],
]) {
  const file = join(folder, `${name}.json`);
  if (!existsSync(file)) continue;
  const response = await fetch(url + path, { method: 'POST', headers, body: readFileSync(file) });
  const answer = await response.arrayBuffer();
  process.stdout.write(`${name} ${response.status} ${answer.byteLength}\n`);
}
