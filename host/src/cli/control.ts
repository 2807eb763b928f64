// Opens what a daemon can be asked through: the control socket, where its owner can change decoder modules, and, when configured, /metrics on a loopback port.
// It answers with numbers, never with captured bytes.
import { ApiServer, json, type Orders, type Routes } from '../api/server.js';
import { PathTaken } from '../api/socket-file.js';
import type { Config } from '../config/index.js';
import { controlPath } from '../config/paths.js';
import { loopbackAddress } from '../config/settings.js';
import type { Coverage } from '../coverage/index.js';
import { HostError } from '../errors.js';
import type { SourceStats } from '../events/source.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { DecoderSet } from '../topology/decoder-set.js';
import type { StatusReader } from '../topology/status.js';
import { askPid } from './control-client.js';

/** What the routes answer from. */
export interface ControlParts {
  readonly version: string;
  readonly status: StatusReader;
  readonly coverage: Coverage;
  readonly modules: DecoderSet;
}

export interface Control {
  /** What was asked, and turned away, at all of its doors. */
  stats(): SourceStats;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * Before a probe is loaded: an output that cannot be opened stops the start.
 * @throws HostError OUTPUT when a path or port that was asked for is not to be had. The automatic path may be taken: it goes on without.
 */
export async function openControl(config: Config, parts: ControlParts, say: (text: string) => void): Promise<Control> {
  const routes = makeRoutes(parts);
  const servers: ApiServer[] = [];
  const close = async () => {
    for (const server of servers) await server.close();
  };
  try {
    const path = controlPath(config['control.path']);
    if (path !== undefined) {
      const server = new ApiServer(routes, { orders: makeOrders(parts.modules) });
      if (await listen(server, path, { optional: config['control.path'] === 'auto', say })) servers.push(server);
    }
    const address = loopbackAddress(config['metrics.listen']);
    if (address !== undefined) {
      const server = new ApiServer({ '/metrics': routes['/metrics'] });
      servers.push(server);
      say(`metrics are at http://${await server.listenTcp(address.host, address.port)}/metrics`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close, stats: () => addUp(servers.map((server) => server.stats())) };
}

async function listen(server: ApiServer, path: string, { optional, say }: { optional: boolean; say: (text: string) => void }): Promise<boolean> {
  try {
    await server.listenUnix(path);
    return true;
  } catch (error) {
    const told = error instanceof PathTaken ? await taken(path) : error;
    if (!optional || !(told instanceof HostError)) throw told;
    say(`${told.message}; this one goes on without a control socket`);
    return false;
  }
}

async function taken(path: string): Promise<HostError> {
  const pid = await askPid(path);
  return new HostError(
    'OUTPUT',
    pid === undefined ? `another program answers at ${path}` : `another oisp-host (process ${pid}) answers at ${path}`,
    'Name another path with control.path, or "" for none.',
  );
}

const BY = 'the control socket';

/** What the owner of the socket can have done. */
function makeOrders(modules: DecoderSet): Orders {
  const nameOf = (parameters: URLSearchParams): string => {
    const name = parameters.get('name');
    if (!name) throw new HostError('USAGE', 'no module is named', 'Add ?name=NAME.');
    return name;
  };
  return {
    '/v1/decoders/swap': async (body, parameters) => json(await modules.offer(body, nameOf(parameters), BY, nameOf(parameters))),
    '/v1/decoders/rollback': async (_, parameters) => json(await modules.rollback(nameOf(parameters), BY)),
    '/v1/decoders/pin': async (_, parameters) => json(await modules.pin(nameOf(parameters), true, BY)),
    '/v1/decoders/unpin': async (_, parameters) => json(await modules.pin(nameOf(parameters), false, BY)),
  };
}

function makeRoutes({ version, status, coverage, modules }: ControlParts): Routes & { readonly '/metrics': Routes[string] } {
  let metrics: Promise<Metrics> | undefined;
  return {
    '/v1/version': async () => json({ version, pid: process.pid }),
    '/v1/status': async () => json(await status.read()),
    '/v1/decoders': async () => json(modules.list()),
    '/v1/coverage': async () => json(await coverage.report()),
    '/metrics': async () => {
      // Loaded when it is first asked for: a daemon that nobody scrapes does not pay for it in memory.
      metrics ??= import('../telemetry/metrics.js').then(({ Metrics }) => new Metrics());
      return await (await metrics).text(await status.read());
    },
  };
}

function addUp(all: readonly ReturnType<ApiServer['stats']>[]): SourceStats {
  const answers: Record<string, number> = {};
  for (const { answers: own } of all) for (const [code, count] of Object.entries(own)) answers[code] = (answers[code] ?? 0) + count;
  const sum = (read: (one: ReturnType<ApiServer['stats']>) => number) => all.reduce((total, one) => total + read(one), 0);
  return { answers, refused_connections: sum((one) => one.refused_connections), expired_connections: sum((one) => one.expired_connections) };
}
