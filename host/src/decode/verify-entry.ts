// The worker thread in which a module is tried: it can be ended when the module never returns.
import { parentPort, workerData } from 'node:worker_threads';
import { verifyDecoder } from './verify.js';

const { path, bytes } = workerData as { path: string; bytes?: Uint8Array<ArrayBuffer> };
parentPort?.postMessage(verifyDecoder(path, bytes));
