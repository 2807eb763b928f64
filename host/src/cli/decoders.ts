// `oisp-host decoders`: which decoder modules there are and what each consumes and produces; changes nothing.
import { paths } from '../config/paths.js';
import { loadDecoders } from '../decode/load.js';
import { KindText } from '../gen/records.js';
import { bytesText, paint, table } from './terminal.js';

const kinds = (numbers: readonly number[]): string[] => numbers.map((kind) => KindText[kind] ?? String(kind));

export function listDecoders(flags: { json?: boolean }): number {
  const decoders = loadDecoders(paths.decoders);
  if (flags.json) {
    const rows = decoders.map(({ name, version, compiled, bytes, consumes, produces }) => ({
      name,
      version,
      sha256: compiled.sha256,
      bytes,
      consumes: kinds(consumes),
      produces: kinds(produces),
    }));
    process.stdout.write(`${JSON.stringify(rows)}\n`);
    return 0;
  }
  const rows = decoders.map(({ name, version, compiled, bytes, consumes, produces }) => [
    name,
    version,
    compiled.sha256.slice(0, 12),
    bytesText(bytes),
    `${kinds(consumes).join(' ')} -> ${kinds(produces).join(' ')}`,
  ]);
  const [head = '', ...rest] = table([['NAME', 'VERSION', 'SHA-256', 'SIZE', 'CONSUMES -> PRODUCES'], ...rows]).split('\n');
  process.stdout.write(`${[paint(process.stdout, 'bold', head), ...rest].join('\n')}\n`);
  return 0;
}
