// A message of HTTP, whatever its framing: what is kept of its head and of the coding of its body, and how far both are out; it never reads captured bytes.
//
//   Message -- head: Head (only while a head is incomplete or not out)
//           \- inflate    (only during a compressed body)
import { lendEnd } from '../../abi/lend';
import { TlsData } from '../../abi/records';
import { ByteBuf } from '../../lib/bytes';
import { Inflate } from '../../lib/inflate';

export const LINE_MAX: usize = 16384;
export const HEAD_MAX: usize = 65536;

/** What becomes of body bytes. */
export namespace Decode {
  export const PLAIN: u32 = 0;
  export const INFLATE: u32 = 1;
  export const DROP: u32 = 2;
  /** Which coding it has is in a field that is not known: the first byte tells. */
  export const SNIFF: u32 = 3;
  /** Kept until the message is over, and then decoded by the host. */
  export const LEND: u32 = 4;
}

/** A head in the making. */
@unmanaged
export class Head {
  /** The current line as far as it came; during resync its last bytes. */
  line: ByteBuf = new ByteBuf(2 * LINE_MAX + 2);
  /** The start line. */
  start: ByteBuf = new ByteBuf(LINE_MAX);
  /** Names and values as msgpack. */
  fields: ByteBuf = new ByteBuf(HEAD_MAX + 4 * LINE_MAX);
  /** Last 16 bytes of the current line. */
  tail0: u64 = 0;
  tail1: u64 = 0;
  fieldCount: u32 = 0;
  version: u32 = 0;
  /** In `start`. */
  methodAt: u32 = 0;
  methodLength: u32 = 0;
  targetAt: u32 = 0;
  targetLength: u32 = 0;
  status: u32 = 0;
  reasonAt: u32 = 0;
  reasonLength: u32 = 0;
  /** -1: none */
  length: i64 = -1;
  transfer: u32 = 0;
  coding: u32 = 0;
  cut: bool = false;
  isResponse: bool = false;
  /** What a 101 response goes over to, enum Upgrade. */
  upgrade: u32 = 0;
  /** Fields whose name or value is not known. */
  unknown: u32 = 0;

  /** Address of the fixed part of the record that the message begins in. */
  get origin(): usize {
    return changetype<usize>(this) + offsetof<Head>();
  }
}

@unmanaged
export class Message {
  direction: u32 = 0;
  stream: u64 = 0;
  head: usize = 0;
  /** Ts of the record it begins in. */
  ts: u64 = 0;
  /** Ts of the last record with payload. */
  lastTs: u64 = 0;
  endTs: u64 = 0;
  firstBodyTs: u64 = 0;
  wire: u64 = 0;
  bodyBytes: u64 = 0;
  bodyOffset: u64 = 0;
  missing: u64 = 0;
  /** Of what is missing behind this message's start, bytes that were not copied because of the rate of the process. */
  shed: u64 = 0;
  fault: u32 = 0;
  /** What to report once a body that is not decoded has bytes. */
  dropFault: u32 = 0;
  decode: u32 = 0;
  inflate: usize = 0;
  /** Codings that the host is to undo, and the coded bytes (a ByteBuf); 0: none yet. */
  codings: u32 = 0;
  coded: usize = 0;
  /** No more bytes are kept: some are missing, or there were too many. */
  codedOver: bool = false;
  /** Decoded bytes that are out. */
  codedOut: usize = 0;
  /** Inflated bytes wait for room in the lane. */
  draining: bool = false;
  /** http.head is out, http.end is not. */
  open: bool = false;
  aborted: bool = false;
  /** Bytes of it may be missing, and nobody knows how many. */
  holed: bool = false;
}

const spareHeads: usize = heap.alloc(64 * sizeof<usize>());
let spareCount: usize = 0;

/** A message, or a class of `size` bytes that extends it, with all fields 0. */
export function makeMessage(size: usize, direction: u32): usize {
  const at = heap.alloc(size);
  memory.fill(at, 0, size);
  changetype<Message>(at).direction = direction;
  return at;
}

export function dropMessage(message: Message): void {
  endCoded(message);
  releaseHead(message);
  endInflate(message);
  heap.free(changetype<usize>(message));
}

/** Makes it ready for the next message of its stream of bytes. */
export function resetMessage(message: Message): void {
  message.open = false;
  message.aborted = false;
  message.holed = false;
  message.wire = 0;
  message.bodyBytes = 0;
  message.bodyOffset = 0;
  message.missing = 0;
  message.shed = 0;
  message.firstBodyTs = 0;
  message.fault = 0;
  message.dropFault = 0;
  message.decode = Decode.PLAIN;
  endCoded(message);
}

/** The head in the making of a message; made when there is none. */
export function headOf(message: Message): Head {
  if (message.head == 0) {
    if (spareCount > 0) message.head = load<usize>(spareHeads + --spareCount * sizeof<usize>());
    else message.head = makeHead();
    resetHead(changetype<Head>(message.head));
  }
  return changetype<Head>(message.head);
}

function makeHead(): usize {
  const made = new Head();
  // A copy with room for the origin behind it: a class has no field of that kind.
  const at = heap.alloc(offsetof<Head>() + TlsData.SIZE);
  memory.copy(at, changetype<usize>(made), offsetof<Head>());
  heap.free(changetype<usize>(made));
  return at;
}

function resetHead(head: Head): void {
  head.line.clear();
  head.start.clear();
  head.fields.clear();
  head.fieldCount = 0;
  head.length = -1;
  head.transfer = 0;
  head.coding = 0;
  head.cut = false;
  head.methodAt = 0;
  head.methodLength = 0;
  head.targetLength = 0;
  head.unknown = 0;
  head.upgrade = 0;
}

export function releaseHead(message: Message): void {
  if (message.head == 0) return;
  const head = changetype<Head>(message.head);
  message.head = 0;
  trim(head.line, 1024);
  trim(head.start, 1024);
  trim(head.fields, 4096);
  if (spareCount < 64) {
    store<usize>(spareHeads + spareCount++ * sizeof<usize>(), changetype<usize>(head));
    return;
  }
  freeBuf(head.line);
  freeBuf(head.start);
  freeBuf(head.fields);
  heap.free(changetype<usize>(head));
}

function trim(buf: ByteBuf, keep: usize): void {
  if (buf.capacity > keep) buf.free();
}

function freeBuf(buf: ByteBuf): void {
  buf.free();
  heap.free(changetype<usize>(buf));
}

/** Lets go of the coded bytes of a body. */
export function endCoded(message: Message): void {
  lendEnd(changetype<usize>(message));
  if (message.coded) freeBuf(changetype<ByteBuf>(message.coded));
  message.coded = 0;
  message.codedOver = false;
  message.codedOut = 0;
}

export function endInflate(message: Message): void {
  if (message.inflate) changetype<Inflate>(message.inflate).dispose();
  message.inflate = 0;
  message.draining = false;
}
