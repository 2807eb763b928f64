// Carries what one instance keeps to the one that takes its place: whole records, opaque to the host, cut into buffers that fit.
import { DecoderError, type DecoderModule } from './decoder-module.js';
import { recordEnds } from './record-ends.js';

/** Records of a hand-over, in order. */
export interface States {
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
}

/** A record of the host: whatever is claimed is free, for whoever held it is gone (schema/decoder-abi.md). */
export const RELEASE_ALL = Uint8Array.of(0x91, 2);

/**
 * What an instance gives to one of that schema. @param again it says all its claims, also those it has said
 * @returns undefined when it cannot give to that schema @throws DecoderError `trap`.
 */
export function statesOf(instance: DecoderModule, schema: number, again = false): States | undefined {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const can = instance.give(schema, again, (piece) => {
    pieces.push(Uint8Array.from(piece));
    bytes += piece.length;
  });
  return can ? { pieces, bytes } : undefined;
}

/** Gives states to an instance. @throws DecoderError `rejected` when it does not take them, `trap`. */
export function pass({ pieces }: States, to: DecoderModule): void {
  for (const piece of pieces) {
    if (piece.length <= to.inBytes) {
      to.take(piece);
      continue;
    }
    let from = 0;
    let end = 0;
    for (const next of recordEnds(piece)) {
      if (next - from > to.inBytes) {
        if (end === from) throw new DecoderError('rejected', `a state of ${next - from} bytes is longer than the in buffer`);
        to.take(piece.subarray(from, end));
        from = end;
      }
      end = next;
    }
    if (end > from) to.take(piece.subarray(from, end));
  }
}
