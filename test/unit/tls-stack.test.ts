// Tests how TLS stacks are named in files: what builds really leave there, what only looks like it, cuts at any place, and files that are a trap.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { scanFile } from '../../host/src/coverage/scan-file.js';
import { Scanner } from '../../host/src/coverage/scanner.js';
import { OVERLAP, StackFinder, type TlsStack } from '../../host/src/coverage/tls-stack.js';

const folder = mkdtempSync(join(tmpdir(), 'oisp-stack-'));
after(() => rmSync(folder, { recursive: true }));

const NUL = '\0';
const GO = `\xff Go buildinf:\x08\x02${NUL.repeat(16)}\x08go1.22.5\x01path\tx`;

const KNOWN: Record<string, [string, TlsStack[], TlsStack[]?]> = {
  'a crate of rustls': ['/registry/src/index/rustls-0.23.12/src/conn.rs', [{ name: 'rustls', version: '0.23.12' }]],
  'a version before its release': ['/rustls-0.24.0-dev.0/src/lib.rs', [{ name: 'rustls', version: '0.24.0-dev.0' }]],
  'rustls from git': ['/git/checkouts/rustls-958e799a46fff5cd/23b2c17/rustls/src/quic.rs', [{ name: 'rustls', version: null }]],
  'rustls with its cryptography': [
    '/rustls-0.23.12/src/a /ring-0.17.8/src/b /aws-lc-rs-1.9.0/src/c',
    [{ name: 'rustls', version: '0.23.12' }],
    [
      { name: 'ring', version: '0.17.8' },
      { name: 'aws-lc', version: '1.9.0' },
    ],
  ],
  'two of one kind': [
    '/rustls-0.21.1/x /rustls-0.23.2/x',
    [
      { name: 'rustls', version: '0.21.1' },
      { name: 'rustls', version: '0.23.2' },
    ],
  ],
  'BoringSSL by its sources': ['../../third_party/boringssl/src/ssl/ssl_lib.cc', [{ name: 'BoringSSL', version: null }]],
  'BoringSSL by its banner': ['OpenSSL 1.1.1 (compatible; BoringSSL)', [{ name: 'BoringSSL', version: null }]],
  'AWS-LC': ['OpenSSL 1.1.1 (compatible; AWS-LC 1.36.0)', [{ name: 'AWS-LC', version: '1.36.0' }]],
  'OpenSSL in a program': [
    '../deps/openssl/openssl/ssl/ssl_lib.c\0OpenSSL 3.0.13+quic 30 Jan 2024 OpenSSL 3.0.13 30 Jan 2024',
    [{ name: 'OpenSSL', version: '3.0.13' }],
  ],
  'OpenSSL 1.0': ['../ssl/ssl_lib.c\0 OpenSSL 1.0.2zg-fips  7 Feb 2023\0', [{ name: 'OpenSSL', version: '1.0.2zg-fips' }]],
  'libssl, whose banner is in another file': ['ssl/statem/statem.c\0', [{ name: 'OpenSSL', version: null }]],
  LibreSSL: ['LibreSSL 3.8.2\0', [{ name: 'LibreSSL', version: '3.8.2' }]],
  GnuTLS: ['Enabled GnuTLS 3.7.9 logging...', [{ name: 'GnuTLS', version: '3.7.9' }]],
  NSS: ['Version: NSS 3.87.1\0', [{ name: 'NSS', version: '3.87.1' }]],
  'Mbed TLS': ['mbed TLS 2.28.3\0', [{ name: 'Mbed TLS', version: '2.28.3' }]],
  wolfSSL: ['wolfSSL_write\0', [{ name: 'wolfSSL', version: null }]],
  s2n: ['/s2n-tls-sys-0.3.7/lib', [{ name: 's2n', version: '0.3.7' }]],
  Go: [`${GO}\0crypto/tls.(*Conn).Read\0`, [{ name: 'Go', version: '1.22.5' }]],
  'Java in a native image': ['sun.security.ssl.SSLSocketImpl', [{ name: 'Java', version: null }]],
};

