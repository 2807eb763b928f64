// Opens what a daemon can be asked through: the control socket and, when configured, /metrics on a loopback port. It answers with numbers, never with captured bytes.
import { ApiServer, json, type Routes } from '../api/server.js';
import { PathTaken } from '../api/socket-file.js';
import type { Config } from '../config/index.js';
import { controlPath } from '../config/paths.js';
import { loopbackAddress } from '../config/settings.js';
import { HostError } from '../errors.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { StatusReader } from '../topology/status.js';
import { askPid } from './control-client.js';

/** What the routes answer from. */
export interface ControlParts {
  readonly version: string;
  readonly status: StatusReader;
}

export interface Control {
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
      const server = new ApiServer(routes);
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
  return { close };
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

function makeRoutes({ version, status }: ControlParts): Routes & { readonly '/metrics': Routes[string] } {
  let metrics: Promise<Metrics> | undefined;
  return {
    '/v1/version': async () => json({ version, pid: process.pid }),
    '/v1/status': async () => json(await status.read()),
    '/metrics': async () => {
      // Loaded when it is first asked for: a daemon that nobody scrapes does not pay for it in memory.
      metrics ??= import('../telemetry/metrics.js').then(({ Metrics }) => new Metrics());
      return await (await metrics).text(await status.read());
    },
  };
}
