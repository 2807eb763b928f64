/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Keeps what the host has said of connections and leaves out the bytes of those that are of no interest; it judges none itself.
 *
 *   host: not AI ──► verdicts ──(a request that is no POST; any write, when it is no HTTP)──► skipping ──(a POST)──► copied again
 *
 * A verdict comes some time after what it was made of, so it takes force only where a message begins: an exchange that is under way is whole.
 * While skipping, each request is still looked at, because a connection of a proxy serves one caller after another.
 */
#pragma once
#include "base.h"
#include "connections.h"
#include "http_start.h"
#include "ledger.h"

struct verdict_key {
	u64 ssl;
	u64 generation;
	u32 tgid;
	u32 reserved;
};

/* Verdicts that have not taken force; one that was evicted costs the copying that it would have spared. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct verdict_key);
	__type(value, u32); /* enum oisp_verdict */
} verdicts SEC(".maps");

static __always_inline void take_verdict(struct conn_state *conn, const struct oisp_tls_data *head, enum http_start start)
{
	struct verdict_key key = { .ssl = head->ssl, .generation = head->generation, .tgid = head->header.tgid };
	u32 *verdict = bpf_map_lookup_elem(&verdicts, &key);

	if (!verdict)
		return;
	if (start == HTTP_REQUEST || (start == HTTP_NONE && *verdict == OISP_VERDICT_SKIP_ALL))
		conn->skipping = 1;
	bpf_map_delete_elem(&verdicts, &key);
}

/* Whether the call of the head is not to be told: it is booked then, and its stream must have moved on. requests: requests go this way. */
static __always_inline bool verdict_skips(struct conn_state *conn, struct oisp_tls_data *head, u64 buf, u64 moved, bool requests)
{
	if (requests && (conn->skipping || control.verdicts)) {
		enum http_start start = http_start_of(buf, moved);

		if (!conn->skipping) {
			take_verdict(conn, head, start);
		} else if (start == HTTP_POST && moved > 4) {
			conn->skipping = 0;
			conn->resumed = 3;
		}
	}
	if (conn->skipping) {
		ledger_add(OISP_LEDGER_SEEN, moved);
		ledger_add(OISP_LEDGER_SKIPPED, moved);
		return true;
	}
	if (conn->resumed & (1 << head->direction))
		head->flags |= OISP_TLS_FLAG_RESUMED;
	return false;
}
