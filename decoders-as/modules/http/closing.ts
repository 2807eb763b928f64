// The end of a connection: every message and request that is open gets its http.end, and only then is the connection forgotten.
import { Completeness } from '../../abi/records';
import { At, Conn, conns, Dir, dropConn, Now, overBudget } from './conn';
import { Count } from './counters';
import { closeStreams } from './h2-streams';
import { feed } from './stream';
import { endMessage, loseHead } from './lines';
import { noteFirst } from './first-bytes';
import { loseOldest } from './pairing';

/** Ends a connection; `closed`: its TLS object was, so a body without length is complete. False: no room in the lane; call again. */
export function closeConn(conn: Conn, closed: bool): bool {
  if (conn.h2) {
    if (!closeStreams(conn)) return false;
  } else {
    if (!closeDir(conn, changetype<Dir>(conn.write), closed)) return false;
    if (!closeDir(conn, changetype<Dir>(conn.read), closed)) return false;
  }
  if (!noteFirst(conn, true)) return false;
  while (conn.fifoCount > 0) {
    if (!loseOldest(conn, Completeness.ABORTED)) return false;
  }
  dropConn(conn);
  return true;
}

function closeDir(conn: Conn, dir: Dir, closed: bool): bool {
  feed(conn, dir, 0, 0);
  if (Now.blocked) return false;
  if (!dir.open) {
    loseHead(dir);
    return true;
  }
  if (!closed || dir.state != At.TO_CLOSE) dir.aborted = true;
  endMessage(dir, At.START);
  feed(conn, dir, 0, 0);
  return !Now.blocked;
}

/** Makes room for one more connection, or in the buffers, by giving up what was idle for longest. False: no room in the lane; call again. */
export function evict(keep: usize, more: u32): bool {
  while (conns.count + more > conns.limit || (overBudget() && conns.oldest != keep && conns.oldest != 0)) {
    if (!closeConn(changetype<Conn>(conns.oldest), false)) return false;
    Count.evicted++;
  }
  return true;
}
