/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Keeps a process from filling the ring alone: past its rate only the first bytes of each call are copied. It never stops a call from being told.
 *
 * A bucket of one second's worth. A call is admitted while anything is left, and may leave the bucket in debt: a long call is whole or headed, and
 * the average holds. Processors that meet in one bucket may lose an update, which lets a little more through.
 */
#pragma once
#include "base.h"
#include "ledger.h"
#include "task.h"

struct rate_key {
	u64 start_ns;
	u32 tgid;
	u32 reserved;
};

struct rate {
	u64 filled_ns; /* When it was filled last. */
	s64 left; /* Bytes; negative: debt. */
	u64 shed_calls;
	u64 shed_bytes;
};

/* One that was evicted is full again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct rate_key);
	__type(value, struct rate);
} rates SEC(".maps");

#define SECOND_NS 1000000000ull

static __always_inline struct rate *rate_of_process(u64 full)
{
	struct rate_key key = { .start_ns = process_start_ns(current_task()), .tgid = current_tgid() };
	struct rate *rate = bpf_map_lookup_elem(&rates, &key);

	if (!rate) {
		struct rate born = { .filled_ns = bpf_ktime_get_boot_ns(), .left = full };

		bpf_map_update_elem(&rates, &key, &born, BPF_NOEXIST);
		rate = bpf_map_lookup_elem(&rates, &key);
	}
	return rate;
}

/* How much of a call that moved so many bytes is copied. The rest is booked here. */
static __always_inline u64 rate_keeps(u64 moved)
{
	u64 full = control.rate_bytes;
	struct rate *rate;
	u64 now, since;
	s64 left;

	if (!full || moved <= OISP_SHED_HEAD)
		return moved;
	rate = rate_of_process(full);
	if (!rate)
		return moved;
	now = bpf_ktime_get_boot_ns();
	since = now - rate->filled_ns;
	/* A negative time: another processor was later. The loader keeps full * SECOND_NS within 64 bits. */
	if (since > SECOND_NS)
		since = since >> 63 ? 0 : SECOND_NS;
	left = rate->left + (s64)(since * full / SECOND_NS);
	if (left > (s64)full)
		left = full;
	rate->filled_ns = now;
	if (left > 0) {
		rate->left = left - (s64)moved;
		return moved;
	}
	rate->left = left;
	__sync_fetch_and_add(&rate->shed_calls, 1);
	__sync_fetch_and_add(&rate->shed_bytes, moved - OISP_SHED_HEAD);
	ledger_add(OISP_LEDGER_SHED, moved - OISP_SHED_HEAD);
	return OISP_SHED_HEAD;
}
