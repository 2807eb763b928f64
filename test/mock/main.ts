// `npm run mock -- [--port N] [--plain]`: the mock AI server in the foreground, one line per exchange; it ends with SIGINT or SIGTERM.
import { parseArgs } from 'node:util';
import { type Exchange, startMock } from './server.js';

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  process.stderr.write(`mock: --port ${text} is no port number\n`);
  process.exit(2);
}

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' }, plain: { type: 'boolean', default: false } } });
const mock = await startMock({ port: portOf(values.port), keepLog: false, plain: values.plain });
process.stdout.write(`listening on ${mock.url}\n`);

const told = new WeakSet<Exchange>();
const tell = () => {
  for (const exchange of mock.log) {
    if (!exchange.done || told.has(exchange)) continue;
    told.add(exchange);
    process.stdout.write(
      `${exchange.sequence} ${exchange.method} ${exchange.path} from port ${exchange.peerPort} ${exchange.requestBytes} bytes -> ${exchange.status} ${exchange.responseBytes} bytes\n`,
    );
  }
};
const timer = setInterval(tell, 200);
const stop = () => {
  clearInterval(timer);
  tell();
  void mock.close();
};
process.once('SIGINT', stop);
process.once('SIGTERM', stop);
