/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Follows the open files of processes in file scope: what was moved through each descriptor, until it is told; it never copies content.
 *
 *     open ------> file_begin --.                                    .--> close, dup2 over it, exec (O_CLOEXEC), exit
 *     first read or write ------+--> open_files (tgid, fd) --tell--->+--> every 30 s while bytes go on, and when they have stopped
 *     of a descriptor not known-'         ^                          '--> another file is found behind the descriptor
 *                                   read, write
 *
 * The file behind a descriptor is compared at every use: it can change without a call that is seen (a descriptor received from
 * another process, or one of io_uring).
 */
#pragma once
#include "base.h"
#include "gates.h"
#include "ledger.h"
#include "open_file.h"
#include "paths.h"
#include "ring.h"
#include "scope.h"
#include "task.h"

#define FMODE_CREATED 0x100000

struct file_key {
	u32 tgid;
	u32 fd;
};

struct open_file {
	/* A path that is walked may spill into what follows before that is written. */
	char path[OISP_PATH_AREA];
	u64 file; /* Address of struct file. */
	struct oisp_rec_header header; /* Who moved the last bytes. */
	u64 opened_ns;
	u64 told_ns; /* Of the last record, or of the opening. */
	u64 inode;
	u64 size;
	u64 read_bytes;
	u64 write_bytes;
	u64 read_offset;
	u64 write_offset;
	u32 flags; /* enum oisp_file_flag */
	u32 mode;
	u32 path_len;
	u32 untold; /* 1: there is something to tell beside bytes. */
	char slack[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct file_key);
	__type(value, struct open_file);
} open_files SEC(".maps");

/* Which descriptors of a process are in open_files, so that its end finds them. A byte each: threads may set two at once. */
struct fd_set {
	u8 used[OISP_FILE_FDS];
	u32 first; /* Of the walk under way: read back at each step, they are unknown numbers, and the verifier walks all steps as one. */
	u32 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32); /* tgid */
	__type(value, struct fd_set);
} file_fds SEC(".maps");

/* In .rodata: zero bytes that need no room on the BPF stack. */
const volatile struct open_file no_open_file = {};
const volatile struct fd_set no_fds = {};

static __always_inline struct open_file *open_file_at(u32 tgid, u32 fd)
{
	struct file_key key = { tgid, fd };

	return bpf_map_lookup_elem(&open_files, &key);
}

/* fd must be below OISP_FILE_FDS; the mask is for the verifier. */
static __always_inline u8 *fd_place(struct fd_set *set, u64 fd)
{
	asm volatile("" : "+r"(fd));
	return &set->used[fd & (OISP_FILE_FDS - 1)];
}

/* False when the descriptor cannot be followed. */
static __always_inline bool fd_mark(u32 tgid, u32 fd)
{
	struct fd_set *set = bpf_map_lookup_elem(&file_fds, &tgid);

	if (fd >= OISP_FILE_FDS)
		return false;
	if (!set) {
		bpf_map_update_elem(&file_fds, &tgid, (const void *)&no_fds, BPF_NOEXIST);
		set = bpf_map_lookup_elem(&file_fds, &tgid);
		if (!set)
			return false;
	}
	*fd_place(set, fd) = 1;
	return true;
}

static __always_inline void fd_unmark(u32 tgid, u32 fd)
{
	struct fd_set *set = bpf_map_lookup_elem(&file_fds, &tgid);

	if (set && fd < OISP_FILE_FDS)
		*fd_place(set, fd) = 0;
}

/* Tells what an open file has moved since it was last told, and forgets that. interim: OISP_FILE_FLAG_INTERIM when it stays open, else 0. */
__noinline int file_tell(u32 tgid, u32 fd, u32 interim)
{
	struct open_file *open = open_file_at(tgid, fd);
	struct oisp_file_io *rec;

	if (!open || !(open->read_bytes || open->write_bytes || open->untold))
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return 0;
	}
	rec->header = open->header;
	rec->header.ts_ns = bpf_ktime_get_boot_ns();
	rec->opened_ns = open->opened_ns;
	rec->inode = open->inode;
	rec->size = open->size;
	rec->read_bytes = open->read_bytes;
	rec->write_bytes = open->write_bytes;
	rec->read_offset = open->read_offset;
	rec->write_offset = open->write_offset;
	rec->fd = fd;
	rec->flags = open->flags | interim;
	rec->mode = open->mode;
	rec->path_len = open->path_len;
	bpf_probe_read_kernel(rec->path, OISP_PATH_AREA, open->path);
	rec->header.kind = OISP_KIND_FILE_IO;
	rec->header.size = __builtin_offsetof(struct oisp_file_io, path) + open->path_len;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	open->told_ns = bpf_ktime_get_boot_ns();
	open->read_bytes = 0;
	open->write_bytes = 0;
	open->untold = 0;
	/* Made and cut once; the next record is of the same file, later. */
	open->flags &= ~(u32)(OISP_FILE_FLAG_CREATED | OISP_FILE_FLAG_TRUNCATED);
	return 0;
}

