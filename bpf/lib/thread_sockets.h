/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What a thread's last socket call and last TLS call have left for each other, where a program moves ciphertext between the two itself (memory BIOs). */
#pragma once
#include "base.h"
#include "sockets.h"

enum sealed_state { SEALED_NOTHING = 0, SEALED_ONE = 1, SEALED_SEVERAL = 2 };

struct thread_sockets {
	struct socket_ref received; /* Where it received last, if that began with a TLS record and no connection has read since. */
	u64 received_type; /* Of that record. */
	u64 sealed_ssl; /* The connection that may have made ciphertext which no send has carried yet. */
	u64 sealed_len; /* Plaintext bytes of the first call that made some; 0: none did. */
	u32 sealed_state; /* enum sealed_state; SEVERAL: more than one connection, so that a send tells nothing. */
	u16 sealed_handshake; /* It may have made handshake records. */
	u16 sealed_inside; /* A call that sealed is over, and the thread is still inside another: what is sent now may be of either. */
};

/* A thread that was evicted has only to receive or send once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* pid_tgid */
	__type(value, struct thread_sockets);
} thread_sockets SEC(".maps");

static __always_inline struct thread_sockets *current_sockets(void)
{
	u64 id = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&thread_sockets, &id);
}

/* Made when there are none; 0 when they cannot be kept. */
static __always_inline struct thread_sockets *current_sockets_get(void)
{
	struct thread_sockets *found = current_sockets();

	if (!found) {
		u64 id = bpf_get_current_pid_tgid();
		struct thread_sockets born = {};

		bpf_map_update_elem(&thread_sockets, &id, &born, BPF_NOEXIST);
		found = current_sockets();
	}
	return found;
}

/* The current thread is gone, or has a new program. */
static __always_inline void thread_sockets_forget(void)
{
	u64 id = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&thread_sockets, &id);
}
