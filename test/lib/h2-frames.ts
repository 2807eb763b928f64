// Builds frames of HTTP/2 by hand (RFC 9113 section 4.1), for what no library would send.

export const Type = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 };
export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 };
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export function frame(type: number, flags: number, stream: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(payload as string);
  const head = Buffer.alloc(9);
  head.writeUIntBE(bytes.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, bytes]);
}

/** Literal fields that no table remembers, without Huffman codes. */
export function literals(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]));
}

export const settings = (...pairs: [number, number][]): Buffer =>
  frame(
    Type.SETTINGS,
    0,
    0,
    Buffer.concat(
      pairs.map(([id, value]) => {
        const pair = Buffer.alloc(6);
        pair.writeUInt16BE(id, 0);
        pair.writeUInt32BE(value, 2);
        return pair;
      }),
    ),
  );

/** HEADERS of a request to /v1/x, whole. */
export const request = (stream: number, flags = Flag.END_STREAM, path = '/v1/x'): Buffer =>
  frame(
    Type.HEADERS,
    flags | Flag.END_HEADERS,
    stream,
    literals([
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', path],
      [':authority', 'h'],
    ]),
  );

/** HEADERS of a response, whole. */
export const response = (stream: number, flags = 0, status = '200', fields: [string, string][] = []): Buffer =>
  frame(Type.HEADERS, flags | Flag.END_HEADERS, stream, literals([[':status', status], ...fields]));

export const data = (stream: number, payload: Uint8Array | string, flags = 0): Buffer => frame(Type.DATA, flags, stream, payload);

/** One setting of a block: an entry of a table by its index, 1 to 126. */
export const indexed = (...indexes: number[]): Buffer => Buffer.from(indexes.map((index) => 0x80 | index));

/** A field whose name is an entry of the table, kept as the newest. */
export function remembered(index: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40 | index, value.length]), Buffer.from(value)]);
}
