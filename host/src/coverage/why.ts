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

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Whether a file is a TLS library by its name. */
export function isTlsLibrary(path: string): boolean {
  return TLS_LIBRARY.test(baseName(path));
}

/** Why functions are not probed: "SSL_write_ex2 (symbol missing)". @returns null when all are. */
export function detailOf(functions: readonly TargetFunction[]): string | null {
  const failed = functions.filter(({ attached }) => !attached);
  if (failed.length === 0) return null;
  const [first] = failed;
  // One reason for all of them is said once.
  if (failed.length === functions.length && first?.detail !== undefined && failed.every(({ detail }) => detail === first.detail)) return first.detail;
  return failed.map(({ symbol, detail }) => `${symbol} (${detail ?? 'not tried'})`).join(', ');
}

export function stateOf(row: ProcessRow | undefined, files: readonly CoverageFile[], nowMs: number): CoverageState {
  if (files.some(({ first_plaintext }) => first_plaintext !== null)) return 'readable';
  if (files.some(({ attached, detail }) => !attached && SELF_CHECK.test(detail ?? ''))) return 'detached';
  if (row?.lastHello) return nowMs - row.lastHello.atMs < WAITING_MS ? 'waiting' : 'not_readable';
  if (files.some(({ attached }) => !attached)) return 'not_attached';
  return 'idle';
}

interface Evidence {
  readonly files: readonly CoverageFile[];
  readonly stacks: readonly FoundStack[];
  /** Paths of what it runs and maps; undefined: it has ended. */
  readonly used: readonly string[] | undefined;
  /** Some of its files are still being scanned. */
  readonly pending: boolean;
}

/** @returns null when there is nothing to explain. */
export function reasonOf(state: CoverageState, { files, stacks, used, pending }: Evidence): string | null {
  const unattached = files.filter(({ attached, path }) => !attached && path !== null);
  const told = unattached.map(({ path, detail }) => `${baseName(path ?? '')}: ${detail ?? 'not probed'}`).join('; ');
  switch (state) {
    case 'readable':
      return unattached.length ? told : null;
    case 'waiting':
      return 'a TLS handshake began moments ago';
    case 'detached':
    case 'not_attached':
      return told;
    case 'not_readable':
      return notReadable({ files, stacks, used, pending }, told);
    case 'idle':
      return files.some(({ implausible }) => implausible > 0)
        ? 'what its library was given does not look like plaintext'
        : 'probed; no TLS call was seen since';
  }
}

function notReadable({ files, stacks, used, pending }: Evidence, told: string): string {
  if (stacks.length) return stackText(stacks);
  if (used?.some((path) => JAVA.test(baseName(path)))) return 'Java brings a TLS of its own: not readable by symbol';
  if (told) return told;
  if (pending) return 'TLS was seen; its files are still being searched for the reason: ask again';
  const probed = files.find(({ attached }) => attached);
  if (probed) return `TLS was seen, and ${baseName(probed.path ?? '')}, which is probed, had no part in it or was given nothing`;
  if (used === undefined) return 'TLS was seen; the process has ended, and its program names no known TLS stack or cannot be found';
  return 'TLS was seen; none of its files names a known TLS stack';
}

/** "rustls 0.23.12 (aws-lc 1.16.2) in codex, stripped: not readable by symbol". */
function stackText(stacks: readonly FoundStack[]): string {
  const [first] = stacks;
  const names = [...new Set(stacks.map(({ name, version }) => [name, version].filter(Boolean).join(' ')))].join(', ');
  const crypto = first?.crypto.length ? ` (${first.crypto.join(', ')})` : '';
  const why = first?.stripped ? ', stripped: not readable by symbol' : ': no probe reads it';
  return `${names}${crypto} in ${baseName(first?.file ?? '')}${why}`;
}
