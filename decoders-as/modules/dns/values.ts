// Names of DNS record types and response codes, and the data of a record as text; it decides nothing.
import { DnsResponseCode, DnsType } from '../../abi/events';
import { ipText, ipv4Text, ipv6Text } from '../../lib/ip';
import { Message } from './message';
import { textBegin, textByte, textBytes, textDecimal, textHex, textLiteral } from './text';

const A: u32 = 1;
const NS: u32 = 2;
const CNAME: u32 = 5;
const PTR: u32 = 12;
const MX: u32 = 15;
const TXT: u32 = 16;
const AAAA: u32 = 28;
const SRV: u32 = 33;
const DNAME: u32 = 39;

/** Bytes shown of data without a form of its own, and of a TXT record. */
const HEX_MAX: u32 = 64;
const TXT_MAX: u32 = 1024;

/** As the OISP enum has it. */
export function typeName(type: u32): string {
  switch (type) {
    case A:
      return DnsType.A;
    case NS:
      return DnsType.NS;
    case CNAME:
      return DnsType.CNAME;
    case PTR:
      return DnsType.PTR;
    case MX:
      return DnsType.MX;
    case TXT:
      return DnsType.TXT;
    case AAAA:
      return DnsType.AAAA;
    case SRV:
      return DnsType.SRV;
  }
  return DnsType.OTHER;
}

/** Puts the registered name of a type, or TYPE123, into the text. */
export function putTypeName(type: u32): void {
  textBegin();
  const common = typeName(type);
  if (common != DnsType.OTHER) textLiteral(common);
  else if (type == 6) textLiteral('SOA');
  else if (type == 35) textLiteral('NAPTR');
  else if (type == DNAME) textLiteral('DNAME');
  else if (type == 43) textLiteral('DS');
  else if (type == 46) textLiteral('RRSIG');
  else if (type == 48) textLiteral('DNSKEY');
  else if (type == 52) textLiteral('TLSA');
  else if (type == 64) textLiteral('SVCB');
  else if (type == 65) textLiteral('HTTPS');
  else if (type == 255) textLiteral('ANY');
  else if (type == 257) textLiteral('CAA');
  else {
    textLiteral('TYPE');
    textDecimal(type);
  }
}

/** As the OISP enum has it. */
export function responseCodeName(code: u32): string {
  switch (code) {
    case 0:
      return DnsResponseCode.NOERROR;
    case 2:
      return DnsResponseCode.SERVFAIL;
    case 3:
      return DnsResponseCode.NXDOMAIN;
    case 5:
      return DnsResponseCode.REFUSED;
  }
  return DnsResponseCode.OTHER;
}

/** Puts the registered name of a code, or RCODE11, into the text. */
export function putResponseCode(code: u32): void {
  textBegin();
  const common = responseCodeName(code);
  if (common != DnsResponseCode.OTHER) textLiteral(common);
  else if (code == 1) textLiteral('FORMERR');
  else if (code == 4) textLiteral('NOTIMP');
  else {
    textLiteral('RCODE');
    textDecimal(code);
  }
}

/** Puts the data of the record that Message stands at into the text. */
export function putValue(): void {
  const at = Message.address(Message.dataAt);
  const length = Message.dataLength;
  const type = Message.recordType;
  textBegin();
  if (type == A && length == 4) textBytes(ipText, ipv4Text(at));
  else if (type == AAAA && length == 16) textBytes(ipText, ipv6Text(at));
  else if (type == TXT) putTexts(at, length);
  else if (!putNames(type, length)) {
    textBegin();
    textHex(at, length, HEX_MAX);
  }
}

/** Data that is numbers and a name. False: it is of another type, or malformed. */
function putNames(type: u32, length: u32): bool {
  const place = Message.dataAt;
  if (type == NS || type == CNAME || type == PTR || type == DNAME) return Message.putName(place);
  const numbers: u32 = type == MX ? 1 : type == SRV ? 3 : 0;
  if (numbers == 0 || length <= 2 * numbers) return false;
  for (let i: u32 = 0; i < numbers; i++) {
    textDecimal(Message.word(place + 2 * i));
    textByte(0x20);
  }
  return Message.putName(place + 2 * numbers);
}

/** The strings of a TXT record behind each other, as its readers take them. */
function putTexts(at: usize, length: u32): void {
  let place: u32 = 0;
  let put: u32 = 0;
  while (place < length) {
    const size = min(<u32>load<u8>(at + place), length - place - 1);
    const shown = min(size, TXT_MAX - put);
    textBytes(at + place + 1, shown);
    put += shown;
    place += 1 + size;
  }
}
