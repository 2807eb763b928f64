// Connections and names, as real programs make them: every attempt, connection taken, flow and question is one event, with the ports, bytes and errors that the
// programs saw themselves.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { DNS_TTL, type DnsServer, startDnsServer } from '../lib/dns-server.js';
import { type Daemon, type Ended, eventsOf, mustProbe, ROOT, type SeenEvent, scratch, startDaemon, until } from '../lib/run.js';

const run = promisify(execFile);
const PYTHON = '/usr/bin/python3';
const RESOLVER = '127.0.53.53';
const clientFile = (name: string): string => join(ROOT, 'test', 'lib', 'clients', name);

/** What network.py prints: [local port, remote port] of each connection it made. */
interface Facts {
  readonly pid: number;
  readonly tcp: [number, number];
  readonly tcp6: [number, number];
  readonly tcp6_result: number;
  readonly refused: [number, number];
  readonly refused_again: number;
  readonly invalid: number;
  readonly abandoned: number;
  readonly udp: [number, number];
  readonly udp6: [number, number];
  readonly udp_probe: number;
  readonly udp_open: [number, number];
  readonly unix_missing: number;
  readonly hello: [number, number];
  readonly hello_bytes: number;
}

/** Links 198.51.100.0/24 to nothing, so that a SYN is never answered. */
const ROUTES = `ip link set lo up
ip route add 198.51.100.0/24 dev lo
ip route add unreachable 203.0.113.0/24
ip route add prohibit 192.0.2.0/24
exec ${PYTHON} ${clientFile('unreachable.py')}`;

interface Endpoint {
  readonly ip?: string;
  readonly port?: number;
  readonly path?: string;
  readonly domain?: string;
}
const end = (event: SeenEvent, which: 'src' | 'dest'): Endpoint => (event.data[which] ?? {}) as Endpoint;

