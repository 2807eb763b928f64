/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Records every fork of a process in scope and passes scope on to the child; a new thread is never a record. */
#include "base.h"
#include "gates.h"
#include "ledger.h"
#include "ring.h"
#include "scope.h"
#include "scope_rules.h"
#include "task.h"

SEC("tp_btf/sched_process_fork") int process_fork(u64 *ctx)
{
	struct task_struct *child = (struct task_struct *)ctx[1];
	u32 parent_tgid = current_tgid();
	u32 child_tgid = BPF_CORE_READ(child, tgid);
	struct oisp_sys_fork *rec;

	if (child_tgid == parent_tgid || is_kernel_thread(child))
		return 0;
	gate_inherit(parent_tgid, child_tgid);
	scope_inherit(parent_tgid, child_tgid);
	/* A child may be born into another cgroup, and its parent may have changed its user. */
	scope_by_rules(child);
	if (scope_of(parent_tgid) != SCOPE_IN && scope_of(child_tgid) != SCOPE_IN)
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_SYS_RING_FULL, 0);
		return 0;
	}
	fill_header(&rec->header, OISP_KIND_SYS_FORK, sizeof(*rec));
	rec->child_start_ns = BPF_CORE_READ(child, start_boottime);
	rec->child_tgid = child_tgid;
	rec->reserved = 0;
	ledger_add(OISP_LEDGER_SYS_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
