// Writes AWS event stream messages (application/vnd.amazon.eventstream), as Bedrock sends its answers in; checksums included, for the SDK checks them.
import { crc32 } from 'node:zlib';

function header(name: string, value: string): Buffer {
  const [key, text] = [Buffer.from(name), Buffer.from(value)];
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([Buffer.from([key.length]), key, Buffer.from([7]), length, text]);
}

function message(headers: Buffer, payload: string): Buffer {
  const body = Buffer.from(payload);
  const bytes = Buffer.alloc(16 + headers.length + body.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(headers.length, 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 8)), 8);
  headers.copy(bytes, 12);
  body.copy(bytes, 12 + headers.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, bytes.length - 4)), bytes.length - 4);
  return bytes;
}

/** One event. */
export function awsEvent(type: string, payload: object): Buffer {
  const headers = Buffer.concat([header(':event-type', type), header(':content-type', 'application/json'), header(':message-type', 'event')]);
  return message(headers, JSON.stringify(payload));
}

/** An exception, which ends the stream. */
export function awsException(type: string, text: string): Buffer {
  const headers = Buffer.concat([header(':exception-type', type), header(':content-type', 'application/json'), header(':message-type', 'exception')]);
  return message(headers, JSON.stringify({ message: text }));
}
