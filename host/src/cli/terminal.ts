// How commands talk to a person: lines on standard error, colours only on a terminal, numbers with units.
import { styleText } from 'node:util';
import { HostError } from '../errors.js';

type Style = Parameters<typeof styleText>[0];

const colourful = (stream: NodeJS.WriteStream): boolean => stream.hasColors?.() ?? false;

export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  return colourful(stream) ? styleText(style, text, { validateStream: false }) : text;
}

/** A line of the daemon's own on standard error; never captured bytes. */
export function note(text: string): void {
  process.stderr.write(`${paint(process.stderr, 'dim', 'oisp-host:')} ${text}\n`);
}

/** Says what went wrong and what to do. @returns the exit code. */
export function tellError(error: unknown): number {
  const label = paint(process.stderr, 'red', 'oisp-host: error:');
  if (error instanceof HostError) {
    process.stderr.write(`${label} ${error.message}\n${error.hint === undefined ? '' : `  ${error.hint}\n`}`);
    return error.exitCode;
  }
  process.stderr.write(`${label} ${error instanceof Error ? error.stack : String(error)}\n  This is a defect of oisp-host.\n`);
  return 1;
}

/** @returns e.g. `3.2 MiB`. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Lays rows out in columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ')).join('\n');
}
