// One chat completion over rustls inside Node, whose own TLS has no part in it; prints the status and stays until its input ends.   usage: rustls.mjs URL
import { Impit } from 'impit';

const [url] = process.argv.slice(2);
const body = JSON.stringify({ model: 'gpt-rust', messages: [{ role: 'user', content: 'hi' }] });
const client = new Impit({ ignoreTlsErrors: true });
const answer = await client.fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
process.stdout.write(`${answer.status}\n`);
process.stdin.resume();
