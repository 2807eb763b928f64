/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The one ring buffer, and the rule for waking its reader: never for a reader that is awake. */
#pragma once
#include "base.h"

/* The size is set by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

/*
 * The reader sets reader_sleeping before it polls, and poll looks at the ring after it has queued itself. A record is
 * reserved (visible to poll) before this is read, so either poll sees the record or the record sees the sleeper.
 */
_Static_assert(BPF_RB_FORCE_WAKEUP == BPF_RB_NO_WAKEUP + 1, "ring_wake_flags adds");

static __always_inline u64 ring_wake_flags(void)
{
	/* 0 or 1, so this is NO_WAKEUP or FORCE_WAKEUP, without a branch for the verifier to walk twice per chunk. */
	return BPF_RB_NO_WAKEUP + *(volatile u32 *)&control.reader_sleeping;
}

/* After bpf_ringbuf_output, which leaves no room for the look between reservation and submission: a sleeper is woken by an empty record. */
static __always_inline void ring_wake_after(void)
{
	void *nothing;

	if (!*(volatile u32 *)&control.reader_sleeping)
		return;
	nothing = bpf_ringbuf_reserve(&ring, 8, 0);
	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}
