/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Follows the open files of processes in file scope: what was moved through each, until it is told; it never copies content.
 *
 *     open for writing ---.                                           .--> the last descriptor of it that is known is closed, or
 *                         +--> open_files (tgid, struct file) --tell--+    leads elsewhere; exec, exit
 *     first read or write-'         ^          ^                      '--> every 30 s while bytes go on, and when they have stopped
 *                              read, write     |
 *                                         file_fds (tgid, descriptor)
 *
 * An open file is one thing however many descriptors of a process lead to it, so that a redirection (open, dup2, close, write) is told
 * once. The file behind a descriptor is looked up at every use: it can change without a call that is seen (O_CLOEXEC, a descriptor
 * received from another process, io_uring).
 *
 * The loader has these maps allocated as they are needed where the kernel allows it to every program that uses them.
 */
#pragma once
#include "base.h"
#include "ledger.h"
#include "open_file.h"
#include "paths.h"
#include "ring.h"
#include "scope.h"
#include "system_files.h"
#include "task.h"

#define FMODE_CREATED 0x100000
#define O_ACCMODE 3
#define O_APPEND 02000

#define NO_FD (~0u)
#define FDS_PER_MARK 64

/* Is a file followed? */
enum { FILE_UNNAMED = 0, FILE_FOLLOWED = 1, FILE_FULL = 2 };

struct open_key {
	u64 file; /* Address of struct file. */
	u32 tgid;
	u32 reserved;
};

struct open_file {
	u64 told_ns; /* Of the last record, or of the beginning. */
	u64 read_bytes; /* Not told yet, as the three below. */
	u64 write_bytes;
	u32 read_calls;
	u32 write_calls;
	u32 news; /* 1: there is something to tell beside bytes. */
	u32 fresh; /* 1: who moves the next bytes, and when, is to be noted. */
	u32 quiet; /* 1: its reads are not told. */
	u32 fds; /* Descriptors in file_fds that lead here. */
	u32 last_fd; /* One of them. */
	u32 reserved;
	struct oisp_file_io rec; /* As it will be told. */
	char slack[256]; /* A component of the path never runs past its area; the verifier does not know. */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OISP_FILE_TABLE);
	__type(key, struct open_key);
	__type(value, struct open_file);
} open_files SEC(".maps");

struct fd_key {
	u32 tgid;
	u32 fd;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * OISP_FILE_TABLE);
	__type(key, struct fd_key);
	__type(value, u64); /* Address of struct file. */
} file_fds SEC(".maps");

/* Where in file_fds a process has descriptors: a byte for each 64, which is only ever set, so that threads may do it at once. */
struct fd_marks {
	u8 used[OISP_FILE_FDS / FDS_PER_MARK];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OISP_FILE_TABLE);
	__type(key, u32); /* tgid */
	__type(value, struct fd_marks);
} file_marks SEC(".maps");

/* In .rodata: zero bytes that need no room on the BPF stack. */
const volatile struct open_file no_open_file = {};

static __always_inline struct open_file *open_file_of(u64 file, u32 tgid)
{
	struct open_key key = { .file = file, .tgid = tgid };

	return bpf_map_lookup_elem(&open_files, &key);
}

static __always_inline void open_file_forget(u64 file, u32 tgid)
{
	struct open_key key = { .file = file, .tgid = tgid };

	bpf_map_delete_elem(&open_files, &key);
}

/* Puts the record as it is into the ring; false when that is full. */
static __always_inline bool file_put(struct open_file *open, u16 kind)
{
	u64 size = open->rec.path_len;

	asm volatile("" : "+r"(size));
	if (size > OISP_PATH_AREA)
		size = OISP_PATH_AREA;
	size += __builtin_offsetof(struct oisp_file_io, path);
	open->rec.header.kind = kind;
	open->rec.header.size = size;
	open->rec.header.ts_ns = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&ring, &open->rec, size, BPF_RB_NO_WAKEUP))
		return false;
	ring_wake_after();
	return true;
}

