// Queries that wait for their answer: bounded, oldest first; it never sees an answer's content.
import { Peer, RecHeader } from '../../abi/records';
import { hash64, hashBytes } from '../../lib/bytes';
import { Entry, Table } from '../../lib/table';

export const QUERIES_MAX: u32 = 4096;

@unmanaged
export class Query extends Entry {
  static readonly HEADER: u32 = RecHeader.SIZE;
  static readonly PEER: u32 = Peer.SIZE;
  ts: u64 = 0;
  startNs: u64 = 0;
  tgid: u32 = 0;
  type: u32 = 0;
  /** Times it was sent. */
  sent: u32 = 1;
  isStream: bool = false;
  nameLength: u32 = 0;
  /** The name as text, then the head of the record that carried the query, then its peer. */
  memory: usize = 0;

  get name(): usize {
    return this.memory;
  }
  get header(): usize {
    return this.memory + this.nameLength;
  }
  get peer(): usize {
    return this.memory + this.nameLength + RecHeader.SIZE;
  }
}

export namespace Queries {
  const table = new Table(QUERIES_MAX);

  /** One question of one process to one resolver. */
  export function keyOf(record: usize, peer: usize, id: u32, question: u64): u64 {
    const resolver = hashBytes(Peer.remote_addr(peer), 16) ^ Peer.remote_port(peer);
    return hash64(RecHeader.tgid(record), resolver, question ^ ((<u64>id) << 48));
  }

  /** Address of a Query, 0: none. */
  export function find(key: u64): usize {
    return table.find(key);
  }

  export function hasRoomFor(key: u64): bool {
    return table.count < QUERIES_MAX && table.find(key) == 0;
  }

  /** The table must have room, and the key must be new. */
  export function add(key: u64, record: usize, peer: usize, name: usize, nameLength: u32): Query {
    const query = new Query();
    query.key = key;
    query.ts = RecHeader.ts_ns(record);
    query.startNs = RecHeader.start_ns(record);
    query.tgid = RecHeader.tgid(record);
    query.nameLength = nameLength;
    query.memory = heap.alloc(nameLength + RecHeader.SIZE + Peer.SIZE);
    memory.copy(query.name, name, nameLength);
    memory.copy(query.header, record, RecHeader.SIZE);
    memory.copy(query.peer, peer, Peer.SIZE);
    table.insert(changetype<usize>(query));
    return query;
  }

  export function remove(at: usize): void {
    table.remove(at);
    heap.free(changetype<Query>(at).memory);
    heap.free(at);
  }

  export function count(): u32 {
    return table.count;
  }

  export function oldest(): usize {
    return table.oldest;
  }
}
