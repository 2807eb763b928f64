// Tests the control server: who gets an answer, every bound at the bound, and whose a socket path is when several want it.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ApiServer, json, type Orders, type Routes } from '../../host/src/api/server.js';
import { listenAt, PathTaken } from '../../host/src/api/socket-file.js';
import { HostError } from '../../host/src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'oisp-api-'));
after(() => rmSync(folder, { recursive: true }));

const ROUTES: Routes = {
  '/v1/thing': async () => json({ thing: 1 }),
  '/v1/broken': async () => {
    throw new HostError('SHARD', 'shard 0 failed');
  },
  '/v1/never': () => new Promise(() => undefined),
};

interface Got {
  code: number;
  body: string;
  type: string | undefined;
}

function get(socketPath: string, path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}): Promise<Got> {
  const { method = 'GET', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, method, headers: { host: 'localhost', ...headers } }, (answer) => {
      let text = '';
      answer.on('data', (part: Buffer) => (text += part.toString()));
      answer.once('end', () => resolve({ code: answer.statusCode ?? 0, body: text, type: answer.headers['content-type'] }));
      answer.once('error', reject);
    });
    asking.once('error', reject);
    asking.end(body);
  });
}

/** Resolves with what came before the other side closed. */
function closed(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (part: Buffer) => (text += part.toString()));
  return new Promise((resolve) => {
    socket.once('close', () => resolve(text));
    socket.once('error', () => undefined);
  });
}

let count = 0;
async function serve<T>(use: (path: string, server: ApiServer) => Promise<T>, options: ConstructorParameters<typeof ApiServer>[1] = {}): Promise<T> {
  count += 1;
  const path = join(folder, `s${count}.sock`);
  const server = new ApiServer(ROUTES, options);
  await server.listenUnix(path);
  try {
    return await use(path, server);
  } finally {
    await server.close();
  }
}

describe('the control server', () => {
  it('answers its routes, and says what there is for any other', () =>
    serve(async (path, server) => {
      const thing = await get(path, '/v1/thing?x=1');
      assert.deepEqual([thing.code, thing.body, thing.type], [200, '{"thing":1}\n', 'application/json; charset=utf-8']);
      const none = await get(path, '/v1/other');
      assert.equal(none.code, 404);
      assert.deepEqual((JSON.parse(none.body) as { paths: string[] }).paths, Object.keys(ROUTES));
      assert.equal((await get(path, '/constructor')).code, 404, 'a name that every object has is no route');
      assert.equal((await get(path, '/v1/thing', { method: 'HEAD' })).body, '');
      assert.deepEqual(server.stats().answers, { 200: 2, 404: 2 });
    }));

  it('tells a failure as one, and goes on', () =>
    serve(async (path) => {
      const broken = await get(path, '/v1/broken');
      assert.deepEqual([broken.code, broken.body], [503, '{"error":"shard 0 failed"}\n']);
      assert.equal((await get(path, '/v1/thing')).code, 200);
    }));

  it('takes orders where it has some, on a Unix socket only, with a body of at most 16 MiB, and says why it refuses', async () => {
    const orders: Orders = {
      '/v1/do': async (body, parameters) => json({ bytes: body.length, name: parameters.get('name') }),
      '/v1/refuse': async () => {
        throw new HostError('DECODER', 'it is pinned', 'Unpin it.');
      },
    };
    await serve(
      async (path) => {
        const post = (target: string, body = '') => get(path, target, { method: 'POST', body });
        assert.deepEqual(JSON.parse((await post('/v1/do?name=a%20b', 'xyz')).body), { bytes: 3, name: 'a b' });
        const refused = await post('/v1/refuse');
        assert.deepEqual([refused.code, JSON.parse(refused.body)], [409, { error: 'it is pinned', hint: 'Unpin it.' }]);
        assert.equal((await post('/v1/thing')).code, 404, 'what is asked for is not ordered');
        assert.equal((await get(path, '/v1/do')).code, 404);
        assert.equal((await post('/v1/do', 'x'.repeat(16 << 20))).code, 200);
        const long = await post('/v1/do', 'x'.repeat((16 << 20) + 1)).catch((error: NodeJS.ErrnoException) => ({ code: error.code }));
        assert.ok(long.code === 413 || long.code === 'EPIPE' || long.code === 'ECONNRESET', String(long.code));
      },
      { orders },
    );
    const server = new ApiServer(ROUTES, { orders });
    const address = await server.listenTcp('127.0.0.1', 0);
    try {
      const answer = await fetch(`http://${address}/v1/do`, { method: 'POST', body: 'x' });
      assert.equal(answer.status, 405);
    } finally {
      await server.close();
    }
  });

  it('takes no other method, no body and no long head', () =>
    serve(async (path) => {
      assert.equal((await get(path, '/v1/thing', { method: 'POST' })).code, 405);
      assert.equal((await get(path, '/v1/thing', { headers: { 'content-length': '1' }, body: 'x' })).code, 413);
      assert.equal((await get(path, '/v1/thing', { headers: { 'transfer-encoding': 'chunked' } })).code, 413);
      assert.equal((await get(path, '/v1/thing', { headers: { long: 'x'.repeat(7000) } })).code, 200);
      assert.equal((await get(path, '/v1/thing', { headers: { long: 'x'.repeat(9000) } })).code, 431);
    }));

  it('has so many connections at once and no more', () =>
    serve(
      async (path, server) => {
        const held = [connect(path), connect(path)];
        await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
        assert.equal(await closed(connect(path)), '', 'the third is closed unanswered');
        assert.equal(server.stats().refused_connections, 1);
        for (const socket of held) socket.destroy();
        await Promise.all(held.map(closed));
      },
      { maxConnections: 2 },
    ));

  it('ends a connection at its deadline, whoever is slow', () =>
    serve(
      async (path, server) => {
        const silent = connect(path);
        const dripping = connect(path);
        dripping.write('GET /v1/thing HTTP/1.1\r\nhost: x\r\n');
        const drip = setInterval(() => dripping.write('a: b\r\n'), 20);
        const waiting = connect(path);
        waiting.write('GET /v1/never HTTP/1.1\r\nhost: x\r\n\r\n');
        assert.deepEqual(await Promise.all([silent, dripping, waiting].map(closed)), ['', '', '']);
        clearInterval(drip);
        assert.equal(server.stats().expired_connections, 3);
      },
      { connectionMs: 300 },
    ));

  it('over TCP answers only who asked for a loopback address', async () => {
    const server = new ApiServer(ROUTES);
    const address = await server.listenTcp('127.0.0.1', 0);
    const code = async (host: string) => (await fetchWithHost(address, host)).split(' ')[1];
    try {
      for (const host of [address, 'localhost', '[::1]:9', '127.1.2.3']) assert.equal(await code(host), '200', host);
      for (const host of ['attacker.example', '127.0.0.1.attacker.example', '10.0.0.1', '']) assert.equal(await code(host), '403', host);
      const second = new ApiServer(ROUTES);
      await assert.rejects(second.listenTcp('127.0.0.1', Number(address.split(':')[1])), (error) => error instanceof HostError && error.code === 'OUTPUT');
      await second.close();
    } finally {
      await server.close();
    }
  });

  it('may be closed twice, and before it listens; a connection it holds is broken', async () => {
    const idle = new ApiServer(ROUTES);
    await idle.close();
    await idle.close();
    const path = join(folder, 'twice.sock');
    const server = new ApiServer(ROUTES);
    await server.listenUnix(path);
    const held = connect(path);
    await new Promise((resolve) => held.once('connect', resolve));
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([closed(held), server.close()]);
    await server.close();
    assert.equal(existsSync(path), false);
  });
});

