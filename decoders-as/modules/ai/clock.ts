// The time of the record at hand, on the record clock; nothing here asks a clock.
import { Exchange, isStream } from './exchange';

let now: u64 = 0;

export function setNow(ts: u64): void {
  now = ts;
}

export function getNow(): u64 {
  return now;
}

/** A stream gave its first content, thinking or tool call. */
export function noteToken(x: Exchange): void {
  if (!x.firstTokenTs && isStream(x.response.mode)) x.firstTokenTs = now;
}
