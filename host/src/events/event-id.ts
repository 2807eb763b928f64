// Makes event ids: ULIDs whose random part is a hash of what the event is, so that the same bytes always give the same id.
import { hash } from 'node:crypto';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * @param wallMs milliseconds since 1970, 0..2^48-1
 * @param identity everything that tells this event from every other one of the same millisecond
 * @returns 26 characters, ordered by time (https://github.com/ulid/spec)
 */
export function eventId(wallMs: number, identity: string): string {
  let time = '';
  let rest = Math.max(0, Math.floor(wallMs));
  for (let i = 0; i < 10; i++) {
    time = CROCKFORD[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  const digest = hash('sha1', identity, 'buffer');
  let random = '';
  for (let group = 0; group < 2; group++) {
    let bits = 0n;
    for (let i = 0; i < 5; i++) bits = (bits << 8n) | BigInt(digest[group * 5 + i] as number);
    for (let i = 7; i >= 0; i--) random += CROCKFORD[Number((bits >> BigInt(i * 5)) & 31n)];
  }
  return time + random;
}

/** @param ns nanoseconds since 1970. @returns RFC 3339 in UTC with microseconds. */
export function wallTime(ns: bigint): string {
  const micros = ns / 1000n;
  const seconds = new Date(Number(micros / 1000n)).toISOString();
  return `${seconds.slice(0, -1)}${String(micros % 1000n).padStart(3, '0')}Z`;
}
