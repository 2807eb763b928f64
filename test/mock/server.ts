// The mock AI server: every wire format of formats.ts on loopback, over TLS unless asked otherwise, deterministic, with a log of what it really received and sent.
//
// Header x-mock, words separated by commas:
//   tool       answer with a tool call (a request that offers tools gets one anyway)      no-tool    never
//   thinking   an Anthropic answer begins with a thinking block                            gzip       compress, when the client accepts it
//   slow-N     wait N ms before the answer and between its parts                           error-N    answer with HTTP status N
//   cut        close the connection in the middle of the answer                            length     Content-Length instead of chunks where possible
// POST /sink takes any body and tells its size and hash.
import { createHash } from 'node:crypto';
import { createServer as createPlainServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createPlainHttp2, createSecureServer as createSecureHttp2 } from 'node:http2';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex, Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, constants, createBrotliCompress, createGzip, createZstdCompress, type Gzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { makeCertificate } from '../lib/tls.js';
import { type Asked, errorBody } from './answers.js';
import { formatOfPath } from './formats.js';

/** One request and its answer as the server saw them. */
export interface Exchange {
  readonly sequence: number;
  readonly peerPort: number;
  readonly method: string;
  readonly path: string;
  readonly requestBytes: number;
  readonly requestSha256: string;
  readonly model: string | undefined;
  readonly stream: boolean;
  status: number;
  /** Body bytes as written, before chunked framing. */
  responseBytes: number;
  done: boolean;
}

export interface MockOptions {
  /** 0 or absent: any free port. */
  readonly port?: number;
  /** Remember every exchange (default), or only the newest thousand. */
  readonly keepLog?: boolean;
  /** Offer HTTP/2 as well, by ALPN or, without TLS, by prior knowledge only. */
  readonly http2?: boolean;
  /** Code answers like this for clients that accept it. */
  readonly coding?: Coding;
  /** HTTP without TLS, as model servers of one's own machine speak it. */
  readonly plain?: boolean;
}

export interface Mock {
  readonly port: number;
  readonly url: string;
  readonly certPath: string;
  readonly log: readonly Exchange[];
  /** Stops listening and breaks what is open. Idempotent. */
  close(): Promise<void>;
}

const LOG_BOUND = 1000;
const LARGEST_JSON = 256 * 1024 * 1024;
/** Above this a body is hashed and thrown away, because nothing in it is needed. */
const isSink = (path: string): boolean => path.startsWith('/sink');

interface Wishes {
  readonly words: ReadonlySet<string>;
  readonly slowMs: number;
  readonly status: number;
}

function wishesOf(request: IncomingMessage): Wishes {
  const words = new Set(
    String(request.headers['x-mock'] ?? '')
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  );
  const numberAfter = (prefix: string) => Number([...words].find((word) => word.startsWith(prefix))?.slice(prefix.length) ?? 0);
  return { words, slowMs: words.has('slow') ? 100 : numberAfter('slow-'), status: numberAfter('error-') || 200 };
}

/** Reads a whole body; what goes to the sink is only hashed. */
async function bodyOf(request: IncomingMessage): Promise<{ bytes: number; sha256: string; text: string }> {
  const hash = createHash('sha256');
  const parts: Buffer[] = [];
  let bytes = 0;
  const keep = !isSink(request.url ?? '');
  for await (const part of request as AsyncIterable<Buffer>) {
    hash.update(part);
    bytes += part.length;
    if (keep && bytes <= LARGEST_JSON) parts.push(part);
  }
  return { bytes, sha256: hash.digest('hex'), text: Buffer.concat(parts).toString() };
}

interface RequestBody {
  model?: unknown;
  stream?: unknown;
  tools?: unknown;
  stream_options?: { include_usage?: unknown };
  thinking?: { type?: unknown };
}

function parseBody(text: string): RequestBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as RequestBody) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export type Coding = 'gzip' | 'br' | 'zstd';

interface Coder {
  readonly whole: (text: string) => Buffer;
  readonly stream: () => Transform;
  readonly flush: (coder: Transform, done: () => void) => void;
}

const flushWith =
  (kind: number): Coder['flush'] =>
  (coder, done) =>
    (coder as Gzip).flush(kind, () => done());

