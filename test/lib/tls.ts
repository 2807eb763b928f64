// A self-signed certificate for servers on loopback, made with openssl when it is needed; nothing of it is ever kept or committed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
  readonly certPath: string;
  /** Removes the files. Idempotent. */
  remove(): void;
}

/** @returns a P-256 certificate for localhost and 127.0.0.1, valid for two days. */
export function makeCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'oisp-tls-'));
  const keyPath = join(folder, 'key.pem');
  const certPath = join(folder, 'cert.pem');
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const result = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', ...subject, '-keyout', keyPath, '-out', certPath],
    { encoding: 'utf8' },
  );
  if (result.status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`openssl req failed: ${result.error?.message ?? result.stderr}`);
  }
  return {
    key: readFileSync(keyPath),
    cert: readFileSync(certPath),
    certPath,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
