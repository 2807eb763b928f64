// File records: opens, sums of what was read and written, and names that were removed or changed, as file events; it keeps no state.
import { EventType } from '../../abi/events';
import { eventsOut } from '../../abi/module';
import { FileFlag, FileIo, FileName, FileOp, FileOpen } from '../../abi/records';
import { eventHead, metaMissing } from './event';
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

/** Reads that are told of no one: loading code, and what every program reads of the system to start. */
export let quietReads: u64 = 0;

/** Takes back what a record counted that is given again. */
export function setQuietReads(count: u64): void {
  quietReads = count;
}

export function onFileOpen(record: usize): void {
  const path = pathOf(FileOpen.path(record), FileOpen.path_len(record), FileOpen.flags(record) & FileFlag.PATH_CUT);
  const given = FileOpen.open_flags(record);
  eventHead(record, EventType.FILE_OPEN, <u32>FileOpen.path(0));
  eventsOut.map(4);
  eventsOut.text('path');
  path.out();
  eventsOut.text('flags');
  flagsOut(given);
  eventsOut.text('fd');
  eventsOut.uint(FileOpen.fd(record));
  fileOut(path, FileOpen.size(record), FileOpen.inode(record), FileOpen.mode(record));
  metaOut(FileOpen.flags(record));
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
  const flags = FileIo.flags(record);
  const path = pathOf(FileIo.path(record), FileIo.path_len(record), flags & FileFlag.PATH_CUT);
  const read = FileIo.read_bytes(record);
  const written = FileIo.write_bytes(record);
  if (read) {
    if (flags & FileFlag.CODE || (!written && path.isSystem())) quietReads++;
    else readOut(record, path, read);
  }
  if (written || flags & (FileFlag.CREATED | FileFlag.TRUNCATED)) writeOut(record, path, written);
}

function readOut(record: usize, path: PathText, bytes: u64): void {
  eventHead(record, EventType.FILE_READ, <u32>FileIo.path(0));
  eventsOut.map(5);
  eventsOut.text('path');
  path.out();
  eventsOut.text('bytes_read');
  eventsOut.uint(bytes);
  eventsOut.text('offset');
  eventsOut.uint(FileIo.read_offset(record));
  eventsOut.text('complete');
  eventsOut.boolean(FileIo.read_offset(record) == 0 && bytes >= FileIo.size(record));
  fileOut(path, FileIo.size(record), FileIo.inode(record), FileIo.mode(record));
  metaOut(FileIo.flags(record));
}

function writeOut(record: usize, path: PathText, bytes: u64): void {
  const flags = FileIo.flags(record);
  eventHead(record, EventType.FILE_WRITE, <u32>FileIo.path(0));
  eventsOut.map(6);
  eventsOut.text('path');
  path.out();
  eventsOut.text('bytes_written');
  eventsOut.uint(bytes);
  eventsOut.text('offset');
  eventsOut.uint(FileIo.write_offset(record));
  eventsOut.text('created');
  eventsOut.boolean((flags & FileFlag.CREATED) != 0);
  eventsOut.text('truncated');
  eventsOut.boolean((flags & FileFlag.TRUNCATED) != 0);
  fileOut(path, FileIo.size(record), FileIo.inode(record), FileIo.mode(record));
  metaOut(flags);
}

export function onFileName(record: usize): void {
  const flags = FileName.flags(record);
  const op = FileName.op(record);
  const path = resolveName(
    pathOf(FileName.folder(record), FileName.folder_len(record), flags & FileFlag.PATH_CUT),
    FileName.name(record),
    FileName.name_len(record),
  );
  if (op == FileOp.RENAME || op == FileOp.EXCHANGE) {
    const path2 = resolveName(
      pathOf(FileName.folder2(record), FileName.folder2_len(record), flags & FileFlag.PATH2_CUT),
      FileName.name2(record),
      FileName.name2_len(record),
    );
    renameOut(record, path, path2);
    // Each of two names that change places is the new name of the other.
    if (op == FileOp.EXCHANGE) renameOut(record, path2, path);
    return;
  }
  eventHead(record, op == FileOp.TRUNCATE ? EventType.FILE_WRITE : EventType.FILE_DELETE, <u32>FileName.folder(0));
  eventsOut.map(op == FileOp.TRUNCATE ? 3 : 2);
  eventsOut.text('path');
  path.out();
  if (op == FileOp.TRUNCATE) {
    eventsOut.text('bytes_written');
    eventsOut.uint(0);
    eventsOut.text('truncated');
    eventsOut.boolean(true);
  } else {
    eventsOut.text('file');
    eventsOut.map(2);
    eventsOut.text('name');
    path.nameOut();
    eventsOut.text('is_directory');
    eventsOut.boolean(op == FileOp.RMDIR);
  }
  metaOut(flags);
}

function renameOut(record: usize, from: PathText, to: PathText): void {
  eventHead(record, EventType.FILE_RENAME, <u32>FileName.folder(0));
  eventsOut.map(2);
  eventsOut.text('old_path');
  from.out();
  eventsOut.text('new_path');
  to.out();
  metaOut(FileName.flags(record));
}

/** The key `file` and its value. */
function fileOut(path: PathText, size: u64, inode: u64, mode: u32): void {
  eventsOut.text('file');
  eventsOut.map(4);
  eventsOut.text('name');
  path.nameOut();
  eventsOut.text('size');
  eventsOut.uint(size);
  eventsOut.text('inode');
  eventsOut.uint(inode);
  eventsOut.text('mode');
  octalOut(mode & PERMISSIONS);
}

const octal: usize = heap.alloc(4);

function octalOut(mode: u32): void {
  for (let i: u32 = 0; i < 4; i++) store<u8>(octal + i, <u8>(0x30 + ((mode >> (9 - 3 * i)) & 7)));
  eventsOut.str(octal, 4);
}

function metaOut(flags: u32): void {
  if (flags & (FileFlag.PATH_CUT | FileFlag.PATH2_CUT | FileFlag.NAME_CUT)) {
    metaMissing('path', 0);
    return;
  }
  if (!(flags & FileFlag.INTERIM)) {
    eventsOut.map(0);
    return;
  }
  eventsOut.map(1);
  eventsOut.text('ext');
  eventsOut.map(1);
  eventsOut.text('still_open');
  eventsOut.boolean(true);
}
