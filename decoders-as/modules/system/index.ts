// The system decoder: process and file records become events and entries of the process table; it keeps no state.
import { EventType, TerminationType } from '../../abi/events';
import { defineModule, eventsOut, Status, setError, stat } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { FileIo, FileName, INTERP_AREA, Kind, PathFlag, ProcHow, RecHeader, SCRIPT_AREA, SysExec, SysExit, SysFork } from '../../abi/records';
import { eventHead, missingOut } from './event';
import { onFileIo, onFileName, onFileOpen } from './files';
import { argsOut, commLength, PathText, pathOf, resolveName } from './text';
import { countPiped, Piped } from './piped';
import { findScript, Script } from './script';
import { signalName } from './signals';

export {
  oisp_abi,
  oisp_consumed,
  oisp_flush,
  oisp_in,
  oisp_init,
  oisp_last_error,
  oisp_manifest,
  oisp_out,
  oisp_out_len,
  oisp_process,
  oisp_resume,
  oisp_stats,
  oisp_tick,
} from '../../abi/module';

/** Every lane must take the largest record: an event and a table entry of one sys.exec, whose texts may triple when they are not UTF-8. */
const MIN_OUT: u32 = 128 * 1024;
const ARRAY_MAX: u32 = 65535;

let execs: u64 = 0;
let exits: u64 = 0;
let forks: u64 = 0;
let snapshots: u64 = 0;
let files: u64 = 0;
let short: u64 = 0;

function onInit(outCap: u32, _flags: u32, _maxConns: u32): i32 {
  if (outCap >= MIN_OUT) return 0;
  setError('out lanes must hold ', MIN_OUT);
  return -1;
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  if (kind == Kind.SYS_PROC) return onProc(at, end);
  if (kind == Kind.PIPE_DATA) return countPiped(at, end);
  const fixed = sizeOf(kind);
  if (!fixed) return Status.DONE;
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed) {
    setError('a kernel record without its bytes');
    return Status.BAD;
  }
  const size = Reader.length;
  if (size < fixed || !tailFits(kind, record, size - fixed)) {
    short++;
    return Status.DONE;
  }
  const mark = eventsOut.begin();
  tell(kind, record, size);
  if (!eventsOut.commit(mark)) return Status.FULL;
  count(kind);
  return Status.DONE;
}

/** Bytes a record of this kind must have, 0 for a kind of no interest; the last area of some may be shorter. */
function sizeOf(kind: u32): u32 {
  switch (kind) {
    case Kind.SYS_EXEC:
      return <u32>SysExec.args(0);
    case Kind.SYS_EXIT:
      return SysExit.SIZE;
    case Kind.SYS_FORK:
      return SysFork.SIZE;
    case Kind.FILE_OPEN:
    case Kind.FILE_IO:
      return <u32>FileIo.path(0);
    case Kind.FILE_NAME:
      return <u32>FileName.text(0);
    default:
      return 0;
  }
}

/** Does what the record says of its last area fit into what there is of it? A recording may hold anything. */
function tailFits(kind: u32, record: usize, tail: u32): bool {
  if (kind == Kind.FILE_OPEN || kind == Kind.FILE_IO) return FileIo.path_len(record) <= tail;
  if (kind != Kind.FILE_NAME) return true;
  const first = <u64>FileName.folder_len(record) + FileName.name_len(record);
  return first + FileName.folder2_len(record) + FileName.name2_len(record) <= <u64>tail;
}

function tell(kind: u32, record: usize, size: u32): void {
  if (kind == Kind.SYS_EXEC) onExec(record, size);
  else if (kind == Kind.SYS_EXIT) onExit(record);
  else if (kind == Kind.SYS_FORK) onFork(record);
  else if (kind == Kind.FILE_OPEN) onFileOpen(record);
  else if (kind == Kind.FILE_IO) onFileIo(record);
  else onFileName(record);
}

function count(kind: u32): void {
  if (kind == Kind.SYS_EXEC) execs++;
  else if (kind == Kind.SYS_EXIT) exits++;
  else if (kind == Kind.SYS_FORK) forks++;
  else files++;
}

