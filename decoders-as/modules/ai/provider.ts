// Who a request is for: by host, else by what its model's name says in its format; what cannot be told is `other` with a general id.
import { JsonFlag } from '../../lib/json';
import { Format } from './format';
import { Exchange } from './exchange';
import { bufAt, bufLength } from './buf';
import { providerId, providerName, providerOfHost, providerOfModel } from './providers.gen';
import { key, openMap, close, openText, addText, closeText, pairLiteral, bytesText } from './out';

/** Length of a host without its port. */
function nameLength(at: usize, length: u32): u32 {
  for (let i = length; i > 0; i--) {
    const c: u32 = load<u8>(at + i - 1);
    if (c == 0x3a) return i - 1;
    if (c - 0x30 >= 10) break;
  }
  return length;
}

/** The host that was looked for last, and what was found: exchanges come in runs. */
const LAST_MOST: u32 = 128;
const lastHost: usize = memory.data(128);
let lastLength: u32 = 0;
let lastProvider: i32 = -1;

/** Finds the provider of an exchange by its host. */
export function findProvider(x: Exchange): void {
  const at = bufAt(x.host);
  const length = bufLength(x.host);
  if (length == lastLength && memory.compare(at, lastHost, length) == 0) {
    x.provider = lastProvider;
    return;
  }
  x.provider = providerOfHost(at, length);
  const bare = nameLength(at, length);
  if (x.provider < 0 && bare < length) x.provider = providerOfHost(at, bare);
  if (length > LAST_MOST) return;
  memory.copy(lastHost, at, length);
  lastLength = length;
  lastProvider = x.provider;
}

/** When the host tells nothing: finds it by the model. Routers put a vendor and a slash before the name; that is not the vendor's own host. */
export function inferProvider(x: Exchange, format: Format, model: usize, length: u32): void {
  if (x.provider >= 0 || !length) return;
  const row = providerOfModel(model, length, format.name());
  if (row < 0) return;
  x.provider = row;
  x.inferred = true;
}

/** The registry knows the host itself. */
export function isKnownHost(x: Exchange): bool {
  return x.provider >= 0 && !x.inferred;
}

/** Writes provider{name, endpoint}. */
export function pairProvider(x: Exchange): void {
  key('provider');
  openMap();
  pairLiteral('name', providerName(x.provider));
  if (bufLength(x.host)) {
    key('endpoint');
    openText();
    addText(x.plain ? httpText : httpsText, x.plain ? 7 : 8, 0);
    addText(bufAt(x.host), bufLength(x.host), JsonFlag.WIDE);
    if (bufLength(x.path)) addText(bufAt(x.path), bufLength(x.path), JsonFlag.WIDE);
    closeText();
  }
  close();
}
const httpText: usize = memory.data<u8>([104, 116, 116, 112, 58, 47, 47]);
const httpsText: usize = memory.data<u8>([104, 116, 116, 112, 115, 58, 47, 47]);

/** Writes the meta pair provider when the schema's name is `other`. */
export function pairProviderId(x: Exchange, format: Format): void {
  if (x.provider < 0) pairLiteral('provider', format.fallbackProvider());
  else if (providerName(x.provider) == 'other') pairLiteral('provider', providerId(x.provider));
}

/** Bytes of a model id that name its family: without a date or `latest` at its end. */
function familyEnd(at: usize, length: u32): u32 {
  let end = length;
  if (end > 7 && load<u32>(at + end - 7) == 0x74616c2d && load<u32>(at + end - 4) == 0x74736574) return end - 7;
  // -20241022, or -2024-11-20
  let digits: u32 = 0;
  while (end > 0) {
    const c: u32 = load<u8>(at + end - 1);
    if (c - 0x30 < 10) digits++;
    else if (c != 0x2d || (digits != 2 && digits != 4 && digits != 8)) break;
    if (c == 0x2d && digits == 8) return end - 1;
    end--;
  }
  return length;
}

/** Writes model{id, family}. */
export function pairModel(at: usize, length: u32): void {
  if (!length) return;
  key('model');
  openMap();
  key('id');
  bytesText(at, length);
  let from: u32 = 0;
  for (let i: u32 = 0; i < length; i++) if (load<u8>(at + i) == 0x2f) from = i + 1;
  const family = familyEnd(at + from, length - from);
  if (family) {
    key('family');
    bytesText(at + from, family);
  }
  close();
}
