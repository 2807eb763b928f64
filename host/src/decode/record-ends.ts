// Where records end in a buffer of msgpack (docs of the format: specification of MessagePack); it reads heads and lengths, and no content.

/** By first byte from 0xc0: the bytes of a value of fixed length, or minus the bytes of its length field. */
const FIXED: Readonly<Record<number, number>> = {
  192: 1,
  194: 1,
  195: 1,
  202: 5,
  203: 9,
  204: 2,
  205: 3,
  206: 5,
  207: 9,
  208: 2,
  209: 3,
  210: 5,
  211: 9,
  212: 3,
  213: 4,
  214: 6,
  215: 10,
  216: 18,
};

/** @returns the offsets at which whole records end, in order; what follows the last is no whole record. */
export function recordEnds(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ends: number[] = [];
  let at = 0;
  try {
    while (at < bytes.length) {
      at = skip(view, at);
      if (at > bytes.length) break;
      ends.push(at);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return ends;
}

/** Offset behind the value at `at`. @throws RangeError when it is cut off or is none. */
function skip(view: DataView, at: number): number {
  for (let left = 1; left > 0; left--) {
    const head = view.getUint8(at);
    const fixed = FIXED[head];
    if (fixed !== undefined) at += fixed;
    else if (head < 0x80 || head >= 0xe0) at += 1;
    else if (head < 0x90) {
      left += 2 * (head & 15);
      at += 1;
    } else if (head < 0xa0) {
      left += head & 15;
      at += 1;
    } else if (head < 0xc0) at += 1 + (head & 31);
    else if (head >= 0xc4 && head <= 0xc6) at += sized(view, at, head - 0xc4, 0);
    else if (head >= 0xc7 && head <= 0xc9) at += sized(view, at, head - 0xc7, 1);
    else if (head >= 0xd9 && head <= 0xdb) at += sized(view, at, head - 0xd9, 0);
    else if (head >= 0xdc) {
      const wide = (head & 1) === 1;
      const count = wide ? view.getUint32(at + 1) : view.getUint16(at + 1);
      left += head >= 0xde ? 2 * count : count;
      at += wide ? 5 : 3;
    } else throw new RangeError('not msgpack');
  }
  return at;
}

/** Bytes of a value whose length field has 1, 2 or 4 bytes, and `more` beside it. */
function sized(view: DataView, at: number, power: number, more: number): number {
  const length = power === 0 ? view.getUint8(at + 1) : power === 1 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  return 1 + (1 << power) + more + length;
}
