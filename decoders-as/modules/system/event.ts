// The first elements of an event record of this module; data and meta follow.
import { eventsOut } from '../../abi/module';
import { Kind, RecHeader } from '../../abi/records';

/** @param record begins with rec_header; @param originSize bytes of its fixed part; @param index tells events of one type of one record apart. */
export function eventHead(record: usize, type: string, originSize: u32, index: u32 = 0): void {
  eventsOut.array(9);
  eventsOut.uint(Kind.EVENT);
  eventsOut.text(type);
  eventsOut.uint(RecHeader.ts_ns(record));
  eventsOut.bin(record, originSize);
  eventsOut.nil();
  eventsOut.nil();
  eventsOut.uint(index);
}

/** Keys of meta for an event of which one named part is cut: three of them, two when it is not known how much. */
export function missingOut(what: string, bytes: u32): void {
  eventsOut.text('completeness');
  eventsOut.text('partial');
  eventsOut.text('missing');
  eventsOut.array(1);
  eventsOut.text(what);
  if (bytes) {
    eventsOut.text('missing_bytes');
    eventsOut.uint(bytes);
  }
}
