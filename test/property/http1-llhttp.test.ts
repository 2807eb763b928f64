// The http module beside llhttp, the parser of Node: what llhttp reads we read the same, and where it stops we have told nothing whole that it has not.
import assert from 'node:assert/strict';
import { METHODS } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { Completeness } from '../../host/src/gen/records.js';
import { Kind, Llhttp } from '../lib/llhttp.js';
import { decoder, flushRecords, messagesOf, runRecords, Wire } from '../lib/records.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? 1500);

interface Read {
  target: string;
  status: number;
  headers: string[];
  body: string;
}

/** White space behind a value is none of it (RFC 9112 section 5); llhttp leaves it to its user. */
const trimmed = (read: Read): Read => ({ ...read, headers: read.headers.map((text) => text.replace(/[\t ]+$/, '')) });

/** What llhttp makes of a stream of one kind, cut as given; `whole` is how many messages are complete. */
function byLlhttp(kind: number, pieces: readonly Buffer[]): { messages: Read[]; whole: number; error: number } {
  const messages: Read[] = [];
  let whole = 0;
  let open: Read | undefined;
  let last: 'field' | 'value' | undefined;
  const message = (): Read => {
    if (!open) {
      open = { target: '', status: 0, headers: [], body: '' };
      messages.push(open);
      last = undefined;
    }
    return open;
  };
  const part = (what: 'field' | 'value') => (bytes: Buffer) => {
    const { headers } = message();
    // A value may be empty, and then there is no call for it.
    if (what === last) headers.push((headers.pop() ?? '') + bytes.toString('latin1'));
    else headers.push(bytes.toString('latin1'));
    last = what;
  };
  let inBody = false;
  const parser = new Llhttp(kind, 1 << 16, {
    url: (bytes) => {
      message().target += bytes.toString('latin1');
    },
    field: (bytes) => {
      if (!inBody) part('field')(bytes);
    },
    value: (bytes) => {
      if (!inBody) part('value')(bytes);
    },
    headersComplete: (status) => {
      message().status = status;
      inBody = true;
      return 0;
    },
    body: (bytes) => {
      message().body += bytes.toString('latin1');
    },
    messageComplete: () => {
      whole++;
      open = undefined;
      inBody = false;
    },
  });
  for (const piece of pieces) {
    const error = parser.execute(piece);
    if (error) return { messages: messages.map(trimmed), whole, error };
  }
  return { messages: messages.map(trimmed), whole, error: parser.finish() };
}

function byModule(side: 'read' | 'write', bytes: Buffer, answers: number): { read: Read; completeness: number }[] {
  const module = decoder('http');
  const wire = new Wire();
  // A response is read by what was asked: so many requests are there first.
  if (side === 'read') for (let i = 0; i < answers; i++) wire.write('GET / HTTP/1.1\r\n\r\n');
  wire[side](bytes).close();
  const lane0 = runRecords(module, wire.records).lane0;
  lane0.push(...flushRecords(module));
  return messagesOf(lane0)
    .filter((m) => m.message === (side === 'read' ? 1 : 0) && m.head)
    .map((m) => ({
      read: { target: m.head?.target ?? '', status: m.head?.status ?? 0, headers: m.head?.headers ?? [], body: m.body.toString('latin1') },
      completeness: m.end?.completeness ?? -1,
    }));
}

const tokenArb = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,10}$/)
  .filter((name) => !/^(content-length|transfer-encoding|connection|upgrade|content-encoding|proxy-connection)$/i.test(name));
