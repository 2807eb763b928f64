/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies the first bytes that a TCP client sends if they are a ClientHello: TLS is seen there, whoever can read it. It looks at no later byte. */
#pragma once
#include "base.h"
#include "ledger.h"
#include "ring.h"
#include "sockets.h"
#include "task.h"

#define TLS_HANDSHAKE 22
#define TLS_CLIENT_HELLO 1

/* The head of a TLS record and the type of its first handshake message. */
struct hello_start {
	u8 content;
	u8 major;
	u8 minor;
	u8 length[2];
	u8 handshake;
};

/* len: bytes of the call that are in the buffer. */
__noinline int hello_look(u64 socket, u64 buf, u64 len)
{
	struct hello_start start = {};
	struct oisp_tls_hello *rec;
	u64 copied = len;

	if (len < sizeof(start) || bpf_probe_read_user(&start, sizeof(start), (const void *)buf))
		return 0;
	if (start.content != TLS_HANDSHAKE || start.major != 3 || start.handshake != TLS_CLIENT_HELLO)
		return 0;
	asm volatile("" : "+r"(copied));
	if (copied > OISP_HELLO_AREA)
		copied = OISP_HELLO_AREA;
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
	fill_header(&rec->header, OISP_KIND_TLS_HELLO, __builtin_offsetof(struct oisp_tls_hello, bytes) + copied);
	peer_of_sock((struct sock *)socket, &rec->peer);
	rec->peer.role = OISP_ROLE_CLIENT;
	rec->socket = socket;
	rec->len = len;
	rec->bytes_len = copied;
	ledger_add(OISP_LEDGER_NET_EMITTED, copied);
	bpf_ringbuf_submit(rec, ring_wake_flags());
	return 0;
}
