// Frames one event record and keeps the promise that it fits: it waits for an empty lane, then cuts content level by level, and never drops silently.
import { eventsOut, Status } from '../../abi/module';
import { Kind } from '../../abi/records';
import { bufAt, bufLength } from './buf';
import { counters } from './counters';
import { Exchange } from './exchange';
import { beginOut, close, contentCut, literal, openMap } from './out';

/** Writes the pairs of data, or of meta, of one event. */
export type PairWriter = (x: Exchange, index: u32) => void;

const LEVELS: u32 = 4;

function writeEvent(x: Exchange, type: string, ts: u64, origin: usize, index: u32, data: PairWriter, meta: PairWriter): void {
  const out = eventsOut;
  out.array(9);
  out.uint(Kind.EVENT);
  literal(type);
  out.uint(ts);
  out.bin(origin ? bufAt(origin) : 0, bufLength(origin));
  out.uint(x.conn);
  out.uint(x.stream);
  out.uint(index);
  openMap();
  data(x, index);
  close();
  openMap();
  meta(x, index);
  close();
}

/** Status.DONE: the event is written, or given up and counted. Status.FULL: drain the lane first. */
export function emit(x: Exchange, type: string, ts: u64, origin: usize, index: u32, data: PairWriter, meta: PairWriter): i32 {
  const out = eventsOut;
  const empty = out.length == 0;
  for (let level: u32 = 0; level < LEVELS; level++) {
    beginOut(level);
    const mark = out.begin();
    writeEvent(x, type, ts, origin, index, data, meta);
    const cut = contentCut;
    if (out.commit(mark)) {
      if (cut) counters.contentCut++;
      return Status.DONE;
    }
    if (!empty) return Status.FULL;
  }
  counters.unfit++;
  return Status.DONE;
}