/* The descriptor leads nowhere any more, or elsewhere. */
__noinline int file_end(u32 tgid, u32 fd)
{
	struct file_key key = { tgid, fd };

	if (!open_file_at(tgid, fd))
		return 0;
	file_tell(tgid, fd, 0);
	bpf_map_delete_elem(&open_files, &key);
	fd_unmark(tgid, fd);
	return 0;
}

/* Follows the regular file behind a descriptor of the current process from now on, afresh. 1: it is followed. flags: enum oisp_file_flag. */
__noinline int file_begin(u32 fd, u32 flags)
{
	struct file *file = file_of_fd(fd);
	u32 tgid = current_tgid();
	struct file_key key = { tgid, fd };
	struct open_file *open;
	struct path_area area = { .size = OISP_PATH_AREA };

	file_end(tgid, fd);
	if (!file || file_kind_of(file) != OISP_FILE_KIND_REGULAR)
		return 0;
	if (!fd_mark(tgid, fd) || bpf_map_update_elem(&open_files, &key, (const void *)&no_open_file, BPF_ANY)) {
		ledger_add(OISP_LEDGER_FILE_FULL, 0);
		return 0;
	}
	open = bpf_map_lookup_elem(&open_files, &key);
	if (!open)
		return 0;
	area.bytes = open->path;
	area.used = &open->path_len;
	if (!put_file_path(&area, __builtin_preserve_access_index(&file->f_path)))
		flags |= OISP_FILE_FLAG_PATH_CUT;
	open->file = (u64)file;
	fill_header(&open->header, OISP_KIND_FILE_IO, 0);
	open->opened_ns = bpf_ktime_get_boot_ns();
	open->told_ns = open->opened_ns;
	open->inode = BPF_CORE_READ(file, f_inode, i_ino);
	open->size = BPF_CORE_READ(file, f_inode, i_size);
	open->mode = BPF_CORE_READ(file, f_inode, i_mode);
	open->flags = flags;
	return 1;
}

/* What is kept of the file behind a descriptor of the current process, begun when it is new or another; 0 when it is not followed. */
static __always_inline struct open_file *file_current(u32 fd, struct file *file)
{
	u32 tgid = current_tgid();
	struct open_file *open = open_file_at(tgid, fd);

	if (open && open->file == (u64)file)
		return open;
	if (!file_begin(fd, OISP_FILE_FLAG_JOINED))
		return 0;
	return open_file_at(tgid, fd);
}

/* Adds bytes that a call moved. at: position of the first. */
static __always_inline void file_count(struct open_file *open, struct file *file, u32 direction, u64 bytes, u64 at)
{
	if (direction == OISP_DIRECTION_READ) {
		if (!open->read_bytes || at < open->read_offset)
			open->read_offset = at;
		open->read_bytes += bytes;
	} else {
		if (!open->write_bytes || at < open->write_offset)
			open->write_offset = at;
		open->write_bytes += bytes;
	}
	open->size = BPF_CORE_READ(file, f_inode, i_size);
}

/* The descriptor's file is mapped as code. */
static __always_inline void file_is_code(u32 fd, struct file *file)
{
	struct open_file *open = gate_open(current_tgid(), OISP_GATE_FILES) ? open_file_at(current_tgid(), fd) : 0;

	if (open && open->file == (u64)file)
		open->flags |= OISP_FILE_FLAG_CODE;
}

static __always_inline bool interim_due(const struct open_file *open)
{
	return bpf_ktime_get_boot_ns() - open->told_ns > control.file_interim_ms * 1000000ULL;
}

/* Ends every followed descriptor of a process from `first` to `last`; with `changed`, only those that lead elsewhere by now. */
static __always_inline void files_end(u32 tgid, u32 first, u32 last, bool changed)
{
	struct fd_set *set = bpf_map_lookup_elem(&file_fds, &tgid);

	if (!set)
		return;
	set->first = first;
	set->last = last;
#pragma clang loop unroll(disable)
	for (u32 fd = 0; fd < OISP_FILE_FDS; fd++) {
		/* Eight at a time where none is used. */
		if (!(fd & 7) && !*(volatile u64 *)fd_place(set, fd)) {
			fd |= 7;
			continue;
		}
		if (!*(volatile u8 *)fd_place(set, fd) || fd < *(volatile u32 *)&set->first || fd > *(volatile u32 *)&set->last)
			continue;
		if (changed) {
			struct open_file *open = open_file_at(tgid, fd);

			if (open && open->file == (u64)file_of_fd(fd))
				continue;
		}
		file_end(tgid, fd);
	}
}

static __always_inline void files_forget(u32 tgid)
{
	bpf_map_delete_elem(&file_fds, &tgid);
}