/** The first line of the answer to a request whose Host header is what is given. */
function fetchWithHost(address: string, host: string): Promise<string> {
  const [ip = '', port = ''] = address.split(':');
  const socket = connect(Number(port), ip);
  socket.write(`GET /v1/thing HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  return closed(socket);
}

describe('the path of a socket', () => {
  const servers: Server[] = [];
  const server = (): Server => {
    const made = createServer((socket) => socket.end());
    servers.push(made);
    return made;
  };
  after(() => {
    for (const made of servers) made.close();
  });
  const left = () => readdirSync(folder).filter((name) => name.includes(`.${process.pid}.`));

  it('is private from the first moment, and its folder is made', async () => {
    const path = join(folder, 'room', 'a.sock');
    const before = process.umask();
    const claim = await listenAt(server(), path);
    assert.equal(process.umask(), before);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, 'room')).mode & 0o777, 0o700);
    await claim.release();
    await claim.release();
    assert.equal(existsSync(join(folder, 'room')), false, 'and goes with it');
  });

  it('is not taken from whoever lives there', async () => {
    const path = join(folder, 'live.sock');
    const claim = await listenAt(server(), path);
    const { ino } = statSync(path);
    await assert.rejects(listenAt(server(), path), PathTaken);
    assert.equal(statSync(path).ino, ino);
    assert.deepEqual(left(), [], 'nothing is left beside it');
    await claim.release();
    assert.equal(existsSync(path), false);
  });

  it('is not removed by one who had it before', async () => {
    const path = join(folder, 'heir.sock');
    const old = await listenAt(server(), path);
    unlinkSync(path);
    const heir = await listenAt(server(), path);
    await old.release();
    assert.equal(existsSync(path), true);
    await heir.release();
  });

  it('goes to exactly one of those who find a dead socket there at once', async () => {
    for (let round = 0; round < 20; round += 1) {
      const path = join(folder, `race${round}.sock`);
      const dead = server();
      await listenAt(dead, path);
      await new Promise((resolve) => dead.close(resolve));
      assert.equal(statSync(path).isSocket(), true, 'what a killed daemon leaves');
      const outcomes = await Promise.allSettled([listenAt(server(), path), listenAt(server(), path)]);
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
      assert.equal(refused.length, 1);
      assert.ok(refused[0] instanceof PathTaken, String(refused[0]));
      assert.equal(await closed(connect(path)), '', 'the one who has it answers');
      assert.deepEqual(left(), []);
    }
  });

  it('is never a file that is no socket', async () => {
    const path = join(folder, 'file');
    writeFileSync(path, 'kept');
    await assert.rejects(listenAt(server(), path), (error) => error instanceof HostError && error.code === 'OUTPUT' && /no socket/.test(error.message));
    assert.equal(statSync(path).size, 4);
  });

  it('that cannot be made is told as what it is', async () => {
    const path = join(folder, 'no', 'such', 'folder.sock');
    await assert.rejects(listenAt(server(), path), (error) => error instanceof HostError && error.code === 'OUTPUT' && error.message.includes(path));
  });
});
