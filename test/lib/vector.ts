// Reads vectors, the Markdown documents of test/vectors (their README says how they are written), and compares events with them; it runs nothing.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Side = 'request' | 'response';

export interface VectorOptions {
  /** Host of the connection, as the sensor would know it. */
  readonly authority?: string;
  /** Bytes of one side that were lost: `bytes` of them from the end of the first occurrence of `after`. */
  readonly gap?: { readonly side: Side; readonly after: string; readonly bytes: number };
  /** How it ends: closed (default), or the capture just stops. */
  readonly close?: boolean;
}

/** A run of bytes of one side, sent at one time. */
export interface Segment {
  readonly side: Side;
  readonly bytes: Buffer;
}

export interface ExpectedEvent {
  readonly event_type: string;
  readonly data?: unknown;
  readonly confidence?: unknown;
  readonly meta?: unknown;
}

export interface Vector {
  readonly title: string;
  readonly path: string;
  readonly segments: readonly Segment[];
  readonly request: Buffer;
  readonly response: Buffer;
  readonly options: VectorOptions;
  readonly events: readonly ExpectedEvent[];
}

interface Block {
  readonly info: string;
  readonly text: string;
}

function blocksOf(markdown: string, path: string): Block[] {
  const out: Block[] = [];
  let open: { info: string; lines: string[] } | undefined;
  for (const line of markdown.split('\n')) {
    if (line.startsWith('```')) {
      if (open) out.push({ info: open.info, text: open.lines.join('\n') });
      open = open ? undefined : { info: line.slice(3).trim(), lines: [] };
    } else open?.lines.push(line);
  }
  if (open) throw new Error(`${path}: a block is not closed: ${open.info}`);
  return out;
}

/** Text with escapes; the line breaks of the document mean nothing. */
function decodeEscapes(text: string, path: string): Buffer {
  const out: Buffer[] = [];
  const plain = text.replaceAll('\n', '');
  const pattern = /\\(?:r|n|t|\\|x[0-9a-fA-F]{2})/g;
  let at = 0;
  for (const match of plain.matchAll(pattern)) {
    out.push(Buffer.from(plain.slice(at, match.index)));
    const code = match[0][1];
    out.push(code === 'x' ? Buffer.from([Number.parseInt(match[0].slice(2), 16)]) : Buffer.from({ r: '\r', n: '\n', t: '\t', '\\': '\\' }[code ?? ''] ?? ''));
    at = match.index + match[0].length;
  }
  const rest = plain.slice(at);
  if (rest.includes('\\')) throw new Error(`${path}: an unknown escape in ${rest.slice(0, 60)}`);
  out.push(Buffer.from(rest));
  return Buffer.concat(out);
}

function bytesOf(form: string, text: string, path: string): Buffer {
  if (form === 'body') return Buffer.from(text);
  if (form === 'base64') return Buffer.from(text.replaceAll('\n', ''), 'base64');
  if (form === 'bytes') return decodeEscapes(text, path);
  throw new Error(`${path}: unknown block form ${form}`);
}

/** @throws Error naming the file when the document is not a vector. */
export function parseVector(markdown: string, path: string): Vector {
  const title = /^# (.+)$/m.exec(markdown)?.[1];
  if (!title) throw new Error(`${path}: no title`);
  const segments: { side: Side; bytes: Buffer }[] = [];
  let options: VectorOptions = {};
  let events: ExpectedEvent[] | undefined;
  let head: { side: Side; text: string } | undefined;
  const add = (side: Side, bytes: Buffer) => {
    const last = segments.at(-1);
    if (last?.side === side) last.bytes = Buffer.concat([last.bytes, bytes]);
    else segments.push({ side, bytes });
  };
  const endHead = (length: number) => {
    if (head) add(head.side, Buffer.from(`${head.text.replaceAll('{length}', String(length)).split('\n').join('\r\n')}\r\n\r\n`));
    head = undefined;
  };
  for (const { info, text } of blocksOf(markdown, path)) {
    const [first, form = ''] = info.split(' ');
    if (first === 'options') options = JSON.parse(text) as VectorOptions;
    else if (first === 'events') events = JSON.parse(text) as ExpectedEvent[];
    else if (first !== 'request' && first !== 'response') throw new Error(`${path}: unknown block ${info}`);
    else if (form === 'head') {
      endHead(0);
      head = { side: first, text };
    } else {
      const bytes = bytesOf(form, text, path);
      endHead(bytes.length);
      add(first, bytes);
    }
  }
  endHead(0);
  if (!events) throw new Error(`${path}: no events block`);
  const all = (side: Side) => Buffer.concat(segments.filter((s) => s.side === side).map((s) => s.bytes));
  return { title, path, segments, request: all('request'), response: all('response'), options, events };
}

/** Every vector below a folder, by path. README.md is none. */
export function loadVectors(folder: string): Vector[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md') && !name.endsWith('README.md'));
  return names.sort().map((name) => parseVector(readFileSync(join(folder, name), 'utf8'), name));
}

/** Where `actual` does not have what `expected` asks: objects may have more keys, everything else is equal. Empty: it has all. */
export function differences(expected: unknown, actual: unknown, path = ''): string[] {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return [`${path}: expected an array, got ${JSON.stringify(actual)}`];
    if (expected.length !== actual.length) return [`${path}: expected ${expected.length} elements, got ${JSON.stringify(actual)}`];
    return expected.flatMap((value, i) => differences(value, actual[i], `${path}[${i}]`));
  }
  if (expected !== null && typeof expected === 'object') {
    if (actual === null || typeof actual !== 'object') return [`${path}: expected an object, got ${JSON.stringify(actual)}`];
    const wanted = expected as Record<string, unknown>;
    if (Object.keys(wanted).length === 0 && Object.keys(actual).length > 0) return [`${path}: expected an empty object, got ${JSON.stringify(actual)}`];
    return Object.entries(wanted).flatMap(([key, value]) => differences(value, (actual as Record<string, unknown>)[key], `${path}.${key}`));
  }
  return Object.is(expected, actual) ? [] : [`${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`];
}
