/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies what goes to and comes from port 53 into records: whole datagrams, and the pieces of streams; it never looks into them.
 *
 * The functions are global, so that the verifier walks each once, and take numbers only. how is the descriptor, the direction << 32,
 * and DNS_STREAM for a piece of a stream.
 */
#pragma once
#include "base.h"
#include "ledger.h"
#include "ring.h"
#include "scope.h"
#include "socket_address.h"
#include "socket_io.h"
#include "sockets.h"
#include "task.h"
#include "udp_flows.h"

#define DNS_STREAM (1ull << 40)
#define DNS_MESSAGES 32 /* Of one sendmmsg or recvmmsg; glibc sends two. */
#define DNS_PIECES 8 /* Buffers of one writev; glibc has four. */
#define DNS_CHUNKS 16 /* Records of one buffer: 64 KiB, the longest message. */

/* The resolver: the connected peer, or the address of the call, or the one the socket's first datagram went to. */
static __always_inline void dns_peer(struct oisp_peer *peer, struct sock *sk, u64 how, u64 name)
{
	struct udp_key key = { .tgid = current_tgid(), .fd = (u32)how };
	struct udp_flow *flow;

	peer_of_sock(sk, peer);
	peer->role = OISP_ROLE_CLIENT;
	if (peer->remote_port || peer_take_remote(peer, name))
		return;
	flow = bpf_map_lookup_elem(&udp_flows, &key);
	if (!flow)
		return;
	peer->family = flow->peer.family;
	peer->remote_port = flow->peer.remote_port;
	__builtin_memcpy(peer->remote_addr, flow->peer.remote_addr, sizeof(peer->remote_addr));
}

/* One message or piece. size: its true length, and the room of its buffer << 32. */
__noinline int dns_put(u64 socket, u64 how, u64 name, u64 buf, u64 size)
{
	struct oisp_net_dns *rec;
	u64 len = (u32)size;
	u64 copied = size >> 32;

	if (copied > len)
		copied = len;
	asm volatile("" : "+r"(copied));
	if (copied > OISP_DNS_AREA)
		copied = OISP_DNS_AREA;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_NET_RING_FULL, len);
		return 0;
	}
	if (bpf_probe_read_user(rec->bytes, copied, (const void *)buf)) {
		ledger_add(OISP_LEDGER_NET_FAULT, copied);
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return 0;
	}
	if (copied < len)
		ledger_add(OISP_LEDGER_NET_CUT, len - copied);
	fill_header(&rec->header, OISP_KIND_NET_DNS, __builtin_offsetof(struct oisp_net_dns, bytes) + copied);
	dns_peer(&rec->peer, (struct sock *)socket, how, name);
	rec->socket = socket;
	rec->len = len;
	rec->bytes_len = copied;
	rec->flags = how & DNS_STREAM ? OISP_DNS_FLAG_STREAM : 0;
	rec->direction = (how >> 32) & 1;
	rec->reserved = 0;
	ledger_add(OISP_LEDGER_NET_EMITTED, copied);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}

/* One buffer of a stream. */
__noinline int dns_chunks(u64 socket, u64 how, u64 buf, u64 len)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < DNS_CHUNKS; i++) {
		u64 part = len > OISP_DNS_AREA ? OISP_DNS_AREA : len;

		if (!part)
			return 0;
		dns_put(socket, how, 0, buf, part | part << 32);
		buf += part;
		len -= part;
	}
	if (len)
		ledger_add(OISP_LEDGER_NET_CUT, len);
	return 0;
}

/* The buffers of a vector that moved so many bytes of a stream. */
__noinline int dns_pieces(u64 socket, u64 how, u64 iov, u64 count, u64 bytes)
{
	struct user_iovec piece;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < DNS_PIECES; i++) {
		if (i >= count || !bytes)
			return 0;
		if (bpf_probe_read_user(&piece, sizeof(piece), (const void *)(iov + i * sizeof(piece)))) {
			ledger_add(OISP_LEDGER_NET_FAULT, bytes);
			return 0;
		}
		if (piece.len > bytes)
			piece.len = bytes;
		dns_chunks(socket, how, piece.base, piece.len);
		bytes -= piece.len;
	}
	if (bytes)
		ledger_add(OISP_LEDGER_NET_CUT, bytes);
	return 0;
}

/* Message number index of a sendmmsg or recvmmsg. */
__noinline int dns_message(u64 socket, u64 how, u64 messages, u32 index)
{
	struct user_mmsghdr message;
	struct user_iovec first;

	if (bpf_probe_read_user(&message, sizeof(message), (const void *)(messages + index * sizeof(message))) || !message.header.iov_len ||
	    bpf_probe_read_user(&first, sizeof(first), (const void *)message.header.iov)) {
		ledger_add(OISP_LEDGER_NET_FAULT, 0);
		return 0;
	}
	if (first.len > OISP_DNS_AREA)
		first.len = OISP_DNS_AREA;
	return dns_put(socket, how, message.header.name, first.base, message.len | first.len << 32);
}

__noinline int dns_messages(u64 socket, u64 how, u64 messages, u64 count)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < DNS_MESSAGES; i++) {
		if (i >= count)
			return 0;
		dns_message(socket, how, messages, i);
	}
	if (count > DNS_MESSAGES)
		ledger_add(OISP_LEDGER_NET_CUT, 0);
	return 0;
}
