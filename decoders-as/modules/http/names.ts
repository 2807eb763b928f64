// Keeps the names that a program gave a TLS connection or asked of it (tls.name), for the heads of its messages; it reads no handshake.
import { NAME_AREA, NameKind, TlsName } from '../../abi/records';
import { Writer } from '../../abi/writer';
import { Conn } from './conn';

/** Bytes of a tls.name record before the name. */
export const NAME_HEAD: u32 = TlsName.SIZE - NAME_AREA;

const SLOTS: usize = 3;
const SLOT: usize = 4 + NAME_AREA;
/** Bytes at Conn.names. */
export const NAMES_SIZE: usize = SLOTS * SLOT;

/** One slot for each NameKind: a u32 length and the name; made when there is something to keep. */
function slotOf(conn: Conn, kind: u32): usize {
  return conn.names + <usize>(kind - NameKind.SERVER) * SLOT;
}

/** Takes a name; a later one takes its place. length: bytes that follow NAME_HEAD in the record. False: not what the layout says. */
export function takeName(conn: Conn, record: usize, length: u32): bool {
  const kind = TlsName.what(record);
  const used = TlsName.len(record);
  if (kind < NameKind.SERVER || kind > NameKind.SELECTED || used > min(length, NAME_AREA)) return false;
  if (conn.names == 0) {
    conn.names = heap.alloc(NAMES_SIZE);
    memory.fill(conn.names, 0, NAMES_SIZE);
  }
  const slot = slotOf(conn, kind);
  memory.copy(slot + 4, TlsName.name(record), used);
  store<u32>(slot, kind == NameKind.OFFERED ? joinOffered(slot + 4, used) : used);
  return true;
}

/** Length-prefixed names to names between commas, in place. Returns the new length; what is not whole is left out. */
function joinOffered(at: usize, length: u32): u32 {
  let from: u32 = 0;
  let to: u32 = 0;
  while (from < length) {
    const n: u32 = load<u8>(at + from);
    if (n == 0 || from + 1 + n > length) break;
    if (to) store<u8>(at + to++, 0x2c);
    memory.copy(at + to, at + from + 1, n);
    to += n;
    from += 1 + n;
  }
  return to;
}

/** Writes the three names, nil for what is not known. */
export function writeNames(out: Writer, conn: Conn): void {
  for (let kind = NameKind.SERVER; kind <= NameKind.SELECTED; kind++) {
    const length = conn.names ? load<u32>(slotOf(conn, kind)) : 0;
    if (length) out.str(slotOf(conn, kind) + 4, length);
    else out.nil();
  }
}