/* Tells what an open file has moved since it was last told, and takes that off. 0: nothing is left to tell; 1: the ring is full. */
__noinline int file_tell(u64 file, u32 tgid, u32 interim)
{
	struct open_file *open = open_file_of(file, tgid);
	u64 read_bytes, write_bytes;

	if (!open)
		return 0;
	read_bytes = open->read_bytes;
	write_bytes = open->write_bytes;
	if (!read_bytes && !write_bytes && !open->news)
		return 0;
	open->rec.read_bytes = read_bytes;
	open->rec.write_bytes = write_bytes;
	open->rec.read_calls = open->read_calls;
	open->rec.write_calls = open->write_calls;
	open->rec.flags |= interim;
	if (!file_put(open, OISP_KIND_FILE_IO)) {
		open->rec.flags &= ~(u32)OISP_FILE_FLAG_INTERIM;
		return 1;
	}
	ledger_add(OISP_LEDGER_FILE_TOLD, read_bytes + write_bytes);
	/* Another thread may have added to them meanwhile. */
	__sync_fetch_and_add(&open->read_bytes, -read_bytes);
	__sync_fetch_and_add(&open->write_bytes, -write_bytes);
	open->read_calls = 0;
	open->write_calls = 0;
	open->news = 0;
	open->fresh = 1;
	open->told_ns = open->rec.header.ts_ns;
	/* Made, cut and mapped once; the next record is of the same file, later. */
	open->rec.flags &= OISP_FILE_FLAG_PATH_CUT;
	return 0;
}

/* Forgets an open file, telling of it before. 1: the ring is full, and it is kept for the sweep. */
__noinline int file_end(u64 file, u32 tgid)
{
	if (file_tell(file, tgid, 0))
		return 1;
	open_file_forget(file, tgid);
	return 0;
}

/* The descriptor leads nowhere any more, or elsewhere. */
__noinline int fd_end(u32 tgid, u32 fd)
{
	struct fd_key key = { tgid, fd };
	u64 *place = bpf_map_lookup_elem(&file_fds, &key);
	struct open_file *open;
	u64 file;

	if (!place)
		return 0;
	file = *place;
	bpf_map_delete_elem(&file_fds, &key);
	open = open_file_of(file, tgid);
	if (!open)
		return 0;
	__sync_fetch_and_add(&open->fds, -1);
	if (open->last_fd == fd)
		open->last_fd = NO_FD;
	if ((s32)open->fds <= 0)
		file_end(file, tgid);
	return 0;
}

static __always_inline bool fd_mark(u32 tgid, u64 fd)
{
	struct fd_marks *marks = bpf_map_lookup_elem(&file_marks, &tgid);
	struct fd_marks none = {};

	if (!marks) {
		bpf_map_update_elem(&file_marks, &tgid, &none, BPF_NOEXIST);
		marks = bpf_map_lookup_elem(&file_marks, &tgid);
		if (!marks)
			return false;
	}
	fd /= FDS_PER_MARK;
	asm volatile("" : "+r"(fd));
	if (fd >= sizeof(marks->used))
		return false;
	marks->used[fd] = 1;
	return true;
}

/* Notes that a descriptor of the process leads to a file that is followed; whatever it led to before has ended. 1: it is noted. */
__noinline int fd_lead(u32 tgid, u32 fd, u64 file)
{
	struct fd_key key = { tgid, fd };
	u64 *place = bpf_map_lookup_elem(&file_fds, &key);
	struct open_file *open;

	if (place && *place == file)
		return 1;
	if (place)
		fd_end(tgid, fd);
	open = open_file_of(file, tgid);
	if (!open || fd >= OISP_FILE_FDS || !fd_mark(tgid, fd) || bpf_map_update_elem(&file_fds, &key, &file, BPF_ANY))
		return 0;
	__sync_fetch_and_add(&open->fds, 1);
	open->last_fd = fd;
	return 1;
}

/* What was left of an open file that had the same address cannot be told any more. */
static __always_inline void file_drop(u64 file, u32 tgid)
{
	struct open_file *open = open_file_of(file, tgid);

	if (!open)
		return;
	if (file_tell(file, tgid, 0))
		ledger_add(OISP_LEDGER_FILE_RING_FULL, open->read_bytes + open->write_bytes);
	open_file_forget(file, tgid);
}

/* A file without a name: one in memory only. */
static __always_inline bool is_nameless(struct file *file)
{
	struct dentry *entry = BPF_CORE_READ(file, f_path.dentry);

	return BPF_CORE_READ(entry, d_parent) == entry && BPF_CORE_READ(file, f_path.mnt, mnt_root) != entry;
}

