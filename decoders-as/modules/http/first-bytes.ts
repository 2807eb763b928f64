// Notes once for each connection what its first plaintext looks like (conn.note); it keeps at most 256 bytes, until that is known.
import { eventsOut } from '../../abi/module';
import { ConnNote, Direction, Kind, RecHeader, TlsData } from '../../abi/records';
import { Conn } from './conn';
import { Count } from './counters';
import { BEGIN, Looks, looksOfBeginning, looksOfSample, looksText, SAMPLE } from './plausible';

/** The first bytes of a connection's first direction, and the record they begin in. */
@unmanaged
export class FirstBytes {
  length: u32 = 0;
  direction: u32 = 0;
  looks: u32 = 0;

  get origin(): usize {
    return changetype<usize>(this) + offsetof<FirstBytes>();
  }

  get bytes(): usize {
    return this.origin + TlsData.SIZE;
  }
}

/** Takes the payload of the record at hand into account; gap: bytes before it are missing. */
export function sample(conn: Conn, record: usize, length: u32, gap: bool): void {
  if (conn.firstTold || length == 0) return;
  if (conn.first == 0) {
    const first = changetype<FirstBytes>(heap.alloc(offsetof<FirstBytes>() + TlsData.SIZE + SAMPLE));
    first.length = 0;
    first.direction = TlsData.direction(record);
    first.looks = Looks.UNKNOWN;
    memory.copy(first.origin, record, TlsData.SIZE);
    conn.first = changetype<usize>(first);
  }
  const first = changetype<FirstBytes>(conn.first);
  if (first.looks != Looks.UNKNOWN || first.direction != TlsData.direction(record)) return;
  if (gap && first.length) {
    first.looks = Looks.SHORT;
    return;
  }
  const before = first.length;
  const more = min(length, SAMPLE - before);
  memory.copy(first.bytes + before, record + TlsData.SIZE, more);
  first.length = before + more;
  if (before < BEGIN && first.length >= BEGIN) first.looks = looksOfBeginning(first.bytes);
  if (first.looks == Looks.UNKNOWN && first.length == SAMPLE) first.looks = looksOfSample(first.bytes);
}

/** Writes the note once it is known what to say; over: nothing more will come. False: no room in the lane; call again. */
export function noteFirst(conn: Conn, over: bool): bool {
  if (conn.first == 0) return true;
  const first = changetype<FirstBytes>(conn.first);
  if (first.looks == Looks.UNKNOWN) {
    if (!over) return true;
    first.looks = Looks.SHORT;
  }
  const out = eventsOut;
  const mark = out.begin();
  const implausible = first.looks == Looks.UNIFORM;
  const origin = first.origin;
  out.array(7);
  out.uint(Kind.CONN_NOTE);
  out.uint(implausible ? ConnNote.IMPLAUSIBLE : ConnNote.FIRST_PLAINTEXT);
  out.uint(RecHeader.ts_ns(origin));
  out.bin(origin, TlsData.SIZE);
  out.uint(conn.key);
  out.uint(TlsData.target(origin));
  out.map(3);
  out.text('direction');
  out.text(first.direction == Direction.WRITE ? 'write' : 'read');
  out.text('looks');
  out.text(looksText(first.looks));
  // Bytes from the middle of a body may be of any kind: only what begins with its connection can speak against a probe.
  out.text('from_start');
  out.boolean(TlsData.since_ns(origin) != 0 && TlsData.offset(origin) == 0);
  if (!out.commit(mark)) return false;
  if (implausible) Count.implausible++;
  conn.firstTold = true;
  dropFirst(conn);
  return true;
}

export function dropFirst(conn: Conn): void {
  if (conn.first) heap.free(conn.first);
  conn.first = 0;
}
