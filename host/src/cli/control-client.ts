// Asks a running daemon over its control socket; sends nothing but GET requests.
import { request } from 'node:http';
import { HostError } from '../errors.js';

const TIMEOUT_MS = 40_000;
const MAX_ANSWER = 64 << 20;
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
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, headers: { host: 'localhost' }, signal: AbortSignal.timeout(timeoutMs) }, (answer) => {
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
    asking.end();
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
