// usage: verdict.mjs URL ROUNDS: on one connection ROUNDS times 40 GETs and then one chat request (0: only the GETs); prints the local ports it used and how many chats were answered.
import { Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, rounds] = process.argv.slice(2);
const secure = url.startsWith('https:');
const agent = new (secure ? Agent : PlainAgent)({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
const ports = new Set();

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = (secure ? request : plainRequest)(url + path, { agent, method, headers }, (response) => {
      ports.add(response.socket.localPort);
      response.resume();
      response.once('end', () => resolve(response.statusCode));
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

let answered = 0;
for (let round = 0; round < Math.max(1, Number(rounds)); round++) {
  for (let i = 0; i < 40; i++) {
    await call('GET', `/files/${round}/${i}?${'padding'.repeat(40)}`);
    await sleep(10);
  }
  if (rounds === '0') break;
  const body = JSON.stringify({ model: `gpt-round-${round}`, messages: [{ role: 'user', content: `round ${round} ${'x'.repeat(30_000)}` }] });
  if ((await call('POST', '/v1/chat/completions', body)) === 200) answered++;
}
agent.destroy();
process.stdout.write(`${[...ports].join(',')} ${answered}\n`);
