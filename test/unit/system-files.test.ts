// File records through the system module: paths are joined and cleaned, sums become reads and writes, and what cannot be told whole says so.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { paths } from '../../host/src/config/paths.js';
import { loadDecoder } from '../../host/src/decode/load.js';
import { DecodeWorker } from '../../host/src/decode/worker.js';
import type { RawEvent } from '../../host/src/events/raw-event.js';
import { FileFlag, FileIoOffset, FileNameOffset, FileOp, FileOpenOffset, Kind } from '../../host/src/gen/records.js';
import { framed, withHeader } from '../../host/src/sources/plaintext/kernel-records.js';

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
  readonly path: string;
  readonly read?: number;
  readonly written?: number;
  readonly readOffset?: number;
  readonly writeOffset?: number;
  readonly size?: number;
  readonly flags?: number;
}

function fileIo({ path, read = 0, written = 0, readOffset = 0, writeOffset = 0, size = 0, flags = 0 }: Io): Buffer {
  const area = walked(path);
  const record = withHeader(Kind.file_io, FileIoOffset.path + area.length, 5, 77);
  record.writeBigUInt64LE(BigInt(read), FileIoOffset.read_bytes);
  record.writeBigUInt64LE(BigInt(written), FileIoOffset.write_bytes);
  record.writeBigUInt64LE(BigInt(readOffset), FileIoOffset.read_offset);
  record.writeBigUInt64LE(BigInt(writeOffset), FileIoOffset.write_offset);
  record.writeBigUInt64LE(BigInt(size), FileIoOffset.size);
  record.writeUInt32LE(0o100640, FileIoOffset.mode);
  record.writeUInt32LE(flags, FileIoOffset.flags);
  record.writeUInt32LE(area.length, FileIoOffset.path_len);
  record.set(area, FileIoOffset.path);
  return framed(Kind.file_io, record);
}

interface Name {
  readonly op: number;
  readonly folder: string;
  readonly name: string;
  readonly folder2?: string;
  readonly name2?: string;
  readonly flags?: number;
}

function fileName({ op, folder, name, folder2 = '', name2 = '', flags = 0 }: Name): Buffer {
  const last = Buffer.from(name2);
  const record = withHeader(Kind.file_name, FileNameOffset.name2 + last.length, 5, 77);
  record.writeUInt32LE(op, FileNameOffset.op);
  record.writeUInt32LE(flags, FileNameOffset.flags);
  for (const [text, area, used] of [
    [walked(folder), FileNameOffset.folder, FileNameOffset.folder_len],
    [walked(folder2), FileNameOffset.folder2, FileNameOffset.folder2_len],
    [Buffer.from(name), FileNameOffset.name, FileNameOffset.name_len],
    [last, FileNameOffset.name2, FileNameOffset.name2_len],
  ] as const) {
    record.writeUInt32LE(text.length, used);
    record.set(text, area);
  }
  return framed(Kind.file_name, record);
}

test('a sum of writes is one file.write, a sum of reads one file.read', () => {
  const [read, write, ...rest] = decode(fileIo({ path: '/agent/a.txt', read: 10, readOffset: 4, written: 30, writeOffset: 100, size: 130 }));
  assert.equal(rest.length, 0);
  assert.equal(read?.type, 'file.read');
  const file = { name: 'a.txt', size: 130, inode: 0, mode: '0640' };
  assert.deepEqual(read?.data, { path: '/agent/a.txt', bytes_read: 10, offset: 4, complete: false, file });
  assert.equal(write?.type, 'file.write');
  assert.deepEqual(write?.data, { path: '/agent/a.txt', bytes_written: 30, offset: 100, created: false, truncated: false, file });
});

test('a file that was made or cut is told although nothing was written', () => {
  const [made] = decode(fileIo({ path: '/a', flags: FileFlag.created }));
  assert.deepEqual([made?.type, made?.data['created'], made?.data['bytes_written']], ['file.write', true, 0]);
  const [cut] = decode(fileIo({ path: '/a', flags: FileFlag.truncated }));
  assert.deepEqual([cut?.data['created'], cut?.data['truncated']], [false, true]);
});

test('a file that was read from its beginning to its end is complete', () => {
  assert.equal(decode(fileIo({ path: '/a', read: 10, size: 10 }))[0]?.data['complete'], true);
  assert.equal(decode(fileIo({ path: '/a', read: 9, size: 10 }))[0]?.data['complete'], false);
  assert.equal(decode(fileIo({ path: '/a', read: 10, readOffset: 1, size: 10 }))[0]?.data['complete'], false);
});

test('loading code and the libraries of the system is not told, but writing there is', () => {
  assert.deepEqual(
    decode(fileIo({ path: '/opt/x/plugin.so', read: 832, flags: FileFlag.code }), fileIo({ path: '/usr/lib/locale/C.utf8/LC_CTYPE', read: 5 })),
    [],
  );
  assert.deepEqual(
    decode(fileIo({ path: '/usr/lib/x.so', read: 5, written: 5 }), fileIo({ path: '/etc/passwd', read: 5 })).map((event) => [event.type, event.data['path']]),
    [
      ['file.read', '/usr/lib/x.so'],
      ['file.write', '/usr/lib/x.so'],
      ['file.read', '/etc/passwd'],
    ],
  );
});

test('what is still open says so, and what is cut is partial', () => {
  assert.deepEqual(decode(fileIo({ path: '/a', written: 1, flags: FileFlag.interim }))[0]?.meta, { ext: { still_open: true } });
  const [cut] = decode(fileIo({ path: '/deep/a', written: 1, flags: FileFlag.path_cut }));
  assert.equal(cut?.data['path'], '.../deep/a');
  assert.deepEqual(cut?.meta, { completeness: 'partial', missing: ['path'] });
});

test('an open names its flags', () => {
  const area = walked('/agent/a');
  const record = withHeader(Kind.file_open, FileOpenOffset.path + area.length, 5, 77);
  record.writeUInt32LE(0o3301, FileOpenOffset.open_flags);
  record.writeUInt32LE(3, FileOpenOffset.fd);
  record.writeUInt32LE(area.length, FileOpenOffset.path_len);
  record.set(area, FileOpenOffset.path);
  const [open] = decode(framed(Kind.file_open, record));
  assert.equal(open?.type, 'file.open');
  assert.deepEqual(open?.data['flags'], ['write', 'append', 'create', 'truncate', 'exclusive']);
  assert.equal(open?.data['fd'], 3);
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
      { old_path: '/a/x', new_path: '/b/y' },
      { old_path: '/b/y', new_path: '/a/x' },
    ],
  );
  const [cut] = decode(fileName({ op: FileOp.truncate, folder: '/a', name: 'x' }));
  assert.deepEqual([cut?.type, cut?.data], ['file.write', { path: '/a/x', bytes_written: 0, truncated: true }]);
});

test('a name that could not be read leaves its folder, and says what is missing', () => {
  const [event] = decode(fileName({ op: FileOp.delete, folder: '/a', name: '', flags: FileFlag.name_cut }));
  assert.equal(event?.data['path'], '/a');
  assert.deepEqual(event?.meta, { completeness: 'partial', missing: ['path'] });
});
