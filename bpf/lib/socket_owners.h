/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The way back from a socket to the TLS connection it was found for: one that has a connection is no other's by weak evidence. */
#pragma once
#include "base.h"
#include "connections.h"
#include "sockets.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct socket_ref);
	__type(value, struct conn_key);
} socket_owners SEC(".maps");

/* Whether another connection of the same process, still alive, has the socket. */
static __always_inline bool socket_has_other_owner(const struct socket_ref *ref, const struct conn_key *key)
{
	struct conn_key *owner = bpf_map_lookup_elem(&socket_owners, ref);
	struct conn_state *conn;

	if (!owner || owner->tgid != key->tgid || owner->start_ns != key->start_ns || owner->exec_id != key->exec_id || owner->ssl == key->ssl)
		return false;
	conn = bpf_map_lookup_elem(&connections, owner);
	return conn && conn->proof && same_socket(&conn->socket, ref);
}

static __always_inline void socket_set_owner(const struct socket_ref *ref, const struct conn_key *key)
{
	bpf_map_update_elem(&socket_owners, ref, key, BPF_ANY);
}

/* The connection is over; the socket may live on. */
static __always_inline void socket_unown(const struct socket_ref *ref, const struct conn_key *key)
{
	struct conn_key *owner = bpf_map_lookup_elem(&socket_owners, ref);

	if (owner && owner->tgid == key->tgid && owner->ssl == key->ssl)
		bpf_map_delete_elem(&socket_owners, ref);
}
