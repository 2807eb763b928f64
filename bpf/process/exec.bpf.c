/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Records every successful execve of a process in scope; the environment is never read. */
#include "base.h"
#include "call_frames.h"
#include "cgroup.h"
#include "ledger.h"
#include "open_files.h"
#include "paths.h"
#include "ring.h"
#include "scope.h"
#include "scope_rules.h"
#include "task.h"
#include "thread_sockets.h"
#include "udp_flows.h"

static __always_inline void put_args(struct oisp_sys_exec *rec, struct mm_struct *mm)
{
	u64 start = BPF_CORE_READ(mm, arg_start);
	u64 total = BPF_CORE_READ(mm, arg_end) - start;
	u64 len = total;

	asm volatile("" : "+r"(len));
	if (len > OISP_ARGS_AREA)
		len = OISP_ARGS_AREA;
	if (bpf_probe_read_user(rec->args, len, (const void *)start))
		len = 0;
	rec->args_len = len;
	rec->args_total = total;
	if (len < total)
		rec->flags |= OISP_PATH_FLAG_ARGS_CUT;
}

static __always_inline void put_paths(struct oisp_sys_exec *rec, struct task_struct *task, struct mm_struct *mm)
{
	struct file *exe = BPF_CORE_READ(mm, exe_file);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct path_area exe_area = { rec->exe, OISP_PATH_AREA, &rec->exe_len };
	struct path_area cwd_area = { rec->cwd, OISP_PATH_AREA, &rec->cwd_len };
	struct path_area cgroup_area = { rec->cgroup, OISP_CGROUP_AREA, &rec->cgroup_len };

	if (!put_file_path(&exe_area, __builtin_preserve_access_index(&exe->f_path)))
		rec->flags |= OISP_PATH_FLAG_EXE_CUT;
	if (!put_file_path(&cwd_area, __builtin_preserve_access_index(&fs->pwd)))
		rec->flags |= OISP_PATH_FLAG_CWD_CUT;
	if (!put_cgroup_path(&cgroup_area, cgroup_of(task)))
		rec->flags |= OISP_PATH_FLAG_CGROUP_CUT;
}

static __always_inline void put_namespaces(struct oisp_sys_exec *rec, struct task_struct *task)
{
	struct nsproxy *spaces = BPF_CORE_READ(task, nsproxy);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	/* The deepest namespace that the process has a number in is its own. */
	struct upid *own = (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);

	rec->pid_ns = BPF_CORE_READ(own, ns, ns.inum);
	rec->pid_in_ns = BPF_CORE_READ(own, nr);
	rec->mnt_ns = BPF_CORE_READ(spaces, mnt_ns, ns.inum);
	rec->net_ns = BPF_CORE_READ(spaces, net_ns, ns.inum);
	rec->reserved = 0;
}

/* The kernel gives a script an interpreter of its own name; a binary has its own name there. */
static __always_inline void put_script(struct oisp_sys_exec *rec, struct linux_binprm *bprm)
{
	const char *script = BPF_CORE_READ(bprm, filename);
	const char *interp = BPF_CORE_READ(bprm, interp);
	long got;

	rec->script_len = 0;
	rec->interp_len = 0;
	if (script == interp)
		return;
	got = bpf_probe_read_kernel_str(rec->script, OISP_SCRIPT_AREA, script);
	rec->script_len = got > 0 ? got - 1 : 0;
	got = bpf_probe_read_kernel_str(rec->interp, OISP_INTERP_AREA, interp);
	rec->interp_len = got > 0 ? got - 1 : 0;
}

SEC("tp_btf/sched_process_exec") int process_exec(u64 *ctx)
{
	struct task_struct *task = current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct oisp_sys_exec *rec;

	calls_forget();
	thread_sockets_forget();
	/* Before the record that gives this process its new program. */
	files_executed(current_tgid());
	udp_process_ends(current_tgid(), 0);
	scope_by_rules(task);
	if (scope_of(current_tgid()) != SCOPE_IN)
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return 0;
	}
	fill_header(&rec->header, OISP_KIND_SYS_EXEC, sizeof(*rec));
	rec->parent_start_ns = BPF_CORE_READ(task, real_parent, group_leader, start_boottime);
	rec->ppid = BPF_CORE_READ(task, real_parent, tgid);
	rec->flags = 0;
	put_namespaces(rec, task);
	put_paths(rec, task, mm);
	put_script(rec, (struct linux_binprm *)ctx[2]);
	put_args(rec, mm);
	/* args is the last area: what it does not use is not part of the record. */
	rec->header.size = __builtin_offsetof(struct oisp_sys_exec, args) + rec->args_len;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
