/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Knows the folders whose files programs read to run and not for what is in them; it decides nothing about writing. */
#pragma once
#include "base.h"
#include "paths.h"

/* The first bytes of a name, NUL padded. */
struct folder_name {
	u64 words[2];
};

static __always_inline void read_name(struct folder_name *name, struct dentry *entry)
{
	name->words[0] = 0;
	name->words[1] = 0;
	if (entry)
		bpf_probe_read_kernel_str(name, sizeof(*name), BPF_CORE_READ(entry, d_name.name));
}

/* c: at most eight characters, as a word of a name would hold them. */
#define NAME_WORD(c)                                                                                                     \
	((u64)(c)[0] | (u64)(sizeof(c) > 2 ? (c)[1] : 0) << 8 | (u64)(sizeof(c) > 3 ? (c)[2] : 0) << 16 |                  \
	 (u64)(sizeof(c) > 4 ? (c)[3] : 0) << 24 | (u64)(sizeof(c) > 5 ? (c)[4] : 0) << 32 |                               \
	 (u64)(sizeof(c) > 6 ? (c)[5] : 0) << 40 | (u64)(sizeof(c) > 7 ? (c)[6] : 0) << 48 |                              \
	 (u64)(sizeof(c) > 8 ? (c)[7] : 0) << 56)

#define name_is(name, c) ((name)->words[0] == NAME_WORD(c) && !(name)->words[1])

/* lib, lib64, libexec, share: code, fonts, locales, time zones, headers of packages. */
static __always_inline bool is_code_folder(const struct folder_name *name)
{
	return name_is(name, "lib") || name_is(name, "lib64") || name_is(name, "lib32") || name_is(name, "libexec") || name_is(name, "share");
}

/* What the C library reads of /etc whenever a program starts: ld.so.*, locale.alias. */
static __always_inline bool is_start_file(const struct folder_name *name)
{
	return (name->words[0] & 0xffffffffffff) == NAME_WORD("ld.so.") ||
	       (name->words[0] == NAME_WORD("locale.a") && name->words[1] == NAME_WORD("lias"));
}

/* /lib..., /usr/lib..., /usr/local/lib..., /nix, and what the kernel shows of itself. */
static __always_inline bool is_system_file(const struct path_top *top)
{
	struct folder_name name, below;

	read_name(&name, top->first);
	if (name_is(&name, "proc") || name_is(&name, "sys") || name_is(&name, "nix") || is_code_folder(&name))
		return true;
	read_name(&below, top->second);
	if (name_is(&name, "etc"))
		return is_start_file(&below);
	if (!name_is(&name, "usr"))
		return false;
	if (name_is(&below, "local"))
		read_name(&below, top->third);
	return is_code_folder(&below);
}
