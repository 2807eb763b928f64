/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What the network events want of a socket call: datagrams are counted, port 53 is copied, the first bytes of a TCP client are looked at. All else is left. */
#pragma once
#include "base.h"
#include "dns.h"
#include "hello.h"
#include "scope.h"
#include "socket_io.h"
#include "sockets.h"
#include "udp_flows.h"

#define MESSAGES_MAX 1024 /* UIO_MAXIOV: the kernel takes no more in one call. */

/* Bytes that a sendmmsg or recvmmsg moved. */
__noinline u64 messages_bytes(u64 messages, u64 count)
{
	u64 bytes = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MESSAGES_MAX; i++) {
		u32 len = 0;

		if (i >= count)
			break;
		bpf_probe_read_user(&len, sizeof(len), (const void *)(messages + i * sizeof(struct user_mmsghdr) + sizeof(struct user_msghdr)));
		bytes += len;
	}
	return bytes;
}

static __always_inline u64 dns_size(const struct socket_io *io)
{
	u64 room = io->buf_len > OISP_DNS_AREA ? OISP_DNS_AREA : io->buf_len;

	return (u32)io->bytes | room << 32;
}

static __always_inline void datagrams_moved(const struct socket_io *io, u64 how)
{
	bool several = io->shape == IO_MESSAGES;
	u64 bytes = several ? messages_bytes(io->messages, io->bytes) : io->bytes;
	u64 packets = several ? io->bytes : 1;

	if (udp_moved((u64)io->sk, how, io->name, bytes, packets) != DNS_PORT || scope_of(current_tgid()) != SCOPE_IN)
		return;
	if (several)
		dns_messages((u64)io->sk, how, io->messages, io->bytes);
	else
		dns_put((u64)io->sk, how, io->name, io->buf, dns_size(io));
}

static __always_inline void dns_stream_moved(const struct socket_io *io, u64 how)
{
	if (scope_of(current_tgid()) != SCOPE_IN || io->shape == IO_MESSAGES)
		return;
	if (io->iov)
		dns_pieces((u64)io->sk, how | DNS_STREAM, io->iov, io->iov_count, io->bytes);
	else
		dns_chunks((u64)io->sk, how | DNS_STREAM, io->buf, io->bytes);
}

static __always_inline void stream_moved(const struct socket_io *io, u64 how)
{
	struct sock *sk = io->sk;
	struct socket_note *note;

	if (BPF_CORE_READ(sk, __sk_common.skc_dport) == bpf_htons(DNS_PORT)) {
		dns_stream_moved(io, how);
		return;
	}
	if (io->direction != OISP_DIRECTION_WRITE)
		return;
	note = socket_note_of(sk);
	if (!note || note->sent || note->role != OISP_ROLE_CLIENT)
		return;
	note->sent = 1;
	if (note->in_scope)
		hello_look((u64)io->sk, io->buf, io->bytes < io->buf_len ? io->bytes : io->buf_len);
}

static __always_inline void network_io(const struct socket_io *io, u32 fd)
{
	struct sock *sk = io->sk;
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	u16 protocol;

	if (family != AF_INET && family != AF_INET6)
		return;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == IPPROTO_UDP)
		datagrams_moved(io, fd | (u64)io->direction << 32);
	else if (protocol == IPPROTO_TCP)
		stream_moved(io, fd | (u64)io->direction << 32);
}
