/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells what a TCP connection moved, from the kernel's own counts, when it is over; it counts nothing itself. */
#pragma once
#include "base.h"
#include "net_records.h"
#include "open_socket.h"
#include "sockets.h"

#define SOCK_DONE (1 << 1) /* enum sock_flags: the peer's FIN has come. */

/* The peer of a socket that may have given its port back already. */
static __always_inline void tcp_peer(struct oisp_peer *peer, struct sock *sk, u8 role)
{
	peer_of_sock(sk, peer);
	peer->role = role;
	if (!peer->local_port)
		peer->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline void put_tcp_flow(struct sock *sk, const struct socket_note *note, u32 func)
{
	struct tcp_sock *tcp = (struct tcp_sock *)sk;
	struct oisp_net_flow *rec = net_flow_begin(&note->opener, func);

	if (!rec)
		return;
	tcp_peer(&rec->peer, sk, note->role);
	rec->socket = (u64)sk;
	rec->start_ns = note->since_ns;
	rec->read_bytes = BPF_CORE_READ(tcp, bytes_received);
	/* A FIN takes a place in the sequence, and the kernel counts it as a byte. */
	if (rec->read_bytes && (BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE))
		rec->read_bytes--;
	rec->write_bytes = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
	rec->read_packets = BPF_CORE_READ(tcp, segs_in);
	rec->write_packets = BPF_CORE_READ(tcp, segs_out);
	net_flow_submit(rec);
}

/* Forgets the socket; of two who see its end at once, one is told that it was there. */
static __always_inline bool note_take(struct sock *sk)
{
	u64 key = (u64)sk;

	return !bpf_map_delete_elem(&socket_notes, &key);
}

/* note lies on the stack or in the map; the socket is closed. */
static __always_inline void tcp_connection_ends(struct sock *sk, const struct socket_note *note, u32 func)
{
	struct socket_note last = *note;

	if (note_take(sk) && last.in_scope && !control.closing)
		put_tcp_flow(sk, &last, func);
}
