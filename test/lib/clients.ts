// The client programs that the e2e tests watch, none of which this project wrote the TLS of: curl, Python's urllib and Node's fetch.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './run.js';

export type ClientName = 'curl' | 'python' | 'node';
export const CLIENTS: readonly ClientName[] = ['curl', 'python', 'node'];

/** The three calls every client makes, in order. */
export const CALLS = ['plain', 'stream', 'tool'] as const;
export type CallName = (typeof CALLS)[number];
export const PATHS: Readonly<Record<CallName, string>> = { plain: '/v1/chat/completions', stream: '/v1/chat/completions', tool: '/v1/messages' };

const TOOL_SCHEMA = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city'] };

/** The request bodies of one client; `marker` makes its models and prompts its own. */
export function bodies(marker: string): Record<CallName, string> {
  const system = { role: 'system', content: `You are terse. (${marker})` };
  const user = { role: 'user', content: `Hello from ${marker}: äöü 世界` };
  return {
    plain: JSON.stringify({ model: `gpt-plain-${marker}`, messages: [system, user], temperature: 0.5 }),
    stream: JSON.stringify({ model: `gpt-stream-${marker}`, messages: [system, user], stream: true, stream_options: { include_usage: true } }),
    tool: JSON.stringify({
      model: `claude-tool-${marker}`,
      max_tokens: 256,
      system: system.content,
      messages: [user],
      tools: [{ name: 'get_weather', description: 'Weather of a city', input_schema: TOOL_SCHEMA }],
      stream: true,
    }),
  };
}

/** What a client process was and did, known without the sensor. */
export interface ClientRun {
  readonly client: ClientName;
  readonly marker: string;
  readonly pid: number;
  readonly exe: string;
  /** Lets a waiting client make its calls. */
  go(): void;
  /** Resolves when it ended well, with what it printed; rejects when it did not. */
  readonly finished: Promise<string>;
}

/** Programs as the tests run them; the python and node of the system where there is a choice, for they are what nobody here built. */
export const PROGRAMS: Readonly<Record<ClientName, string>> = { curl: '/usr/bin/curl', python: '/usr/bin/python3', node: process.execPath };

function exeOf(client: ClientName): string {
  return realpathSync(PROGRAMS[client]);
}

/** A curl configuration of all three calls on one connection. */
function curlConfig(url: string, folder: string): string {
  const transfers = CALLS.map((call) =>
    [
      `url = "${url}${PATHS[call]}"`,
      'insecure',
      'silent',
      'show-error',
      'no-buffer',
      'http1.1',
      'header = "content-type: application/json"',
      'header = "authorization: Bearer test-key"',
      `data-binary = "@${join(folder, `${call}.json`)}"`,
      `output = "${join(folder, `${call}.answer`)}"`,
    ].join('\n'),
  );
  return `${transfers.join('\nnext\n')}\n`;
}

function collect(child: ChildProcess, label: string): Promise<string> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (part: Buffer) => (out += part.toString()));
  child.stderr?.on('data', (part: Buffer) => (err += part.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${label} ended with ${signal ?? code}: ${err || out}`));
    });
  });
}

function arguments_(client: ClientName, url: string, folder: string, wait: boolean): string[] {
  if (client === 'curl') return ['--config', '-'];
  const script = join(ROOT, 'test', 'lib', 'clients', client === 'python' ? 'chat.py' : 'chat.mjs');
  return [script, url, folder, ...(wait ? ['wait'] : [])];
}

/**
 * Starts a client in a folder of its own. A waiting one is up, with its TLS library mapped, and makes no connection before go():
 * python and node wait for a line, curl for the end of the configuration it reads from standard input. `under` is a command that becomes the client.
 */
export async function startClient(
  client: ClientName,
  options: { url: string; folder: string; marker: string; wait: boolean; under?: readonly string[] },
): Promise<ClientRun> {
  const folder = join(options.folder, options.marker);
  mkdirSync(folder, { recursive: true });
  for (const [call, body] of Object.entries(bodies(options.marker))) writeFileSync(join(folder, `${call}.json`), body);
  const [program, ...before] = [...(options.under ?? []), PROGRAMS[client]];
  const child = spawn(program as string, [...before, ...arguments_(client, options.url, folder, options.wait)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
  });
  const finished = collect(child, `${client} (${options.marker})`);
  // Whoever awaits `finished` gets the failure; this only keeps it from being reported as unhandled before that.
  finished.catch(() => undefined);
  const go = () => {
    child.stdin?.end(client === 'curl' ? curlConfig(options.url, folder) : 'go\n');
  };
  if (!options.wait) go();
  else if (client !== 'curl') await new Promise((resolve) => child.stdout?.once('data', resolve));
  else await new Promise((resolve) => setTimeout(resolve, 300));
  return { client, marker: options.marker, pid: child.pid ?? -1, exe: exeOf(client), go, finished };
}

export const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** n bytes of words that differ all along, the same in every run and like no secret. */
export function longText(n: number): string {
  let state = 0x2545f491;
  let text = '';
  while (text.length < n) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += `word${(state >>> 20).toString(10)} `;
  }
  return text.slice(0, n);
}

/** The libssl that a program maps, for messages: "libssl.so.3", or "static". */
export function tlsOf(program: string): string {
  return /libssl\.so\.\S+/.exec(execFileSync('ldd', [program], { encoding: 'utf8' }))?.[0] ?? 'static';
}
