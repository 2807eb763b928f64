// A name server for tests: answers from a table over UDP and TCP on a loopback address, and keeps a log of what it was asked. It never forwards.
import { createSocket, type Socket } from 'node:dgram';
import { createServer, type Server } from 'node:net';

/** IPv4 and IPv6 addresses by lower-case name; a name that is not there gets NXDOMAIN, a silent one no answer. */
export type Zone = Readonly<Record<string, { readonly a?: readonly string[]; readonly aaaa?: readonly string[]; readonly silent?: boolean }>>;

export interface DnsQuery {
  readonly name: string;
  /** 1 A, 28 AAAA, ... */
  readonly type: number;
  readonly tcp: boolean;
}

export interface DnsServer {
  readonly address: string;
  readonly log: readonly DnsQuery[];
  close(): Promise<void>;
}

export const DNS_TTL = 60;
const HEADER = 12;
const TYPE_A = 1;
const TYPE_AAAA = 28;
const NXDOMAIN = 3;

/** Listens on port 53 of the address, which must be a free one of 127.0.0.0/8 and needs root. */
export async function startDnsServer(address: string, zone: Zone): Promise<DnsServer> {
  const log: DnsQuery[] = [];
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    const reply = answer(query, zone, log, false);
    if (reply) udp.send(reply, from.port, from.address);
  });
  const tcp = createServer((socket) => {
    let held = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (part: Buffer) => {
      held = Buffer.concat([held, part]);
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const reply = answer(held.subarray(2, 2 + held.readUInt16BE(0)), zone, log, true);
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply?.length ?? 0);
        if (reply) socket.write(Buffer.concat([length, reply]));
        held = held.subarray(2 + held.readUInt16BE(0));
      }
    });
  });
  await Promise.all([bound(udp, address), listening(tcp, address)]);
  return { address, log, close: () => closed(udp, tcp) };
}

function answer(query: Buffer, zone: Zone, log: DnsQuery[], tcp: boolean): Buffer | undefined {
  const labels: string[] = [];
  let at = HEADER;
  for (let size = query[at] ?? 0; size > 0; size = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size));
    at += size + 1;
  }
  const question = query.subarray(HEADER, at + 5);
  const type = query.readUInt16BE(at + 1);
  const name = labels.join('.').toLowerCase();
  log.push({ name, type, tcp });
  const known = zone[name];
  if (known?.silent) return undefined;
  const addresses = type === TYPE_A ? (known?.a ?? []).map(ipv4) : type === TYPE_AAAA ? (known?.aaaa ?? []).map(ipv6) : [];
  const head = Buffer.alloc(HEADER);
  query.copy(head, 0, 0, 2);
  // A response, authoritative; recursion as it was asked for.
  head.writeUInt16BE(0x8400 | (query.readUInt16BE(2) & 0x0100) | (known ? 0 : NXDOMAIN), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(addresses.length, 6);
  return Buffer.concat([head, question, ...addresses.map((bytes) => resourceRecord(type, bytes))]);
}

/** The name is a pointer to the question's. */
function resourceRecord(type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(0xc000 | HEADER, 0);
  fixed.writeUInt16BE(type, 2);
  fixed.writeUInt16BE(1, 4);
  fixed.writeUInt32BE(DNS_TTL, 6);
  fixed.writeUInt16BE(data.length, 10);
  return Buffer.concat([fixed, data]);
}

const ipv4 = (text: string): Buffer => Buffer.from(text.split('.').map(Number));

function ipv6(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const zeros = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...new Array<string>(text.includes('::') ? zeros : 0).fill('0'), ...groups(tail)];
  const bytes = Buffer.alloc(16);
  for (const [i, group] of all.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * i);
  return bytes;
}

function bound(socket: Socket, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(53, address, resolve);
  });
}

function listening(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(53, address, resolve);
  });
}

async function closed(udp: Socket, tcp: Server): Promise<void> {
  await Promise.all([new Promise<void>((resolve) => udp.close(() => resolve())), new Promise<void>((resolve) => tcp.close(() => resolve()))]);
}
