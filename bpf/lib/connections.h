/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Names connections, keeps the length of their two streams and the socket below them; how that socket is found is not its business. */
#pragma once
#include "base.h"
#include "sockets.h"
#include "task.h"

struct conn_key {
	u64 ssl;
	u64 start_ns;
	u32 tgid;
	u32 exec_id; /* After an exec the same address is another object. */
};

/* How the socket of a connection was found, the weakest first. */
enum conn_proof {
	PROOF_NONE = 0,
	PROOF_AROUND = 1, /* It carried a TLS record inside a call of a connection that is inside a call of this one: TLS inside TLS. */
	PROOF_RECEIVED = 2, /* The thread received a TLS record on it, and this connection was the next to read. */
	PROOF_HANDSHAKE = 3, /* The thread sent a handshake record on it right after a call that may have made one. */
	PROOF_NESTED = 4, /* It carried a TLS record inside a call of this connection. */
	PROOF_SENT = 5, /* The thread sent a record on it whose length fits what was written just before. */
	PROOF_GIVEN = 6, /* The program said so (SSL_set_fd). */
};

struct conn_state {
	u64 generation;
	u64 read_bytes;
	u64 write_bytes;
	u64 announced; /* A record with the flag `opened` is in the ring. */
	u32 skipping; /* A verdict is in force. */
	u32 resumed; /* Bit per direction: bytes were skipped, and no record with the flag `resumed` is in the ring. */
	struct socket_ref socket;
	u64 since_ns; /* When the socket was connected or accepted; 0: not known. */
	u32 proof; /* enum conn_proof; written after what it vouches for. */
	u32 named; /* Names that were told, a bit (1 << enum oisp_name_kind) each. */
	struct oisp_peer peer;
};

/* A connection that was evicted comes back as a new generation, flagged opened: its streams never go back silently. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct conn_key);
	__type(value, struct conn_state);
} connections SEC(".maps");

/* The first record of the call is in the ring: what it told of its stream need not be told again. */
static __always_inline void conn_told(struct conn_state *conn, u32 direction)
{
	conn->announced = 1;
	conn->resumed &= ~(1 << (direction & 1));
}

static __always_inline void conn_key_of(struct conn_key *key, u64 ssl)
{
	struct task_struct *task = current_task();

	key->ssl = ssl;
	key->start_ns = process_start_ns(task);
	key->tgid = current_tgid();
	key->exec_id = (u32)BPF_CORE_READ(task, group_leader, self_exec_id);
}

/* The connection, made when it is new; 0 when it cannot be kept. */
static __always_inline struct conn_state *conn_get(const struct conn_key *key)
{
	struct conn_state *conn = bpf_map_lookup_elem(&connections, key);

	if (!conn) {
		struct conn_state born = { .generation = bpf_ktime_get_boot_ns() };

		bpf_map_update_elem(&connections, key, &born, BPF_NOEXIST);
		conn = bpf_map_lookup_elem(&connections, key);
	}
	return conn;
}