const CODINGS: Readonly<Record<Coding, Coder>> = {
  gzip: { whole: (text) => gzipSync(text), stream: () => createGzip(), flush: flushWith(constants.Z_SYNC_FLUSH) },
  br: { whole: (text) => brotliCompressSync(text), stream: () => createBrotliCompress(), flush: flushWith(constants.BROTLI_OPERATION_FLUSH) },
  zstd: { whole: (text) => zstdCompressSync(text), stream: () => createZstdCompress(), flush: flushWith(constants.ZSTD_e_flush) },
};

/** Writes an answer's parts, compressed or not, and keeps count. */
class Answer {
  readonly #response: ServerResponse;
  readonly #exchange: Exchange;
  readonly #coder: Transform | undefined;
  readonly #flush: (coder: Transform, done: () => void) => void;

  constructor(response: ServerResponse, exchange: Exchange, coded?: Coding) {
    this.#response = response;
    this.#exchange = exchange;
    this.#coder = coded && CODINGS[coded].stream();
    this.#flush = coded ? CODINGS[coded].flush : (_coder, done) => done();
    this.#coder?.on('data', (part: Buffer) => this.#write(part));
  }

  #write(part: Buffer): void {
    this.#exchange.responseBytes += part.length;
    this.#response.write(part);
  }

  async part(bytes: Buffer): Promise<void> {
    const coder = this.#coder;
    if (!coder) {
      this.#write(bytes);
      // A turn of the event loop, so that each part is a write of its own on the wire.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    coder.write(bytes);
    await new Promise<void>((resolve) => this.#flush(coder, resolve));
  }

  async end(): Promise<void> {
    const coder = this.#coder;
    if (coder) {
      const ended = new Promise((resolve) => coder.once('end', resolve));
      coder.end();
      await ended;
    }
    this.#response.end();
  }
}

/** Groups the events of a stream so that parts begin and end inside events and characters too. */
function streamParts(events: readonly (string | Buffer)[]): Buffer[] {
  const parts: Buffer[] = [];
  events.forEach((event, i) => {
    const bytes = Buffer.from(event as string);
    if (i % 3 !== 2) {
      parts.push(bytes);
      return;
    }
    const middle = Math.floor(bytes.length / 2) + 1;
    parts.push(bytes.subarray(0, middle), bytes.subarray(middle));
  });
  return parts;
}

async function sendWhole(response: ServerResponse, exchange: Exchange, text: string, coded?: Coding): Promise<void> {
  const body = coded ? CODINGS[coded].whole(text) : Buffer.from(text);
  exchange.responseBytes = body.length;
  const coding = coded ? { 'content-encoding': coded } : {};
  response.writeHead(exchange.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...coding,
    'x-request-id': `req_mock_${exchange.sequence}`,
  });
  response.end(body);
}

async function sendStream(
  response: ServerResponse,
  exchange: Exchange,
  stream: { readonly parts: readonly (string | Buffer)[]; readonly type: string },
  wishes: Wishes,
  coded?: Coding,
): Promise<void> {
  const coding = coded ? { 'content-encoding': coded } : {};
  response.writeHead(200, {
    'content-type': stream.type,
    'cache-control': 'no-cache',
    ...coding,
    'x-request-id': `req_mock_${exchange.sequence}`,
  });
  const answer = new Answer(response, exchange, coded);
  const parts = streamParts(stream.parts);
  const last = wishes.words.has('cut') ? Math.floor(parts.length / 2) : parts.length;
  for (const part of parts.slice(0, last)) {
    await answer.part(part);
    if (wishes.slowMs) await sleep(wishes.slowMs);
  }
  if (last < parts.length) {
    response.destroy();
    return;
  }
  await answer.end();
}

