// What is said about an event beside its data: how sure, how complete, what is missing and why. It reads an exchange and never changes it.
import { Completeness, Role } from '../../abi/records';
import { JsonEnd } from '../../lib/json';
import { bufLength } from './buf';
import { Exchange, Mode, Side } from './exchange';
import { Format } from './format';
import { isKnownHost, pairProviderId } from './provider';
import { close, contentCut, item, key, literal, openArray, openMap, pairBuf, pairLiteral, pairUint } from './out';

export namespace AuthScheme {
  export const NONE: u32 = 0;
  export const BEARER: u32 = 1;
  export const X_API_KEY: u32 = 2;
  export const API_KEY: u32 = 3;
  export const BASIC: u32 = 4;
  export const QUERY: u32 = 5;
}

function schemeName(scheme: u32): string {
  if (scheme == AuthScheme.BEARER) return 'bearer';
  if (scheme == AuthScheme.X_API_KEY) return 'x-api-key';
  if (scheme == AuthScheme.API_KEY) return 'api-key';
  if (scheme == AuthScheme.BASIC) return 'basic';
  if (scheme == AuthScheme.QUERY) return 'query';
  return 'none';
}

export function pairAuth(x: Exchange): void {
  key('auth');
  openMap();
  pairLiteral('scheme', schemeName(x.authScheme));
  pairBuf('header', x.authHeader);
  pairBuf('key', x.authKey);
  close();
}

/** Bytes of the body are known to be missing. */
export function hasLoss(side: Side): bool {
  return side.gaps > 0 || side.missing > 0 || side.capped || side.completeness != Completeness.FULL;
}

function word(text: string): void {
  if (item()) literal(text);
}

/** Adds why a message is not whole to the open array. */
export function reasonsOf(side: Side, request: bool, end: u32): void {
  if (side.gaps > 0 || side.completeness == Completeness.GAP) word(request ? 'request_gap' : 'response_gap');
  if (side.shed > 0) word('rate_limited');
  if (side.completeness == Completeness.ABORTED) word(request ? 'request_aborted' : 'response_aborted');
  if (side.completeness == Completeness.ERROR) word(request ? 'request_protocol_error' : 'response_protocol_error');
  if (side.completeness == Completeness.JOINED) word(request ? 'request_joined_late' : 'response_joined_late');
  if (side.capped || side.completeness == Completeness.CAPPED) word(request ? 'request_capped' : 'response_capped');
  if (side.mode == Mode.JSON && end == JsonEnd.CUT) word(request ? 'request_json_cut' : 'response_json_cut');
  if (side.mode == Mode.JSON && (end == JsonEnd.INVALID || end == JsonEnd.FULL)) word(request ? 'request_json_invalid' : 'response_json_invalid');
}

/** The pairs that all events have. */
export function pairCommonMeta(x: Exchange, format: Format, partial: bool): void {
  const known = isKnownHost(x);
  pairLiteral('level', known ? 'high' : 'medium');
  pairLiteral('completeness', partial ? 'partial' : 'full');
  pairLiteral('detection', known ? 'known_endpoint' : 'payload_inspection');
  pairProviderId(x, format);
  if (x.role == Role.CLIENT) pairLiteral('role', 'client');
  else if (x.role == Role.SERVER) pairLiteral('role', 'server');
}

export function pairLimitations(cut: bool): void {
  if (!cut && !contentCut) return;
  key('limitations');
  openArray();
  word('content_cut');
  close();
}

export function openReasons(): void {
  key('reasons');
  openArray();
}

export function reason(text: string): void {
  word(text);
}

/** missing and missing_bytes. */
export function pairMissing(what: string, bytes: u64): void {
  key('missing');
  openArray();
  word(what);
  close();
  if (bytes) pairUint('missing_bytes', bytes);
}

function pairTls(x: Exchange): void {
  if (!bufLength(x.serverName) && !bufLength(x.alpnOffered) && !bufLength(x.alpn)) return;
  key('tls');
  openMap();
  pairBuf('sni', x.serverName);
  pairBuf('alpn', x.alpn);
  pairBuf('alpn_offered', x.alpnOffered);
  close();
}

export function pairExt(x: Exchange, format: Format, response: bool): void {
  key('ext');
  openMap();
  if (x.request.ended) pairUint('request_wire_bytes', x.request.wire);
  if (response && x.response.ended) pairUint('response_wire_bytes', x.response.wire);
  const version = response && x.response.version ? x.response.version : x.request.version;
  if (version) pairLiteral('http_version', version == 20 ? '2' : version == 10 ? '1.0' : '1.1');
  pairLiteral('format', format.name());
  pairTls(x);
  if (response && bufLength(x.answer.rawTypes)) pairBuf('raw_types', x.answer.rawTypes);
  close();
}
