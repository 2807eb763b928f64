/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Files that a process in file scope opens, and descriptors that lead to an open file once more; failed calls are not looked at. */
#include "base.h"
#include "open_files.h"
#include "syscall.h"
#include "syscall_numbers.h"

#define O_WRONLY 1
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_PATH 010000000
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

/* As the program gave them: the kernel does not keep those that matter to the opening only. */
static __always_inline u32 given_flags(struct pt_regs *regs)
{
	u64 how = 0;

	switch (sys_number(regs)) {
	case NR_OPENAT:
		return sys_arg2(regs);
	case NR_OPENAT2:
		/* struct open_how begins with the flags. */
		if (bpf_probe_read_user(&how, sizeof(how), (const void *)sys_arg2(regs)))
			ledger_add(OISP_LEDGER_FILE_FAULT, 0);
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

static __always_inline void tell_open(struct open_file *open, bool changes)
{
	if (control.file_opens == OISP_FILE_OPENS_NONE || (control.file_opens == OISP_FILE_OPENS_CHANGES && !changes))
		return;
	if (file_put(open, OISP_KIND_FILE_OPEN))
		ledger_add(OISP_LEDGER_FILE_TOLD, 0);
	else
		ledger_add(OISP_LEDGER_FILE_RING_FULL, 0);
}

/* A file that is only read is followed from its first bytes on: many are opened and mapped, or looked at by nobody. */
static __always_inline void file_opened(struct file *file, u32 fd, u32 open_flags)
{
	bool changes = open_flags & O_ACCMODE;
	struct open_file *open;
	u32 flags = 0;
	int followed;

	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		flags = OISP_FILE_FLAG_CREATED;
	else if (open_flags & O_TRUNC)
		flags = OISP_FILE_FLAG_TRUNCATED;
	changes = changes || flags;
	if (!changes && control.file_opens != OISP_FILE_OPENS_ALL) {
		/* What the descriptor and the address stood for before is over, whoever has ended it. */
		fd_end(current_tgid(), fd);
		file_drop((u64)file, current_tgid());
		return;
	}
	followed = file_begin((u64)file, fd, flags);
	if (followed == FILE_FULL)
		ledger_add(OISP_LEDGER_FILE_FULL, 0);
	open = followed == FILE_FOLLOWED ? open_file_of((u64)file, current_tgid()) : 0;
	if (!open)
		return;
	open->rec.open_flags = open_flags;
	tell_open(open, changes);
}

SEC("tp_btf/sys_exit") int sys_open(u64 *ctx)
{
	u32 open_flags = given_flags(sys_regs(ctx));
	long fd = sys_result(ctx);
	struct file *file;

	if (fd < 0 || (open_flags & O_PATH) || !files_in_scope(current_tgid()))
		return 0;
	file = file_of_fd(fd);
	if (file && file_kind_of(file) == OISP_FILE_KIND_REGULAR)
		file_opened(file, fd, open_flags);
	return 0;
}

SEC("tp_btf/sys_exit") int sys_dup(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u32 tgid = current_tgid();
	long fd = sys_result(ctx);
	struct file *file;

	if (fd < 0 || (sys_number(regs) == NR_FCNTL && sys_arg1(regs) != F_DUPFD && sys_arg1(regs) != F_DUPFD_CLOEXEC))
		return 0;
	file = file_of_fd(fd);
	if (file && open_file_of((u64)file, tgid))
		fd_lead(tgid, fd, (u64)file);
	else
		fd_end(tgid, fd);
	return 0;
}
