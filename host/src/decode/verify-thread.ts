// Tries a module in a thread of its own, which is ended when the module does not return.
import { Worker } from 'node:worker_threads';
import type { Verdict } from './verify.js';

/** A module that takes longer is taken to hang. */
export const VERIFY_MS = 60_000;

/** @param path names it, and is read when there are no bytes. */
export function verifyInThread(path: string, { bytes, limitMs = VERIFY_MS }: { bytes?: Uint8Array; limitMs?: number } = {}): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./verify-entry.js', import.meta.url), { workerData: { path, bytes } });
    const timer = setTimeout(() => {
      void worker.terminate();
      resolve({ path, passed: false, checks: [{ name: 'returns', passed: false, detail: `it did not return within ${limitMs / 1000} s: it hangs` }] });
    }, limitMs);
    worker.once('message', (verdict: Verdict) => {
      clearTimeout(timer);
      resolve(verdict);
    });
    worker.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
