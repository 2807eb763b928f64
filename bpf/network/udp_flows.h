/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Counts what a process moves through its datagram sockets, which the kernel does not count; it never looks into a datagram.
 *
 * A flow is the use of one descriptor: it begins with the first datagram, and ends when the descriptor is closed, leads to another socket, or
 * the process ends. What the process has duplicated makes a flow for each descriptor that it uses.
 */
#pragma once
#include "base.h"
#include "gates.h"
#include "net_records.h"
#include "open_file.h"
#include "scope.h"
#include "socket_address.h"
#include "sockets.h"
#include "task.h"

#define DNS_PORT 53

struct udp_key {
	u32 tgid;
	u32 fd;
};

struct udp_flow {
	u64 sk;
	u64 inode;
	struct oisp_rec_header opener; /* Who moved the first datagram; its time. */
	struct oisp_peer peer; /* The first one, where there are several. */
	u64 read_bytes;
	u64 write_bytes;
	u64 read_packets;
	u64 write_packets;
};

/* Not LRU: a flow would be lost in silence. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct udp_key);
	__type(value, struct udp_flow);
} udp_flows SEC(".maps");

#define UDP_FD_WORDS 16
#define UDP_FDS (64 * UDP_FD_WORDS)

/* Descriptors of a process that have a flow: at its end nothing else tells which. Those past the last bit are told when they are closed, or not at all. */
struct udp_fds {
	u64 bits[UDP_FD_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32); /* tgid */
	__type(value, struct udp_fds);
} udp_processes SEC(".maps");

/* In .rodata: zero bytes that need no room on the BPF stack. */
const volatile struct udp_flow no_udp_flow = {};
const volatile struct udp_fds no_udp_fds = {};

/* Notes that the descriptor has a flow; false when the process's end will not find it. */
static __always_inline bool udp_mark(const struct udp_key *key)
{
	struct udp_fds *fds = bpf_map_lookup_elem(&udp_processes, &key->tgid);

	if (key->fd >= UDP_FDS)
		return false;
	if (!fds) {
		bpf_map_update_elem(&udp_processes, &key->tgid, (const void *)&no_udp_fds, BPF_NOEXIST);
		fds = bpf_map_lookup_elem(&udp_processes, &key->tgid);
		if (!fds)
			return false;
	}
	/* An addition where the bit is known to be clear: the flow is new. */
	__sync_fetch_and_add(&fds->bits[key->fd / 64 % UDP_FD_WORDS], 1ull << (key->fd % 64));
	return true;
}

static __always_inline void udp_unmark(const struct udp_key *key)
{
	struct udp_fds *fds = bpf_map_lookup_elem(&udp_processes, &key->tgid);

	if (fds && key->fd < UDP_FDS)
		__sync_fetch_and_add(&fds->bits[key->fd / 64 % UDP_FD_WORDS], -(1ull << (key->fd % 64)));
}

static __always_inline void put_udp_flow(const struct udp_flow *flow)
{
	struct oisp_net_flow *rec;

	if (control.closing)
		return;
	rec = net_flow_begin(&flow->opener, OISP_PROBE_FUNC_SYS_EXIT);
	if (!rec)
		return;
	rec->peer = flow->peer;
	rec->socket = flow->sk;
	rec->start_ns = flow->opener.ts_ns;
	rec->read_bytes = flow->read_bytes;
	rec->write_bytes = flow->write_bytes;
	rec->read_packets = flow->read_packets;
	rec->write_packets = flow->write_packets;
	net_flow_submit(rec);
}

/* Ends the flow of a descriptor, if it has one. */
__noinline int udp_end(u32 tgid, u32 fd)
{
	struct udp_key key = { .tgid = tgid, .fd = fd };
	struct udp_flow *flow = bpf_map_lookup_elem(&udp_flows, &key);
	struct udp_flow last;

	if (!flow)
		return 0;
	last = *flow;
	if (bpf_map_delete_elem(&udp_flows, &key))
		return 0;
	udp_unmark(&key);
	put_udp_flow(&last);
	return 0;
}

/* The descriptor leads to the socket that its flow is of. */
static __always_inline bool udp_is_open(const struct udp_flow *flow, u32 fd)
{
	struct file *file = file_of_fd(fd);

	return file && file_kind_of(file) == OISP_FILE_KIND_SOCKET && BPF_CORE_READ(file, f_inode, i_ino) == flow->inode;
}

