// Asks a running daemon over its control socket, and gives it orders.
import { request } from 'node:http';
import { HostError } from '../errors.js';

const TIMEOUT_MS = 40_000;
const MAX_ANSWER = 64 << 20;
const ORDER_TIMEOUT_MS = 190_000;
const PROBE_MS = 2_000;
/** Nobody listens: no such file, a dead socket, or a file that is none. */
const NOBODY = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'ENOTDIR']);

/** @returns the JSON body. @throws HostError NO_DAEMON, PERMISSION or INPUT. */
export async function askDaemon<T>(socketPath: string, path: string): Promise<T> {
  const { code, body } = await get(socketPath, path, TIMEOUT_MS).catch((error: NodeJS.ErrnoException) => {
    throw explain(error, socketPath);
  });
  const value = parse(body);
  if (value === undefined) throw new HostError('INPUT', `what answers at ${socketPath} is no oisp-host`, 'Name the control socket with --control.');
  if (code !== 200)
    throw new HostError('NO_DAEMON', `the daemon cannot answer now: ${(value as { error?: string }).error ?? code}`, 'It may be stopping; try again.');
  return value as T;
}

/** Has a daemon do something. @returns the JSON body. @throws HostError DECODER when it refuses, NO_DAEMON, PERMISSION or INPUT. */
export async function orderDaemon<T>(socketPath: string, path: string, body: Uint8Array = new Uint8Array(0)): Promise<T> {
  const answer = await send(socketPath, path, { method: 'POST', body, timeoutMs: ORDER_TIMEOUT_MS }).catch((error: NodeJS.ErrnoException) => {
    throw explain(error, socketPath);
  });
  const value = parse(answer.body) as { error?: string; hint?: string } | undefined;
  if (value === undefined) throw new HostError('INPUT', `what answers at ${socketPath} is no oisp-host`, 'Name the control socket with --control.');
  if (answer.code === 200) return value as T;
  throw new HostError(answer.code === 409 ? 'DECODER' : 'NO_DAEMON', value.error ?? `the daemon answers with ${answer.code}`, value.hint);
}

/** Who listens there. @returns undefined when it is no daemon. */
export async function askPid(socketPath: string): Promise<number | undefined> {
  const answer = await get(socketPath, '/v1/version', PROBE_MS).catch(() => undefined);
  const pid = (parse(answer?.body ?? '') as { pid?: unknown } | undefined)?.pid;
  return typeof pid === 'number' ? pid : undefined;
}

function explain(error: NodeJS.ErrnoException, socketPath: string): HostError {
  const cause = { cause: error };
  if (NOBODY.has(error.code ?? '')) {
    return new HostError(
      'NO_DAEMON',
      `no oisp-host answers at ${socketPath}`,
      'Start one with `oisp-host run`, or name the control socket of the one that runs with --control.',
      cause,
    );
  }
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new HostError(
      'PERMISSION',
      `the control socket ${socketPath} is for its owner only`,
      'Run this as the user who runs the daemon, usually root.',
      cause,
    );
  }
  return new HostError('NO_DAEMON', `asking the daemon at ${socketPath} failed: ${error.message}`, undefined, cause);
}

function get(socketPath: string, path: string, timeoutMs: number): Promise<{ code: number; body: string }> {
  return send(socketPath, path, { method: 'GET', timeoutMs });
}

interface Sending {
  readonly method: 'GET' | 'POST';
  readonly body?: Uint8Array;
  readonly timeoutMs: number;
}

function send(socketPath: string, path: string, { method, body, timeoutMs }: Sending): Promise<{ code: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, method, headers: { host: 'localhost' }, signal: AbortSignal.timeout(timeoutMs) }, (answer) => {
      const parts: Buffer[] = [];
      let size = 0;
      answer.on('data', (bytes: Buffer) => {
        size += bytes.length;
        if (size > MAX_ANSWER) asking.destroy(new Error(`the answer is longer than ${MAX_ANSWER} bytes`));
        else parts.push(bytes);
      });
      answer.once('error', reject);
      answer.once('end', () => resolve({ code: answer.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }));
    });
    asking.once('error', reject);
    asking.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    void error;
    return undefined;
  }
}
