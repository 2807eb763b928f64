// Names the TLS stacks in the bytes of a file by the strings that their builds leave there: evidence for people, never a place to probe.
//
// A stripped program has no symbols, but it keeps source paths (of panics, of assertions) and version banners. They are looked for as
// bytes, piece by piece with an overlap, so that a file of any size costs the memory of one piece.

/** A TLS stack, or the cryptography that one builds on. */
export interface TlsStack {
  readonly name: string;
  /** As the file says it; null: it does not. */
  readonly version: string | null;
}

/** What matching text proves. `version` alone proves nothing: a library of ciphers has the banner of its project too. */
type Proves = 'tls' | 'version' | 'crypto';

interface Signature {
  readonly name: string;
  readonly proves: Proves;
  /** At most one group, the version, marked (VERSION:...). Something must follow the version, so that the end of a piece never cuts one short. */
  readonly text: string;
}

const SEMVER = String.raw`\d{1,5}\.\d{1,5}\.\d{1,5}`;

const SIGNATURES: readonly Signature[] = [
  // The folder of a crate: "tokio-rustls-0.26.4" and "rustls-webpki-0.103.0" are others. One from git has a hash where the version would be.
  { name: 'rustls', proves: 'tls', text: String.raw`\/rustls-(VERSION:${SEMVER}(?:-[\w.]{1,16})?)\/` },
  { name: 'rustls', proves: 'tls', text: String.raw`\/rustls\/src\/\w` },
  { name: 'ring', proves: 'crypto', text: String.raw`\/ring-(VERSION:${SEMVER})\/` },
  { name: 'aws-lc', proves: 'crypto', text: String.raw`\/aws-lc-rs-(VERSION:${SEMVER})\/` },
  // Not the name alone: Node asks in its JavaScript whether it was built with it.
  { name: 'BoringSSL', proves: 'tls', text: String.raw`boringssl\/(?:src\/)?ssl\/\w{1,40}\.cc` },
  { name: 'BoringSSL', proves: 'tls', text: String.raw`OpenSSL ${SEMVER} \(compatible; BoringSSL\)` },
  { name: 'AWS-LC', proves: 'tls', text: String.raw`OpenSSL ${SEMVER} \(compatible; AWS-LC (VERSION:\d[\d.]{1,12})\)` },
  { name: 'OpenSSL', proves: 'tls', text: String.raw`[./\x00]ssl\/(?:ssl_lib|statem\/statem)\.c[^c]` },
  { name: 'OpenSSL', proves: 'version', text: String.raw`OpenSSL (VERSION:${SEMVER}[a-z]{0,2}(?:-[\w.]{1,16})?) {1,2}\d{1,2} [A-Z][a-z]{2} \d{4}` },
  { name: 'LibreSSL', proves: 'tls', text: String.raw`LibreSSL (VERSION:${SEMVER})[^\d.]` },
  { name: 'GnuTLS', proves: 'tls', text: String.raw`GnuTLS (VERSION:${SEMVER})[^\d.]` },
  { name: 'NSS', proves: 'tls', text: String.raw`Version: NSS (VERSION:\d{1,3}\.\d{1,4}(?:\.\d{1,4})?)[^\d.]` },
  { name: 's2n', proves: 'tls', text: String.raw`\/s2n-tls-sys-(VERSION:${SEMVER})\/` },
  { name: 's2n', proves: 'tls', text: String.raw`s2n_negotiate[^\w]` },
  { name: 'Mbed TLS', proves: 'tls', text: String.raw`[mM]bed TLS (VERSION:${SEMVER})[^\d.]` },
  { name: 'wolfSSL', proves: 'tls', text: String.raw`wolfSSL_(?:connect|accept|read|write)[^\w]` },
  { name: 'Java', proves: 'tls', text: 'sun[./]security[./]ssl[./]SSLSocketImpl' },
  { name: 'Go', proves: 'tls', text: String.raw`crypto\/tls\.\(\*Conn\)\.\w` },
  // Magic, two bytes of flags, zeros up to 32 bytes, the length, the version.
  { name: 'Go', proves: 'version', text: String.raw`\xff Go buildinf:[^]{19}go(VERSION:\d{1,3}\.\d{1,4}(?:\.\d{1,4})?)[^\d.]` },
];

/** One expression, because it is walked over every byte once. Every part of it is bounded, and its longest match is shorter than OVERLAP. */
const ANY = new RegExp(SIGNATURES.map(({ text }, i) => `(?<s${i}>${text.replace('(VERSION:', `(?<v${i}>`)})`).join('|'), 'g');

/** Bytes of a piece that are looked at again with the next one. */
export const OVERLAP = 128;
/** Versions of one stack that are kept; a real file has one or two. */
const MAX_VERSIONS = 4;

/** Takes a file piece by piece. */
export class StackFinder {
  readonly #versions = new Map<string, Set<string>>();
  readonly #proved = new Set<string>();
  readonly #crypto = new Set<string>();

  /** @param piece its first OVERLAP bytes are the last ones of the piece before, if there was one. */
  add(piece: Buffer): void {
    for (const { groups = {} } of piece.toString('latin1').matchAll(ANY)) {
      const at = SIGNATURES.findIndex((_, i) => groups[`s${i}`] !== undefined);
      const { name, proves } = SIGNATURES[at] as Signature;
      if (proves === 'tls') this.#proved.add(name);
      if (proves === 'crypto') this.#crypto.add(name);
      const version = groups[`v${at}`];
      const versions = this.#versions.get(name) ?? new Set<string>();
      this.#versions.set(name, versions);
      if (version !== undefined && versions.size < MAX_VERSIONS) versions.add(version);
    }
  }

  /** What speaks TLS, in the order of the table above: what a program brings of its own before what it may only link. */
  stacks(): TlsStack[] {
    return this.#told(this.#proved);
  }

  /** What encrypts below them. */
  crypto(): TlsStack[] {
    return this.#told(this.#crypto);
  }

  #told(names: ReadonlySet<string>): TlsStack[] {
    const order = [...new Set(SIGNATURES.map(({ name }) => name))].filter((name) => names.has(name));
    return order.flatMap((name): TlsStack[] => {
      const versions = [...(this.#versions.get(name) ?? [])].sort();
      return versions.length ? versions.map((version) => ({ name, version })) : [{ name, version: null }];
    });
  }
}
