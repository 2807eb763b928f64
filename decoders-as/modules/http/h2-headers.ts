// Header blocks of HTTP/2 into heads: pseudo-header fields to where HTTP/1 has them in its start line, all others as they are.
import { isText } from '../../lib/bytes';
import { Field as Framing, fieldOf } from '../../lib/http1';
import { Field, Hpack, hpackNext, hpackOpen, HpackTable } from '../../lib/hpack';
import { Count, Fault } from './counters';
import { framingField, keepField } from './fields';
import { Head, LINE_MAX } from './message';

/** Longest name that is kept. */
const NAME_MAX: u32 = 1024;
const VALUE_MAX: u32 = <u32>LINE_MAX;

/** What the block that was read last has. */
export namespace Block {
  /** :method, :path, :scheme or :authority: it is of a request. */
  export let request: bool = false;
  export let status: u32 = 0;
  /** Fields that refer to entries never seen. */
  export let unknown: u32 = 0;
  /** What is wrong with what it says of the body. */
  export let fault: u32 = 0;
}

/** Reads a block, into `head` unless that is null (0). False: it is no header block, and `table` was forgotten for it. */
export function readBlock(table: HpackTable, head: Head, at: usize, end: usize): bool {
  Block.request = false;
  Block.status = 0;
  Block.unknown = 0;
  Block.fault = Fault.NONE;
  hpackOpen(table, at, end);
  let status = hpackNext();
  for (; status == Hpack.FIELD; status = hpackNext()) takeField(head);
  Count.h2Unknown += Block.unknown;
  if (changetype<usize>(head)) head.unknown = Block.unknown;
  if (status == Hpack.END) return true;
  table.clear();
  return false;
}

function takeField(head: Head): void {
  if (!Field.nameKnown || !Field.valueKnown) {
    Block.unknown++;
    return;
  }
  if (Field.nameLength > 0 && load<u8>(Field.name) == 0x3a) takePseudo(head);
  else if (changetype<usize>(head)) takeOther(head);
}

/** RFC 9113 section 8.3. */
function takePseudo(head: Head): void {
  if (isText(Field.name, Field.nameLength, ':status')) {
    Block.status = statusOf(Field.value, Field.valueLength);
    if (changetype<usize>(head)) head.status = Block.status;
    return;
  }
  Block.request = true;
  if (changetype<usize>(head) == 0) return;
  const start = head.start;
  const at = <u32>start.length;
  if (isText(Field.name, Field.nameLength, ':method')) {
    head.methodAt = at;
    head.methodLength = <u32>start.pushSome(Field.value, Field.valueLength);
    if (head.methodLength < Field.valueLength) head.cut = true;
  } else if (isText(Field.name, Field.nameLength, ':path')) {
    head.targetAt = at;
    head.targetLength = <u32>start.pushSome(Field.value, Field.valueLength);
    if (head.targetLength < Field.valueLength) head.cut = true;
  } else takeOther(head);
}

function statusOf(at: usize, length: u32): u32 {
  if (length != 3) return 0;
  let status: u32 = 0;
  for (let i: usize = 0; i < 3; i++) {
    const digit = <u32>load<u8>(at + i) - 48;
    if (digit > 9) return 0;
    status = status * 10 + digit;
  }
  return status;
}

function takeOther(head: Head): void {
  const framing = fieldOf(Field.name, Field.nameLength);
  // Section 8.2.2: Transfer-Encoding has no meaning here.
  if (framing == Framing.CONTENT_LENGTH || framing == Framing.CONTENT_ENCODING) {
    const fault = framingField(head, framing, Field.value, Field.valueLength);
    if (Block.fault == Fault.NONE) Block.fault = fault;
  }
  if (Field.nameLength > NAME_MAX || Field.valueLength > VALUE_MAX) head.cut = true;
  keepField(head, Field.name, min(Field.nameLength, NAME_MAX), Field.value, min(Field.valueLength, VALUE_MAX), false);
}
