/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Reads identity out of tasks and fills record headers. It never follows user pointers. */
#pragma once
#include "base.h"

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

#define PF_KTHREAD 0x00200000

/* A thread of the kernel's own: it runs no program, so nothing is told of it. */
static __always_inline bool is_kernel_thread(struct task_struct *task)
{
	return BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

static __always_inline u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* tgid and this together survive the reuse of a pid. */
static __always_inline u64 process_start_ns(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

/* The header of a record whose subject is the current process. */
static __always_inline void fill_header(struct oisp_rec_header *header, u16 kind, u32 size)
{
	u64 id = bpf_get_current_pid_tgid();
	u64 owner = bpf_get_current_uid_gid();

	header->kind = kind;
	header->reserved = 0;
	header->size = size;
	header->ts_ns = bpf_ktime_get_boot_ns();
	header->tgid = id >> 32;
	header->tid = (u32)id;
	header->uid = (u32)owner;
	header->gid = owner >> 32;
	header->start_ns = process_start_ns(current_task());
	bpf_get_current_comm(header->comm, sizeof(header->comm));
}
