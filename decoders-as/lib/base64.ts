// Base64 (RFC 4648 section 4) as decoders meet it inside JSON; it never fails on padding that is missing.

const digits: usize = memory.data(256);
memory.fill(digits, 0xff, 256);
for (let i: u32 = 0; i < 26; i++) {
  store<u8>(digits + 65 + i, <u8>i);
  store<u8>(digits + 97 + i, <u8>(26 + i));
}
for (let i: u32 = 0; i < 10; i++) store<u8>(digits + 48 + i, <u8>(52 + i));
store<u8>(digits + 43, 62);
store<u8>(digits + 47, 63);

/** Decodes [at, at + length) to `to`, which has room for 3/4 of it. Returns how many bytes, or -1: it is no base64. */
export function base64Decode(at: usize, length: u32, to: usize): i32 {
  while (length > 0 && load<u8>(at + length - 1) == 61) length--;
  const begin = to;
  let bits: u32 = 0;
  let count: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const digit = <u32>load<u8>(digits + <usize>load<u8>(at + i));
    if (digit > 63) return -1;
    bits = (bits << 6) | digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    store<u8>(to++, <u8>(bits >> count));
  }
  return length % 4 == 1 ? -1 : <i32>(to - begin);
}
