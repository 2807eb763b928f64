/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies what one system call moved out of however many buffers it lay in; it knows no socket and no pipe. */
#pragma once
#include "base.h"
#include "call_frames.h"
#include "emit.h"
#include "ledger.h"
#include "rate.h"
#include "socket_io.h"
#include "syscall.h"
#include "syscall_numbers.h"

/* Steps of one call: a buffer of a vector that is turned to, or a chunk that is copied. */
#define PIECES 512

static __always_inline u64 first_length(const struct socket_io *io)
{
	return io->bytes < io->buf_len ? io->bytes : io->buf_len;
}

/* Copies the next piece of the thread's call, or goes on to the next buffer. 0: that was the last. Global, so that the verifier walks it once. */
__noinline int put_piece(u64 iov, u64 iov_count)
{
	struct call_stack *stack = current_calls();
	struct call_pieces *at;
	struct user_iovec vector;
	u64 n, flags;

	if (!stack)
		return 0;
	at = &stack->pieces;
	n = at->left;
	if (n > OISP_TLS_CHUNK)
		n = OISP_TLS_CHUNK;
	if (n > at->limit - at->done)
		n = at->limit - at->done;
	if (n) {
		flags = at->done ? 0 : OISP_TLS_FLAG_FIRST;
		if (at->done + n == at->limit)
			flags |= OISP_TLS_FLAG_LAST | cut_flag(at->moved, at->kept, at->limit);
		put_tail(at->from, n, at->done, flags);
		at->from += n;
		at->left -= n;
		at->done += n;
		return at->done < at->limit;
	}
	if (at->next >= iov_count || bpf_probe_read_user(&vector, sizeof(vector), (const void *)(iov + at->next * sizeof(vector))))
		return 0;
	at->next++;
	at->from = vector.base;
	at->left = vector.len;
	return 1;
}

/* The bytes lie in the first buffer and in those behind it; what is past the last piece is booked as truncated. */
static __always_inline void put_pieces(struct call_stack *stack, const struct socket_io *io)
{
	struct call_pieces *at = &stack->pieces;

	at->from = io->buf;
	at->left = io->buf_len;
	at->done = 0;
	at->moved = io->bytes;
	at->kept = rate_keeps(io->bytes);
	at->limit = at->kept > TLS_CALL_LIMIT ? TLS_CALL_LIMIT : at->kept;
	at->next = 1;
	ledger_add(OISP_LEDGER_SEEN, io->bytes);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < PIECES; i++)
		if (!put_piece(io->iov, io->iov_count))
			break;
	if (at->done < at->kept)
		ledger_add(OISP_LEDGER_TRUNCATED, at->kept - at->done);
}
