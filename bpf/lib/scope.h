/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Decides whose activity is captured: own process never, then the process's scope cell, then its name, then capture_all. */
#pragma once
#include "base.h"
#include "gates.h"
#include "ledger.h"
#include "task.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32); /* tgid */
	__type(value, struct oisp_scope_cell);
} scope SEC(".maps");

struct comm_key {
	char name[OISP_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct comm_key);
	__type(value, u8);
} scope_comm SEC(".maps");

enum scope_answer { SCOPE_OUT = 0, SCOPE_IN = 1, SCOPE_OWN = 2 };

/* A name in the map is NUL padded, and so must the key be: bytes past the first NUL are cleared by the helper that reads it. */
static __always_inline bool comm_in_scope(void)
{
	struct comm_key key = {};
	struct comm_key leader = {};

	if (!control.comm_rules)
		return false;
	bpf_get_current_comm(key.name, sizeof(key.name));
	if (bpf_map_lookup_elem(&scope_comm, &key))
		return true;
	/* A worker thread has a name of its own; the process is known by its leader's. */
	BPF_CORE_READ_STR_INTO(&leader.name, current_task(), group_leader, comm);
	return bpf_map_lookup_elem(&scope_comm, &leader) != 0;
}

static __always_inline enum scope_answer scope_of(u32 tgid)
{
	struct oisp_scope_cell *cell;

	if (tgid == control.own_tgid)
		return SCOPE_OWN;
	if (control.closing)
		return SCOPE_OUT;
	cell = bpf_map_lookup_elem(&scope, &tgid);
	if (cell)
		return cell->capture ? SCOPE_IN : SCOPE_OUT;
	if (comm_in_scope())
		return SCOPE_IN;
	return control.capture_all ? SCOPE_IN : SCOPE_OUT;
}

/* A child of a process that passes its scope on comes into scope and passes it on too. */
static __always_inline void scope_inherit(u32 parent, u32 child)
{
	struct oisp_scope_cell *cell = bpf_map_lookup_elem(&scope, &parent);
	struct oisp_scope_cell born = { .capture = 1, .inherit = 1 };

	if (!cell || !cell->inherit)
		return;
	born.files = cell->files;
	if (bpf_map_update_elem(&scope, &child, &born, BPF_ANY))
		ledger_add(OISP_LEDGER_SCOPE_FULL, 0);
	else if (born.files)
		gate_add(child, OISP_GATE_FILES | OISP_GATE_PIPES);
}

static __always_inline void scope_forget(u32 tgid)
{
	bpf_map_delete_elem(&scope, &tgid);
}

/* Whether the file activity of the process is recorded. */
static __always_inline bool files_in_scope(u32 tgid)
{
	struct oisp_scope_cell *cell = bpf_map_lookup_elem(&scope, &tgid);

	if (control.closing || tgid == control.own_tgid)
		return false;
	if (cell)
		return cell->files;
	return control.files_all && (control.capture_all || comm_in_scope());
}