static __always_inline void put_inode(struct oisp_file_io *rec, struct inode *inode)
{
	rec->inode = BPF_CORE_READ(inode, i_ino);
	rec->size = BPF_CORE_READ(inode, i_size);
	rec->mode = BPF_CORE_READ(inode, i_mode);
	rec->owner_uid = BPF_CORE_READ(inode, i_uid.val);
	rec->owner_gid = BPF_CORE_READ(inode, i_gid.val);
}

/*
 * A shell opens what it redirects to, and its child writes. What the opening did goes with the bytes: to the child, when the parent has moved
 * none that are not told. Returns bits of enum oisp_file_flag.
 */
static __always_inline u32 take_news_of_parent(u64 file)
{
	struct open_file *theirs = open_file_of(file, BPF_CORE_READ(current_task(), real_parent, tgid));
	u32 flags;

	if (!theirs || !theirs->news || theirs->read_bytes || theirs->write_bytes || (theirs->rec.flags & OISP_FILE_FLAG_MAPPED))
		return 0;
	flags = theirs->rec.flags & (OISP_FILE_FLAG_CREATED | OISP_FILE_FLAG_TRUNCATED);
	theirs->rec.flags &= ~flags;
	theirs->news = 0;
	return flags;
}

/* Follows a regular file of the current process from now on, afresh; says whether it does. flags: enum oisp_file_flag. */
__noinline int file_begin(u64 address, u32 fd, u32 flags)
{
	struct file *file = (struct file *)address;
	u32 tgid = current_tgid();
	struct open_key key = { .file = address, .tgid = tgid };
	struct path_area area = { .size = OISP_PATH_AREA };
	struct path_top top = {};
	struct open_file *open;

	fd_end(tgid, fd);
	file_drop(address, tgid);
	if (is_nameless(file))
		return FILE_UNNAMED;
	if (bpf_map_update_elem(&open_files, &key, (const void *)&no_open_file, BPF_ANY))
		return FILE_FULL;
	open = open_file_of(address, tgid);
	if (!open)
		return FILE_FULL;
	area.bytes = open->rec.path;
	area.used = &open->rec.path_len;
	if (!put_path_and_top(&area, __builtin_preserve_access_index(&file->f_path), &top))
		flags |= OISP_FILE_FLAG_PATH_CUT;
	fill_header(&open->rec.header, OISP_KIND_FILE_IO, 0);
	open->told_ns = open->rec.header.ts_ns;
	open->rec.since_ns = open->told_ns;
	put_inode(&open->rec, BPF_CORE_READ(file, f_inode));
	open->rec.fd = fd;
	open->rec.flags = flags | take_news_of_parent(address);
	open->news = (open->rec.flags & ~(u32)OISP_FILE_FLAG_PATH_CUT) != 0;
	open->rec.open_flags = BPF_CORE_READ(file, f_flags);
	open->quiet = control.file_reads == OISP_FILE_READS_USER && is_system_file(&top);
	if (fd_lead(tgid, fd, address))
		return FILE_FOLLOWED;
	open_file_forget(address, tgid);
	return FILE_FULL;
}

/* What is kept of the regular file behind a descriptor of the current process, begun when it is new; 0 when it is not followed. */
static __always_inline struct open_file *file_current(u32 fd, struct file *file, int *followed)
{
	u32 tgid = current_tgid();
	struct open_file *open = open_file_of((u64)file, tgid);

	*followed = FILE_FOLLOWED;
	/* An address that is used again is another file. */
	if (open && open->rec.inode == BPF_CORE_READ(file, f_inode, i_ino)) {
		if (open->last_fd != fd)
			fd_lead(tgid, fd, (u64)file);
		return open;
	}
	*followed = file_begin((u64)file, fd, 0);
	return *followed == FILE_FOLLOWED ? open_file_of((u64)file, tgid) : 0;
}

/* A call has moved bytes of a file that is followed. at: position of the first. */
static __always_inline void file_count(struct open_file *open, struct file *file, u32 direction, u64 bytes, u64 at)
{
	if (direction == OISP_DIRECTION_READ && open->quiet) {
		ledger_add(OISP_LEDGER_FILE_SKIPPED, bytes);
		return;
	}
	if (open->fresh) {
		fill_header(&open->rec.header, OISP_KIND_FILE_IO, 0);
		open->rec.since_ns = open->rec.header.ts_ns;
		open->fresh = 0;
	}
	if (direction == OISP_DIRECTION_READ) {
		if (!open->read_bytes || at < open->rec.read_offset)
			open->rec.read_offset = at;
		if (!open->read_bytes || at + bytes > open->rec.read_end)
			open->rec.read_end = at + bytes;
		__sync_fetch_and_add(&open->read_bytes, bytes);
		open->read_calls++;
	} else {
		if (!open->write_bytes || at < open->rec.write_offset)
			open->rec.write_offset = at;
		if (!open->write_bytes || at + bytes > open->rec.write_end)
			open->rec.write_end = at + bytes;
		__sync_fetch_and_add(&open->write_bytes, bytes);
		open->write_calls++;
	}
	open->rec.size = BPF_CORE_READ(file, f_inode, i_size);
}

