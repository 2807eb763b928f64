// Undoes content codings for a decoder that asks for it (decoder ABI 1.1): what Node's zlib knows, within a limit, and what can be had of bytes that end early.
import { brotliDecompressSync, constants, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';

/** How the bytes are; numbers of the ABI. */
export const Lent = { whole: 0, limit: 1, short: 2, bad: 3 } as const;
export type Lent = (typeof Lent)[keyof typeof Lent];

export interface Decoded {
  readonly bytes: Uint8Array;
  readonly how: Lent;
}

/** [strict, as far as it goes] by the number of the coding. */
type Undo = (bytes: Uint8Array, most: number, early: boolean) => Buffer;

const CODINGS: Readonly<Record<number, Undo>> = {
  1: (bytes, maxOutputLength, early) => gunzipSync(bytes, { maxOutputLength, ...(early ? { finishFlush: constants.Z_SYNC_FLUSH } : {}) }),
  // deflate is zlib data (RFC 9110 section 8.4.1.2), but some servers send it without its wrapping.
  2: (bytes, maxOutputLength, early) => {
    const options = { maxOutputLength, ...(early ? { finishFlush: constants.Z_SYNC_FLUSH } : {}) };
    const wrapped = ((bytes[0] ?? 0) & 15) === 8 && (((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)) % 31 === 0;
    return wrapped ? inflateSync(bytes, options) : inflateRawSync(bytes, options);
  },
  3: (bytes, maxOutputLength, early) => brotliDecompressSync(bytes, { maxOutputLength, ...(early ? { finishFlush: constants.BROTLI_OPERATION_FLUSH } : {}) }),
  4: (bytes, maxOutputLength, early) => zstdDecompressSync(bytes, { maxOutputLength, ...(early ? { finishFlush: constants.ZSTD_e_flush } : {}) }),
};

const NOTHING = new Uint8Array();

/** One coding. Its decoder is asked once for all, and once more for what there is when the bytes end early. */
function undo(coding: Undo, bytes: Uint8Array, most: number): Decoded {
  try {
    return { bytes: coding(bytes, most, false), how: Lent.whole };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return { bytes: NOTHING, how: Lent.limit };
  }
  try {
    return { bytes: coding(bytes, most, true), how: Lent.short };
  } catch (error) {
    return { bytes: NOTHING, how: (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? Lent.limit : Lent.bad };
  }
}

/**
 * @param codings four bits each, the one to undo first lowest: 1 gzip, 2 deflate, 3 br, 4 zstd
 * @param limit most bytes of the result
 */
export function undoCodings(codings: number, bytes: Uint8Array, limit: number): Decoded {
  let result: Decoded = { bytes, how: Lent.whole };
  for (let rest = codings; rest !== 0; rest >>>= 4) {
    const coding = CODINGS[rest & 15];
    if (!coding) return { bytes: NOTHING, how: Lent.bad };
    const next = undo(coding, result.bytes, limit);
    result = { bytes: next.bytes, how: next.how || result.how };
    if (result.bytes.length === 0) break;
  }
  return result;
}
