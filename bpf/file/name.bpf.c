/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Names that processes in file scope remove or change: the folder as the kernel knows it and the name as it was given, joined by the decoder. */
#include "base.h"
#include "open_files.h"
#include "syscall.h"
#include "syscall_numbers.h"

#define AT_FDCWD ((u32)-100)
#define AT_REMOVEDIR 0x200
#define RENAME_EXCHANGE 2

/* One name of a call: which folder it is relative to, and where it is in the program's memory. */
struct given_name {
	u32 folder_fd;
	u32 reserved;
	u64 address; /* 0: none. */
};

struct name_call {
	u32 op; /* enum oisp_file_op */
	u32 reserved;
	struct given_name first;
	struct given_name second;
};

static __always_inline bool name_call_of(struct pt_regs *regs, struct name_call *call)
{
	call->first.folder_fd = AT_FDCWD;
	call->second.folder_fd = AT_FDCWD;
	call->first.address = sys_arg0(regs);
	switch (sys_number(regs)) {
#ifdef NR_UNLINK
	case NR_UNLINK:
		call->op = OISP_FILE_OP_DELETE;
		return true;
	case NR_RMDIR:
		call->op = OISP_FILE_OP_RMDIR;
		return true;
	case NR_RENAME:
		call->op = OISP_FILE_OP_RENAME;
		call->second.address = sys_arg1(regs);
		return true;
#endif
	case NR_TRUNCATE:
		call->op = OISP_FILE_OP_TRUNCATE;
		return true;
	case NR_UNLINKAT:
		call->op = sys_arg2(regs) & AT_REMOVEDIR ? OISP_FILE_OP_RMDIR : OISP_FILE_OP_DELETE;
		call->first.folder_fd = sys_arg0(regs);
		call->first.address = sys_arg1(regs);
		return true;
	case NR_RENAMEAT2:
	case NR_RENAMEAT:
		call->op = sys_number(regs) == NR_RENAMEAT2 && (sys_arg4(regs) & RENAME_EXCHANGE) ? OISP_FILE_OP_EXCHANGE : OISP_FILE_OP_RENAME;
		call->first.folder_fd = sys_arg0(regs);
		call->first.address = sys_arg1(regs);
		call->second.folder_fd = sys_arg2(regs);
		call->second.address = sys_arg3(regs);
		return true;
	default:
		return false;
	}
}

/* False when the folder could not be told whole. */
static __always_inline bool put_folder(const struct path_area *area, u32 fd)
{
	struct fs_struct *fs = BPF_CORE_READ(current_task(), fs);
	struct file *file;

	*area->used = 0;
	if (fd == AT_FDCWD)
		return put_file_path(area, __builtin_preserve_access_index(&fs->pwd));
	file = file_of_fd(fd);
	return file && put_file_path(area, __builtin_preserve_access_index(&file->f_path));
}

/* Returns the length without a NUL; 0 when it could not be read whole. */
static __always_inline u32 put_name(char *area, u64 address)
{
	long got = bpf_probe_read_user_str(area, OISP_PATH_AREA, (const void *)address);

	return got > 1 && got < OISP_PATH_AREA ? got - 1 : 0;
}

SEC("tp_btf/sys_exit") int sys_name(u64 *ctx)
{
	struct name_call call = {};
	struct oisp_file_name *rec;
	struct path_area folder, folder2;

	if (sys_result(ctx) || !files_in_scope(current_tgid()) || !name_call_of(sys_regs(ctx), &call))
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return 0;
	}
	fill_header(&rec->header, OISP_KIND_FILE_NAME, sizeof(*rec));
	rec->op = call.op;
	rec->flags = 0;
	folder = (struct path_area){ rec->folder, OISP_PATH_AREA, &rec->folder_len };
	folder2 = (struct path_area){ rec->folder2, OISP_PATH_AREA, &rec->folder2_len };
	if (!put_folder(&folder, call.first.folder_fd))
		rec->flags |= OISP_FILE_FLAG_PATH_CUT;
	rec->folder2_len = 0;
	rec->name2_len = 0;
	rec->name_len = put_name(rec->name, call.first.address);
	if (!rec->name_len)
		rec->flags |= OISP_FILE_FLAG_NAME_CUT;
	if (call.second.address) {
		if (!put_folder(&folder2, call.second.folder_fd))
			rec->flags |= OISP_FILE_FLAG_PATH2_CUT;
		rec->name2_len = put_name(rec->name2, call.second.address);
		if (!rec->name2_len)
			rec->flags |= OISP_FILE_FLAG_NAME_CUT;
	}
	rec->header.size = __builtin_offsetof(struct oisp_file_name, name2) + rec->name2_len;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
