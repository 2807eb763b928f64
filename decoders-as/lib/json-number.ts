// The text of a JSON number to a double, rounded as IEEE 754 asks (to nearest, ties to even). It never allocates and never sees other text.
//
// Most numbers have at most 19 digits and a small exponent and are exact in one operation. The rest go through decimal digits that are
// halved and doubled until the mantissa stands before the point: slow, exact, and cut at 800 digits, past which no digit can matter alone.

const DIGITS: i32 = 800;
/** Digits most significant first, with room before and after them. */
const area: usize = memory.data(3072);
const START: usize = 1024;

let first: usize = 0;
let count: i32 = 0;
/** The value is 0.d1d2d3... times ten to this. */
let point: i32 = 0;
let sticky: bool = false;

/** True when the text is an integer of at most 18 digits; its value is then in jsonInteger. */
export function isInteger(at: usize, length: u32): bool {
  let p = at;
  const end = at + length;
  const negative = load<u8>(p) == 0x2d;
  if (negative) p++;
  if (end - p > 18) return false;
  let value: i64 = 0;
  for (; p < end; p++) {
    const digit = <u32>load<u8>(p) - 0x30;
    if (digit >= 10) return false;
    value = value * 10 + digit;
  }
  if (negative && value == 0) return false;
  jsonInteger = negative ? -value : value;
  return true;
}

export let jsonInteger: i64 = 0;

function power10(n: i32): f64 {
  let result: f64 = 1;
  for (let i = 0; i < n; i++) result *= 10;
  return result;
}

/** Value of the number at `at`, which obeys the JSON grammar. */
export function toDouble(at: usize, length: u32): f64 {
  const end = at + length;
  const negative = load<u8>(at) == 0x2d;
  let mantissa: u64 = 0;
  let significant = 0;
  let scale = 0;
  let fraction = false;
  let p = negative ? at + 1 : at;
  for (; p < end; p++) {
    const c: u32 = load<u8>(p);
    if (c == 0x2e) {
      fraction = true;
      continue;
    }
    if (c - 0x30 >= 10) break;
    if (fraction) scale--;
    if (significant == 0 && c == 0x30) continue;
    significant++;
    if (significant <= 19) mantissa = mantissa * 10 + (c - 0x30);
  }
  const exponent = p < end ? toExponent(p + 1, end) : 0;
  const power = scale + exponent;
  let value: f64;
  if (significant == 0) value = 0;
  else if (significant <= 19 && mantissa <= 1 << 53 && power >= -22 && power <= 22) {
    value = power < 0 ? <f64>mantissa / power10(-power) : <f64>mantissa * power10(power);
  } else value = exact(at, end, exponent);
  return negative ? -value : value;
}

/** The exponent after the letter e, held within +-100000. */
function toExponent(at: usize, end: usize): i32 {
  let p = at;
  const sign: u32 = load<u8>(p);
  if (sign == 0x2b || sign == 0x2d) p++;
  let value = 0;
  for (; p < end; p++) value = min(value * 10 + (<i32>load<u8>(p) - 0x30), 100000);
  return sign == 0x2d ? -value : value;
}

/** Loads the digits of the number into the area. */
function loadDigits(at: usize, end: usize, exponent: i32): void {
  first = area + START;
  count = 0;
  point = 0;
  sticky = false;
  let fraction = false;
  for (let p = load<u8>(at) == 0x2d ? at + 1 : at; p < end; p++) {
    const c: u32 = load<u8>(p);
    if (c == 0x2e) {
      fraction = true;
      continue;
    }
    if (c - 0x30 >= 10) break;
    if (count == 0 && c == 0x30) {
      if (fraction) point--;
      continue;
    }
    if (!fraction) point++;
    append(c - 0x30);
  }
  point += exponent;
}

function append(digit: u32): void {
  if (count < DIGITS) {
    store<u8>(first + <usize>count, digit);
    count++;
  } else if (digit) sticky = true;
}

function trim(): void {
  while (count > 0 && load<u8>(first + <usize>(count - 1)) == 0) count--;
}

/** Multiplies by two to the `bits`, at most 32. */
function double(bits: i32): void {
  let carry: u64 = 0;
  for (let i = count - 1; i >= 0; i--) {
    const value = ((<u64>load<u8>(first + <usize>i)) << bits) + carry;
    carry = value / 10;
    store<u8>(first + <usize>i, <u32>(value - carry * 10));
  }
  while (carry) {
    const rest = carry / 10;
    store<u8>(--first, <u32>(carry - rest * 10));
    carry = rest;
    count++;
    point++;
  }
  settle();
}

/** Moves the digits back to the start of their room and cuts them at the limit. */
function settle(): void {
  for (; count > DIGITS; count--) if (load<u8>(first + <usize>(count - 1))) sticky = true;
  trim();
  memory.copy(area + START, first, count);
  first = area + START;
}

/** Divides by two to the `bits`, at most 32. */
function halve(bits: i32): void {
  const old = count;
  const mask: u64 = ((<u64>1) << bits) - 1;
  let rest: u64 = 0;
  let read = 0;
  while (rest >> bits == 0) {
    if (read >= old && rest == 0) {
      count = 0;
      return;
    }
    rest = rest * 10 + (read < old ? load<u8>(first + <usize>read) : 0);
    read++;
  }
  point -= read - 1;
  count = 0;
  for (; read < old; read++) {
    const digit = <u32>(rest >> bits);
    const next: u64 = load<u8>(first + <usize>read);
    append(digit);
    rest = (rest & mask) * 10 + next;
  }
  while (rest > 0) {
    append(<u32>(rest >> bits));
    rest = (rest & mask) * 10;
  }
  trim();
}

/** The integer part of the digits, rounded to nearest, ties to even. It is below 2^54. */
function rounded(): u64 {
  let value: u64 = 0;
  let i = 0;
  for (; i < point; i++) value = value * 10 + (i < count ? load<u8>(first + <usize>i) : 0);
  if (point < 0 || i >= count) return value;
  const digit: u32 = load<u8>(first + <usize>i);
  const half = digit == 5 && i + 1 >= count && !sticky;
  const up = half ? (value & 1) != 0 : digit >= 5;
  return up ? value + 1 : value;
}

/** The double nearest to the number: digits scaled by powers of two until the mantissa is an integer of 53 bits. */
function exact(at: usize, end: usize, exponent: i32): f64 {
  loadDigits(at, end, exponent);
  trim();
  if (count == 0 || point < -330) return 0;
  if (point > 310) return Infinity;
  let power = 0;
  while (point > 0) {
    const bits = point > 8 ? 27 : point > 1 ? 3 : 1;
    halve(bits);
    power += bits;
  }
  while (point < 0 || (point == 0 && load<u8>(first) < 5)) {
    const bits = point < -8 ? 27 : point < 0 ? 3 : 1;
    double(bits);
    power -= bits;
  }
  // 0.5 <= digits < 1; the value is digits * 2^power.
  let bits = 53;
  if (power < -1021) {
    bits = 53 - (-1021 - power);
    if (bits < 0) return 0;
  }
  for (let left = bits; left > 0; left -= min(left, 27)) double(min(left, 27));
  let mantissa = rounded();
  let shift = power - bits;
  if (mantissa == (<u64>1) << 53) {
    mantissa >>= 1;
    shift++;
  }
  if (mantissa == 0) return 0;
  const subnormal = mantissa < (<u64>1) << 52;
  const biased = subnormal ? 0 : shift + 1075;
  if (biased >= 2047) return Infinity;
  return reinterpret<f64>(((<u64>biased) << 52) | (mantissa & (((<u64>1) << 52) - 1)));
}
