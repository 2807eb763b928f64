/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Goes from a task to its cgroup in the unified hierarchy and up; it reads no names and takes no lock. */
#pragma once
#include "base.h"

static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	if (bpf_core_field_exists(struct kernfs_node, __parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___plain *)node, parent);
}
