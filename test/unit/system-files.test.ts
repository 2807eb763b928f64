// File records through the system module: paths are joined and cleaned, sums become reads and writes, and what cannot be told whole says so.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { paths } from '../../host/src/config/paths.js';
import { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { DecodeWorker } from '../../host/src/decode/worker.js';
import type { RawEvent } from '../../host/src/events/raw-event.js';
import { FileFlag, FileIoOffset, FileNameOffset, FileOp, Kind } from '../../host/src/gen/records.js';
import { framed, RECORD_AT, withHeader } from '../../host/src/sources/plaintext/kernel-records.js';

const decoder = loadDecoder(join(paths.decoders, 'system.wasm'));

function decode(...records: Uint8Array[]): RawEvent[] {
  const events: RawEvent[] = [];
  new DecodeWorker([decoder]).process(Buffer.concat(records), {
    event: (event) => events.push(event),
    processStart: () => assert.fail(),
    processEnd: () => assert.fail(),
    connectionNote: () => assert.fail(),
  });
  return events;
}

/** A path as the kernel walks it: components from leaf to root. */
const walked = (path: string): Buffer =>
  Buffer.from(
    path
      .split('/')
      .filter((name) => name !== '')
      .reverse()
      .map((name) => `${name}\0`)
      .join(''),
  );

interface Io {
  readonly kind?: number;
  readonly path: string;
  readonly read?: number;
  readonly written?: number;
  readonly readOffset?: number;
  readonly writeOffset?: number;
  readonly size?: number;
  readonly flags?: number;
  readonly openFlags?: number;
}

function fileIo({ kind = Kind.file_io, path, read = 0, written = 0, readOffset = 0, writeOffset = 0, size = 0, flags = 0, openFlags = 0 }: Io): Buffer {
  const area = walked(path);
  const record = withHeader(kind, FileIoOffset.path + area.length, 5_000_000, 77);
  for (const [value, at] of [
    [2_000_000, FileIoOffset.since_ns],
    [read, FileIoOffset.read_bytes],
    [written, FileIoOffset.write_bytes],
    [readOffset, FileIoOffset.read_offset],
    [writeOffset, FileIoOffset.write_offset],
    [readOffset + read, FileIoOffset.read_end],
    [writeOffset + written, FileIoOffset.write_end],
    [size, FileIoOffset.size],
    [99, FileIoOffset.inode],
  ] as const)
    record.writeBigUInt64LE(BigInt(value), at);
  for (const [value, at] of [
    [read ? 2 : 0, FileIoOffset.read_calls],
    [written ? 3 : 0, FileIoOffset.write_calls],
    [4, FileIoOffset.fd],
    [openFlags, FileIoOffset.open_flags],
    [0o100640, FileIoOffset.mode],
    [1000, FileIoOffset.owner_uid],
    [1001, FileIoOffset.owner_gid],
    [flags, FileIoOffset.flags],
    [area.length, FileIoOffset.path_len],
  ] as const)
    record.writeUInt32LE(value, at);
  record.set(area, FileIoOffset.path);
  return framed(kind, record);
}

const FILE = { inode: 99, mode: '0640', uid: 1000, gid: 1001 };

interface Name {
  readonly op: number;
  readonly folder: string;
  readonly name: string;
  readonly folder2?: string;
  readonly name2?: string;
  readonly flags?: number;
}

function fileName({ op, folder, name, folder2 = '', name2 = '', flags = 0 }: Name): Buffer {
  const parts = [
    [walked(folder), FileNameOffset.folder_len],
    [Buffer.from(name), FileNameOffset.name_len],
    [walked(folder2), FileNameOffset.folder2_len],
    [Buffer.from(name2), FileNameOffset.name2_len],
  ] as const;
  const text = Buffer.concat(parts.map(([part]) => part));
  const record = withHeader(Kind.file_name, FileNameOffset.text + text.length, 5, 77);
  record.writeUInt32LE(op, FileNameOffset.op);
  record.writeUInt32LE(flags, FileNameOffset.flags);
  for (const [part, at] of parts) record.writeUInt32LE(part.length, at);
  record.writeUInt32LE(text.length, FileNameOffset.text_len);
  record.set(text, FileNameOffset.text);
  return framed(Kind.file_name, record);
}

test('a sum of writes is one file.write, a sum of reads one file.read', () => {
  const [read, write, ...rest] = decode(fileIo({ path: '/agent/a.txt', read: 10, readOffset: 4, written: 30, writeOffset: 100, size: 130 }));
  assert.equal(rest.length, 0);
  assert.equal(read?.type, 'file.read');
  const file = { path: '/agent/a.txt', name: 'a.txt', extension: 'txt', size: 130, ...FILE };
  assert.deepEqual(read?.data, { path: '/agent/a.txt', bytes_read: 10, offset: 4, complete: false, file });
  assert.equal(write?.type, 'file.write');
  assert.deepEqual(write?.data, { path: '/agent/a.txt', bytes_written: 30, offset: 100, created: false, truncated: false, file });
  const how = { end_offset: 14, span_ms: 3, still_open: false };
  assert.deepEqual(read?.meta, { ext: { file: { calls: 2, ...how } } });
  assert.deepEqual(write?.meta, { ext: { file: { calls: 3, ...how, end_offset: 130 } } });
});

test('a name has an extension when something is before its last dot', () => {
  for (const [path, extension] of [
    ['/a/b.tar.gz', 'gz'],
    ['/a/.bashrc', undefined],
    ['/a.d/b', undefined],
    ['/a/b.', undefined],
    ['/.a', undefined],
  ] as const) {
    const file = decode(fileIo({ path, read: 1 }))[0]?.data['file'] as { extension?: string } | undefined;
    assert.ok(file);
    assert.equal(file.extension, extension, path);
  }
});

test('a file that was made or cut is told although nothing was written', () => {
  const [made] = decode(fileIo({ path: '/a', flags: FileFlag.created }));
  assert.deepEqual([made?.type, made?.data['created'], made?.data['bytes_written'], made?.data['offset']], ['file.write', true, 0, undefined]);
  const [cut] = decode(fileIo({ path: '/a', flags: FileFlag.truncated }));
  assert.deepEqual([cut?.data['created'], cut?.data['truncated']], [false, true]);
});

test('a file that was read from its beginning to its end is complete', () => {
  assert.equal(decode(fileIo({ path: '/a', read: 10, size: 10 }))[0]?.data['complete'], true);
  assert.equal(decode(fileIo({ path: '/a', read: 9, size: 10 }))[0]?.data['complete'], false);
  assert.equal(decode(fileIo({ path: '/a', read: 10, readOffset: 1, size: 10 }))[0]?.data['complete'], false);
});

test('what is still open says so, and what is cut is partial', () => {
  const open = decode(fileIo({ path: '/a', written: 1, flags: FileFlag.interim }))[0]?.meta.ext?.['file'] as Record<string, unknown>;
  assert.equal(open['still_open'], true);
  const [cut] = decode(fileIo({ path: '/deep/a', written: 1, flags: FileFlag.path_cut }));
  assert.equal(cut?.data['path'], '.../deep/a');
  assert.deepEqual([cut?.meta.completeness, cut?.meta.missing], ['partial', ['path']]);
});

test('a file that was mapped to be written is a write of which bytes are missing', () => {
  const [mapped, ...rest] = decode(fileIo({ path: '/a', flags: FileFlag.mapped }));
  assert.equal(rest.length, 0);
  assert.deepEqual([mapped?.type, mapped?.data['bytes_written']], ['file.write', 0]);
  assert.deepEqual([mapped?.meta.completeness, mapped?.meta.limitations], ['partial', ['writes_through_memory_not_counted']]);
  const [both] = decode(fileIo({ path: '/a', written: 1, flags: FileFlag.mapped | FileFlag.path_cut }));
  assert.deepEqual([both?.meta.completeness, both?.meta.missing?.length, both?.meta.limitations?.length], ['partial', 1, 1]);
});

test('an open names its flags', () => {
  for (const [openFlags, flags] of [
    [0o3301, ['write', 'append', 'create', 'truncate', 'exclusive']],
    [0o2, ['read', 'write']],
    [0, ['read']],
  ] as const) {
    const [open] = decode(fileIo({ kind: Kind.file_open, path: '/agent/a', openFlags }));
    assert.equal(open?.type, 'file.open');
    assert.deepEqual([open?.data['path'], open?.data['flags'], open?.data['fd']], ['/agent/a', flags, 4]);
    assert.deepEqual(open?.meta, {});
  }
});

test('names are joined to their folders and cleaned', () => {
  for (const [folder, name, path] of [
    ['/agent', 'a', '/agent/a'],
    ['/', 'a', '/a'],
    ['/agent', './a//b/../c/.', '/agent/a/c'],
    ['/agent', '../../../../x', '/x'],
    ['/agent', '/abs/../y', '/y'],
    ['/agent', '..', '/'],
    ['/agent/sub', '', '/agent/sub'],
  ] as const) {
    assert.equal(decode(fileName({ op: FileOp.delete, folder, name }))[0]?.data['path'], path, `${folder} + ${name}`);
  }
});

test('property: a cleaned name is what path.resolve makes of it', async () => {
  const { resolve } = await import('node:path');
  const component = fc.oneof(fc.constantFrom('.', '..', '', 'a', 'bc', '...'), fc.stringMatching(/^[a-z.]{1,12}$/));
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z]{1,8}$/), { maxLength: 6 }),
      fc.array(component, { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      (base, parts, absolute) => {
        const folder = `/${base.join('/')}`;
        const name = `${absolute ? '/' : ''}${parts.join('/')}`;
        if (name === '') return;
        assert.equal(decode(fileName({ op: FileOp.rmdir, folder, name }))[0]?.data['path'], resolve(folder, name));
      },
    ),
  );
});

