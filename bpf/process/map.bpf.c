/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells of each executable file that a process maps, at most once a second, and notes files that are mapped to be written; it knows no names. */
#include "base.h"
#include "gates.h"
#include "ledger.h"
#include "open_file.h"
#include "open_files.h"
#include "ring.h"
#include "scope.h"
#include "syscall.h"
#include "task.h"

#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_ANONYMOUS 0x20
/*
 * A process may be gone before its mappings can be looked at, and then the file was told of in vain: the next one tells of it again. The
 * host knows most files by their numbers, so that a file in steady use costs one short record a second.
 */
#define TELL_AGAIN_NS 1000000000ull

struct mapped_key {
	u64 dev;
	u64 inode;
	u64 address; /* Of the kernel's inode: a number that is used again has another. */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct mapped_key);
	__type(value, u64); /* When it was told of last. */
} mapped SEC(".maps");

/* What is written through memory makes no call: the file says that there may be more than it tells. */
static __always_inline void mapped_writable(u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct open_file *open;
	int followed;

	if (!file || file_kind_of(file) != OISP_FILE_KIND_REGULAR || !files_in_scope(current_tgid()))
		return;
	open = file_current(fd, file, &followed);
	if (followed == FILE_FULL)
		ledger_add(OISP_LEDGER_FILE_FULL, 0);
	if (!open)
		return;
	open->rec.flags |= OISP_FILE_FLAG_MAPPED;
	open->news = 1;
}

SEC("tp_btf/sys_exit") int sys_map(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	struct mapped_key key = {};
	struct inode *inode;
	struct file *file;
	struct oisp_sys_map *rec;
	u64 *told, now;

	if ((sys_arg3(regs) & MAP_ANONYMOUS) || (u64)sys_result(ctx) >= (u64)-4095)
		return 0;
	if (!(sys_arg2(regs) & PROT_EXEC)) {
		if ((sys_arg2(regs) & PROT_WRITE) && (sys_arg3(regs) & MAP_SHARED) && gate_open(current_tgid(), OISP_GATE_FILES))
			mapped_writable(sys_arg4(regs));
		return 0;
	}
	file = file_of_fd(sys_arg4(regs));
	if (!file || file_kind_of(file) != OISP_FILE_KIND_REGULAR)
		return 0;
	if (gate_open(current_tgid(), OISP_GATE_FILES))
		file_is_code(file);
	inode = BPF_CORE_READ(file, f_inode);
	key.dev = device_of(inode);
	key.inode = BPF_CORE_READ(inode, i_ino);
	key.address = (u64)inode;
	now = bpf_ktime_get_boot_ns();
	told = bpf_map_lookup_elem(&mapped, &key);
	if ((told && now - *told < TELL_AGAIN_NS) || scope_of(current_tgid()) == SCOPE_OWN)
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		/* Not remembered: the next process that maps it tells of it. */
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return 0;
	}
	bpf_map_update_elem(&mapped, &key, &now, BPF_ANY);
	fill_header(&rec->header, OISP_KIND_SYS_MAP, sizeof(*rec));
	rec->dev = key.dev;
	rec->inode = key.inode;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
