/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Writes file and cgroup paths as components from leaf to root; it never joins them and never takes a kernel lock. */
#pragma once
#include "base.h"
#include "cgroup.h"

#define NAME_MAX_BYTES 256
#define PATH_STEPS 64

/*
 * An area being filled. The used length lives in the ring record, not in a register: a volatile read from there is an
 * unknown number to the verifier, so all paths through a walk look alike and are verified once.
 */
struct path_area {
	char *bytes;
	u64 size;
	volatile u32 *used;
};

/*
 * Appends one component; false when it does not fit whole. The verifier only needs used < size and room <= 256: a
 * component never runs past its area, and if it did, what follows is written later.
 */
static __always_inline bool put_component(const struct path_area *area, const void *name)
{
	u64 used = *area->used;
	u64 room = area->size - used;
	long got;

	if (used >= area->size)
		return false;
	if (room > NAME_MAX_BYTES)
		room = NAME_MAX_BYTES;
	got = bpf_probe_read_kernel_str(area->bytes + used, room, name);
	/* A name that fills the room to its last byte may have been cut; it counts as cut. */
	if (got <= 1 || ((u64)got == room && room < NAME_MAX_BYTES))
		return false;
	*area->used = used + got;
	return true;
}

/* The entries of a walked path that are nearest to the root, 0 where it has no so many. */
struct path_top {
	struct dentry *first; /* /first/second/third/... */
	struct dentry *second;
	struct dentry *third;
};

/* False when the root was not reached. */
static __always_inline bool put_path_and_top(const struct path_area *area, const struct path *path, struct path_top *top)
{
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	struct vfsmount *vfsmnt = BPF_CORE_READ(path, mnt);

	*area->used = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		struct mount *mount = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
		struct dentry *parent;

		if (dentry == BPF_CORE_READ(vfsmnt, mnt_root)) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount || !above)
				return true;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			vfsmnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		if (!put_component(area, BPF_CORE_READ(dentry, d_name.name)))
			return false;
		top->third = top->second;
		top->second = top->first;
		top->first = dentry;
		parent = BPF_CORE_READ(dentry, d_parent);
		/* A file without a directory (memfd) is its own parent. */
		if (parent == dentry)
			return true;
		dentry = parent;
	}
	return false;
}

static __always_inline bool put_file_path(const struct path_area *area, const struct path *path)
{
	struct path_top top = {};

	return put_path_and_top(area, path, &top);
}

/* Path of a cgroup in the unified hierarchy; the root itself has no component. False when the root was not reached. */
static __always_inline bool put_cgroup_path(const struct path_area *area, struct kernfs_node *node)
{
	*area->used = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_STEPS; i++) {
		struct kernfs_node *parent = kernfs_parent(node);

		if (!parent)
			return true;
		if (!put_component(area, BPF_CORE_READ(node, name)))
			return false;
		node = parent;
	}
	return false;
}
