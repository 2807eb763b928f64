// Addresses as text (RFC 5952 for IPv6) and what range they are in; it writes into a buffer of its own and allocates nothing after start.

export const AF_UNIX: u32 = 1;
export const AF_INET: u32 = 2;
export const AF_INET6: u32 = 10;

/** Longest text: eight groups of four digits. */
const TEXT_MAX: usize = 48;
/** The last text that was made; valid until the next call. */
export const ipText: usize = heap.alloc(TEXT_MAX);
let length: usize = 0;

function put(byte: u32): void {
  store<u8>(ipText + length++, <u8>byte);
}

function putDecimal(value: u32): void {
  if (value >= 100) put(48 + value / 100);
  if (value >= 10) put(48 + ((value / 10) % 10));
  put(48 + (value % 10));
}

function putHex(value: u32): void {
  let started = false;
  for (let shift: i32 = 12; shift >= 0; shift -= 4) {
    const digit = (value >> shift) & 15;
    if (digit == 0 && !started && shift != 0) continue;
    started = true;
    put(digit < 10 ? 48 + digit : 87 + digit);
  }
}

/** Four bytes in network order; returns the length of ipText. */
export function ipv4Text(at: usize): usize {
  length = 0;
  for (let i: usize = 0; i < 4; i++) {
    if (i != 0) put(0x2e);
    putDecimal(load<u8>(at + i));
  }
  return length;
}

function group(at: usize, index: u32): u32 {
  return bswap(load<u16>(at + <usize>(index * 2)));
}

/** First group of the longest run of zero groups, and its length in the upper half; runs of one stay written out. */
function longestZeros(at: usize): u32 {
  let best: u32 = 0;
  let bestLength: u32 = 1;
  let i: u32 = 0;
  while (i < 8) {
    let end = i;
    while (end < 8 && group(at, end) == 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    i = end + 1;
  }
  return best | ((bestLength > 1 ? bestLength : 0) << 16);
}

/** Sixteen bytes in network order; returns the length of ipText. */
export function ipv6Text(at: usize): usize {
  const zeros = longestZeros(at);
  const from = zeros & 0xffff;
  const count = zeros >> 16;
  length = 0;
  for (let i: u32 = 0; i < 8; i++) {
    if (count != 0 && i == from) {
      put(0x3a);
      put(0x3a);
      i += count - 1;
      continue;
    }
    if (length != 0 && load<u8>(ipText + length - 1) != 0x3a) put(0x3a);
    putHex(group(at, i));
  }
  return length;
}

/** The address of a peer record; returns the length of ipText, 0 for a family without addresses. */
export function addressText(family: u32, at: usize): usize {
  if (family == AF_INET) return ipv4Text(at);
  return family == AF_INET6 ? ipv6Text(at) : 0;
}

function isPrivateIpv4(at: usize): bool {
  const a = load<u8>(at);
  const b = load<u8>(at + 1);
  if (a == 10 || a == 127 || a == 0) return true;
  if (a == 172) return (b & 0xf0) == 16;
  if (a == 192) return b == 168;
  if (a == 169) return b == 254;
  return a == 100 && (b & 0xc0) == 64;
}

/** Is it an address that the internet does not route: loopback, link-local, private (RFC 1918, 4193), shared (RFC 6598), or none? */
export function isPrivateAddress(family: u32, at: usize): bool {
  if (family == AF_INET) return isPrivateIpv4(at);
  const first = load<u8>(at);
  if ((first & 0xfe) == 0xfc) return true;
  if (first == 0xfe) return (load<u8>(at + 1) & 0xc0) == 0x80;
  return load<u64>(at) == 0 && bswap(load<u64>(at + 8)) <= 1;
}

/** Has it no bit set: the wildcard address? */
export function isAnyAddress(family: u32, at: usize): bool {
  if (family == AF_INET) return load<u32>(at) == 0;
  return load<u64>(at) == 0 && load<u64>(at + 8) == 0;
}
