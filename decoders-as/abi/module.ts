// The exports of decoder ABI 1.0, which every module has (schema/decoder-abi.md), over a few functions that a module supplies; it knows no record kind and keeps no stream.
//
// A module's index.ts:
//
//   import { defineModule, Status, stat, recordsOut } from '../../abi/module';
//   export { oisp_abi, oisp_manifest, oisp_init, oisp_in, oisp_out, oisp_process, oisp_consumed, oisp_resume, oisp_out_len, oisp_tick,
//     oisp_flush, oisp_stats, oisp_last_error } from '../../abi/module';
//   defineModule('name', '0.1.0', [Kind.HTTP_HEAD], [Kind.EVENT], onInit, onRecord, onTick, onFlush, onStats);
//
// onRecord(kind, at, end) gets the address of the element after the kind and the end of the record, which is well-formed msgpack as a whole.
// It returns
//   DONE  the record is dealt with (or of a kind that is of no interest)
//   FULL  a lane has no room: the host drains both lanes and the same record is given again, with `resuming` true. The module must remember
//         itself how far it had come; what it wrote before stays written. A lane that is empty must be able to take any single record.
//   BAD   the record's elements are not what the ABI says: the batch is rejected from here on; say why with setError()
// Lanes are empty when process, resume, tick and flush begin, so an address inside a lane must not be kept from one such call to the next:
// `calls` counts them.
import { Reader } from './reader';
import { Writer } from './writer';

export namespace Status {
  export const DONE: i32 = 0;
  export const FULL: i32 = 1;
  export const BAD: i32 = 2;
}

type InitHook = (outCap: u32, flags: u32, maxConns: u32) => i32;
type RecordHook = (kind: u32, at: usize, end: usize) => i32;
type TickHook = (seconds: u32) => void;
type FlushHook = () => bool;
type StatsHook = () => void;
type ReturnHook = () => void;

const ABI_VERSION: i32 = 0x00010002;
const BUFFER_MAX: i32 = 1 << 29;
const TEXT_MAX: u32 = 500;

/** Lane 0: records for other modules. */
export const recordsOut: Writer = new Writer();
/** Lane 1: records for the host. */
export const eventsOut: Writer = new Writer();
/** The record given to onRecord was answered with FULL before. */
export let resuming: bool = false;
/** Calls of process, resume, tick and flush so far. */
export let calls: u32 = 0;

let inAt: usize = 0;
let inCap: usize = 0;
let outCapacity: usize = 0;
let inLength: usize = 0;
let consumed: usize = 0;
let manifestAt: usize = 0;
let statsCount: u32 = 0;
const errorText: Writer = new Writer();

// Replaced by defineModule(); a module that does not call it refuses to be initialised.
let initHook: InitHook = (_outCap: u32, _flags: u32, _maxConns: u32): i32 => -1;
let recordHook: RecordHook = (_kind: u32, _at: usize, _end: usize): i32 => Status.BAD;
let tickHook: TickHook = (_seconds: u32): void => {};
let flushHook: FlushHook = (): bool => false;
let statsHook: StatsHook = (): void => {};
let returnHook: ReturnHook = (): void => {};

/**
 * Says what the module is; called once, at the top level of index.ts.
 * onInit(outCap, flags, maxConns) returns 0, or a negative code after setError(). onTick(seconds) may write what fits and leave the rest for the
 * next tick. onFlush() returns true when lanes are full and there is more. onStats() calls stat() for each counter.
 */
export function defineModule(
  name: string,
  version: string,
  consumes: StaticArray<u32>,
  produces: StaticArray<u32>,
  onInit: InitHook,
  onRecord: RecordHook,
  onTick: TickHook,
  onFlush: FlushHook,
  onStats: StatsHook,
): void {
  initHook = onInit;
  recordHook = onRecord;
  tickHook = onTick;
  flushHook = onFlush;
  statsHook = onStats;
  errorText.open(heap.alloc(TEXT_MAX + 16) + 4, TEXT_MAX);
  store<u32>(errorText.base - 4, 0);
  manifestAt = heap.alloc(1024);
  const out = new Writer();
  out.open(manifestAt + 4, 1020);
  out.map(4);
  out.text('name');
  out.text(name);
  out.text('version');
  out.text(version);
  out.text('consumes');
  kinds(out, consumes);
  out.text('produces');
  kinds(out, produces);
  store<u32>(manifestAt, <u32>out.length);
  heap.free(changetype<usize>(out));
}

/**
 * Has a function called when the in buffer is about to go back to the host. Until then, which may be some resumes later, a module may point into it
 * from one record to the next.
 */
export function beforeReturn(hook: ReturnHook): void {
  returnHook = hook;
}

function kinds(out: Writer, list: StaticArray<u32>): void {
  out.array(list.length);
  for (let i = 0; i < list.length; i++) out.uint(list[i]);
}