/* For the current process: after close(2), which may have come too late to find a socket that took the number. */
__noinline int udp_end_if_closed(u32 tgid, u32 fd)
{
	struct udp_key key = { .tgid = tgid, .fd = fd };
	struct udp_flow *flow = bpf_map_lookup_elem(&udp_flows, &key);

	if (flow && !udp_is_open(flow, fd))
		udp_end(tgid, fd);
	return 0;
}

/* Ends the flows of the current process: all of them at its end, those whose descriptor was closed by an exec. */
__noinline int udp_process_ends(u32 tgid, u32 all)
{
	struct udp_fds *fds = bpf_map_lookup_elem(&udp_processes, &tgid);

	if (!fds)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 fd = 0; fd < UDP_FDS; fd++) {
		if (!(fds->bits[fd / 64] & (1ull << (fd % 64))))
			continue;
		if (all)
			udp_end(tgid, fd);
		else
			udp_end_if_closed(tgid, fd);
	}
	if (all)
		bpf_map_delete_elem(&udp_processes, &tgid);
	return 0;
}

static __always_inline void put_udp_open(const struct udp_flow *flow)
{
	struct oisp_net_open *rec = net_open_begin(&flow->opener, OISP_PROBE_FUNC_SYS_EXIT);

	if (!rec)
		return;
	rec->peer = flow->peer;
	rec->socket = flow->sk;
	net_open_submit(rec);
}

/* The flow of a descriptor that has none, for the current process. 0 when it is not to be told, or cannot be kept. */
static __always_inline struct udp_flow *udp_begin(const struct udp_key *key, struct sock *sk, u64 name, u32 direction)
{
	struct udp_flow *flow;

	if (scope_of(key->tgid) != SCOPE_IN)
		return 0;
	bpf_map_update_elem(&udp_flows, key, (const void *)&no_udp_flow, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(&udp_flows, key);
	if (!flow) {
		ledger_add(OISP_LEDGER_SOCKET_FULL, 0);
		return 0;
	}
	fill_header(&flow->opener, 0, 0);
	peer_of_sock(sk, &flow->peer);
	if (!flow->peer.remote_port)
		peer_take_remote(&flow->peer, name);
	flow->peer.role = direction == OISP_DIRECTION_WRITE ? OISP_ROLE_CLIENT : OISP_ROLE_SERVER;
	flow->inode = inode_of_sock(sk);
	flow->sk = (u64)sk;
	gate_add(key->tgid, OISP_GATE_DATAGRAMS);
	if (!udp_mark(key))
		ledger_add(OISP_LEDGER_SOCKET_FULL, 0);
	/* Asking a name is told as that. */
	if (direction == OISP_DIRECTION_WRITE && flow->peer.remote_port && flow->peer.remote_port != DNS_PORT)
		put_udp_open(flow);
	return flow;
}

/* Datagrams went through a socket of the current process. how: descriptor, direction << 32. Returns the peer's port where it is known, else 0. */
__noinline int udp_moved(u64 socket, u64 how, u64 name, u64 bytes, u64 packets)
{
	struct udp_key key = { .tgid = current_tgid(), .fd = (u32)how };
	struct sock *sk = (struct sock *)socket;
	struct udp_flow *flow = bpf_map_lookup_elem(&udp_flows, &key);
	u32 direction = how >> 32;
	u16 port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));

	/* Without a socket it is being made by another thread. */
	if (flow && flow->sk && (flow->sk != socket || flow->inode != inode_of_sock(sk))) {
		udp_end(key.tgid, key.fd);
		flow = 0;
	}
	if (!flow)
		flow = udp_begin(&key, sk, name, direction);
	if (!port)
		port = port_of_address(name);
	if (!flow)
		return port;
	if (direction == OISP_DIRECTION_WRITE) {
		__sync_fetch_and_add(&flow->write_bytes, bytes);
		__sync_fetch_and_add(&flow->write_packets, packets);
	} else {
		__sync_fetch_and_add(&flow->read_bytes, bytes);
		__sync_fetch_and_add(&flow->read_packets, packets);
	}
	return port ? port : flow->peer.remote_port;
}
