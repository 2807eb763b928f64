/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Goes from a descriptor of the current process to what is open behind it; it never takes a reference or a lock. */
#pragma once
#include "base.h"
#include "task.h"

#define S_IFMT 0170000
#define S_IFIFO 0010000
#define S_IFREG 0100000
#define S_IFSOCK 0140000

/* 0 when the descriptor is not open (any more). */
static __always_inline struct file *file_of_fd(u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(current_task(), files, fdt);
	struct file **place;
	struct file *file = 0;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	place = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), place + fd);
	return file;
}

static __always_inline enum oisp_file_kind file_kind_of(struct file *file)
{
	switch (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) {
	case S_IFREG:
		return OISP_FILE_KIND_REGULAR;
	case S_IFSOCK:
		return OISP_FILE_KIND_SOCKET;
	case S_IFIFO:
		return OISP_FILE_KIND_PIPE;
	default:
		return OISP_FILE_KIND_OTHER;
	}
}

/* As stat(2) tells a device number: new_encode_dev() of include/linux/kdev_t.h. */
static __always_inline u64 device_of(struct inode *inode)
{
	u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
	u32 major = dev >> 20;
	u32 minor = dev & 0xfffff;

	return (minor & 0xff) | (major << 8) | ((u64)(minor & ~0xffu) << 12);
}
