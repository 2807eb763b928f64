// Real HTTP/2 bytes: an http2 server and client of Node talk over a pair of streams in memory, and what each writes is kept in the order it was written.
import * as http2 from 'node:http2';
import { Duplex } from 'node:stream';
import type { Side } from './records.js';

export interface Piece {
  /** As the client's process would see it: what it writes, what it reads. */
  readonly side: Side;
  readonly bytes: Buffer;
}

export interface Exchange {
  readonly headers: http2.OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly status: number;
  readonly answerHeaders: http2.OutgoingHttpHeaders;
  readonly answer: Buffer;
  /** The answer is written in pieces of this size. */
  readonly piece: number;
  readonly trailers?: Record<string, string>;
  /** The server says 103 first. */
  readonly hints?: boolean;
  /** The client resets the stream once it has the answer's head. */
  readonly reset?: boolean;
  readonly padding?: boolean;
}

class End extends Duplex {
  other!: End;
  private waiting: (() => void) | undefined;

  constructor(private readonly record: (bytes: Buffer) => void) {
    super();
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    const copy = Buffer.from(bytes);
    this.record(copy);
    this.other.push(copy);
    setImmediate(done);
  }

  override _read(): void {
    this.waiting?.();
  }

  override _final(done: () => void): void {
    this.other.push(null);
    done();
  }
}

/** What both ends write while the exchanges take place, all of them at once, or one after the other. */
export async function h2Pieces(exchanges: readonly Exchange[], options: { together?: boolean; settings?: http2.Settings } = {}): Promise<Piece[]> {
  const pieces: Piece[] = [];
  const client = new End((bytes) => pieces.push({ side: 'write', bytes }));
  const server = new End((bytes) => pieces.push({ side: 'read', bytes }));
  client.other = server;
  server.other = client;
  const paddingStrategy = exchanges.some((x) => x.padding) ? http2.constants.PADDING_STRATEGY_MAX : http2.constants.PADDING_STRATEGY_NONE;
  const listener = http2.createServer({ paddingStrategy, ...(options.settings ? { settings: options.settings } : {}) });
  listener.on('stream', (stream, headers) => {
    const exchange = exchanges[Number(headers['x-index'])] as Exchange;
    const whole: Buffer[] = [];
    stream.on('error', () => undefined);
    stream.on('data', (bytes: Buffer) => whole.push(bytes));
    stream.on('end', () => {
      if (exchange.hints) stream.additionalHeaders({ ':status': 103, link: '</style.css>' });
      stream.respond({ ':status': exchange.status, ...exchange.answerHeaders }, { waitForTrailers: exchange.trailers !== undefined });
      stream.on('wantTrailers', () => stream.sendTrailers(exchange.trailers ?? {}));
      void answer(stream, exchange);
    });
  });
  listener.emit('connection', server);
  const session = http2.connect('http://api.openai.com', { createConnection: () => client, paddingStrategy });
  const run = (exchange: Exchange, index: number) =>
    new Promise<void>((done) => {
      const stream = session.request({ ...exchange.headers, 'x-index': String(index) }, { endStream: exchange.body.length === 0 });
      stream.on('close', done);
      stream.on('error', () => undefined);
      stream.on('response', () => exchange.reset && stream.close(http2.constants.NGHTTP2_CANCEL));
      stream.resume();
      if (exchange.body.length) stream.end(exchange.body);
    });
  if (options.together) await Promise.all(exchanges.map(run));
  else for (const [index, exchange] of exchanges.entries()) await run(exchange, index);
  await new Promise<void>((done) => session.close(done));
  client.destroy();
  server.destroy();
  return pieces;
}

async function answer(stream: http2.ServerHttp2Stream, exchange: Exchange): Promise<void> {
  for (let at = 0; at < exchange.answer.length; at += exchange.piece) {
    if (stream.destroyed) return;
    stream.write(exchange.answer.subarray(at, at + exchange.piece));
    await new Promise((next) => setImmediate(next));
  }
  if (!stream.destroyed) stream.end();
}
