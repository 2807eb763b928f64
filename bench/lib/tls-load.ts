// A program to be observed: writes COUNT times SIZE bytes over TLS to PORT as fast as it can, as the body of one HTTP request, and exits.
import { connect } from 'node:tls';
import { PSK } from './psk.js';

const [port = '', count = '', size = ''] = process.argv.slice(2);
const total = Number(count) * Number(size);
const chunk = Buffer.alloc(Number(size), 'x');
const socket = connect({ host: '127.0.0.1', port: Number(port), ...PSK.client });
socket.once('secureConnect', async () => {
  socket.write(`POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: ${total}\r\n\r\n`);
  for (let i = 0; i < Number(count); i++) {
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve));
  }
});
socket.on('data', () => socket.end());
