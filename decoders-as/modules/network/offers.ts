// Writes the lists of a ClientHello: protocols and versions that a client offers, in its order.
import { eventsOut } from '../../abi/module';
import { versionName } from '../../lib/client-hello';

/** ALPN names; GREASE (RFC 8701) is left out. */
export function alpnOut(at: usize, length: u32): void {
  const opened = eventsOut.openArray();
  const end = at + length;
  let count: u32 = 0;
  while (at < end) {
    const size = <usize>load<u8>(at);
    if (at + 1 + size > end) break;
    if (!isGrease(at + 1, size)) {
      eventsOut.str(at + 1, size);
      count++;
    }
    at += 1 + size;
  }
  eventsOut.close(opened, count);
}

function isGrease(at: usize, size: usize): bool {
  return size == 2 && (load<u8>(at) & 0x0f) == 0x0a && load<u8>(at) == load<u8>(at + 1);
}

/** Version names; a client without the extension offers one. */
export function versionsOut(at: usize, length: u32, legacy: u32): void {
  const opened = eventsOut.openArray();
  let count: u32 = 0;
  for (let i: u32 = 0; i + 2 <= length; i += 2) {
    const name = versionName(bswap(load<u16>(at + i)));
    if (name.length == 0) continue;
    eventsOut.text(name);
    count++;
  }
  if (length == 0 && versionName(legacy).length) {
    eventsOut.text(versionName(legacy));
    count++;
  }
  eventsOut.close(opened, count);
}
