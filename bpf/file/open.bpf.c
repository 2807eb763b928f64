/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Files that a process in file scope opens, and reaches through one more descriptor. */
#include "base.h"
#include "open_files.h"
#include "syscall.h"
#include "syscall_numbers.h"

#define O_ACCMODE 3
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_WRONLY 1
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

/* As the program gave them; the kernel keeps only some in the file. */
static __always_inline u32 given_flags(struct pt_regs *regs)
{
	u64 how = 0;

	switch (sys_number(regs)) {
	case NR_OPENAT:
		return sys_arg2(regs);
	case NR_OPENAT2:
		/* struct open_how begins with the flags. */
		bpf_probe_read_user(&how, sizeof(how), (const void *)sys_arg2(regs));
		return how;
#ifdef NR_OPEN
	case NR_OPEN:
		return sys_arg1(regs);
	case NR_CREAT:
		return O_CREAT | O_WRONLY | O_TRUNC;
#endif
	default:
		return 0;
	}
}

static __always_inline void tell_open(u32 fd, u32 open_flags, const struct open_file *open)
{
	struct oisp_file_open *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);

	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return;
	}
	rec->header = open->header;
	rec->inode = open->inode;
	rec->size = open->size;
	rec->fd = fd;
	rec->open_flags = open_flags;
	rec->mode = open->mode;
	rec->flags = open->flags;
	rec->path_len = open->path_len;
	rec->reserved = 0;
	bpf_probe_read_kernel(rec->path, OISP_PATH_AREA, open->path);
	rec->header.kind = OISP_KIND_FILE_OPEN;
	rec->header.size = __builtin_offsetof(struct oisp_file_open, path) + open->path_len;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

SEC("tp_btf/sys_exit") int sys_open(u64 *ctx)
{
	long fd = sys_result(ctx);
	u32 open_flags = given_flags(sys_regs(ctx));
	u32 tgid = current_tgid();
	struct open_file *open;
	struct file *file;
	u32 flags = 0;

	if (fd < 0 || !files_in_scope(tgid))
		return 0;
	file = file_of_fd(fd);
	if (!file)
		return 0;
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		flags |= OISP_FILE_FLAG_CREATED;
	else if (open_flags & O_TRUNC)
		flags |= OISP_FILE_FLAG_TRUNCATED;
	if (!file_begin(fd, flags))
		return 0;
	/* A file that is only read is told when something has been read of it. */
	if (!flags && !(open_flags & O_ACCMODE))
		return 0;
	open = open_file_at(tgid, fd);
	if (!open)
		return 0;
	open->untold = flags != 0;
	tell_open(fd, open_flags, open);
	return 0;
}

/* Bytes are told for the descriptor they went through; what the opening did goes with the newest one. */
SEC("tp_btf/sys_exit") int sys_dup(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u32 tgid = current_tgid();
	long fd = sys_result(ctx);
	struct open_file *from, *to;
	u32 flags = OISP_FILE_FLAG_JOINED;

	if (fd < 0 || fd == (long)sys_arg0(regs) || !files_in_scope(tgid))
		return 0;
	if (sys_number(regs) == NR_FCNTL && sys_arg1(regs) != F_DUPFD && sys_arg1(regs) != F_DUPFD_CLOEXEC)
		return 0;
	from = open_file_at(tgid, sys_arg0(regs));
	if (from && from->untold)
		flags = from->flags;
	if (!file_begin(fd, flags))
		return 0;
	from = open_file_at(tgid, sys_arg0(regs));
	to = open_file_at(tgid, fd);
	if (!from || !to || !from->untold)
		return 0;
	to->untold = 1;
	from->untold = 0;
	from->flags &= ~(u32)(OISP_FILE_FLAG_CREATED | OISP_FILE_FLAG_TRUNCATED);
	return 0;
}
