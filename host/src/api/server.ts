// Answers requests about the daemon over HTTP/1.1, and on its Unix socket takes orders (POST); it knows no route by itself, and every connection is bounded in size and time.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { HostError, reasonOf } from '../errors.js';
import { type Claim, listenAt } from './socket-file.js';

export interface Answer {
  readonly type: string;
  readonly body: string;
}

/** Path -> what answers it. An answer that fails is a 503, and its text is shown: it must hold nothing captured. */
export type Routes = Readonly<Record<string, () => Promise<Answer>>>;

/** What is ordered: the body of the request and the parameters of its target. A HostError is a 409, and its text is shown. */
export type Orders = Readonly<Record<string, (body: Uint8Array<ArrayBuffer>, parameters: URLSearchParams) => Promise<Answer>>>;

export interface ApiServerOptions {
  /** Taken on a Unix socket only. */
  readonly orders?: Orders;
  /** Connections at once; more are closed unanswered. */
  readonly maxConnections?: number;
  /** Longest life of a connection, ms: for slow requests, slow answers and slow readers alike. */
  readonly connectionMs?: number;
}

const MAX_CONNECTIONS = 16;
const MAX_HEADER_BYTES = 8192;
const CONNECTION_MS = 30_000;
/** Of one with an order, which may take long; and its longest body. */
const ORDER_MS = 180_000;
const MAX_BODY_BYTES = 16 << 20;
/** Where a browser that was led here by a name of its own making would say so. */
const LOOPBACK_HOST = /^(?:127(?:\.\d{1,3}){3}|\[::1\]|localhost)(?::\d+)?$/i;

export function json(value: unknown): Answer {
  return { type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

export class ApiServer {
  readonly #routes: Routes;
  readonly #orders: Orders;
  readonly #server: Server;
  readonly #connectionMs: number;
  readonly #sockets = new Map<Socket, NodeJS.Timeout>();
  /** Answers by status code, and connections turned away. */
  readonly #counters = { refused_connections: 0, expired_connections: 0, answers: {} as Record<string, number> };
  #claim: Claim | undefined;
  #tcp = false;

  constructor(routes: Routes, options: ApiServerOptions = {}) {
    this.#routes = routes;
    this.#orders = options.orders ?? {};
    this.#connectionMs = options.connectionMs ?? CONNECTION_MS;
    // One request a connection: its deadline then bounds everything, and an idle daemon has no timer for it.
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => void this.#serve(request, response));
    this.#server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    this.#server.maxRequestsPerSocket = 1;
    this.#server.keepAliveTimeout = 1;
    this.#server.on('drop', () => {
      this.#counters.refused_connections += 1;
    });
    this.#server.on('connection', (socket) => this.#admit(socket));
  }

  /** Listens on a Unix socket, mode 0600. @throws PathTaken, HostError OUTPUT. */
  async listenUnix(path: string): Promise<void> {
    this.#claim = await listenAt(this.#server, path);
    this.#server.unref();
  }

  /** Listens on a loopback address. @param port 0: any free one. @returns the address in use. @throws HostError OUTPUT. */
  async listenTcp(host: string, port: number): Promise<string> {
    this.#tcp = true;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen({ host, port }, resolve);
      });
    } catch (error) {
      throw new HostError('OUTPUT', `cannot serve metrics on ${host} port ${port}: ${reasonOf(error)}`, 'Name another port with metrics.listen.', {
        cause: error,
      });
    }
    this.#server.unref();
    const { family, address, port: used } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${used}` : `${address}:${used}`;
  }

  stats(): { refused_connections: number; expired_connections: number; answers: Readonly<Record<string, number>> } {
    return { ...this.#counters, answers: { ...this.#counters.answers } };
  }

  /** Breaks what is open and takes the socket's path away. Idempotent, safe before listening. */
  async close(): Promise<void> {
    const claim = this.#claim;
    this.#claim = undefined;
    await claim?.release();
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #admit(socket: Socket): void {
    this.#expire(socket, this.#connectionMs);
    socket.once('close', () => {
      clearTimeout(this.#sockets.get(socket));
      this.#sockets.delete(socket);
    });
  }

  #expire(socket: Socket, afterMs: number): void {
    clearTimeout(this.#sockets.get(socket));
    const timer = setTimeout(() => {
      this.#counters.expired_connections += 1;
      socket.destroy();
    }, afterMs);
    this.#sockets.set(socket, timer);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST' && !this.#tcp && Object.keys(this.#orders).length > 0) return await this.#obey(request, response);
    const refusal = this.#refusal(request);
    if (refusal) return this.#send(response, refusal.code, json({ error: refusal.text }));
    const path = pathOf(request);
    const route = Object.hasOwn(this.#routes, path) ? this.#routes[path] : undefined;
    if (!route) return this.#send(response, 404, json({ error: `there is no ${path.slice(0, 64)}`, paths: Object.keys(this.#routes) }));
    try {
      this.#send(response, 200, await route());
    } catch (error) {
      this.#send(response, 503, json({ error: error instanceof Error ? error.message : String(error) }));
    }
  }

  async #obey(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathOf(request);
    const order = Object.hasOwn(this.#orders, path) ? this.#orders[path] : undefined;
    if (!order) return this.#send(response, 404, json({ error: `there is no order ${path.slice(0, 64)}`, orders: Object.keys(this.#orders) }));
    this.#expire(request.socket, ORDER_MS);
    try {
      const body = await bodyOf(request);
      if (!body) return this.#send(response, 413, json({ error: `a body has at most ${MAX_BODY_BYTES} bytes` }));
      this.#send(response, 200, await order(body, new URLSearchParams((request.url ?? '').split('?', 2)[1] ?? '')));
    } catch (error) {
      const { message, hint } = error as HostError;
      this.#send(response, error instanceof HostError ? 409 : 503, json({ error: message, ...(hint !== undefined && { hint }) }));
    }
  }

  #refusal(request: IncomingMessage): { code: number; text: string } | undefined {
    const { method, headers } = request;
    if (this.#tcp && !LOOPBACK_HOST.test(headers.host ?? '')) return { code: 403, text: 'the Host header names no loopback address' };
    if (method !== 'GET' && method !== 'HEAD') return { code: 405, text: 'only GET and HEAD are answered' };
    if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0') return { code: 413, text: 'a request has no body here' };
    return undefined;
  }

  #send(response: ServerResponse, code: number, { type, body }: Answer): void {
    this.#counters.answers[code] = (this.#counters.answers[code] ?? 0) + 1;
    response.writeHead(code, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      connection: 'close',
      ...(code === 405 && { allow: 'GET, HEAD' }),
    });
    // node:http leaves the body of an answer to HEAD away by itself.
    response.end(body);
  }
}

/** @returns undefined when it is too long; then the rest of it is not read. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY_BYTES) return undefined;
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}