test('a rename has both names, an exchange is two renames, a truncate is a write of nothing', () => {
  const names = { folder: '/a', name: 'x', folder2: '/b', name2: 'y' };
  assert.deepEqual(
    decode(fileName({ op: FileOp.rename, ...names })).map(({ data }) => data),
    [{ old_path: '/a/x', new_path: '/b/y' }],
  );
  assert.deepEqual(
    decode(fileName({ op: FileOp.exchange, ...names })).map(({ data }) => data),
    [
      { old_path: '/a/x', new_path: '/b/y', overwrote: false },
      { old_path: '/b/y', new_path: '/a/x', overwrote: false },
    ],
  );
  assert.deepEqual(
    decode(fileName({ op: FileOp.exchange, ...names })).map(({ index }) => index),
    [0, 1],
    'what an event id is made of tells the two apart',
  );
  assert.equal(decode(fileName({ op: FileOp.move, ...names }))[0]?.data['overwrote'], false);
  const [cut] = decode(fileName({ op: FileOp.truncate, folder: '/a', name: 'x' }));
  assert.deepEqual([cut?.type, cut?.data], ['file.write', { path: '/a/x', bytes_written: 0, created: false, truncated: true }]);
});

test('a name that could not be read leaves its folder, and says what is missing', () => {
  const [event] = decode(fileName({ op: FileOp.delete, folder: '/a', name: '', flags: FileFlag.name_cut }));
  assert.equal(event?.data['path'], '/a');
  assert.deepEqual(event?.meta, { completeness: 'partial', missing: ['path'] });
});

test('a record that says more of itself than there is, as a recording may hold, is counted and not read', () => {
  const module = new DecoderModule(decoder.compiled, { inBytes: 1 << 20, outBytes: 1 << 20, maxConnections: 16, memoryBytes: 64 << 20 });
  const given: Uint8Array[] = [];
  const long = fileIo({ path: '/a', read: 1 });
  long.writeUInt32LE(1 << 30, RECORD_AT + FileIoOffset.path_len);
  const names = fileName({ op: FileOp.rename, folder: '/a', name: 'x', folder2: '/b', name2: 'y' });
  names.writeUInt32LE(0xffffffff, RECORD_AT + FileNameOffset.folder_len);
  module.process(Buffer.concat([long, names]), (_lane, out) => given.push(out));
  assert.equal(module.stats()['malformed'], 2);
  assert.equal(given.length, 0);
  fc.assert(
    fc.property(fc.constantFrom(Kind.file_open, Kind.file_io, Kind.file_name), fc.uint8Array({ maxLength: 6000 }), (kind, bytes) => {
      module.process(framed(kind, bytes), () => undefined);
    }),
    { numRuns: 500 },
  );
});
