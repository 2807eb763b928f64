// A text buffer for names and values of DNS records: presentation form (RFC 1035, 5.1), of fixed size; what does not fit is left out and said so.

const ROOM: usize = 2048;
export const textAt: usize = heap.alloc(ROOM);
export let textLength: usize = 0;
/** Something was left out. */
export let textCut: bool = false;

export function textBegin(): void {
  textLength = 0;
  textCut = false;
}

export function textByte(byte: u32): void {
  if (textLength < ROOM) store<u8>(textAt + textLength++, <u8>byte);
  else textCut = true;
}

export function textLiteral(ascii: string): void {
  const from = changetype<usize>(ascii);
  for (let i = 0; i < ascii.length; i++) textByte(<u32>load<u16>(from + ((<usize>i) << 1)));
}

export function textDecimal(value: u32): void {
  let divisor: u32 = 1;
  while (value / divisor >= 10) divisor *= 10;
  for (; divisor > 0; divisor /= 10) textByte(48 + ((value / divisor) % 10));
}

/** A byte of a label: what would end it is escaped, and so is what cannot be printed. Letters are made small: names are compared without case. */
export function textLabelByte(byte: u32): void {
  if (byte == 0x2e || byte == 0x5c) {
    textByte(0x5c);
    textByte(byte);
  } else if (byte <= 0x20 || byte >= 0x7f) {
    textByte(0x5c);
    textByte(48 + byte / 100);
    textByte(48 + ((byte / 10) % 10));
    textByte(48 + (byte % 10));
  } else textByte(byte - 65 < 26 ? byte + 32 : byte);
}

export function textBytes(at: usize, length: usize): void {
  for (let i: usize = 0; i < length; i++) textByte(load<u8>(at + i));
}

/** Data of a type that has no form of its own (RFC 3597, 5). */
export function textHex(at: usize, length: u32, most: u32): void {
  textLiteral('\\# ');
  textDecimal(length);
  textByte(0x20);
  for (let i: u32 = 0; i < min(length, most); i++) {
    const byte = <u32>load<u8>(at + i);
    textDigit(byte >> 4);
    textDigit(byte & 15);
  }
  if (length > most) textCut = true;
}

function textDigit(digit: u32): void {
  textByte(digit < 10 ? 48 + digit : 87 + digit);
}
