// Counts what the exchanges of a connection turned out to be, and tells the host of a connection that carries no AI traffic; it decides nothing of a single exchange.
import { eventsOut, Status } from '../../abi/module';
import { Completeness, ConnNote, Kind, TlsData } from '../../abi/records';
import { Entry, Table } from '../../lib/table';
import { bufAt, bufLength } from './buf';
import { counters } from './counters';
import { Exchange, Request } from './exchange';
import { giveNumbers, Tag } from './handed';
import { isKnownHost } from './provider';

/** Whole exchanges in a row, none of them with a model and none with a host of the registry, after which the host is told; and again after as many. */
export const NOT_AI_EXCHANGES: u32 = 4;

@unmanaged
class Watched extends Entry {
  others: u32 = 0;
  /** Some exchange was one with a model, or its host is known: it is never given up. */
  ai: bool = false;
}

let table: Table = changetype<Table>(0);

export function initVerdicts(limit: u32): void {
  table = new Table(limit);
}

function watchedOf(conn: u64): Watched {
  const found = table.find(conn);
  if (found) {
    table.touch(found);
    return changetype<Watched>(found);
  }
  if (table.count >= table.limit) {
    // What is forgotten is counted from the start again, which costs some copying.
    const oldest = table.oldest;
    table.remove(oldest);
    heap.free(oldest);
  }
  const made = new Watched();
  made.key = conn;
  table.insert(changetype<usize>(made));
  return made;
}

function writeNote(x: Exchange): bool {
  const origin = bufAt(x.request.origin);
  const out = eventsOut;
  const mark = out.begin();
  out.array(7);
  out.uint(Kind.CONN_NOTE);
  out.uint(ConnNote.NOT_AI);
  out.uint(x.lastTs);
  out.bin(origin, bufLength(x.request.origin));
  out.uint(x.conn);
  out.uint(TlsData.target(origin));
  out.map(2);
  out.text('reason');
  out.text('no_ai_exchange');
  out.text('all');
  out.boolean(false);
  return out.commit(mark);
}

/** An exchange is over and about to be freed. Status.FULL: to be called again, nothing has changed. */
export function judge(x: Exchange): i32 {
  const whole = x.request.completeness == Completeness.FULL && x.response.completeness == Completeness.FULL;
  const ai = x.state == Request.TOLD || x.state == Request.RPC || isKnownHost(x);
  if (!ai && (x.state != Request.OTHER || !whole || bufLength(x.request.origin) < TlsData.SIZE)) return Status.DONE;
  const watched = watchedOf(x.conn);
  if (ai) watched.ai = true;
  if (watched.ai) return Status.DONE;
  if (watched.others + 1 < NOT_AI_EXCHANGES) {
    watched.others++;
    return Status.DONE;
  }
  if (!writeNote(x)) return Status.FULL;
  watched.others = 0;
  counters.notAi++;
  return Status.DONE;
}

/** Connections that follow with a batch: what is not there yet is counted from the start, and put together when it comes. */
const SLICE: u32 = 512;

/** False: no room in the lane; call again. */
export function giveVerdicts(): bool {
  let left = SLICE;
  for (let at = table.oldest; at && left > 0; at = table.oldest) {
    const watched = changetype<Watched>(at);
    if (!giveNumbers(Tag.WATCHED, watched.key, watched.others, watched.ai ? 1 : 0)) return false;
    table.remove(at);
    heap.free(at);
    left--;
  }
  return true;
}

/** Connections that are not given yet. */
export function watchedCount(): u32 {
  return table.count;
}

/** What two instances know of one connection is put together. */
export function takeVerdict(conn: u64, others: u64, ai: u64): void {
  const watched = watchedOf(conn);
  watched.others = min(watched.others + <u32>min<u64>(others, NOT_AI_EXCHANGES), NOT_AI_EXCHANGES - 1);
  watched.ai = watched.ai || ai != 0;
}
