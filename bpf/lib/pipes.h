/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What is known of each pipe and Unix stream socket of processes in file scope, named by the end that is written to; it copies nothing.
 *
 * Both programs at a pipe may be in scope and would tell the same bytes. The direction of the first call that is seen is the one that is told.
 */
#pragma once
#include "base.h"
#include "connections.h"
#include "plain_sockets.h"
#include "scope.h"
#include "socket_io.h"


struct pipe_key {
	u64 address; /* Of the pipe's inode, or of the socket that is written to. */
	u64 inode; /* Its number: an address that is used again has another. */
};

enum pipe_state { PIPE_UNDECIDED = 0, PIPE_TOLD = 1, PIPE_OTHER = 2 };

struct pipe_stream {
	struct conn_state conn;
	u64 start_ns; /* Of the process that the stream is told of: the first. */
	u32 tgid;
	u32 state; /* enum pipe_state */
	u32 direction; /* enum oisp_direction */
	u32 looks; /* Calls that were no JSON-RPC. */
};

/* A pipe that was evicted is looked at anew, flagged opened. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct pipe_key);
	__type(value, struct pipe_stream);
} pipe_streams SEC(".maps");

/* The end that the call's bytes were written to: for a read the peer. False when it is gone. */
static __always_inline bool unix_key(const struct socket_io *io, struct pipe_key *key)
{
	struct sock *sk = io->sk;

	key->inode = io->inode;
	if (io->direction == OISP_DIRECTION_READ) {
		sk = BPF_CORE_READ((struct unix_sock *)sk, peer);
		key->inode = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
	}
	key->address = (u64)sk;
	return key->inode != 0;
}

/* Whether the stream is worth a program: new, undecided, or told in this direction. */
static __always_inline bool pipe_open(const struct pipe_key *key, u32 direction)
{
	struct pipe_stream *known = bpf_map_lookup_elem(&pipe_streams, key);

	return !known || (known->state != PIPE_OTHER && known->direction == direction);
}

static __always_inline bool pipe_wanted(const struct socket_io *io)
{
	struct sock *sk = io->sk;
	struct pipe_key key;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX || BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
		return false;
	return files_in_scope(current_tgid()) && unix_key(io, &key) && pipe_open(&key, io->direction);
}
