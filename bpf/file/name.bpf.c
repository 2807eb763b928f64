/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Names that processes in file scope remove or change: the folder as the kernel knows it and the name as it was given; the decoder joins them. */
#include "base.h"
#include "ledger.h"
#include "open_file.h"
#include "paths.h"
#include "ring.h"
#include "scope.h"
#include "syscall.h"
#include "syscall_numbers.h"
#include "task.h"

#define AT_FDCWD ((u32)-100)
#define AT_REMOVEDIR 0x200
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2

/* What each of a call's two folders and two names may take of the record's text. */
#define NAME_PART (OISP_FILE_NAME_AREA / 4)

struct name_call {
	u32 op; /* enum oisp_file_op */
	u32 folder_fd; /* What the name is relative to. */
	u64 name; /* User address. */
	u64 name2; /* 0: there is one only. */
	u32 folder2_fd;
	u32 reserved;
};

static __always_inline u32 rename_op(struct pt_regs *regs)
{
	u64 flags = sys_number(regs) == NR_RENAMEAT2 ? sys_arg4(regs) : 0;

	if (flags & RENAME_EXCHANGE)
		return OISP_FILE_OP_EXCHANGE;
	return flags & RENAME_NOREPLACE ? OISP_FILE_OP_MOVE : OISP_FILE_OP_RENAME;
}

static __always_inline void name_call_of(struct pt_regs *regs, struct name_call *call)
{
	call->folder_fd = AT_FDCWD;
	call->folder2_fd = AT_FDCWD;
	call->name = sys_arg0(regs);
	switch (sys_number(regs)) {
#ifdef NR_UNLINK
	case NR_UNLINK:
		call->op = OISP_FILE_OP_DELETE;
		return;
	case NR_RMDIR:
		call->op = OISP_FILE_OP_RMDIR;
		return;
	case NR_RENAME:
		call->op = OISP_FILE_OP_RENAME;
		call->name2 = sys_arg1(regs);
		return;
#endif
	case NR_TRUNCATE:
		call->op = OISP_FILE_OP_TRUNCATE;
		return;
	case NR_UNLINKAT:
		call->op = sys_arg2(regs) & AT_REMOVEDIR ? OISP_FILE_OP_RMDIR : OISP_FILE_OP_DELETE;
		call->folder_fd = sys_arg0(regs);
		call->name = sys_arg1(regs);
		return;
	default:
		call->op = rename_op(regs);
		call->folder_fd = sys_arg0(regs);
		call->name = sys_arg1(regs);
		call->folder2_fd = sys_arg2(regs);
		call->name2 = sys_arg3(regs);
	}
}

/* The folder that a name is relative to; for an absolute one the root of the process. 0: it is not open any more. */
static __always_inline const struct path *folder_of(u32 fd, u64 name)
{
	struct fs_struct *fs = BPF_CORE_READ(current_task(), fs);
	struct file *file;
	char first = 0;

	bpf_probe_read_user(&first, 1, (const void *)name);
	if (first == '/')
		return __builtin_preserve_access_index(&fs->root);
	if (fd == AT_FDCWD)
		return __builtin_preserve_access_index(&fs->pwd);
	file = file_of_fd(fd);
	return file ? __builtin_preserve_access_index(&file->f_path) : 0;
}

/* False when the folder could not be told whole. */
static __always_inline bool put_folder(const struct path_area *area, u32 fd, u64 name)
{
	const struct path *folder = folder_of(fd, name);

	*area->used = 0;
	return folder && put_file_path(area, folder);
}

/* Returns the length without a NUL; 0 when the name could not be read whole. */
static __always_inline u32 put_name(char *area, u64 address)
{
	long got = bpf_probe_read_user_str(area, NAME_PART, (const void *)address);

	if (got < 0)
		ledger_add(OISP_LEDGER_FILE_FAULT, 0);
	return got > 1 && got < NAME_PART ? got - 1 : 0;
}

/* A length of at most a part, that the verifier has forgotten the history of. */
static __always_inline u64 part_length(volatile u32 *length)
{
	u64 known = *length;

	return known < NAME_PART ? known : NAME_PART;
}

static __always_inline u32 put_first(struct oisp_file_name *rec, const struct name_call *call)
{
	struct path_area folder = { rec->text, NAME_PART, &rec->folder_len };
	u64 at;

	if (!put_folder(&folder, call->folder_fd, call->name))
		rec->flags |= OISP_FILE_FLAG_PATH_CUT;
	at = part_length(&rec->folder_len);
	rec->name_len = put_name(rec->text + at, call->name);
	if (!rec->name_len)
		rec->flags |= OISP_FILE_FLAG_NAME_CUT;
	return at + part_length(&rec->name_len);
}

/* at: where the text of the first name ends, at most half of the area. */
static __always_inline u32 put_second(struct oisp_file_name *rec, const struct name_call *call, u64 at)
{
	struct path_area folder = { rec->text + at, NAME_PART, &rec->folder2_len };

	if (!put_folder(&folder, call->folder2_fd, call->name2))
		rec->flags |= OISP_FILE_FLAG_PATH2_CUT;
	at += part_length(&rec->folder2_len);
	rec->name2_len = put_name(rec->text + at, call->name2);
	if (!rec->name2_len)
		rec->flags |= OISP_FILE_FLAG_NAME_CUT;
	return at + part_length(&rec->name2_len);
}

SEC("tp_btf/sys_exit") int sys_name(u64 *ctx)
{
	struct name_call call = {};
	struct oisp_file_name *rec;

	if (sys_result(ctx) || !files_in_scope(current_tgid()))
		return 0;
	name_call_of(sys_regs(ctx), &call);
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_FILE_RING_FULL, 0);
		return 0;
	}
	fill_header(&rec->header, OISP_KIND_FILE_NAME, 0);
	rec->op = call.op;
	rec->flags = 0;
	rec->folder2_len = 0;
	rec->name2_len = 0;
	rec->reserved = 0;
	rec->text_len = put_first(rec, &call);
	if (call.name2)
		rec->text_len = put_second(rec, &call, rec->text_len);
	rec->header.size = __builtin_offsetof(struct oisp_file_name, text) + rec->text_len;
	ledger_add(OISP_LEDGER_FILE_TOLD, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