/** Answers one request and returns when the answer is out. */
async function answer(request: IncomingMessage, response: ServerResponse, sequence: number, log: Exchange[], options: MockOptions): Promise<void> {
  const wishes = wishesOf(request);
  const body = await bodyOf(request);
  const path = request.url ?? '/';
  const parsed = isSink(path) ? undefined : parseBody(body.text);
  const route = path.split('?')[0];
  const model = typeof parsed?.model === 'string' ? parsed.model : formatOfPath(route ?? '')?.modelOf?.(path);
  const exchange: Exchange = {
    sequence,
    peerPort: request.socket.remotePort ?? 0,
    method: request.method ?? '',
    path,
    requestBytes: body.bytes,
    requestSha256: body.sha256,
    model,
    stream: formatOfPath(route ?? '')?.streams(route ?? '', (parsed ?? {}) as Record<string, unknown>) ?? parsed?.stream === true,
    status: wishes.status,
    responseBytes: 0,
    done: false,
  };
  log.push(exchange);
  response.once('close', () => {
    exchange.done = true;
  });
  const wanted = wishes.words.has('gzip') ? 'gzip' : options.coding;
  const coding = wanted && String(request.headers['accept-encoding'] ?? '').includes(wanted) ? wanted : undefined;
  if (wishes.slowMs) await sleep(wishes.slowMs);

  const anthropic = route === '/v1/messages';
  const format = formatOfPath(route ?? '');
  if (isSink(path)) return sendWhole(response, exchange, JSON.stringify({ bytes: body.bytes, sha256: body.sha256 }));
  if (!format) return fail(response, exchange, 404, false);
  if (request.method !== 'POST') return fail(response, exchange, 405, anthropic);
  if (wishes.status !== 200) return fail(response, exchange, wishes.status, anthropic);
  if (model === undefined) return fail(response, exchange, 400, anthropic);

  const asked: Asked = {
    model,
    stream: exchange.stream,
    tool: !wishes.words.has('no-tool') && (wishes.words.has('tool') || (offersTools(parsed) && !HAS_RESULT.test(body.text))),
    thinking: wishes.words.has('thinking') || parsed?.thinking?.type === 'enabled',
    includeUsage: parsed?.stream_options?.include_usage === true,
    bodyBytes: body.bytes,
    bodySha256: body.sha256,
    sequence,
  };
  if (asked.stream) return sendStream(response, exchange, { parts: format.stream(asked), type: format.streamType }, wishes, coding);
  return sendWhole(response, exchange, format.plain(asked), coding);
}

/** The program has given back what a tool did: it gets an answer, and not another call. */
const HAS_RESULT = /"role":\s*"tool"|"tool_result"|"function_call_output"|"functionResponse"|"toolResult"/;

function offersTools(parsed: { tools?: unknown; toolConfig?: { tools?: unknown } } | undefined): boolean {
  const tools = parsed?.tools ?? parsed?.toolConfig?.tools;
  return Array.isArray(tools) && tools.length > 0;
}

async function fail(response: ServerResponse, exchange: Exchange, status: number, anthropic: boolean): Promise<void> {
  exchange.status = status;
  await sendWhole(response, exchange, errorBody(status, anthropic));
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function makeServer(
  options: MockOptions,
  { key, cert }: { key: Buffer; cert: Buffer },
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const timeouts = { keepAliveTimeout: 30_000 };
  if (!options.http2) return options.plain ? createPlainServer(timeouts, listener) : createServer({ key, cert, ...timeouts }, listener);
  // The compatibility interface of http2 has all that the mock uses of http.
  const server = options.plain ? createPlainHttp2() : createSecureHttp2({ key, cert, allowHTTP1: true });
  server.on('request', (request, response) => listener(request as unknown as IncomingMessage, response as unknown as ServerResponse));
  return server as unknown as Server;
}

/** Starts the server on 127.0.0.1; resolves when it accepts connections. */
export async function startMock(options: MockOptions = {}): Promise<Mock> {
  const certificate = makeCertificate();
  const log: Exchange[] = [];
  const open = new Set<Duplex>();
  let sequence = 0;
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response, ++sequence, log, options).catch((error: Error) => {
      process.stderr.write(`mock: ${request.method} ${request.url}: ${error.message}\n`);
      response.destroy();
    });
    if (options.keepLog === false && log.length > LOG_BOUND) log.splice(0, log.length - LOG_BOUND);
  };
  const server = makeServer(options, certificate, listener);
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  // A client that hangs up during the handshake is no failure of the mock.
  server.on('tlsClientError', () => undefined);
  let port: number;
  try {
    port = await listen(server, options.port ?? 0);
  } catch (error) {
    certificate.remove();
    throw error;
  }
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of open) socket.destroy();
      certificate.remove();
    });
    return closing;
  };
  return { port, url: `${options.plain ? 'http' : 'https'}://127.0.0.1:${port}`, certPath: certificate.certPath, log, close };
}