function onExec(record: usize, size: u32): void {
  const exe = pathOf(SysExec.exe(record), SysExec.exe_len(record), SysExec.flags(record) & PathFlag.EXE_CUT);
  const cwd = pathOf(SysExec.cwd(record), SysExec.cwd_len(record), SysExec.flags(record) & PathFlag.CWD_CUT);
  const cgroup = pathOf(SysExec.cgroup(record), SysExec.cgroup_len(record), SysExec.flags(record) & PathFlag.CGROUP_CUT);
  const argsLength = min(SysExec.args_len(record), size - <u32>SysExec.args(0));
  const args = SysExec.args(record);
  tableEntry(record, ProcHow.EXEC, RecHeader.tgid(record), SysExec.ppid(record), RecHeader.start_ns(record), SysExec.parent_start_ns(record));
  exe.out();
  argsOut(args, argsLength);
  cwd.out();
  cgroup.out();
  eventsOut.uint(SysExec.flags(record));

  const cut = (SysExec.flags(record) & PathFlag.ARGS_CUT) != 0;
  eventHead(record, EventType.PROCESS_EXEC, <u32>SysExec.exe(0));
  const told = SysExec.script_len(record) != 0;
  if (!told) findScript(exe, args, argsLength);
  const script = told || Script.at != 0;
  eventsOut.map((cwd.length ? 5 : 4) + (script ? 2 : 0));
  eventsOut.text('exe');
  // The schema wants an exe: the thread's name, which execve has just set from it, where the path could not be read.
  if (exe.length) exe.out();
  else eventsOut.str(RecHeader.comm(record), commLength(RecHeader.comm(record)));
  eventsOut.text('args');
  argsOut(args, argsLength);
  if (cwd.length) {
    eventsOut.text('cwd');
    cwd.out();
  }
  eventsOut.text('is_shell');
  eventsOut.boolean(exe.isShell());
  eventsOut.text('is_script');
  eventsOut.boolean(script);
  if (told) kernelScriptOut(record, cwd);
  else if (script) argumentScriptOut(exe, cwd);
  metaExec(record, cut ? SysExec.args_total(record) - argsLength : 0);
}

/** The kernel has found the interpreter in the script's first line. A script's path is relative to where it was started; this uses up cwd. */
function kernelScriptOut(record: usize, cwd: PathText): void {
  eventsOut.text('interpreter');
  eventsOut.str(SysExec.interp(record), min(SysExec.interp_len(record), INTERP_AREA));
  eventsOut.text('script_path');
  resolveName(cwd, SysExec.script(record), min(SysExec.script_len(record), SCRIPT_AREA)).out();
}

/** The interpreter was started with the script as an argument. This uses up cwd. */
function argumentScriptOut(exe: PathText, cwd: PathText): void {
  eventsOut.text('interpreter');
  exe.out();
  eventsOut.text('script_path');
  resolveName(cwd, Script.at, <u32>Script.length).out();
}

/** @param missing bytes of the arguments. */
function metaExec(record: usize, missing: u32): void {
  eventsOut.map(missing ? 4 : 1);
  if (missing) missingOut('args', missing);
  eventsOut.text('ext');
  eventsOut.map(2);
  eventsOut.text('namespaces');
  eventsOut.map(3);
  eventsOut.text('pid');
  eventsOut.uint(SysExec.pid_ns(record));
  eventsOut.text('mnt');
  eventsOut.uint(SysExec.mnt_ns(record));
  eventsOut.text('net');
  eventsOut.uint(SysExec.net_ns(record));
  eventsOut.text('pid_in_namespace');
  eventsOut.uint(SysExec.pid_in_ns(record));
}

function onExit(record: usize): void {
  const status = SysExit.exit_code(record);
  const signal = status & 0x7f;
  const dumped = (status & 0x80) != 0;
  eventHead(record, EventType.PROCESS_EXIT, SysExit.SIZE);
  eventsOut.map(signal == 0 ? 6 : 8);
  eventsOut.text('exit_code');
  // What a shell reports: 128 + signal for a process that a signal ended.
  eventsOut.uint(signal == 0 ? (status >> 8) & 0xff : 128 + signal);
  if (signal != 0) {
    eventsOut.text('signal');
    eventsOut.uint(signal);
    eventsOut.text('signal_name');
    eventsOut.text(signalName(signal));
  }
  eventsOut.text('termination_type');
  eventsOut.text(dumped ? TerminationType.COREDUMP : signal != 0 ? TerminationType.SIGNALED : TerminationType.NORMAL);
  eventsOut.text('runtime_ms');
  eventsOut.uint((RecHeader.ts_ns(record) - RecHeader.start_ns(record)) / 1000000);
  eventsOut.text('cpu_user_ms');
  eventsOut.uint(SysExit.utime_ns(record) / 1000000);
  eventsOut.text('cpu_system_ms');
  eventsOut.uint(SysExit.stime_ns(record) / 1000000);
  eventsOut.text('max_rss_kb');
  eventsOut.uint(SysExit.max_rss_kb(record));
  eventsOut.map(0);

  eventsOut.array(4);
  eventsOut.uint(Kind.PROC_END);
  eventsOut.uint(RecHeader.ts_ns(record));
  eventsOut.uint(RecHeader.tgid(record));
  eventsOut.uint(RecHeader.start_ns(record));
}