/** Why the call that is about to return a negative code (or BAD) failed: ASCII text, and a number where it is not negative. */
export function setError(text: string, number: i64 = -1): void {
  errorText.at = errorText.base;
  for (let i = 0; i < text.length && errorText.room(21); i++) store<u8>(errorText.at++, <u8>text.charCodeAt(i));
  if (number >= 0) {
    let digits: usize = 1;
    for (let rest = number; rest >= 10; rest /= 10) digits++;
    for (let i = digits; i > 0; i--) {
      store<u8>(errorText.at + i - 1, <u8>(48 + (number % 10)));
      number /= 10;
    }
    errorText.at += digits;
  }
  store<u32>(errorText.base - 4, <u32>errorText.length);
}

/** One counter, from onStats. */
export function stat(name: string, value: u64): void {
  eventsOut.text(name);
  eventsOut.uint(value);
  statsCount++;
}

/** Elements of a record whose places are known. */
const ELEMENTS: u32 = 32;
const elementTable: usize = memory.data(32 * 4);
let elementCount: u32 = 0;

/** Address of an element of the record at hand, the kind being element 0; 0: it has none, or index is over 31. */
export function elementAt(index: u32): usize {
  return index > 0 && index < min(elementCount, ELEMENTS) ? <usize>load<u32>(elementTable + ((<usize>index) << 2)) : 0;
}

/** A call that is none of the module's own hooks begins: both lanes are empty. */
export function beginCall(): void {
  emptyLanes();
}

/** Address of so many bytes that the host has put into the in buffer; 0, and an error: there is no room for so many. */
export function inBuffer(length: i32): usize {
  if (length >= 0 && <usize>length <= inCap) return inAt;
  setError('longer than the in buffer: ', length);
  return 0;
}

function emptyLanes(): void {
  recordsOut.open(recordsOut.base, outCapacity);
  eventsOut.open(eventsOut.base, outCapacity);
  calls++;
}

function run(): i32 {
  emptyLanes();
  const code = runRecords();
  if (!resuming) returnHook();
  return code;
}

function runRecords(): i32 {
  const end = inAt + inLength;
  while (consumed < inLength) {
    Reader.open(inAt + consumed, end);
    const elements = Reader.array();
    const kind = <u32>Reader.uint();
    const at = Reader.at;
    for (let i: u32 = 1; i < elements && !Reader.failed; i++) {
      if (i < ELEMENTS) store<u32>(elementTable + ((<usize>i) << 2), <u32>Reader.at);
      Reader.skip();
    }
    elementCount = elements;
    if (Reader.failed || elements == 0) {
      resuming = false;
      setError('not a well-formed record at byte ', consumed);
      return -1;
    }
    const next = Reader.at;
    const status = recordHook(kind, at, next);
    resuming = status == Status.FULL;
    if (resuming) return 0;
    if (status != Status.DONE) return -2;
    consumed = next - inAt;
  }
  return 0;
}

export function oisp_abi(): i32 {
  return ABI_VERSION;
}

export function oisp_manifest(): usize {
  return manifestAt;
}

export function oisp_init(inBytes: i32, outBytes: i32, flags: i32, maxConns: i32): i32 {
  if (inAt != 0) {
    setError('already initialised');
    return -1;
  }
  if (inBytes <= 0 || inBytes > BUFFER_MAX || outBytes <= 0 || outBytes > BUFFER_MAX || maxConns <= 0) {
    setError('a size of 0, or over 512 MiB');
    return -1;
  }
  const code = initHook(<u32>outBytes, <u32>flags, <u32>maxConns);
  if (code < 0) return code;
  inCap = <usize>inBytes;
  outCapacity = <usize>outBytes;
  inAt = heap.alloc(inCap + 16);
  recordsOut.open(heap.alloc(outCapacity + 16), outCapacity);
  eventsOut.open(heap.alloc(outCapacity + 16), outCapacity);
  return 0;
}

export function oisp_in(): usize {
  return inAt;
}

export function oisp_out(lane: i32): usize {
  return lane == 0 ? recordsOut.base : eventsOut.base;
}

export function oisp_process(length: i32): i32 {
  consumed = 0;
  inLength = 0;
  resuming = false;
  if (inBuffer(length) == 0) {
    emptyLanes();
    return -3;
  }
  inLength = <usize>length;
  return run();
}

export function oisp_consumed(): usize {
  return consumed;
}

export function oisp_resume(): i32 {
  return run();
}

export function oisp_out_len(lane: i32): usize {
  return lane == 0 ? recordsOut.length : eventsOut.length;
}

export function oisp_tick(seconds: i32): i32 {
  emptyLanes();
  tickHook(<u32>seconds);
  return 0;
}

export function oisp_flush(): i32 {
  emptyLanes();
  return flushHook() ? 1 : 0;
}

export function oisp_stats(): usize {
  eventsOut.open(eventsOut.base, outCapacity);
  statsCount = 0;
  const opened = eventsOut.openMap();
  statsHook();
  eventsOut.close(opened, statsCount);
  const length = eventsOut.length;
  eventsOut.open(eventsOut.base, outCapacity);
  return length;
}

export function oisp_last_error(): usize {
  return errorText.base - 4;
}
