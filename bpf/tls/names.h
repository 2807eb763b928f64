/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells the names that a program gives a TLS connection or asks of it: server name, application protocols. It reads no handshake. */
#pragma once
#include "base.h"
#include "connections.h"
#include "ledger.h"
#include "ring.h"
#include "task.h"

struct tls_naming {
	u64 ssl;
	u32 what; /* enum oisp_name_kind */
	u32 func; /* enum oisp_probe_func */
};

/* A record with everything but the name in it; 0: it cannot be made, or (a protocol agreed on, asked for again) is told already. */
static __always_inline struct oisp_tls_name *name_open(const struct tls_naming *naming)
{
	struct oisp_tls_name *rec;
	struct conn_state *conn;
	struct conn_key key;

	conn_key_of(&key, naming->ssl);
	conn = conn_get(&key);
	if (!conn) {
		ledger_add(OISP_LEDGER_CONN_LOST, 0);
		return 0;
	}
	if (naming->what == OISP_NAME_KIND_SELECTED && (conn->named & (1 << OISP_NAME_KIND_SELECTED)))
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_NAME_LOST, 0);
		return 0;
	}
	conn->named |= 1 << naming->what;
	fill_header(&rec->header, OISP_KIND_TLS_NAME, 0);
	rec->ssl = naming->ssl;
	rec->generation = conn->generation;
	rec->what = naming->what;
	rec->func = naming->func;
	return rec;
}

/* len bytes of the name are in place, of total; 0: it could not be read. */
static __always_inline void name_close(struct oisp_tls_name *rec, u32 len, u32 total)
{
	if (!len) {
		ledger_add(OISP_LEDGER_NAME_LOST, 0);
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	rec->len = len;
	rec->total = total;
	rec->header.size = __builtin_offsetof(struct oisp_tls_name, name) + len;
	ledger_add(OISP_LEDGER_NAME_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

/* A name of known length. */
static __always_inline void tell_name(const struct tls_naming *naming, u64 from, u32 total)
{
	struct oisp_tls_name *rec;
	u64 len = total;

	if (!from || !total)
		return;
	rec = name_open(naming);
	if (!rec)
		return;
	asm volatile("" : "+r"(len));
	if (len > OISP_NAME_AREA)
		len = OISP_NAME_AREA;
	if (bpf_probe_read_user(rec->name, len, (const void *)from))
		len = 0;
	name_close(rec, len, total);
}

/* A name that ends with a NUL. */
static __always_inline void tell_name_text(const struct tls_naming *naming, u64 from)
{
	struct oisp_tls_name *rec;
	long len;

	if (!from)
		return;
	rec = name_open(naming);
	if (!rec)
		return;
	len = bpf_probe_read_user_str(rec->name, OISP_NAME_AREA, (const void *)from);
	/* The NUL is no part of the name. */
	name_close(rec, len > 1 && len <= OISP_NAME_AREA ? len - 1 : 0, len > 1 ? len - 1 : 0);
}