static __always_inline bool interim_due(const struct open_file *open)
{
	return bpf_ktime_get_boot_ns() - open->told_ns > control.file_interim_ms * 1000000ULL;
}

/* Bytes that a call of the current process moved from or to a regular file, whether it is followed or not. */
static __always_inline void file_moved(u32 fd, struct file *file, u32 direction, u64 bytes, u64 at)
{
	struct open_file *open;
	int followed;

	if (direction == OISP_DIRECTION_READ && control.file_reads == OISP_FILE_READS_NONE)
		return;
	open = file_current(fd, file, &followed);
	if (followed == FILE_UNNAMED)
		return;
	ledger_add(OISP_LEDGER_FILE_MOVED, bytes);
	if (!open) {
		ledger_add(OISP_LEDGER_FILE_FULL, bytes);
		return;
	}
	file_count(open, file, direction, bytes, at);
	if (interim_due(open))
		file_tell((u64)file, current_tgid(), OISP_FILE_FLAG_INTERIM);
}

/* The file is mapped as code: what was read of it was read to load it. */
static __always_inline void file_is_code(struct file *file)
{
	struct open_file *open = open_file_of((u64)file, current_tgid());
	u64 bytes;

	if (!open || open->quiet || control.file_reads != OISP_FILE_READS_USER)
		return;
	open->quiet = 1;
	bytes = open->read_bytes;
	if (!bytes)
		return;
	__sync_fetch_and_add(&open->read_bytes, -bytes);
	ledger_add(OISP_LEDGER_FILE_SKIPPED, bytes);
}

/* Of its own, so that the verifier does not learn of the bounds at each step of a loop. */
__noinline int fd_end_within(u32 tgid, u32 fd, u32 first, u32 last)
{
	return fd >= first && fd <= last ? fd_end(tgid, fd) : 0;
}

/* For every descriptor that may be in file_fds. */
#define FOR_EACH_FD(marks, fd)                                                                   \
	_Pragma("clang loop unroll(disable)") for (u32 fd = 0; fd < OISP_FILE_FDS; fd++)          \
		if (!(fd % FDS_PER_MARK) && !(marks)->used[fd / FDS_PER_MARK])                    \
			fd += FDS_PER_MARK - 1;                                                   \
		else

/* Ends what is known of these descriptors. */
static __always_inline void fds_end(u32 tgid, u32 first, u32 last)
{
	struct fd_marks *marks = bpf_map_lookup_elem(&file_marks, &tgid);

	if (!marks)
		return;
	FOR_EACH_FD(marks, fd)
	fd_end_within(tgid, fd, first, last);
}

/* An exec has closed some descriptors. Those that stay have a new program behind them: what the old one moved is its own. */
__noinline int fd_executed(u32 tgid, u32 fd)
{
	struct fd_key key = { tgid, fd };
	u64 *place = bpf_map_lookup_elem(&file_fds, &key);
	struct open_file *open;
	u64 file;

	if (!place)
		return 0;
	file = *place;
	if ((u64)file_of_fd(fd) != file)
		return fd_end(tgid, fd);
	open = open_file_of(file, tgid);
	if (!open)
		return 0;
	if (open->read_bytes || open->write_bytes)
		file_tell(file, tgid, OISP_FILE_FLAG_INTERIM);
	open->fresh = 1;
	return 0;
}

/* To be called before the exec is told. */
static __always_inline void files_executed(u32 tgid)
{
	struct fd_marks *marks = bpf_map_lookup_elem(&file_marks, &tgid);

	if (!marks)
		return;
	FOR_EACH_FD(marks, fd)
	fd_executed(tgid, fd);
}

/* To be called before the end of the process is told. */
static __always_inline void files_exited(u32 tgid)
{
	fds_end(tgid, 0, OISP_FILE_FDS);
	bpf_map_delete_elem(&file_marks, &tgid);
}