function onFork(record: usize): void {
  tableEntry(record, ProcHow.FORK, SysFork.child_tgid(record), RecHeader.tgid(record), SysFork.child_start_ns(record), RecHeader.start_ns(record));
  for (let i = 0; i < 4; i++) eventsOut.nil();
  eventsOut.uint(0);

  eventHead(record, EventType.PROCESS_FORK, SysFork.SIZE);
  eventsOut.map(2);
  eventsOut.text('child_pid');
  eventsOut.uint(SysFork.child_tgid(record));
  eventsOut.text('is_thread');
  eventsOut.boolean(false);
  eventsOut.map(0);
}

/** The first elements of a proc.start record: exe, args, cwd, cgroup and flags follow. */
function tableEntry(record: usize, how: u32, tgid: u32, ppid: u32, startNs: u64, parentStartNs: u64): void {
  eventsOut.array(15);
  eventsOut.uint(Kind.PROC_START);
  eventsOut.uint(how);
  eventsOut.uint(RecHeader.ts_ns(record));
  eventsOut.uint(tgid);
  eventsOut.uint(ppid);
  eventsOut.uint(startNs);
  eventsOut.uint(parentStartNs);
  eventsOut.uint(RecHeader.uid(record));
  eventsOut.uint(RecHeader.gid(record));
  eventsOut.str(RecHeader.comm(record), commLength(RecHeader.comm(record)));
}

/** [tgid, ppid, start_ns, uid, gid, comm, exe, args, cwd, cgroup] -> proc.start. */
function onProc(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const tgid = Reader.uint();
  const ppid = Reader.uint();
  const startNs = Reader.uint();
  const uid = Reader.uint();
  const gid = Reader.uint();
  if (Reader.failed) {
    setError('sys.proc without its numbers');
    return Status.BAD;
  }
  const mark = eventsOut.begin();
  eventsOut.array(15);
  eventsOut.uint(Kind.PROC_START);
  eventsOut.uint(ProcHow.SNAPSHOT);
  eventsOut.uint(startNs);
  eventsOut.uint(tgid);
  eventsOut.uint(ppid);
  eventsOut.uint(startNs);
  eventsOut.uint(0);
  eventsOut.uint(uid);
  eventsOut.uint(gid);
  copyText();
  copyText();
  copyTexts();
  copyText();
  copyText();
  eventsOut.uint(0);
  if (Reader.failed) {
    eventsOut.at = mark;
    setError('sys.proc with an element of the wrong type');
    return Status.BAD;
  }
  if (!eventsOut.commit(mark)) return Status.FULL;
  snapshots++;
  return Status.DONE;
}

function copyText(): void {
  const text = Reader.strOrNil();
  eventsOut.strOrNil(text, Reader.length);
}

function copyTexts(): void {
  if (Reader.nil()) {
    eventsOut.nil();
    return;
  }
  const count = min(Reader.array(), ARRAY_MAX);
  eventsOut.array(count);
  for (let i: u32 = 0; i < count && !Reader.failed; i++) copyText();
}

function onTick(_seconds: u32): void {}

function onFlush(): bool {
  return false;
}

function onStats(): void {
  stat('execs', execs);
  stat('exits', exits);
  stat('forks', forks);
  stat('snapshots', snapshots);
  stat('files', files);
  stat('malformed', short);
  stat('pipe_bytes', Piped.bytes);
  stat('pipe_records', Piped.records);
  stat('invalid_utf8', eventsOut.replaced);
  stat('paths_cut', PathText.cutCount);
}

defineModule(
  'system',
  '0.1.0',
  [Kind.SYS_EXEC, Kind.SYS_EXIT, Kind.SYS_FORK, Kind.SYS_PROC, Kind.FILE_OPEN, Kind.FILE_IO, Kind.FILE_NAME, Kind.PIPE_DATA],
  [Kind.PROC_START, Kind.PROC_END, Kind.EVENT],
  onInit,
  onRecord,
  onTick,
  onFlush,
  onStats,
);
