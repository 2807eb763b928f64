// Writes what events say of the two ends of a connection; it resolves nothing and keeps nothing.
import { Protocol } from '../../abi/events';
import { eventsOut } from '../../abi/module';
import { Peer } from '../../abi/records';
import { AF_UNIX, addressText, ipText, isAnyAddress, isPrivateAddress } from '../../lib/ip';

const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

export function protocolName(peer: usize): string {
  if (Peer.family(peer) == AF_UNIX) return Protocol.UNIX;
  if (Peer.protocol(peer) == IPPROTO_TCP) return Protocol.TCP;
  return Peer.protocol(peer) == IPPROTO_UDP ? Protocol.UDP : Protocol.OTHER;
}

/** @param name of the host, when it is known (length 0: it is not). */
export function remoteEnd(peer: usize, name: usize, nameLength: u32): void {
  const family = Peer.family(peer);
  const length = addressText(family, Peer.remote_addr(peer));
  if (length == 0) {
    eventsOut.map(0);
    return;
  }
  eventsOut.map(nameLength ? 4 : 3);
  eventsOut.text('ip');
  eventsOut.str(ipText, length);
  eventsOut.text('port');
  eventsOut.uint(Peer.remote_port(peer));
  if (nameLength) {
    eventsOut.text('domain');
    eventsOut.str(name, nameLength);
  }
  eventsOut.text('is_private');
  eventsOut.boolean(isPrivateAddress(family, Peer.remote_addr(peer)));
}

/** Is the local end known at all? A connection that failed at once has none. */
export function hasLocalEnd(peer: usize): bool {
  return Peer.local_port(peer) != 0;
}

/** A socket that is bound to no address of its own has a port only. */
export function localEnd(peer: usize): void {
  const family = Peer.family(peer);
  const port = Peer.local_port(peer);
  const bound = family != 0 && family != AF_UNIX && !isAnyAddress(family, Peer.local_addr(peer));
  eventsOut.map((bound ? 1 : 0) + (port ? 1 : 0));
  if (bound) {
    const length = addressText(family, Peer.local_addr(peer));
    eventsOut.text('ip');
    eventsOut.str(ipText, length);
  }
  if (port) {
    eventsOut.text('port');
    eventsOut.uint(port);
  }
}
