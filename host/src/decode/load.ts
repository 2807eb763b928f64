// Finds decoder modules in a folder and checks them; instantiates each once to read its manifest.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { HostError, reasonOf } from '../errors.js';
import { compileDecoder, DecoderModule } from './decoder-module.js';
import type { LoadedDecoder } from './stage.js';

const MANIFEST_LIMITS = { inBytes: 1 << 20, outBytes: 1 << 20, maxConnections: 16, memoryBytes: 64 << 20 };

/** A module on disk, with what it says of itself. */
export interface DecoderFile extends LoadedDecoder {
  readonly path: string;
  readonly bytes: number;
  readonly consumes: readonly number[];
  readonly produces: readonly number[];
}

/** @param from its bytes, where the file is not to be read. @throws HostError DECODER naming the file and why it is refused. */
export function loadDecoder(path: string, from?: Uint8Array<ArrayBuffer>): DecoderFile {
  try {
    const bytes = from ?? new Uint8Array(readFileSync(path));
    const compiled = compileDecoder(bytes);
    const { manifest } = new DecoderModule(compiled, MANIFEST_LIMITS);
    return { name: manifest.name, version: manifest.version, compiled, path, bytes: bytes.length, consumes: manifest.consumes, produces: manifest.produces };
  } catch (error) {
    throw new HostError('DECODER', `decoder ${basename(path)} cannot be used: ${(error as Error).message}`, undefined, { cause: error });
  }
}

/** Every *.wasm of a folder, by name. @throws HostError DECODER when there is none or one is refused. */
export function loadDecoders(folder: string): DecoderFile[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.wasm'));
  } catch (error) {
    throw new HostError('DECODER', `no decoders in ${folder}: ${reasonOf(error)}`, 'Run npm run build.', { cause: error });
  }
  if (!names.length) throw new HostError('DECODER', `no decoders in ${folder}`, 'Run npm run build.');
  return names.sort().map((name) => loadDecoder(join(folder, name)));
}
