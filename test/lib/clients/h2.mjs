// usage: h2.mjs URL: one HTTP/2 connection; each line of standard input, WORD COUNT, asks COUNT things at once on it, marked WORD-0 and so on, and prints `done WORD`.
// Every third asks for a stream, every third for gzip; the prompt of number n has n * 1000 bytes beside its mark.
import { connect } from 'node:http2';
import { createInterface } from 'node:readline';
import { gunzipSync } from 'node:zlib';

const session = connect(process.argv[2], { rejectUnauthorized: false });

function ask(mark, n) {
  return new Promise((resolve, reject) => {
    const stream = n % 3 === 1;
    const body = JSON.stringify({ model: 'gpt-4o', stream, messages: [{ role: 'user', content: `${mark}-${n} ${'x'.repeat(n * 1000)}` }] });
    const request = session.request({
      ':method': 'POST',
      ':path': '/v1/chat/completions',
      'content-type': 'application/json',
      authorization: 'Bearer not-a-real-key-0123456789',
      'accept-encoding': 'gzip',
      'x-mock': n % 3 === 2 ? 'gzip' : 'none',
    });
    const parts = [];
    let coding;
    request.on('response', (headers) => {
      coding = headers['content-encoding'];
    });
    request.on('data', (part) => parts.push(part));
    request.on('end', () => resolve((coding === 'gzip' ? gunzipSync(Buffer.concat(parts)) : Buffer.concat(parts)).length));
    request.on('error', reject);
    // A cut of its own in the middle of the body: DATA frames of several requests lie among one another.
    request.write(body.slice(0, body.length >> 1));
    setImmediate(() => request.end(body.slice(body.length >> 1)));
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const [mark, count] = line.split(' ');
  await Promise.all(Array.from({ length: Number(count) }, (_, n) => ask(mark, n)));
  process.stdout.write(`done ${mark}\n`);
}
session.close();
