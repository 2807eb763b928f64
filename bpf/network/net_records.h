/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Puts the records of connections into the ring: the subject is who opened the socket, whoever runs now. It keeps nothing. */
#pragma once
#include "base.h"
#include "ledger.h"
#include "ring.h"
#include "sockets.h"

static __always_inline void net_header(struct oisp_rec_header *header, const struct oisp_rec_header *opener, u16 kind)
{
	*header = *opener;
	header->kind = kind;
	header->ts_ns = bpf_ktime_get_boot_ns();
}

/* Everything is 0 but the header and func; size is still to be set. 0 when the ring is full. */
static __always_inline struct oisp_net_open *net_open_begin(const struct oisp_rec_header *opener, u32 func)
{
	struct oisp_net_open *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);

	if (!rec) {
		ledger_add(OISP_LEDGER_NET_RING_FULL, 0);
		return 0;
	}
	__builtin_memset(rec, 0, sizeof(*rec));
	net_header(&rec->header, opener, OISP_KIND_NET_OPEN);
	rec->func = func;
	return rec;
}

static __always_inline void net_open_submit(struct oisp_net_open *rec)
{
	rec->header.size = __builtin_offsetof(struct oisp_net_open, path) + rec->path_len;
	ledger_add(OISP_LEDGER_NET_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

/* Everything but the peer, the times and the counts is set. 0 when the ring is full. */
static __always_inline struct oisp_net_flow *net_flow_begin(const struct oisp_rec_header *opener, u32 func)
{
	struct oisp_net_flow *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);

	if (!rec) {
		ledger_add(OISP_LEDGER_NET_RING_FULL, 0);
		return 0;
	}
	net_header(&rec->header, opener, OISP_KIND_NET_FLOW);
	rec->header.size = sizeof(*rec);
	rec->func = func;
	rec->reserved = 0;
	return rec;
}

static __always_inline void net_flow_submit(struct oisp_net_flow *rec)
{
	ledger_add(OISP_LEDGER_NET_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}
