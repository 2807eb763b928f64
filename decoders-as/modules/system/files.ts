// File records: opens, sums of what was read and written, and names that were removed or changed, as file events; it keeps no state.
import { EventType } from '../../abi/events';
import { eventsOut } from '../../abi/module';
import { FileFlag, FileIo, FileName, FileOp, RecHeader } from '../../abi/records';
import { eventHead, missingOut } from './event';
import { PathText, pathOf, resolveName } from './text';

// open(2); the numbers are those of x86 and ARM alike.
const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;
const O_RDWR: u32 = 2;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const PERMISSIONS: u32 = 0o7777;

/** Bytes of a record before its last area. */
const ORIGIN: u32 = <u32>FileIo.path(0);
const NAME_ORIGIN: u32 = <u32>FileName.text(0);
/** What makes a write of an open file that nothing was written to. */
const CHANGES: u32 = FileFlag.CREATED | FileFlag.TRUNCATED | FileFlag.MAPPED;

export function onFileOpen(record: usize): void {
  const path = pathOfIo(record);
  eventHead(record, EventType.FILE_OPEN, ORIGIN);
  eventsOut.map(4);
  eventsOut.text('path');
  path.out();
  eventsOut.text('flags');
  flagsOut(FileIo.open_flags(record));
  eventsOut.text('fd');
  eventsOut.uint(FileIo.fd(record));
  fileOut(record, path);
  metaOut(FileIo.flags(record));
}

function pathOfIo(record: usize): PathText {
  return pathOf(FileIo.path(record), FileIo.path_len(record), FileIo.flags(record) & FileFlag.PATH_CUT);
}

function flagsOut(given: u32): void {
  const access = given & O_ACCMODE;
  const opened = eventsOut.openArray();
  let count: u32 = 0;
  if (access != O_WRONLY) count += flag('read');
  if (access == O_WRONLY || access == O_RDWR) count += flag('write');
  if (given & O_APPEND) count += flag('append');
  if (given & O_CREAT) count += flag('create');
  if (given & O_TRUNC) count += flag('truncate');
  if (given & O_EXCL) count += flag('exclusive');
  eventsOut.close(opened, count);
}

function flag(name: string): u32 {
  eventsOut.text(name);
  return 1;
}

export function onFileIo(record: usize): void {
  const path = pathOfIo(record);
  if (FileIo.read_bytes(record)) readOut(record, path);
  if (FileIo.write_bytes(record) || FileIo.flags(record) & CHANGES) writeOut(record, path);
}

function readOut(record: usize, path: PathText): void {
  const bytes = FileIo.read_bytes(record);
  const offset = FileIo.read_offset(record);
  eventHead(record, EventType.FILE_READ, ORIGIN);
  eventsOut.map(5);
  eventsOut.text('path');
  path.out();
  eventsOut.text('bytes_read');
  eventsOut.uint(bytes);
  eventsOut.text('offset');
  eventsOut.uint(offset);
  eventsOut.text('complete');
  eventsOut.boolean(offset == 0 && bytes >= FileIo.size(record));
  fileOut(record, path);
  ioMetaOut(record, FileIo.read_calls(record), FileIo.read_end(record), false);
}

function writeOut(record: usize, path: PathText): void {
  const flags = FileIo.flags(record);
  const bytes = FileIo.write_bytes(record);
  eventHead(record, EventType.FILE_WRITE, ORIGIN);
  eventsOut.map(bytes ? 6 : 5);
  eventsOut.text('path');
  path.out();
  eventsOut.text('bytes_written');
  eventsOut.uint(bytes);
  if (bytes) {
    eventsOut.text('offset');
    eventsOut.uint(FileIo.write_offset(record));
  }
  eventsOut.text('created');
  eventsOut.boolean((flags & FileFlag.CREATED) != 0);
  eventsOut.text('truncated');
  eventsOut.boolean((flags & FileFlag.TRUNCATED) != 0);
  fileOut(record, path);
  ioMetaOut(record, FileIo.write_calls(record), FileIo.write_end(record), (flags & FileFlag.MAPPED) != 0);
}

export function onFileName(record: usize): void {
  const op = FileName.op(record);
  const at = FileName.text(record);
  const path = nameAt(at, FileName.folder_len(record), FileName.name_len(record), FileName.flags(record) & FileFlag.PATH_CUT);
  if (op != FileOp.RENAME && op != FileOp.MOVE && op != FileOp.EXCHANGE) {
    if (op == FileOp.TRUNCATE) cutOut(record, path);
    else deleteOut(record, path, op == FileOp.RMDIR);
    return;
  }
  const second = at + FileName.folder_len(record) + FileName.name_len(record);
  const path2 = nameAt(second, FileName.folder2_len(record), FileName.name2_len(record), FileName.flags(record) & FileFlag.PATH2_CUT);
  renameOut(record, path, path2, 0);
  // Each of two names that change places is the new name of the other.
  if (op == FileOp.EXCHANGE) renameOut(record, path2, path, 1);
}

