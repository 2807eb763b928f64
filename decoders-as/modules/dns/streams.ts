// Puts DNS messages together that travel over TCP, each behind its length (RFC 1035, 4.2.2), however reads and writes cut them; bounded.
import { Peer, RecHeader } from '../../abi/records';
import { ByteBuf, hash64 } from '../../lib/bytes';
import { Entry, Table } from '../../lib/table';

const STREAMS_MAX: u32 = 256;
const PREFIX: usize = 2;
const MESSAGE_MAX: usize = 65535;

@unmanaged
export class Stream extends Entry {
  lastNs: u64 = 0;
  bytes: ByteBuf = new ByteBuf(0);
}

export namespace Streams {
  export let forgotten: u64 = 0;
  const table = new Table(STREAMS_MAX);
  /** Bytes of the message that message() gave. */
  export let length: u32 = 0;

  /** Address of the stream that the record is a piece of; it is made when it is new. */
  export function get(record: usize, peer: usize, socket: u64, direction: u32): usize {
    const ends = Peer.local_port(peer) | ((<u32>Peer.remote_port(peer)) << 16);
    const key = hash64(RecHeader.tgid(record), socket ^ direction, ends);
    let at = table.find(key);
    if (at) table.touch(at);
    else at = make(key);
    changetype<Stream>(at).lastNs = RecHeader.ts_ns(record);
    return at;
  }

  function make(key: u64): usize {
    if (table.count >= STREAMS_MAX) forget(table.oldest);
    const made = new Stream();
    made.key = key;
    made.bytes = new ByteBuf(PREFIX + MESSAGE_MAX);
    table.insert(changetype<usize>(made));
    return changetype<usize>(made);
  }

  /** A stream as another instance left it. False: there is one of that name, or it is too long. */
  export function take(key: u64, lastNs: u64, from: usize, n: usize): bool {
    if (table.find(key)) return false;
    const at = make(key);
    changetype<Stream>(at).lastNs = lastNs;
    return changetype<Stream>(at).bytes.push(from, n);
  }

  /** The least recently used, 0: none. */
  export function oldest(): usize {
    return table.oldest;
  }

  /** Adds as much of [from, from + n) as belongs to the message at hand; returns how much that was. */
  export function add(at: usize, from: usize, n: u32): u32 {
    const bytes = changetype<Stream>(at).bytes;
    let used: u32 = 0;
    while (bytes.length < PREFIX && used < n) bytes.push(from + used++, 1);
    if (bytes.length < PREFIX) return used;
    const missing = PREFIX + <usize>size(bytes) - bytes.length;
    const more = min(<usize>(n - used), missing);
    bytes.push(from + used, more);
    return used + <u32>more;
  }

  /** Address of the message if it is whole, else 0; its bytes are in `length`. */
  export function message(at: usize): usize {
    const bytes = changetype<Stream>(at).bytes;
    if (bytes.length < PREFIX || bytes.length < PREFIX + <usize>size(bytes)) return 0;
    length = size(bytes);
    return bytes.ptr + PREFIX;
  }

  /** The message is dealt with: the next one begins. */
  export function next(at: usize): void {
    changetype<Stream>(at).bytes.clear();
  }

  function size(bytes: ByteBuf): u32 {
    return bswap(load<u16>(bytes.ptr));
  }

  /** Between two messages nothing is kept of an idle stream; one that stopped in the middle is counted. */
  export function expire(beforeNs: u64): void {
    while (table.oldest != 0 && changetype<Stream>(table.oldest).lastNs < beforeNs) forget(table.oldest);
  }

  function forget(at: usize): void {
    if (changetype<Stream>(at).bytes.length) forgotten++;
    drop(at);
  }

  export function drop(at: usize): void {
    const bytes = changetype<Stream>(at).bytes;
    table.remove(at);
    bytes.free();
    heap.free(changetype<usize>(bytes));
    heap.free(at);
  }

  export function count(): u32 {
    return table.count;
  }
}
