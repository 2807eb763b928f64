// Object keys as numbers, so that a look-up compares no bytes; it never allocates. Equal texts have equal keys; up to eight bytes no others have.
import { JsonFlag } from './json';
import { copyText } from './json-text';

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const ESCAPED_MAX: u32 = 80;
const scratch: usize = memory.data(288);

/** Text as one number. Up to eight bytes it is the bytes themselves; longer text is mixed. */
export function keyOf(at: usize, length: u32): u64 {
  if (length >= 8) {
    let key = load<u64>(at);
    if (length == 8) return key;
    for (let i: u32 = 8; i + 8 < length; i += 8) key = rotl(key * P1, 29) ^ load<u64>(at + i);
    return (rotl(key * P2, 31) ^ load<u64>(at + length - 8)) * P1 + length;
  }
  if (length >= 4) return <u64>load<u32>(at) | ((<u64>load<u32>(at + length - 4)) << ((length - 4) << 3));
  if (length >= 2) return <u64>load<u16>(at) | ((<u64>load<u16>(at + length - 2)) << ((length - 2) << 3));
  return length ? <u64>load<u8>(at) : 0;
}

/** The key of the text of a JSON string, its escapes undone. */
export function keyOfText(at: usize, length: u32, flags: u32): u64 {
  if (!(flags & JsonFlag.ESCAPED) || length > ESCAPED_MAX) return keyOf(at, length);
  const end = copyText(scratch, at, length, flags, scratch + 240);
  return keyOf(scratch, <u32>(end - scratch));
}

/** The part of a key that the tape keeps. */
export function tagOf(key: u64): u32 {
  return <u32>(key ^ (key >> 32));
}