const NOTHING: Record<string, string> = {
  'crates beside rustls': '/tokio-rustls-0.26.4/src /hyper-rustls-0.27.7/src /rustls-webpki-0.103.1/src /rustls-pki-types-1.7.0/src',
  'a library of ciphers': 'OpenSSL 3.0.19 27 Jan 2026\0',
  'a question for BoringSSL': 'const { openSSLIsBoringSSL } = config; // BoringSSL',
  'Go without TLS': GO,
  'a word on OpenSSL': 'needs OpenSSL 3.0 or LibreSSL 3, GnuTLS, NSS 3 and wolfSSL_ or s2n',
};

function find(text: string): StackFinder {
  const finder = new StackFinder();
  finder.add(Buffer.from(text, 'latin1'));
  return finder;
}

describe('TLS stacks in bytes', () => {
  for (const [name, [text, stacks, crypto = []]] of Object.entries(KNOWN)) {
    it(`finds ${name}`, () => {
      const finder = find(`junk${NUL}${text}${NUL}junk`);
      assert.deepEqual(finder.stacks(), stacks);
      assert.deepEqual(finder.crypto(), crypto);
    });

    it(`finds ${name} wherever a piece ends`, () => {
      const bytes = Buffer.from(`${'j'.repeat(OVERLAP)}${NUL}${text}${NUL}${'j'.repeat(OVERLAP)}`, 'latin1');
      for (let cut = OVERLAP; cut < bytes.length; cut += 1) {
        const finder = new StackFinder();
        finder.add(bytes.subarray(0, cut));
        finder.add(bytes.subarray(cut - OVERLAP));
        assert.deepEqual(finder.stacks(), stacks, `cut at ${cut}`);
      }
    });
  }

  for (const [name, text] of Object.entries(NOTHING)) {
    it(`finds nothing in ${name}`, () => assert.deepEqual(find(`junk${NUL}${text}${NUL}junk`).stacks(), []));
  }

  it('keeps four versions of one stack, and takes no longer over bytes made to be slow', () => {
    assert.equal(find(Array.from({ length: 50 }, (_, i) => `/rustls-0.${i}.0/`).join(' ')).stacks().length, 4);
    const near = ['/rustls-0.1.1-', 'OpenSSL 1.1.1-', 'boringssl/src/ssl/', '\xff Go buildinf:'].map((text) => `${text}${'a'.repeat(40)}`).join('');
    const start = process.cpuUsage();
    find(near.repeat(Math.ceil((1 << 20) / near.length)));
    const { user } = process.cpuUsage(start);
    assert.ok(user < 2_000_000, `${user} us for 1 MiB`);
  });
});

/** The real thing: an HTTP client for Node whose TLS is rustls, and which was stripped by those who built it. */
function rustlsAddon(): string {
  const require = createRequire(import.meta.url);
  const machine = process.arch === 'arm64' ? 'arm64' : 'x64';
  const manifest = createRequire(require.resolve('impit')).resolve(`impit-linux-${machine}-gnu/package.json`);
  return join(dirname(manifest), `impit-node.linux-${machine}-gnu.node`);
}

describe('TLS stacks in files', () => {
  it('are found in real ones', () => {
    const rust = scanFile(rustlsAddon());
    assert.deepEqual([rust.stacks, rust.stripped, rust.refused, rust.cut], [[{ name: 'rustls', version: null }], true, null, false]);
    assert.equal(rust.crypto[0]?.name, 'aws-lc');
    const node = scanFile(process.execPath);
    assert.deepEqual(node.stacks, [{ name: 'OpenSSL', version: process.versions.openssl }]);
    assert.equal(node.stripped, false);
  });

  it('are looked for in regular files only, and nothing is waited for', () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    for (const path of [fifo, '/dev/zero', folder]) assert.equal(scanFile(path).refused, 'not a regular file', path);
    assert.equal(scanFile(join(folder, 'none')).refused, 'ENOENT');
  });

  it('are looked for up to a limit, and the report says that there was more', () => {
    const path = join(folder, 'long');
    writeFileSync(path, Buffer.concat([Buffer.alloc(3 << 20), Buffer.from('/rustls-0.23.1/src')]));
    assert.deepEqual(scanFile(path).stacks, [{ name: 'rustls', version: '0.23.1' }]);
    const { stacks, cut, scannedBytes } = scanFile(path, 1 << 20);
    assert.deepEqual([stacks, cut, scannedBytes], [[], true, 1 << 20]);
  });

  it('say nothing of symbols when the file is damaged or no program', () => {
    const elf = Buffer.alloc(64);
    elf.writeUInt32BE(0x7f454c46, 0);
    elf.set([2, 1], 4);
    const write = (name: string, change: (head: Buffer) => void) => {
      const head = Buffer.from(elf);
      change(head);
      writeFileSync(join(folder, name), head);
      return scanFile(join(folder, name)).stripped;
    };
    assert.equal(
      write('no-sections', () => undefined),
      true,
    );
    assert.equal(
      write('past-the-end', (head) => {
        head.writeBigUInt64LE(1n << 40n, 40);
        head.writeUInt16LE(64, 58);
        head.writeUInt16LE(9, 60);
      }),
      null,
    );
    assert.equal(
      write('far', (head) => {
        head.writeBigUInt64LE((1n << 64n) - 1n, 40);
        head.writeUInt16LE(64, 58);
        head.writeUInt16LE(9, 60);
      }),
      null,
    );
    assert.equal(
      write('text', (head) => head.write('#!/bin/sh')),
      null,
    );
  });
});