describe('network events', () => {
  const folder = realpathSync(scratch('network'));
  const output = join(folder, 'out.jsonl');
  let daemon: Daemon | undefined;
  let dns: DnsServer;
  let facts: Facts;
  let failures: { pid: number; failures: Record<string, [string, number]> };
  let askers: Map<string, number>;
  let ended: Ended;
  let events: SeenEvent[];

  before(async () => {
    mustProbe();
    dns = await startDnsServer(RESOLVER, {
      'known.oisp.test': { a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:db8::1'] },
      'stream.oisp.test': { a: ['192.0.2.3'] },
      'silent.oisp.test': { silent: true },
    });
    const resolvConf = join(folder, 'resolv.conf');
    writeFileSync(resolvConf, `nameserver ${RESOLVER}\noptions timeout:1 attempts:1\n`);
    daemon = await startDaemon(['--output', output, '--format', 'jsonl', '--json']);
    const [connections, unreachable, names] = await Promise.all([
      run(PYTHON, [clientFile('network.py'), folder]),
      run('unshare', ['-n', 'sh', '-c', ROUTES]),
      run('unshare', ['-m', 'sh', clientFile('resolve.sh')], { env: { ...process.env, RESOLV_CONF: resolvConf } }),
    ]);
    facts = JSON.parse(connections.stdout) as Facts;
    failures = JSON.parse(unreachable.stdout) as typeof failures;
    askers = new Map([...names.stdout.matchAll(/^(\w+) (\d+)$/gm)].map(([, name, pid]) => [name as string, Number(pid)]));
    const exits = () => (existsSync(output) ? eventsOf(output) : []).filter((e) => e.event_type === 'process.exit').map((e) => e.process?.pid);
    await until('the exits of all clients are told', () => [facts.pid, failures.pid, ...askers.values()].every((pid) => exits().includes(pid)), 20_000);
    ended = await daemon.stop();
    events = eventsOf(output);
  });

  after(async () => {
    await daemon?.stop();
    await dns?.close();
  });

  const of = (type: string, pid: number): SeenEvent[] => events.filter((event) => event.event_type === `network.${type}` && event.process?.pid === pid);
  /** The one event of network.py with that type between those two ports: the local one of the client first. */
  function between(type: string, [client, server]: readonly [number, number], side: 'client' | 'server'): SeenEvent {
    const [source, destination] = [client, server];
    const found = of(type, facts.pid).filter((event) => end(event, 'src').port === source && end(event, 'dest').port === destination);
    const wanted = type === 'flow' ? found.filter((event) => event.data['direction'] === (side === 'client' ? 'outbound' : 'inbound')) : found;
    assert.equal(wanted.length, 1, `one ${type} from ${client} to ${server} (${side}): ${JSON.stringify(of(type, facts.pid).map(({ data }) => data))}`);
    return wanted[0] as SeenEvent;
  }
  const bytes = (event: SeenEvent) => [event.data['bytes_sent'], event.data['bytes_received']];

  it('loses nothing, and every event is valid', () => {
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stderr, /"net_ring_full":\{"calls":0,"bytes":0\}/);
    assert.match(ended.stderr, /"socket_full":\{"calls":0,"bytes":0\}/);
    const checker = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (!existsSync(checker)) return;
    const checked = spawnSync(process.execPath, [checker, output], { cwd: ROOT, encoding: 'utf8' });
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  });

  it('a TCP connection: connect with latency, accept, and both ends of its flow with exact bytes', () => {
    const connect = between('connect', facts.tcp, 'client');
    assert.deepEqual([connect.data['success'], connect.data['protocol'], connect.data['error']], [true, 'tcp', undefined]);
    assert.deepEqual([end(connect, 'dest').ip, end(connect, 'src').ip], ['127.0.0.1', '127.0.0.1']);
    assert.ok(Number(connect.data['latency_ms']) > 0);
    assert.equal(connect.source?.['capture_point'], 'inet_sock_set_state');
    assert.equal(end(between('accept', facts.tcp, 'server'), 'src').ip, '127.0.0.1');
    assert.deepEqual(bytes(between('flow', facts.tcp, 'client')), [100_000, 333]);
    assert.deepEqual(bytes(between('flow', facts.tcp, 'server')), [333, 100_000]);
  });

  it('a connect that does not wait, over IPv6', () => {
    assert.equal(facts.tcp6_result, 115, 'EINPROGRESS: the program did not wait');
    const connect = between('connect', facts.tcp6, 'client');
    assert.deepEqual([connect.data['success'], end(connect, 'dest').ip], [true, '::1']);
    assert.ok(Number(connect.data['latency_ms']) > 0);
    between('accept', facts.tcp6, 'server');
    assert.deepEqual(bytes(between('flow', facts.tcp6, 'client')), [0, 5]);
    assert.deepEqual(bytes(between('flow', facts.tcp6, 'server')), [5, 0]);
  });

  it('a refused connection is told once, whether the program waits, does not wait or asks again', () => {
    assert.deepEqual([facts.refused[1], facts.refused_again], [111, 111]);
    const refused = of('connect', facts.pid).filter((event) => end(event, 'dest').port === facts.refused[0]);
    assert.deepEqual(
      refused.map(({ data }) => [data['success'], data['error']]),
      [
        [false, 'ECONNREFUSED'],
        [false, 'ECONNREFUSED'],
      ],
    );
    for (const { data } of refused) assert.ok(Number(data['latency_ms']) > 0);
  });

  it('a connection that fails before it begins', () => {
    const failed = of('connect', facts.pid).filter((event) => end(event, 'dest').ip === 'fe80::1');
    assert.equal(facts.invalid, 22);
    assert.deepEqual(
      failed.map(({ data }) => [data['success'], data['error'], data['latency_ms']]),
      [[false, 'EINVAL', undefined]],
    );
  });

  it('a connection that the program gives up', () => {
    const given = of('connect', facts.pid).filter((event) => end(event, 'src').port === facts.abandoned);
    assert.deepEqual(
      given.map(({ data }) => [data['success'], data['error']]),
      [[false, 'abandoned']],
    );
    assert.ok(Number(given[0]?.data['latency_ms']) >= 100, 'as long as the program was patient');
  });

  it('no route, no answer, no permission: the errno of each', () => {
    const names: Record<number, string> = { 110: 'ETIMEDOUT', 113: 'EHOSTUNREACH', 13: 'EACCES', 101: 'ENETUNREACH' };
    assert.equal(new Set(Object.values(failures.failures).map(([, error]) => error)).size, 4);
    for (const [what, [address, error]] of Object.entries(failures.failures)) {
      const failed = of('connect', failures.pid).filter((event) => end(event, 'dest').ip === address);
      assert.deepEqual(
        failed.map(({ data }) => [data['success'], data['error']]),
        [[false, names[error]]],
        what,
      );
    }
    const silent = of('connect', failures.pid).find((event) => event.data['error'] === 'ETIMEDOUT');
    assert.ok(Number(silent?.data['latency_ms']) > 900, 'at least as long as one SYN waits');
  });

  it('datagrams: a connect when the first is sent, and bytes and datagrams of both directions', () => {
    for (const [where, address] of [
      [facts.udp, '127.0.0.1'],
      [facts.udp6, '::1'],
    ] as const) {
      const connect = between('connect', where, 'client');
      assert.deepEqual([connect.data['success'], connect.data['protocol'], end(connect, 'dest').ip], [true, 'udp', address]);
      const flow = between('flow', where, 'client');
      assert.deepEqual([...bytes(flow), flow.data['packets_sent'], flow.data['packets_received']], [300, 120, 3, 3], 'what was only peeked at is not counted');
      assert.deepEqual(bytes(between('flow', where, 'server')), [120, 300]);
    }
  });

  it('a datagram socket that is never closed ends with its process; one that sends nothing is not told', () => {
    assert.deepEqual(bytes(between('flow', facts.udp_open, 'client')), [5, 0]);
    between('connect', facts.udp_open, 'client');
    assert.deepEqual(
      events.filter((event) => event.process?.pid === facts.pid && end(event, 'src').port === facts.udp_probe),
      [],
    );
  });

  it('Unix sockets by name, abstract ones with an @', () => {
    const names = [join(folder, 'named.sock'), '@oisp-abstract'];
    const told = (type: string) =>
      of(type, facts.pid)
        .filter((event) => event.data['protocol'] === 'unix' && event.data['success'] !== false)
        .map((event) => end(event, 'dest').path);
    assert.deepEqual(told('connect'), names);
    assert.deepEqual(told('accept'), names);
    const missing = of('connect', facts.pid).filter((event) => end(event, 'dest').path === join(folder, 'missing.sock'));
    assert.deepEqual(
      missing.map(({ data }) => [data['success'], data['error'], data['latency_ms']]),
      [[false, 'ENOENT', undefined]],
    );
  });

  it('a ClientHello names the server, in the flow', () => {
    const flow = between('flow', facts.hello, 'client');
    assert.equal(flow.data['bytes_sent'], facts.hello_bytes);
    assert.deepEqual(flow.data['tls'], { sni: 'api.hello.test' });
    assert.equal(end(flow, 'dest').domain, 'api.hello.test');
    const offer = flow.ext?.oisp_host?.['tls_offer'] as { alpn: string[]; versions: string[] };
    assert.deepEqual(offer.alpn, ['h2', 'http/1.1']);
    assert.ok(offer.versions.includes('TLSv1.3') && offer.versions.includes('TLSv1.2'), JSON.stringify(offer));
  });

  it('nothing else is told of the process', () => {
    const count = (type: string) => of(type, facts.pid).filter((event) => end(event, 'dest').path !== '/var/run/nscd/socket').length;
    // tcp, tcp6, refused twice, invalid, waiting and abandoned, udp, udp6, udp_open, three Unix sockets, hello.
    assert.equal(count('connect'), 14);
    assert.equal(count('accept'), 5);
    // Both ends of tcp, tcp6, udp, udp6 and hello, the one that waited, and the client's of udp_open.
    assert.equal(count('flow'), 12);
    assert.equal(count('dns'), 0);
  });

  const asked = (step: string) =>
    of('dns', askers.get(step) ?? -1)
      .map(({ data, ext }) => ({ data, dns: ext?.oisp_host?.['dns'] as Record<string, unknown> }))
      .sort((a, b) => String(a.data['query_type']).localeCompare(String(b.data['query_type'])));

  it('A and AAAA that glibc asks for in one sendmmsg, with their answers', () => {
    const [a, aaaa, ...more] = asked('known');
    assert.equal(more.length, 0);
    const address = (type: string, value: string) => ({ type, value, ttl: DNS_TTL });
    assert.deepEqual(a?.data['answers'], [address('A', '192.0.2.1'), address('A', '192.0.2.2')]);
    assert.deepEqual(aaaa?.data['answers'], [address('AAAA', '2001:db8::1')]);
    for (const { data, dns } of asked('known')) {
      assert.deepEqual([data['query_name'], data['response_code'], data['resolver']], ['known.oisp.test', 'NOERROR', RESOLVER]);
      assert.ok(Number(data['latency_ms']) > 0);
      assert.deepEqual(dns, { transport: 'udp' });
    }
    const [flow, ...others] = of('flow', askers.get('known') ?? -1);
    assert.equal(others.length, 0);
    assert.equal(flow?.data['packets_sent'], 2, 'both went through one socket');
  });

  it('questions over TCP, where length, question and answer come in pieces', () => {
    assert.ok(
      dns.log.some(({ name, tcp }) => name === 'stream.oisp.test' && tcp),
      'the resolver was asked over TCP',
    );
    const told = asked('stream');
    assert.deepEqual(
      told.map(({ data, dns }) => [data['query_type'], data['response_code'], (data['answers'] as unknown[]).length, dns['transport']]),
      [
        ['A', 'NOERROR', 1, 'tcp'],
        ['AAAA', 'NOERROR', 0, 'tcp'],
      ],
    );
  });

  it('a name that does not exist', () => {
    const told = asked('missing');
    assert.deepEqual([...new Set(told.map(({ data }) => data['response_code']))], ['NXDOMAIN']);
    assert.equal(told.length, dns.log.filter(({ name }) => name === 'missing.oisp.test').length);
  });

  it('a resolver that does not answer', () => {
    const told = asked('silent');
    const sent = dns.log.filter(({ name }) => name === 'silent.oisp.test').length;
    assert.ok(told.length > 0);
    for (const { data } of told) assert.deepEqual([data['response_code'], data['answers'], data['latency_ms']], [undefined, undefined, undefined]);
    const times = told.map(({ dns }) => Number(dns['sent'] ?? 1));
    assert.equal(
      times.reduce((sum, n) => sum + n, 0),
      sent,
      'a question that is repeated is one question',
    );
    for (const { dns } of told) assert.ok(['process_exit', 'timeout'].includes(String(dns['unanswered'])));
  });
});
