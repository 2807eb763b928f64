// The last step before an event leaves its shard: turns credentials into a prefix and a hash and removes secrets from every string. Fails closed.
import { createHash } from 'node:crypto';
import type { OispEvent } from '../../events/event.js';
import type { AuthSeen } from '../../events/raw-event.js';
import type { AuthType } from '../../gen/events.js';
import { Scrubber } from './scrubber.js';

export const REDACTION_PROFILE = 'secrets';
/** auth_info.key_prefix of the schema. */
const KEY_PREFIX_LENGTH = 8;
/** Keys at most this long have no prefix shown: it would be most of the key. */
const SHORT_KEY = 24;
const MAX_DEPTH = 256;
/** Parts of an event that hold what a program said or was called with; the rest is the sensor's own words. */
const SEARCHED = ['process', 'app', 'web_context', 'confidence', 'data', 'attrs', 'ext', 'actor'] as const satisfies readonly (keyof OispEvent)[];

export interface RedactCounters {
  /** Events in which something was replaced. */
  redacted: number;
  /** Events dropped because they could not be searched. */
  failed: number;
  /** Replacements by kind. */
  replacements: Record<string, number>;
}

export class Redactor {
  readonly counters: RedactCounters = { redacted: 0, failed: 0, replacements: {} };

  /**
   * Redacts the event in place.
   * @param auth what the request authenticated itself with; becomes data.auth
   * @returns the event, or undefined when it could not be redacted and must not leave
   */
  redact(event: OispEvent, auth: AuthSeen | undefined): OispEvent | undefined {
    try {
      return this.apply(event, auth);
    } catch (error) {
      // Closed, not open: an event that cannot be searched may hold a secret. The counter tells of it.
      this.counters.failed++;
      void error;
      return undefined;
    }
  }

  private apply(event: OispEvent, auth: AuthSeen | undefined): OispEvent {
    const scrubber = new Scrubber(auth?.key === undefined ? [] : secretsOf(auth.key));
    if (auth) event.data['auth'] = authInfo(auth);
    const out = { ...event };
    for (const part of SEARCHED) if (event[part] !== undefined) Object.assign(out, { [part]: scrubValue(event[part], scrubber, 0) });
    if (scrubber.found.size > 0) {
      this.counters.redacted++;
      for (const [kind, times] of scrubber.found) this.counters.replacements[kind] = (this.counters.replacements[kind] ?? 0) + times;
      mark(out, [...scrubber.found.keys()]);
    }
    return out;
  }
}

function mark(event: OispEvent, kinds: string[]): void {
  const { confidence } = event;
  confidence.redaction_applied = true;
  confidence.redaction_profile = REDACTION_PROFILE;
  if (confidence.completeness === 'full') confidence.completeness = 'redacted';
  confidence.reasons = [...(confidence.reasons ?? []), ...kinds.map((kind) => `secret_redacted_${kind}`)];
}

/** The key itself, and for `user:password` credentials its halves and their encoded form. */
function secretsOf(key: string): string[] {
  const decoded = Buffer.from(key, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon > 0 && !decoded.includes('\uFFFD') ? [key, decoded, decoded.slice(colon + 1)] : [key];
}

const AUTH_TYPES: Readonly<Record<string, AuthType>> = {
  bearer: 'api_key',
  'x-api-key': 'api_key',
  'api-key': 'api_key',
  'x-goog-api-key': 'api_key',
  query: 'api_key',
  basic: 'session',
  none: 'none',
};

function authInfo({ scheme, key }: AuthSeen): Record<string, unknown> {
  const jwt = key?.startsWith('eyJ') ?? false;
  const type: AuthType = jwt || key?.startsWith('sk-ant-oat') ? 'oauth' : (AUTH_TYPES[scheme] ?? 'unknown');
  if (key === undefined) return { type };
  const digest = createHash('sha256').update(key).digest('hex');
  const prefix = key.length > SHORT_KEY && /^[a-z]{2,4}[-_]/.test(key) ? key.slice(0, KEY_PREFIX_LENGTH) : undefined;
  return { type, ...(prefix !== undefined && { key_prefix: prefix }), key_hash: `sha256:${digest}` };
}

/** @returns a copy with every string scrubbed, keys of maps too. */
function scrubValue(value: unknown, scrubber: Scrubber, depth: number): unknown {
  if (typeof value === 'string') return value.length < KEY_PREFIX_LENGTH ? value : scrubber.scrub(value);
  // JSON has no other number: past 2^53 the nearest one (an inode of a network file system) is better than no event.
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) throw new RangeError('nested too deeply to be redacted');
  if (Array.isArray(value)) return value.map((item) => scrubValue(item, scrubber, depth + 1));
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) out[key.length < KEY_PREFIX_LENGTH ? key : scrubber.scrub(key)] = scrubValue(item, scrubber, depth + 1);
  return out;
}
