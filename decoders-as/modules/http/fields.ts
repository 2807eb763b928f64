// The fields of a head, whatever framing brought them: what they say of the body, and the msgpack they leave in.
import { Writer } from '../../abi/writer';
import { contentCoding, contentLength, Field, transferCoding, upgradeTo } from '../../lib/http1';
import { Fault } from './counters';
import { Head, HEAD_MAX } from './message';

const fieldWriter: Writer = new Writer();

/** Takes a field that says how the body is framed or coded, or what follows the message. Returns what is wrong with it. */
export function framingField(head: Head, field: u32, value: usize, length: usize): u32 {
  if (field == Field.TRANSFER_ENCODING) {
    head.transfer = transferCoding(value, length, head.transfer);
    return head.transfer == 4 ? Fault.BAD_TRANSFER : Fault.NONE;
  }
  if (field == Field.CONTENT_ENCODING) {
    head.coding = contentCoding(value, length, head.coding);
    return Fault.NONE;
  }
  if (field == Field.UPGRADE) {
    head.upgrade = upgradeTo(value, length);
    return Fault.NONE;
  }
  const n = contentLength(value, length);
  if (n < 0) return Fault.BAD_LENGTH;
  if (head.length >= 0 && head.length != n) return Fault.LENGTHS_DIFFER;
  head.length = n;
  return Fault.NONE;
}

/** Adds one field as msgpack, or cuts the head where its limit is reached. A value has at most LINE_MAX bytes. @param token the name is known to be ASCII */
export function keepField(head: Head, name: usize, nameLength: usize, value: usize, valueLength: usize, token: bool): void {
  const fields = head.fields;
  if (fields.length > HEAD_MAX) return;
  if (!fields.reserve(3 * nameLength + 3 * valueLength + 16)) {
    head.cut = true;
    return;
  }
  fieldWriter.open(fields.ptr + fields.length, fields.capacity - fields.length);
  if (token) {
    fieldWriter.strHead(nameLength);
    fieldWriter.raw(name, nameLength);
  } else fieldWriter.str(name, nameLength);
  fieldWriter.str(value, valueLength);
  const length = fields.length + fieldWriter.length;
  if (length > HEAD_MAX) {
    head.cut = true;
    return;
  }
  fields.length = length;
  head.fieldCount++;
}
