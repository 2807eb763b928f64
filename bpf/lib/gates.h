/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* One byte per process that says which of its system calls are looked at: the filter before any other map. It never decides scope. */
#pragma once
#include "base.h"

/* Eight processes to a cell: an array map's values are multiples of eight bytes. */
struct gate_cell {
	u8 of[8]; /* enum oisp_gate, by the lowest bits of the tgid */
};

/* As many cells as the machine can have pids: the loader sizes it, the reader maps it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4194304 / 8);
	__type(key, u32);
	__type(value, struct gate_cell);
} gates SEC(".maps");

static __always_inline u8 *gate_of(u32 tgid)
{
	u32 index = tgid >> 3;
	struct gate_cell *cell = bpf_map_lookup_elem(&gates, &index);

	return cell ? &cell->of[tgid & 7] : 0;
}

static __always_inline bool gate_open(u32 tgid, u8 bits)
{
	u8 *gate = gate_of(tgid);

	return gate && (*gate & bits);
}

/* Two threads of one process that open different bits at the same moment may lose one; its next call opens it again. */
static __always_inline void gate_add(u32 tgid, u8 bits)
{
	u8 *gate = gate_of(tgid);

	if (gate && (*gate & bits) != bits)
		*gate |= bits;
}

static __always_inline void gate_inherit(u32 parent, u32 child)
{
	u8 *from = gate_of(parent);
	u8 *to = gate_of(child);

	if (from && to)
		*to = *from;
}

static __always_inline void gate_clear(u32 tgid)
{
	u8 *gate = gate_of(tgid);

	if (gate)
		*gate = 0;
}
