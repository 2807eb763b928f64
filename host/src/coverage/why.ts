// Decides how a process is seen and says why it is not, in words for people; it looks at nothing itself.
import type { TargetFunction } from '../sources/ebpf/index.js';
import type { CoverageFile, CoverageState, FoundStack } from './row.js';
import type { ProcessRow } from './table.js';

/** After a ClientHello plaintext may still come. */
const WAITING_MS = 3_000;
/** Libraries whose functions hold plaintext, by any of the names that distributions and wheels give them. */
const TLS_LIBRARY = /^lib(?:ssl|gnutls|nspr4|mbedtls|wolfssl|s2n)(?:-[\w.]+)?\.so(?:\.|$)/;
const JAVA = /^libjvm\.so$/;
/** How the self-check begins what it says of a target. */
const SELF_CHECK = /^self-check: /;

/** @returns the last component of a path. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Whether a file is a TLS library by its name. */
export function isTlsLibrary(path: string): boolean {
  return TLS_LIBRARY.test(nameOf(path));
}

/** Why functions are not probed: "SSL_write_ex2 (symbol missing)". @returns null when all are. */
export function detailOf(functions: readonly TargetFunction[]): string | null {
  const reasons = Map.groupBy(
    functions.filter(({ attached }) => !attached),
    ({ detail }) => detail ?? 'not tried',
  );
  // One reason for all of them is said once.
  const [only] = reasons.keys();
  if (reasons.size === 1 && only !== undefined && functions.every(({ attached }) => !attached)) return only;
  return [...reasons].map(([reason, failed]) => `${failed.map(({ symbol }) => symbol).join(', ')} (${reason})`).join('; ') || null;
}

export function stateOf(row: ProcessRow | undefined, files: readonly CoverageFile[], nowMs: number): CoverageState {
  // What a decoder made of a connection it has read, whether or not the note of its first bytes came through.
  if (files.some(({ first_plaintext }) => first_plaintext !== null) || (row && row.aiEvents + row.notAi > 0)) return 'readable';
  if (files.some(({ attached, detail }) => !attached && SELF_CHECK.test(detail ?? ''))) return 'detached';
  if (row?.lastHello) return nowMs - row.lastHello.atMs < WAITING_MS ? 'waiting' : 'not_readable';
  if (files.some(({ attached }) => !attached)) return 'not_attached';
  if (files.some(({ late_ms }) => late_ms !== null)) return 'late';
  return 'idle';
}

interface Evidence {
  readonly files: readonly CoverageFile[];
  readonly stacks: readonly FoundStack[];
  /** Paths of what it runs and maps; undefined: it has ended. */
  readonly used: readonly string[] | undefined;
  /** Some of its files are still being scanned. */
  readonly pending: boolean;
  /** Why files could not be looked into: "codex: EACCES". */
  readonly refused: readonly string[];
}

/** @returns null when there is nothing to explain. */
export function reasonOf(state: CoverageState, evidence: Evidence): string | null {
  const { files } = evidence;
  const unattached = files.filter(({ attached, path }) => !attached && path !== null);
  const implausible = files.some((file) => file.implausible > 0) ? ['what its library was given does not look like plaintext'] : [];
  const late = files
    .filter(({ late_ms }) => late_ms !== null)
    .map(({ path, late_ms }) => `its first bytes may be missing: ${nameOf(path ?? '')} was probed after ${late_ms} ms`);
  const told = unattached.map(({ path, detail }) => `${nameOf(path ?? '')}: ${detail ?? 'not probed'}`).join('; ');
  switch (state) {
    case 'readable':
      return [...(told ? [told] : []), ...late].join('; ') || null;
    case 'late':
    case 'idle':
      return [...implausible, ...late].join('; ') || 'probed; no TLS call was seen since';
    case 'waiting':
      return 'a TLS handshake began moments ago';
    case 'detached':
    case 'not_attached':
      return told;
    case 'not_readable':
      return notReadable(evidence, told);
  }
}

function notReadable({ files, stacks, used, pending, refused }: Evidence, told: string): string {
  if (stacks.length) return stackText(stacks);
  if (used?.some((path) => JAVA.test(nameOf(path)))) return 'Java brings a TLS of its own: not readable by symbol';
  if (told) return told;
  if (pending) return 'TLS was seen; its files are still being searched for the reason: ask again';
  if (used === undefined) return 'TLS was seen; the process has ended, and its program names no known TLS stack or cannot be found';
  if (refused.length) return `TLS was seen; its files cannot be looked into: ${refused.join(', ')}`;
  const probed = files.find(({ attached }) => attached);
  if (probed) return `TLS was seen, and ${nameOf(probed.path ?? '')}, which is probed, had no part in it or was given nothing`;
  return 'TLS was seen; none of its files names a known TLS stack';
}

/** "rustls 0.23.12 (aws-lc 1.16.2) in codex, stripped: not readable by symbol". */
function stackText(stacks: readonly FoundStack[]): string {
  const [first] = stacks;
  const names = [...new Set(stacks.map(({ name, version }) => [name, version].filter(Boolean).join(' ')))].join(', ');
  const crypto = first?.crypto.length ? ` (${first.crypto.join(', ')})` : '';
  const why = first?.stripped ? ', stripped: not readable by symbol' : ': no probe reads it';
  return `${names}${crypto} in ${nameOf(first?.file ?? '')}${why}`;
}
