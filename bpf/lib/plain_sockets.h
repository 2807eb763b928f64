/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Which sockets may carry HTTP that nobody encrypted, and what is known of each; it copies nothing.
 *
 * A socket is looked at when one of its ports is a model server's, or when its process is in file scope.
 */
#pragma once
#include "base.h"
#include "connections.h"
#include "scope.h"
#include "socket_io.h"

#define IPPROTO_MPTCP 262

int sock_plain(u64 *ctx);
int sock_pipe(u64 *ctx);

enum plain_program { PLAIN_TCP = 0, PLAIN_UNIX = 1 };

/* Programs of their own, because the one that finds the socket has other guests. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(u64 *));
} plain_programs SEC(".maps") = {
	.values = { [PLAIN_TCP] = (void *)&sock_plain, [PLAIN_UNIX] = (void *)&sock_pipe },
};

/* A bit per port; the loader sets those of the configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536 / 64);
	__type(key, u32);
	__type(value, u64);
} plain_ports SEC(".maps");

struct plain_socket {
	struct conn_state conn;
	struct oisp_rec_header owner; /* Of the first call: the process that the connection is told of. */
	u64 inode; /* Tells a socket from a later one at the same address. */
	u32 write_seq; /* TCP's own count behind the last call: what moved without a call that is looked at shows as a difference. */
	u32 read_seq;
	u32 other; /* Its first bytes are no HTTP and its ports are nobody's: nothing of it is told. */
	u32 seqs; /* Bit per direction: the count is known. */
};

/* A socket that was evicted is another connection from then on, flagged opened. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* address of struct sock */
	__type(value, struct plain_socket);
} plain_sockets SEC(".maps");

static __always_inline bool plain_port(u32 port)
{
	u32 index = (port >> 6) & 1023;
	u64 *bits = bpf_map_lookup_elem(&plain_ports, &index);

	return bits && (*bits >> (port & 63) & 1);
}

static __always_inline bool plain_ports_of(struct sock *sk)
{
	return plain_port(bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport))) || plain_port(BPF_CORE_READ(sk, __sk_common.skc_num));
}

static __always_inline bool is_tcp(struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	u16 protocol = BPF_CORE_READ(sk, sk_protocol);

	return (family == AF_INET || family == AF_INET6) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

static __always_inline bool plain_wanted(const struct socket_io *io)
{
	u64 key = (u64)io->sk;
	struct plain_socket *known;

	if (!io->sk || !is_tcp(io->sk) || (!plain_ports_of(io->sk) && !files_in_scope(current_tgid())))
		return false;
	known = bpf_map_lookup_elem(&plain_sockets, &key);
	return !known || known->inode != io->inode || !known->other;
}
