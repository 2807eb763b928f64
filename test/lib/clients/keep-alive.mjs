// usage: keep-alive.mjs URL PLAIN_URL NAME CONNECTIONS ROUNDS [wait]: each round POSTs /sink?id=NAME-... on every connection of one agent at once, among plain HTTP; with "wait" it pauses for a line after the first; prints how many were answered.
import http from 'node:http';
import https from 'node:https';

const [url, plainUrl, name, connections, rounds, wait] = process.argv.slice(2);
const secure = new https.Agent({ keepAlive: true, maxSockets: Number(connections) });
const plain = new http.Agent({ keepAlive: true, maxSockets: 4 });

function post(client, agent, target, body) {
  return new Promise((resolve, reject) => {
    const request = client.request(target, { agent, method: 'POST', headers: { 'content-length': body.length } }, (response) => {
      response.on('data', () => undefined);
      response.on('end', () => resolve(response.statusCode));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

let answered = 0;
for (let round = 0; round < Number(rounds); round++) {
  if (round === 1 && wait === 'wait') {
    process.stdout.write('waiting\n');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    process.stdin.destroy();
  }
  const calls = [];
  for (let i = 0; i < Number(connections); i++) {
    calls.push(post(https, secure, `${url}/sink?id=${name}-${round}-${i}.`, Buffer.alloc(1 + ((i * 977 + round * 131) % 40_000), 'x')));
    if (i % 6 === 0) calls.push(post(http, plain, `${plainUrl}/other`, Buffer.alloc(100, 'y')).then(() => 0));
  }
  for (const status of await Promise.all(calls)) if (status === 200) answered++;
}
secure.destroy();
plain.destroy();
process.stdout.write(`${answered}\n`);
