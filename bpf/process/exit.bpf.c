/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Records the end of a process in scope, once, when its last thread exits; it forgets what other programs kept for it. */
#include "base.h"
#include "call_frames.h"
#include "cpu_time.h"
#include "gates.h"
#include "ledger.h"
#include "open_files.h"
#include "ring.h"
#include "scope.h"
#include "task.h"
#include "thread_sockets.h"
#include "udp_flows.h"

#define SIGNAL_GROUP_EXIT 4

struct ended_key {
	u64 start_ns;
	u32 tgid;
	u32 reserved;
};

/* Threads that exit at the same moment all find the group dead: the first of them makes the record. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ended_key);
	__type(value, u8);
} ended SEC(".maps");

static __always_inline bool ended_before(struct task_struct *task, u32 tgid)
{
	struct ended_key key = { .start_ns = process_start_ns(task), .tgid = tgid };
	u8 yes = 1;

	return bpf_map_lookup_elem(&ended, &key) || bpf_map_update_elem(&ended, &key, &yes, BPF_NOEXIST) == -17 /* EEXIST */;
}

/* As wait(2) will tell it. */
static __always_inline u32 wait_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

static __always_inline void put_exit(struct task_struct *task)
{
	struct oisp_sys_exit *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);

	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return;
	}
	fill_header(&rec->header, OISP_KIND_SYS_EXIT, sizeof(*rec));
	put_cpu_time(task, &rec->utime_ns, &rec->stime_ns);
	/* The memory is gone by now; the kernel has kept its peak for wait4. */
	rec->max_rss_kb = BPF_CORE_READ(task, signal, maxrss) * control.page_kb;
	rec->ppid = BPF_CORE_READ(task, real_parent, tgid);
	rec->exit_code = wait_status(task);
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

SEC("tp_btf/sched_process_exit") int process_exit(u64 *ctx)
{
	struct task_struct *task = current_task();
	u32 tgid = current_tgid();

	if (is_kernel_thread(task))
		return 0;
	calls_forget();
	thread_sockets_forget();
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	if (ended_before(task, tgid))
		return 0;
	files_exited(tgid);
	udp_process_ends(tgid, 1);
	if (scope_of(tgid) == SCOPE_IN)
		put_exit(task);
	scope_forget(tgid);
	gate_clear(tgid);
	return 0;
}