function nameAt(at: usize, folderLength: u32, nameLength: u32, cut: u32): PathText {
  return resolveName(pathOf(at, folderLength, cut), at + folderLength, nameLength);
}

function cutOut(record: usize, path: PathText): void {
  eventHead(record, EventType.FILE_WRITE, NAME_ORIGIN);
  eventsOut.map(4);
  eventsOut.text('path');
  path.out();
  eventsOut.text('bytes_written');
  eventsOut.uint(0);
  eventsOut.text('created');
  eventsOut.boolean(false);
  eventsOut.text('truncated');
  eventsOut.boolean(true);
  metaOut(FileName.flags(record));
}

function deleteOut(record: usize, path: PathText, directory: bool): void {
  eventHead(record, EventType.FILE_DELETE, NAME_ORIGIN);
  eventsOut.map(2);
  eventsOut.text('path');
  path.out();
  eventsOut.text('file');
  eventsOut.map(3);
  eventsOut.text('path');
  path.out();
  eventsOut.text('name');
  path.nameOut();
  eventsOut.text('is_directory');
  eventsOut.boolean(directory);
  metaOut(FileName.flags(record));
}

function renameOut(record: usize, from: PathText, to: PathText, index: u32): void {
  // Whether a plain rename has replaced a file can no longer be seen when it returns.
  const replacedNothing = FileName.op(record) != FileOp.RENAME;
  eventHead(record, EventType.FILE_RENAME, NAME_ORIGIN, index);
  eventsOut.map(replacedNothing ? 3 : 2);
  eventsOut.text('old_path');
  from.out();
  eventsOut.text('new_path');
  to.out();
  if (replacedNothing) {
    eventsOut.text('overwrote');
    eventsOut.boolean(false);
  }
  metaOut(FileName.flags(record));
}

/** The key `file` and its value. */
function fileOut(record: usize, path: PathText): void {
  const extension = path.extension();
  eventsOut.text('file');
  eventsOut.map(extension ? 8 : 7);
  eventsOut.text('path');
  path.out();
  eventsOut.text('name');
  path.nameOut();
  if (extension) {
    eventsOut.text('extension');
    eventsOut.str(path.at + path.length - extension, extension);
  }
  eventsOut.text('size');
  eventsOut.uint(FileIo.size(record));
  eventsOut.text('inode');
  eventsOut.uint(FileIo.inode(record));
  eventsOut.text('mode');
  octalOut(FileIo.mode(record) & PERMISSIONS);
  eventsOut.text('uid');
  eventsOut.uint(FileIo.owner_uid(record));
  eventsOut.text('gid');
  eventsOut.uint(FileIo.owner_gid(record));
}

const octal: usize = heap.alloc(4);

function octalOut(mode: u32): void {
  for (let i: u32 = 0; i < 4; i++) store<u8>(octal + i, <u8>(0x30 + ((mode >> (9 - 3 * i)) & 7)));
  eventsOut.str(octal, 4);
}

/** meta of what is told of an open file: how it came about under ext.file. */
function ioMetaOut(record: usize, calls: u32, endOffset: u64, uncounted: bool): void {
  const flags = FileIo.flags(record);
  const cut = (flags & FileFlag.PATH_CUT) != 0;
  eventsOut.map(1 + (cut ? 2 : 0) + (uncounted ? (cut ? 1 : 2) : 0));
  if (cut) missingOut('path', 0);
  if (uncounted) uncountedOut(!cut);
  eventsOut.text('ext');
  eventsOut.map(1);
  eventsOut.text('file');
  eventsOut.map(4);
  eventsOut.text('calls');
  eventsOut.uint(calls);
  eventsOut.text('end_offset');
  eventsOut.uint(calls ? endOffset : 0);
  eventsOut.text('span_ms');
  eventsOut.uint((RecHeader.ts_ns(record) - FileIo.since_ns(record)) / 1000000);
  eventsOut.text('still_open');
  eventsOut.boolean((flags & FileFlag.INTERIM) != 0);
}

/** Bytes that are written through memory make no call. */
function uncountedOut(completenessToo: bool): void {
  if (completenessToo) {
    eventsOut.text('completeness');
    eventsOut.text('partial');
  }
  eventsOut.text('limitations');
  eventsOut.array(1);
  eventsOut.text('writes_through_memory_not_counted');
}

function metaOut(flags: u32): void {
  const cut = (flags & (FileFlag.PATH_CUT | FileFlag.PATH2_CUT | FileFlag.NAME_CUT)) != 0;
  eventsOut.map(cut ? 2 : 0);
  if (cut) missingOut('path', 0);
}
