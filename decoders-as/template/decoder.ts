// A decoder of your own: it tells each POST to /tools/NAME as agent.tool_call with that name. Replace what it looks for and what it tells.
//
// It gets http.head records: the http module has undone TLS records, chunks, HTTP/2 frames and compression before. Every kind of record and its elements are in
// decoder-abi.md. All state must be bounded, and nothing a program sends may make it trap.
import { EventType } from './abi/events';
import { defineModule, elementAt, eventsOut, Status, setError, stat } from './abi/module';
import { Reader } from './abi/reader';
import { Kind } from './abi/records';
import { isText, startsWithText } from './lib/bytes';

export {
  oisp_abi,
  oisp_consumed,
  oisp_flush,
  oisp_in,
  oisp_init,
  oisp_last_error,
  oisp_manifest,
  oisp_out,
  oisp_out_len,
  oisp_process,
  oisp_resume,
  oisp_stats,
  oisp_tick,
} from './abi/module';

/** Elements of http.head, the kind being element 0. */
const CONN: u32 = 1;
const STREAM: u32 = 2;
const MESSAGE: u32 = 3;
const TS: u32 = 6;
const METHOD: u32 = 8;
const TARGET: u32 = 9;
const ORIGIN: u32 = 13;

const PREFIX: string = '/tools/';
/** Longer names are cut. */
const NAME_MOST: usize = 64;
/** Any event of this module fits into a lane of this size. */
const LEAST_LANE: u32 = 4096;

let heads: u64 = 0;
let calls: u64 = 0;

/** The value of an element, in Reader.length bytes where it is a text; 0: it has none. */
function textAt(index: u32, end: usize): usize {
  const at = elementAt(index);
  if (!at) return 0;
  Reader.open(at, end);
  return Reader.strOrNil();
}

function numberAt(index: u32, end: usize): u64 {
  Reader.open(elementAt(index), end);
  return Reader.uint();
}

function onInit(outCap: u32, _flags: u32, _maxConns: u32): i32 {
  if (outCap >= LEAST_LANE) return 0;
  setError('the out lanes must have at least ', LEAST_LANE);
  return -1;
}

function onRecord(kind: u32, _at: usize, end: usize): i32 {
  if (kind != Kind.HTTP_HEAD) return Status.DONE;
  if (!elementAt(ORIGIN)) {
    setError('an http.head with too few elements');
    return Status.BAD;
  }
  const method = textAt(METHOD, end);
  const isPost = numberAt(MESSAGE, end) == 0 && method != 0 && isText(textAt(METHOD, end), Reader.length, 'POST');
  const target = textAt(TARGET, end);
  const length = Reader.length;
  if (Reader.failed) {
    setError('an http.head with an element of another type');
    return Status.BAD;
  }
  if (isPost && target && startsWithText(target, length, PREFIX)) {
    // A lane without room is no loss: the host drains it and gives the same record again.
    const mark = eventsOut.begin();
    tell(target + PREFIX.length, length - <u32>PREFIX.length, end);
    if (!eventsOut.commit(mark)) return Status.FULL;
    calls++;
  }
  heads++;
  return Status.DONE;
}

/** [event, type, ts, origin, conn, stream, index, data, meta] */
function tell(name: usize, length: usize, end: usize): void {
  let used = min(length, NAME_MOST);
  for (let i: usize = 0; i < used; i++) if (load<u8>(name + i) == 0x3f) used = i;
  const out = eventsOut;
  out.array(9);
  out.uint(Kind.EVENT);
  out.text(EventType.TOOL_CALL);
  out.uint(numberAt(TS, end));
  Reader.open(elementAt(ORIGIN), end);
  const origin = Reader.bin();
  out.bin(origin, Reader.length);
  out.uint(numberAt(CONN, end));
  out.uint(numberAt(STREAM, end));
  out.uint(0);
  out.map(1);
  out.text('tool');
  out.map(2);
  out.text('name');
  out.str(name, used);
  out.text('type');
  out.text('custom');
  out.map(1);
  out.text('reasons');
  out.array(1);
  out.text('tool_gateway');
}

function onTick(_seconds: u32): void {}

function onFlush(): bool {
  return false;
}

function onStats(): void {
  stat('heads', heads);
  stat('calls', calls);
}

defineModule('@NAME@', '0.1.0', [Kind.HTTP_HEAD], [Kind.EVENT], onInit, onRecord, onTick, onFlush, onStats);
