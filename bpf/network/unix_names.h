/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies the names of Unix sockets, from a program's memory or the kernel's; it resolves none of them. */
#pragma once
#include "base.h"
#include "sockets.h"

#define UNIX_PATH_MAX 108
#define UNIX_PATH_AT 2 /* sun_path in struct sockaddr_un */

static __always_inline u32 unix_name_length(u64 address_len)
{
	u64 len = address_len - UNIX_PATH_AT;

	asm volatile("" : "+r"(len));
	if (address_len <= UNIX_PATH_AT)
		return 0;
	return len > UNIX_PATH_MAX ? UNIX_PATH_MAX : len;
}

/* The name in an address that a program gave. */
static __always_inline void put_user_name(struct oisp_net_open *rec, u64 address, u64 address_len)
{
	u32 len = unix_name_length(address_len);

	if (len > UNIX_PATH_MAX || bpf_probe_read_user(rec->path, len, (const void *)(address + UNIX_PATH_AT)))
		len = 0;
	rec->path_len = len;
}

/* The name that a socket is bound to; a socket that was accepted has its listener's. */
static __always_inline void put_bound_name(struct oisp_net_open *rec, struct sock *sk)
{
	struct unix_address *bound = BPF_CORE_READ((struct unix_sock *)sk, addr);
	u32 len = bound ? unix_name_length((u32)BPF_CORE_READ(bound, len)) : 0;

	if (len > UNIX_PATH_MAX || bpf_probe_read_kernel(rec->path, len, (const char *)bound + bpf_core_field_offset(bound->name) + UNIX_PATH_AT))
		len = 0;
	rec->path_len = len;
}

static __always_inline void unix_peer(struct oisp_peer *peer, u8 role)
{
	peer->family = AF_UNIX;
	peer->role = role;
}
