// Reads one DNS message (RFC 1035, 4.1) in place: it follows compression pointers backwards only, reads nothing outside the message, and keeps nothing.
import { hashBytes } from '../../lib/bytes';
import { textAt, textBegin, textByte, textLabelByte, textLength } from './text';

const HEADER: u32 = 12;
/** Bytes of a name at most, length bytes and root included. */
const NAME_MAX: u32 = 255;

export namespace Message {
  export let id: u32 = 0;
  export let isResponse: bool = false;
  export let opcode: u32 = 0;
  export let truncated: bool = false;
  export let responseCode: u32 = 0;
  export let questions: u32 = 0;
  export let answers: u32 = 0;
  /** Of the question; its name is what readQuestion left in the text. */
  export let questionType: u32 = 0;
  export let questionHash: u64 = 0;

  /** Of the record that nextRecord found. */
  export let recordType: u32 = 0;
  export let recordTtl: u32 = 0;
  export let dataAt: u32 = 0;
  export let dataLength: u32 = 0;

  let base: usize = 0;
  let length: u32 = 0;
  /** Where reading goes on, from the beginning of the message. */
  let place: u32 = 0;

  /** @returns false when it is too short to be one. */
  export function open(at: usize, bytes: u32): bool {
    if (bytes < HEADER) return false;
    base = at;
    length = bytes;
    place = HEADER;
    const flags = word(2);
    id = word(0);
    isResponse = (flags & 0x8000) != 0;
    opcode = (flags >> 11) & 15;
    truncated = (flags & 0x0200) != 0;
    responseCode = flags & 15;
    questions = word(4);
    answers = word(6);
    return true;
  }

  /** Reads the one question; its name is in the text afterwards. False: there is none, or it is malformed. */
  export function readQuestion(): bool {
    if (questions != 1) return false;
    textBegin();
    const end = readName(place, true);
    if (end == 0 || end + 4 > length) return false;
    questionType = word(end);
    place = end + 4;
    questionHash = hashBytes(textAt, textLength) ^ ((<u64>questionType) << 16) ^ word(end + 2);
    return true;
  }

  /** Goes on to the next record. False: it is malformed, or behind the end. */
  export function nextRecord(): bool {
    const end = readName(place, false);
    if (end == 0 || end + 10 > length) return false;
    recordType = word(end);
    recordTtl = (word(end + 4) << 16) | word(end + 6);
    dataLength = word(end + 8);
    dataAt = end + 10;
    if (dataAt + dataLength > length) return false;
    place = dataAt + dataLength;
    return true;
  }

  export function word(at: u32): u32 {
    return <u32>bswap(load<u16>(base + at));
  }

  export function address(at: u32): usize {
    return base + at;
  }

  /** Adds the name at a place of the record's data to the text. False: it is malformed. */
  export function putName(at: u32): bool {
    return readName(at, true) != 0;
  }

  /**
   * Where what follows the name begins, 0 when it is malformed: a pointer must point before the part it ends, so that every chain of them is
   * finite, and the whole name is as long as names may be.
   */
  function readName(at: u32, put: bool): u32 {
    let end: u32 = 0;
    let limit = at;
    let total: u32 = 0;
    let labels: u32 = 0;
    while (at < length) {
      const size = <u32>load<u8>(base + at);
      if (size == 0) {
        if (put && labels == 0) textByte(0x2e);
        return end ? end : at + 1;
      }
      if ((size & 0xc0) == 0xc0) {
        if (at + 2 > length) return 0;
        const target = word(at) & 0x3fff;
        if (target >= limit) return 0;
        if (!end) end = at + 2;
        limit = target;
        at = target;
        continue;
      }
      total += size + 1;
      if (size > 63 || at + 1 + size > length || total >= NAME_MAX) return 0;
      if (put) putLabel(at + 1, size, labels != 0);
      labels++;
      at += 1 + size;
    }
    return 0;
  }

  function putLabel(at: u32, size: u32, dotted: bool): void {
    if (dotted) textByte(0x2e);
    for (let i: u32 = 0; i < size; i++) textLabelByte(load<u8>(base + at + i));
  }
}
