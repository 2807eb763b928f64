/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Reads the socket addresses that programs pass to system calls; it trusts none of their lengths. */
#pragma once
#include "base.h"
#include "sockets.h"

struct user_sockaddr_in {
	u16 family;
	__be16 port;
	__be32 addr;
};

struct user_sockaddr_in6 {
	u16 family;
	__be16 port;
	u32 flow;
	struct in6_addr addr;
};

/* Port and family of an internet address; 0 for another, or one that cannot be read. */
static __always_inline u16 port_of_address(u64 address)
{
	struct user_sockaddr_in name;

	if (!address || bpf_probe_read_user(&name, sizeof(name), (const void *)address))
		return 0;
	return name.family == AF_INET || name.family == AF_INET6 ? bpf_ntohs(name.port) : 0;
}

/* Sets the remote end of peer, whose family it may change. False for an address that is not of the internet, or cannot be read. */
static __always_inline bool peer_take_remote(struct oisp_peer *peer, u64 address)
{
	struct user_sockaddr_in6 name = {};

	if (!address || bpf_probe_read_user(&name, sizeof(struct user_sockaddr_in), (const void *)address))
		return false;
	if (name.family == AF_INET) {
		peer->family = AF_INET;
		peer->remote_port = bpf_ntohs(name.port);
		/* flow is where an IPv4 address has its address. */
		__builtin_memcpy(peer->remote_addr, &name.flow, 4);
		return true;
	}
	if (name.family != AF_INET6 || bpf_probe_read_user(&name, sizeof(name), (const void *)address))
		return false;
	peer->remote_port = bpf_ntohs(name.port);
	if (is_mapped_ipv4(&name.addr)) {
		peer->family = AF_INET;
		__builtin_memset(peer->local_addr, 0, sizeof(peer->local_addr));
		__builtin_memcpy(peer->remote_addr, &name.addr.in6_u.u6_addr32[3], 4);
		return true;
	}
	peer->family = AF_INET6;
	__builtin_memcpy(peer->remote_addr, &name.addr, 16);
	return true;
}
