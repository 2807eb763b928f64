// Shows what a decoder module put out as one JSON object per record, with every field named; for people who debug decoders.
import { unpackr } from '../decode/unpack.js';
import { CompletenessText, DirectionText, Kind, KindText, ProcHowText, RoleText } from '../gen/records.js';

/** Names of a record's elements after the kind, in order (schema/decoder-abi.md). */
const FIELDS: Readonly<Record<number, readonly string[]>> = {
  [Kind.http_head]: [
    'connection',
    'stream',
    'message',
    'direction',
    'role',
    'ts',
    'version',
    'method',
    'target',
    'status',
    'reason',
    'headers',
    'origin',
    'authority',
    'cut',
    'server_name',
    'alpn_offered',
    'alpn',
  ],
  [Kind.http_body]: ['connection', 'stream', 'message', 'direction', 'ts', 'offset', 'bytes'],
  [Kind.http_end]: [
    'connection',
    'stream',
    'message',
    'direction',
    'ts',
    'completeness',
    'missing_bytes',
    'wire_bytes',
    'body_bytes',
    'error',
    'first_body_ts',
  ],
  [Kind.proc_start]: ['how', 'ts', 'tgid', 'ppid', 'start_ns', 'parent_start_ns', 'uid', 'gid', 'comm', 'exe', 'args', 'cwd', 'cgroup', 'flags'],
  [Kind.proc_end]: ['ts', 'tgid', 'start_ns'],
  [Kind.event]: ['type', 'ts', 'origin', 'connection', 'stream', 'index', 'data', 'meta'],
};

const VERSIONS: Readonly<Record<number, string>> = { 10: '1.0', 11: '1.1', 20: '2' };

const SHOW: Readonly<Record<string, (value: unknown) => unknown>> = {
  connection: (value) =>
    value === null
      ? null
      : BigInt(value as number)
          .toString(16)
          .padStart(16, '0'),
  message: (value) => (value === 0 ? 'request' : 'response'),
  direction: (value) => DirectionText[value as number] ?? value,
  role: (value) => RoleText[value as number] ?? value,
  version: (value) => VERSIONS[value as number] ?? value,
  completeness: (value) => CompletenessText[value as number] ?? value,
  how: (value) => ProcHowText[value as number] ?? value,
  headers: (value) => pairs(value as string[]),
};

/** Headers whose values are credentials. */
const SECRET_HEADERS = /^(?:proxy-)?authorization$|^cookie$|^set-cookie$|api-?key|token|secret/i;

export interface RecordJsonOptions {
  /** Show credentials in headers and in meta.auth as they were sent. */
  readonly secrets: boolean;
}

/** @param lane bytes of one out lane. @returns one line of JSON per record. */
export function recordLines(lane: Uint8Array, options: RecordJsonOptions): string[] {
  return (unpackr.unpackMultiple(lane) as unknown[][]).map((record) => {
    const [kind, ...values] = record as [number, ...unknown[]];
    const names = FIELDS[kind] ?? [];
    const out: Record<string, unknown> = { kind: KindText[kind] ?? kind };
    values.forEach((value, i) => {
      const name = names[i] ?? `field_${i + 1}`;
      out[name] = (SHOW[name] ?? plain)(value);
    });
    if (!options.secrets) hideSecrets(out);
    return JSON.stringify(out, (_key, value: unknown) => plain(value));
  });
}

function pairs(flat: readonly string[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([flat[i] as string, flat[i + 1] as string]);
  return out;
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return typeof value === 'bigint' ? value.toString() : value;
}

function hideSecrets(record: Record<string, unknown>): void {
  if (Array.isArray(record['headers'])) {
    record['headers'] = (record['headers'] as [string, string][]).map(([name, value]) => [
      name,
      SECRET_HEADERS.test(name) ? `[REDACTED:${Buffer.byteLength(value)} bytes]` : value,
    ]);
  }
  const meta = record['meta'] as { auth?: { key?: string } } | undefined;
  if (meta?.auth?.key !== undefined) meta.auth.key = `[REDACTED:${Buffer.byteLength(meta.auth.key)} bytes]`;
}
