/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Reads the address of a socket's two ends, and remembers who opened it and from which end; it never copies what a socket carries. */
#pragma once
#include "base.h"
#include "open_file.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SOCK_STREAM 1

/* A socket as long as it is open: memory that is freed and used again has another inode. */
struct socket_ref {
	u64 sk; /* Address of struct sock; 0: none. */
	u64 inode; /* Of the socket's file. */
};

/* What connect and accept have told of a TCP socket. */
struct socket_note {
	struct oisp_rec_header opener; /* Who connected or accepted it; ts_ns: when connect began, or accept returned. */
	u64 since_ns; /* When it was connected or accepted; 0: it is being connected. */
	u64 inode; /* Of the socket's file. */
	u8 role; /* enum oisp_role */
	u8 in_scope; /* The opener's activity is captured. */
	u8 sent; /* Its first bytes were looked at. */
	u8 reserved[5];
};

/*
 * From connect or accept until the kernel closes the socket, which is after close(2) and needs no process. Not LRU: a flow would be lost in silence.
 * A socket that did not fit, or is older than the sensor, has an unknown role: the bytes tell it then.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* address of struct sock */
	__type(value, struct socket_note);
} socket_notes SEC(".maps");

static __always_inline struct socket_note *socket_note_of(struct sock *sk)
{
	u64 key = (u64)sk;

	return bpf_map_lookup_elem(&socket_notes, &key);
}

/* file must be a socket's. */
static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk);
}

/* 0 for a socket that has no file: not yet, not any more, or the kernel's own. */
static __always_inline u64 inode_of_sock(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

static __always_inline bool same_socket(const struct socket_ref *a, const struct socket_ref *b)
{
	return a->sk == b->sk && a->inode == b->inode;
}

/* Whether a descriptor still leads to the socket. The memory may be freed: reading it is safe, and what is there now has another inode. */
static __always_inline bool socket_is_open(const struct socket_ref *ref)
{
	return ref->sk && inode_of_sock((struct sock *)ref->sk) == ref->inode;
}

/* TCP or what stands in for it. */
static __always_inline bool is_internet_stream(struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

static __always_inline u32 socket_role(struct sock *sk, u64 inode)
{
	struct socket_note *note = socket_note_of(sk);

	return note && note->inode == inode ? note->role : OISP_ROLE_UNKNOWN;
}

/* When it was connected or accepted; 0: not known. */
static __always_inline u64 socket_since(struct sock *sk, u64 inode)
{
	struct socket_note *note = socket_note_of(sk);

	return note && note->inode == inode ? note->since_ns : 0;
}

static __always_inline void put_ipv4(struct oisp_peer *peer, __be32 local, __be32 remote)
{
	peer->family = AF_INET;
	__builtin_memcpy(peer->local_addr, &local, 4);
	__builtin_memcpy(peer->remote_addr, &remote, 4);
}

static __always_inline bool is_mapped_ipv4(const struct in6_addr *addr)
{
	return !addr->in6_u.u6_addr32[0] && !addr->in6_u.u6_addr32[1] && addr->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

/* Fills all of peer but the role. False for a socket that is not of the internet. */
static __always_inline bool peer_of_sock(struct sock *sk, struct oisp_peer *peer)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	struct in6_addr local, remote;

	__builtin_memset(peer, 0, sizeof(*peer));
	if (family != AF_INET && family != AF_INET6)
		return false;
	peer->protocol = BPF_CORE_READ(sk, sk_protocol);
	peer->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	peer->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		put_ipv4(peer, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr), BPF_CORE_READ(sk, __sk_common.skc_daddr));
		return true;
	}
	BPF_CORE_READ_INTO(&local, sk, __sk_common.skc_v6_rcv_saddr);
	BPF_CORE_READ_INTO(&remote, sk, __sk_common.skc_v6_daddr);
	/* A dual-stack socket that speaks IPv4. */
	if (is_mapped_ipv4(&remote)) {
		put_ipv4(peer, local.in6_u.u6_addr32[3], remote.in6_u.u6_addr32[3]);
		return true;
	}
	peer->family = AF_INET6;
	__builtin_memcpy(peer->local_addr, &local, 16);
	__builtin_memcpy(peer->remote_addr, &remote, 16);
	return true;
}
