/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* TCP connections that failed, between the kernel's state machine, which may not know the errno, and connect(2), which may not know that it was told. */
#pragma once
#include "base.h"
#include "sockets.h"

struct failed_connect {
	u64 inode;
	u64 began_ns; /* When connect began. */
	u32 error; /* errno that was told; 0: connect(2) has to tell it. */
	u32 reserved;
};

/* Most are taken out by connect(2) at once, or when the program asks again. One that is left over matches no other socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64); /* address of struct sock */
	__type(value, struct failed_connect);
} failed_connects SEC(".maps");

static __always_inline void failed_keep(struct sock *sk, const struct socket_note *note, u32 error)
{
	struct failed_connect failed = { .inode = note->inode, .began_ns = note->opener.ts_ns, .error = error };
	u64 key = (u64)sk;

	bpf_map_update_elem(&failed_connects, &key, &failed, BPF_ANY);
}

/* What is known of the socket's last failure; 0 when there is nothing. */
static __always_inline struct failed_connect *failed_of(struct sock *sk, u64 inode)
{
	u64 key = (u64)sk;
	struct failed_connect *failed = bpf_map_lookup_elem(&failed_connects, &key);

	return failed && failed->inode == inode ? failed : 0;
}

static __always_inline void failed_forget(struct sock *sk)
{
	u64 key = (u64)sk;

	bpf_map_delete_elem(&failed_connects, &key);
}
