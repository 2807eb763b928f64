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

/** Text of other programs (paths, names) without what a terminal would take for a command. */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** @returns e.g. `2 h 5 min`: the two largest units. */
export function durationText(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ] as const;
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0 s';
  let rest = Math.floor(seconds);
  const parts: string[] = [];
  for (const [name, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
  }
  return parts.join(' ');
}
