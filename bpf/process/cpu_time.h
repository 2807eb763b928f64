/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Sums the CPU time of a process that is ending, as /proc/PID/stat would show it; it never takes the kernel's locks. */
#pragma once
#include "base.h"

/* Threads that are still linked when the last one exits; the rest are already in signal's own sums. */
#define LINKED_THREADS 64

struct cpu_sums {
	u64 utime;
	u64 stime;
	u64 runtime;
};

static __always_inline void sum_linked_threads(struct signal_struct *signal, struct cpu_sums *sums)
{
	struct list_head *head = (void *)signal + bpf_core_field_offset(struct signal_struct, thread_head);
	struct list_head *node = BPF_CORE_READ(head, next);

#pragma clang loop unroll(disable)
	for (int i = 0; i < LINKED_THREADS; i++) {
		struct task_struct *task = (void *)node - bpf_core_field_offset(struct task_struct, thread_node);

		if (!node || node == head)
			return;
		sums->utime += BPF_CORE_READ(task, utime);
		sums->stime += BPF_CORE_READ(task, stime);
		sums->runtime += BPF_CORE_READ(task, se.sum_exec_runtime);
		node = BPF_CORE_READ(node, next);
	}
}

/* utime and stime count ticks where accounting is by tick; the scheduler's runtime is exact, so they only split it. */
static __always_inline void put_cpu_time(struct task_struct *task, u64 *utime_ns, u64 *stime_ns)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct cpu_sums sums = {
		.utime = BPF_CORE_READ(signal, utime),
		.stime = BPF_CORE_READ(signal, stime),
		.runtime = BPF_CORE_READ(signal, sum_sched_runtime),
	};
	u64 ticks_us, system;

	sum_linked_threads(signal, &sums);
	ticks_us = (sums.utime + sums.stime) / 1000;
	/* A share in 1/1024 keeps the products below 64 bits. */
	system = ticks_us ? (sums.stime / 1000 * 1024 / ticks_us) * (sums.runtime / 1024) : 0;
	*stime_ns = system;
	*utime_ns = sums.runtime - system;
}