const fieldArb = fc.tuple(tokenArb, fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)).map(([name, value]) => `${name}: ${value}`);
const bodyArb = fc.stringMatching(/^[ -~]{0,60}$/);
const framedArb = fc.oneof(
  bodyArb.map((body) => ({ field: `Content-Length: ${body.length}`, bytes: body })),
  fc
    .tuple(fc.array(fc.stringMatching(/^[ -~]{1,20}$/), { maxLength: 4 }), fc.constantFrom('', ';ext=1', ';a="b"'), fc.constantFrom('', 'X-T: 1\r\n'))
    .map(([chunks, ext, trailer]) => ({
      field: 'Transfer-Encoding: chunked',
      bytes: `${chunks.map((chunk) => `${chunk.length.toString(16)}${ext}\r\n${chunk}\r\n`).join('')}0\r\n${trailer}\r\n`,
    })),
);
const oddArb = fc.constantFrom(
  '',
  '',
  '',
  '',
  'Content-Length: 3',
  'Content-Length: +3',
  'Content-Length: 3, 3',
  'Transfer-Encoding: gzip',
  'Transfer-Encoding: chunked, chunked',
  'Bad Name: x',
  ': empty',
  ' folded: x',
  'NoColon',
  'Nul: a\0b',
  'Tab:\tx\t',
);
const messageArb = (start: fc.Arbitrary<string>) =>
  fc
    .tuple(start, fc.array(fieldArb, { maxLength: 4 }), framedArb, oddArb, fc.constantFrom('\r\n', '\r\n', '\r\n', '\n'))
    .map(([line, fields, framed, odd, end]) => {
      const lines = [line, ...fields, ...(odd ? [odd] : []), framed.field];
      return `${lines.join(end)}${end}${end}${framed.bytes}`;
    });
const requestLine = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'get', 'PO ST'),
    fc.constantFrom('/', '/a?b=c', '*', 'http://h/x', ''),
    fc.constantFrom('1.1', '1.1', '1.1', '1.0', '2.0', '1.2'),
  )
  .map(([method, target, version]) => `${method} ${target} HTTP/${version}`);
const statusLine = fc
  .tuple(fc.constantFrom('1.1', '1.1', '1.0', '1.9'), fc.constantFrom('200', '404', '500', '99', '2000', 'abc'), fc.constantFrom(' OK', ' ', '', ' Not Found'))
  .map(([version, status, reason]) => `HTTP/${version} ${status}${reason}`);

/** Where the module is stricter than llhttp, each with its rule: such a message is told, but not called whole. */
const STRICTER = [
  // RFC 9112 section 6.1: a Transfer-Encoding in HTTP/1.0 is faulty framing.
  /HTTP\/1\.0[\s\S]*\nTransfer-Encoding:/,
  // Section 2.3: the version of this protocol is 1.0 or 1.1 here; what llhttp knows besides (0.9, 2.0) is none of it.
  /HTTP\/(2\.0|1\.[2-9])/,
  // Section 7: a transfer coding beside chunked is not undone, so the body is capped; llhttp gives the coded bytes.
  /\nTransfer-Encoding: gzip/,
  // Section 6.1: chunked is applied once.
  /\nTransfer-Encoding: chunked[\s\S]*\nTransfer-Encoding: chunked/,
];

/** Compares what both read of one stream. */
function compare(kind: number, texts: readonly string[], sizes: readonly number[]): void {
  fc.pre(!texts.some((text) => STRICTER.some((rule) => rule.test(text))));
  const bytes = Buffer.from(texts.join(''), 'latin1');
  const pieces: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  const theirs = byLlhttp(kind, pieces);
  const ours = byModule(kind === Kind.REQUEST ? 'write' : 'read', bytes, texts.length + 1);
  const complete = theirs.messages.slice(0, theirs.whole).filter(({ status }) => status === 0 || status >= 200);
  const full = ours.filter(({ completeness }) => completeness === Completeness.full).map(({ read }) => read);
  if (theirs.error === 0) assert.deepEqual(full.slice(0, complete.length), complete, JSON.stringify(texts));
  // What llhttp completed before it stopped, we have too, unless it is laxer: then ours is not called whole.
  for (const [i, read] of complete.entries()) {
    const found = ours[i];
    assert.ok(found, `message ${i} is missing: ${JSON.stringify(texts)}`);
    if (found.completeness === Completeness.full) assert.deepEqual(found.read, read, JSON.stringify(texts));
  }
}

const sizesArb = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

test('requests are read as llhttp reads them', () => {
  assert.ok(METHODS.includes('PATCH'));
  fc.assert(
    fc.property(fc.array(messageArb(requestLine), { minLength: 1, maxLength: 4 }), sizesArb, (texts, sizes) => compare(Kind.REQUEST, texts, sizes)),
    { numRuns: RUNS },
  );
});

test('responses are read as llhttp reads them', () => {
  fc.assert(
    fc.property(fc.array(messageArb(statusLine), { minLength: 1, maxLength: 4 }), sizesArb, (texts, sizes) => compare(Kind.RESPONSE, texts, sizes)),
    { numRuns: RUNS },
  );
});
