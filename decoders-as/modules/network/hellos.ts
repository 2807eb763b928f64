// Remembers what a client's ClientHello asked for until its connection is over; bounded, the least recently used goes first.
import { Peer } from '../../abi/records';
import { hash64, hashBytes } from '../../lib/bytes';
import { ClientHello } from '../../lib/client-hello';
import { Entry, Table } from '../../lib/table';

const LIMIT: u32 = 4096;
const TEXT_MAX: u32 = 255;

@unmanaged
export class Hello extends Entry {
  nameLength: u32 = 0;
  alpnLength: u32 = 0;
  versionsLength: u32 = 0;
  legacyVersion: u32 = 0;
  /** Name, ALPN list and versions behind each other. */
  texts: usize = 0;

  get name(): usize {
    return this.texts;
  }
  get alpn(): usize {
    return this.texts + this.nameLength;
  }
  get versions(): usize {
    return this.texts + this.nameLength + this.alpnLength;
  }
}

export namespace Hellos {
  export let forgotten: u64 = 0;
  const table = new Table(LIMIT);

  /** A socket's address is used again; with both ports and the peer's address it is one connection. */
  export function keyOf(socket: u64, peer: usize): u64 {
    return hash64(socket, Peer.local_port(peer) | ((<u32>Peer.remote_port(peer)) << 16), hashBytes(Peer.remote_addr(peer), 16));
  }

  /** Keeps what ClientHello holds now. */
  export function keep(key: u64): void {
    const hello = add(key, ClientHello.nameLength, min(ClientHello.alpnLength, TEXT_MAX), ClientHello.versionsLength);
    hello.legacyVersion = ClientHello.legacyVersion;
    memory.copy(hello.name, ClientHello.nameAt, hello.nameLength);
    memory.copy(hello.alpn, ClientHello.alpnAt, hello.alpnLength);
    memory.copy(hello.versions, ClientHello.versionsAt, hello.versionsLength);
  }

  /** One with room for its texts; what was kept of the same connection is forgotten. */
  export function add(key: u64, nameLength: u32, alpnLength: u32, versionsLength: u32): Hello {
    const old = table.find(key);
    if (old) drop(old);
    if (table.count >= LIMIT) {
      drop(table.oldest);
      forgotten++;
    }
    const hello = new Hello();
    hello.key = key;
    hello.nameLength = nameLength;
    hello.alpnLength = alpnLength;
    hello.versionsLength = versionsLength;
    hello.texts = heap.alloc(nameLength + alpnLength + versionsLength + 1);
    table.insert(changetype<usize>(hello));
    return hello;
  }

  /** The least recently used, 0: none. */
  export function oldest(): usize {
    return table.oldest;
  }

  /** Address of the Hello, 0: none. */
  export function find(key: u64): usize {
    return table.find(key);
  }

  export function drop(at: usize): void {
    table.remove(at);
    heap.free(changetype<Hello>(at).texts);
    heap.free(at);
  }

  export function count(): u32 {
    return table.count;
  }
}