describe('the scanner', () => {
  const soon = () => performance.now() + 20_000;

  it('looks at each content of a file once', async () => {
    const scanner = new Scanner();
    const path = join(folder, 'changing');
    writeFileSync(path, '/rustls-0.23.1/src');
    const [one, two] = await Promise.all([scanner.scan(path, soon()), scanner.scan(path, soon())]);
    assert.deepEqual([one, two?.stacks], [two, [{ name: 'rustls', version: '0.23.1' }]]);
    await scanner.scan(path, soon());
    assert.equal(scanner.counters().scans, 1);
    writeFileSync(path, 'nothing of the sort here');
    assert.deepEqual((await scanner.scan(path, soon()))?.stacks, []);
    assert.equal(scanner.counters().scans, 2);
    await scanner.close();
  });

  it('does not keep its asker waiting past the deadline, and has the answer later', async () => {
    const scanner = new Scanner();
    const path = join(folder, 'large');
    writeFileSync(path, '/rustls-0.23.1/src');
    truncateSync(path, 64 << 20);
    assert.equal(await scanner.scan(path, performance.now()), undefined);
    const found = await scanner.scan(path, soon());
    assert.deepEqual(found?.stacks, [{ name: 'rustls', version: '0.23.1' }]);
    assert.equal(scanner.counters().scans, 1);
    await scanner.close();
  });

  it('queues so many files and no more', async () => {
    const scanner = new Scanner();
    const paths = Array.from({ length: 300 }, (_, i) => join(folder, `many${i}`));
    for (const path of paths) writeFileSync(path, path);
    const answers = await Promise.all(paths.map((path) => scanner.scan(path, soon())));
    const left = answers.filter((answer) => answer === undefined).length;
    assert.ok(left > 0 && left < 50, `${left} of 300 left`);
    assert.equal(scanner.counters().queue_full, left);
    await scanner.close();
  });

  it('survives a thread that dies, and says which file it was at', async () => {
    const entry = join(folder, 'dies.mjs');
    writeFileSync(entry, `import { parentPort } from 'node:worker_threads';\nparentPort.on('message', () => process.exit(3));\n`);
    const scanner = new Scanner(new URL(`file://${entry}`));
    writeFileSync(join(folder, 'poison'), 'x');
    assert.equal((await scanner.scan(join(folder, 'poison'), soon()))?.refused, 'the scan failed');
    assert.equal(scanner.counters().failures, 1);
    await scanner.close();
  });

  it('may be closed twice, while it works, and answers nothing after', async () => {
    const scanner = new Scanner();
    const path = join(folder, 'closing');
    writeFileSync(path, '');
    truncateSync(path, 32 << 20);
    const asked = scanner.scan(path, soon());
    await new Promise((resolve) => setImmediate(resolve));
    await scanner.close();
    await scanner.close();
    assert.equal(await asked, undefined);
    assert.equal(await scanner.scan(path, soon()), undefined);
    assert.equal(scanner.counters().failures, 0);
  });
});
