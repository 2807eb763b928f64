// TLS options of a bench's own client and server: a shared key instead of certificates, so that a bench makes no files.

/** No secret: both ends are this bench, on loopback. */
const KEY = Buffer.alloc(16, 7);
const common = { ciphers: 'PSK-AES128-GCM-SHA256', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;

export const PSK = {
  client: { ...common, checkServerIdentity: () => undefined, pskCallback: () => ({ psk: KEY, identity: 'bench' }) },
  server: { ...common, pskCallback: () => KEY },
} as const;
