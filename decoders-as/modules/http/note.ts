// Tells the host of a connection that holds nothing for any decoder behind this one; it never judges what HTTP messages say.
import { eventsOut } from '../../abi/module';
import { ConnNote, Kind, Role, TlsData } from '../../abi/records';
import { Conn, Dir, Now } from './conn';
import { Count } from './counters';

/** Bytes without a start line, in each direction and in both together, after which a connection is held to speak no HTTP. */
export const NOT_HTTP_EACH: u64 = 256;
export const NOT_HTTP_BYTES: u64 = 4096;

const FRAME_HEAD: u32 = 9;
const LONGEST_FRAME: u32 = 16384;
const LAST_FRAME_TYPE: u32 = 9;

/** HTTP/2 that was joined in its middle shows no preface, but its calls begin with frames. */
function beginsLikeFrame(record: usize): bool {
  if (TlsData.call_off(record) > 0 || TlsData.len(record) < FRAME_HEAD) return false;
  const at = record + TlsData.SIZE;
  return bswap(load<u32>(at)) >> 8 <= LONGEST_FRAME && load<u8>(at, 3) <= LAST_FRAME_TYPE && load<u8>(at, 5) < 0x80;
}

/** The connection is copied again after a verdict: what it turns out to be from here on may be told again. */
export function lookAgain(conn: Conn): void {
  const write = changetype<Dir>(conn.write);
  const read = changetype<Dir>(conn.read);
  conn.noted = false;
  write.joined = write.expected;
  read.joined = read.expected;
}

/** Is there something new to say of the connection of this record? */
export function noteDue(conn: Conn, record: usize): bool {
  if (conn.noted) return false;
  if (conn.tunnel) return true;
  if (conn.role != Role.UNKNOWN || conn.opaque || conn.framed) return false;
  conn.framed = beginsLikeFrame(record);
  const write = changetype<Dir>(conn.write);
  const read = changetype<Dir>(conn.read);
  const sent = write.expected - write.joined;
  const received = read.expected - read.joined;
  return !conn.framed && sent >= NOT_HTTP_EACH && received >= NOT_HTTP_EACH && sent + received >= NOT_HTTP_BYTES;
}

/** False: no room in the lane; nothing was written. */
export function writeNote(conn: Conn, record: usize): bool {
  const out = eventsOut;
  const mark = out.begin();
  out.array(7);
  out.uint(Kind.CONN_NOTE);
  out.uint(ConnNote.NOT_AI);
  out.uint(Now.ts);
  out.bin(record, TlsData.SIZE);
  out.uint(conn.key);
  out.uint(TlsData.target(record));
  out.map(2);
  out.text('reason');
  out.text(conn.tunnel ? 'tunnel' : 'not_http');
  out.text('all');
  out.boolean(true);
  if (!out.commit(mark)) return false;
  conn.noted = true;
  Count.notAi++;
  return true;
}
