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

/* The call names the position itself. */
static __always_inline bool has_position(struct pt_regs *regs)
{
	switch (sys_number(regs)) {
	case NR_PREAD64:
	case NR_PWRITE64:
	case NR_PREADV:
	case NR_PWRITEV:
		return true;
	case NR_PREADV2:
	case NR_PWRITEV2:
		return sys_arg3(regs) != (u64)-1;
	default:
		return false;
	}
}

/* Position of the first byte that the call moved. */
static __always_inline u64 position_of(struct pt_regs *regs, struct file *file, u32 direction, u64 moved)
{
	u64 end;

	if (!has_position(regs))
		end = BPF_CORE_READ(file, f_pos);
	/* A file that is appended to is so whatever position is given. */
	else if (direction == OISP_DIRECTION_WRITE && (BPF_CORE_READ(file, f_flags) & O_APPEND))
		end = BPF_CORE_READ(file, f_inode, i_size);
	else
		return sys_arg3(regs);
	/* A file of /proc need not move its position by what was written: it is written at its beginning. */
	return end > moved ? end - moved : 0;
}

SEC("tp_btf/sys_exit") int io_regular(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u32 direction = direction_of(sys_number(regs));
	u32 fd = sys_arg0(regs);
	u64 moved = sys_result(ctx);
	struct file *file = file_of_fd(fd);

	if (file && files_in_scope(current_tgid()))
		file_moved(fd, file, direction, moved, position_of(regs, file, direction, moved));
	return 0;
}

/* place: user address of a position that the call has moved on; 0: it used the file's own. */
static __always_inline void copied(u32 fd, u64 place, u32 direction, u64 moved)
{
	struct file *file = file_of_fd(fd);
	u64 after = 0;

	if (!file || file_kind_of(file) != OISP_FILE_KIND_REGULAR)
		return;
	if (!place)
		after = BPF_CORE_READ(file, f_pos);
	else if (bpf_probe_read_user(&after, sizeof(after), (const void *)place))
		ledger_add(OISP_LEDGER_FILE_FAULT, 0);
	file_moved(fd, file, direction, moved, after < moved ? 0 : after - moved);
}

SEC("tp_btf/sys_exit") int sys_copy(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	long moved = sys_result(ctx);

	if (moved <= 0 || !files_in_scope(current_tgid()))
		return 0;
	if (sys_number(regs) == NR_SENDFILE) {
		copied(sys_arg1(regs), sys_arg2(regs), OISP_DIRECTION_READ, moved);
		copied(sys_arg0(regs), 0, OISP_DIRECTION_WRITE, moved);
	} else {
		copied(sys_arg0(regs), sys_arg1(regs), OISP_DIRECTION_READ, moved);
		copied(sys_arg2(regs), sys_arg3(regs), OISP_DIRECTION_WRITE, moved);
	}
	return 0;
}

SEC("tp_btf/sys_exit") int sys_ftruncate(u64 *ctx)
{
	u32 fd = sys_arg0(sys_regs(ctx));
	struct file *file = file_of_fd(fd);
	struct open_file *open;
	int followed;

	if (sys_result(ctx) || !file || file_kind_of(file) != OISP_FILE_KIND_REGULAR || !files_in_scope(current_tgid()))
		return 0;
	open = file_current(fd, file, &followed);
	if (followed == FILE_FULL)
		ledger_add(OISP_LEDGER_FILE_FULL, 0);
	if (!open)
		return 0;
	open->rec.flags |= OISP_FILE_FLAG_TRUNCATED;
	open->rec.size = BPF_CORE_READ(file, f_inode, i_size);
	open->news = 1;
	return 0;
}

/*
 * Called by the sensor for one open file after another: ctx[0] and ctx[1] name it, ctx[2] is 1 to tell all, however new. Returns 1 when the
 * ring is full.
 */
SEC("raw_tp") int file_sweep(u64 *ctx)
{
	u64 file = ctx[0];
	u32 tgid = ctx[1];
	struct open_file *open = open_file_of(file, tgid);

	if (!open)
		return 0;
	if ((s32)open->fds <= 0)
		return file_end(file, tgid);
	return ctx[2] || interim_due(open) ? file_tell(file, tgid, OISP_FILE_FLAG_INTERIM) : 0;
}
