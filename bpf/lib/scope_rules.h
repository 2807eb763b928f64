/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Brings processes into scope by what they execute, as whom, and in which cgroup; asked when one of these may have changed, never per call. */
#pragma once
#include "base.h"
#include "cgroup.h"
#include "gates.h"
#include "ledger.h"
#include "open_file.h"
#include "scope.h"
#include "task.h"

/* Deeper cgroups than this are counted. */
#define CGROUP_LEVELS 32

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OISP_SCOPE_EXES);
	__type(key, struct oisp_scope_file);
	__type(value, struct oisp_scope_cell);
} scope_exe SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OISP_SCOPE_UIDS);
	__type(key, u32);
	__type(value, struct oisp_scope_cell);
} scope_uid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OISP_SCOPE_CGROUPS);
	__type(key, u64); /* kernfs id: the inode number of its folder */
	__type(value, struct oisp_scope_cell);
} scope_cgroup SEC(".maps");

static __always_inline struct oisp_scope_cell *rule_of_exe(struct task_struct *task)
{
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	struct oisp_scope_file key = {};

	if (!inode)
		return 0;
	key.dev = device_of(inode);
	key.inode = BPF_CORE_READ(inode, i_ino);
	return bpf_map_lookup_elem(&scope_exe, &key);
}

static __always_inline struct oisp_scope_cell *rule_of_uid(struct task_struct *task)
{
	u32 uid = BPF_CORE_READ(task, cred, uid.val);

	return bpf_map_lookup_elem(&scope_uid, &uid);
}

static __always_inline struct oisp_scope_cell *rule_of_cgroup(struct task_struct *task)
{
	struct kernfs_node *node = cgroup_of(task);

#pragma clang loop unroll(disable)
	for (int i = 0; i < CGROUP_LEVELS; i++) {
		struct oisp_scope_cell *rule;
		u64 id;

		if (!node)
			return 0;
		id = BPF_CORE_READ(node, id);
		rule = bpf_map_lookup_elem(&scope_cgroup, &id);
		if (rule)
			return rule;
		node = kernfs_parent(node);
	}
	if (node)
		ledger_add(OISP_LEDGER_CGROUP_DEEP, 0);
	return 0;
}

/* Adds what the rule gives to what the process has. */
static __always_inline void scope_join(u32 tgid, const struct oisp_scope_cell *rule)
{
	struct oisp_scope_cell *cell = bpf_map_lookup_elem(&scope, &tgid);

	if (cell) {
		cell->capture |= rule->capture;
		cell->inherit |= rule->inherit;
		cell->files |= rule->files;
	} else if (bpf_map_update_elem(&scope, &tgid, rule, BPF_ANY)) {
		ledger_add(OISP_LEDGER_SCOPE_FULL, 0);
		return;
	}
	if (rule->files)
		gate_add(tgid, OISP_GATE_FILES | OISP_GATE_PIPES);
}

static __always_inline void scope_by_rules(struct task_struct *task)
{
	u32 tgid = BPF_CORE_READ(task, tgid);
	u32 rules = control.scope_rules;
	struct oisp_scope_cell *rule;

	if (!rules || control.closing || tgid == control.own_tgid)
		return;
	if ((rules & OISP_SCOPE_RULE_EXE) && (rule = rule_of_exe(task)))
		scope_join(tgid, rule);
	if ((rules & OISP_SCOPE_RULE_UID) && (rule = rule_of_uid(task)))
		scope_join(tgid, rule);
	if ((rules & OISP_SCOPE_RULE_CGROUP) && (rule = rule_of_cgroup(task)))
		scope_join(tgid, rule);
}
