/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Sums up what processes in file scope read from and write to open files; content is never looked at. */
#include "base.h"
#include "open_files.h"
#include "syscall.h"
#include "syscall_numbers.h"

static __always_inline u32 direction_of(u64 number)
{
	switch (number) {
	case NR_READ:
	case NR_READV:
	case NR_PREAD64:
	case NR_PREADV:
	case NR_PREADV2:
		return OISP_DIRECTION_READ;
	default:
		return OISP_DIRECTION_WRITE;
	}
}

/* Position of the first byte that the call moved. */
static __always_inline u64 position_of(struct pt_regs *regs, struct file *file, u64 moved)
{
	u64 pos;

	switch (sys_number(regs)) {
	case NR_PREAD64:
	case NR_PWRITE64:
	case NR_PREADV:
	case NR_PWRITEV:
		return sys_arg3(regs);
	case NR_PREADV2:
	case NR_PWRITEV2:
		if (sys_arg3(regs) != (u64)-1)
			return sys_arg3(regs);
		break;
	default:
		break;
	}
	/* A file of /proc need not move its position by what was written: it is written at its beginning. */
	pos = BPF_CORE_READ(file, f_pos);
	return pos > moved ? pos - moved : 0;
}

static __always_inline void count_at(u32 fd, struct file *file, u32 direction, u64 moved, u64 at)
{
	struct open_file *open = file_current(fd, file);

	if (!open)
		return;
	file_count(open, file, direction, moved, at);
	if (interim_due(open))
		file_tell(current_tgid(), fd, OISP_FILE_FLAG_INTERIM);
}

SEC("tp_btf/sys_exit") int io_regular(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u32 fd = sys_arg0(regs);
	u64 moved = sys_result(ctx);
	struct file *file = file_of_fd(fd);

	if (!file || !files_in_scope(current_tgid()))
		return 0;
	count_at(fd, file, direction_of(sys_number(regs)), moved, position_of(regs, file, moved));
	return 0;
}

/* place: user address of a position that the call has moved on, 0: it used the file's own. */
static __always_inline void count_copied(u32 fd, u64 place, u32 direction, u64 moved)
{
	struct file *file = file_of_fd(fd);
	u64 after = 0;

	if (!file || file_kind_of(file) != OISP_FILE_KIND_REGULAR)
		return;
	if (!place)
		after = BPF_CORE_READ(file, f_pos);
	else
		bpf_probe_read_user(&after, sizeof(after), (const void *)place);
	count_at(fd, file, direction, moved, after > moved ? after - moved : 0);
}

SEC("tp_btf/sys_exit") int sys_copy(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	long moved = sys_result(ctx);

	if (moved <= 0 || !files_in_scope(current_tgid()))
		return 0;
	if (sys_number(regs) == NR_SENDFILE) {
		count_copied(sys_arg1(regs), sys_arg2(regs), OISP_DIRECTION_READ, moved);
		count_copied(sys_arg0(regs), 0, OISP_DIRECTION_WRITE, moved);
	} else {
		count_copied(sys_arg0(regs), sys_arg1(regs), OISP_DIRECTION_READ, moved);
		count_copied(sys_arg2(regs), sys_arg3(regs), OISP_DIRECTION_WRITE, moved);
	}
	return 0;
}

SEC("tp_btf/sys_exit") int sys_ftruncate(u64 *ctx)
{
	u32 fd = sys_arg0(sys_regs(ctx));
	struct file *file = file_of_fd(fd);
	struct open_file *open;

	if (sys_result(ctx) || !file || file_kind_of(file) != OISP_FILE_KIND_REGULAR || !files_in_scope(current_tgid()))
		return 0;
	open = file_current(fd, file);
	if (!open)
		return 0;
	open->flags |= OISP_FILE_FLAG_TRUNCATED;
	open->size = BPF_CORE_READ(file, f_inode, i_size);
	open->untold = 1;
	return 0;
}

/* Called by the sensor for a file whose bytes have waited long enough: ctx[0] the tgid, ctx[1] the descriptor. */
SEC("raw_tp/file_sweep") int file_sweep(u64 *ctx)
{
	u32 tgid = ctx[0];
	u32 fd = ctx[1];
	struct open_file *open = open_file_at(tgid, fd);

	if (open && interim_due(open))
		file_tell(tgid, fd, OISP_FILE_FLAG_INTERIM);
	return 0;
}
