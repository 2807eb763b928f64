// The file that the scanner's thread runs: one path in, one result out, in order; it knows nothing of processes or reports.
import { parentPort } from 'node:worker_threads';
import { scanFile } from './scan-file.js';

parentPort?.on('message', (path: string) => parentPort?.postMessage(scanFile(path)));
