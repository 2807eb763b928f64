/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies the payload of one finished call into the ring, chunk by chunk, and books every byte in the ledger.
 *
 *     call of 50,000 bytes:  | 16384 | 16384 | 16384 | 848 |     full chunks in a loop, the tail in the smallest class that holds it
 *
 * Programs run preemptible, so nothing is staged in per-CPU memory: bytes go from the process straight into the ring.
 * The functions that write a chunk and that go through the chunks are global, so that the verifier walks them once and
 * not once per chunk and way that leads there (kernels before 6.4 give up after a million steps); kernels before 5.12 let a global function have numbers only, so what all chunks share waits in the thread's call_stack.head.
 */
#pragma once
#include "base.h"
#include "call_frames.h"
#include "ledger.h"
#include "rate.h"
#include "ring.h"

#define TLS_CALL_LIMIT ((u64)OISP_TLS_CHUNK * OISP_TLS_CALL_CHUNKS)

struct tls_chunk {
	u64 from; /* User address. */
	u64 len;
	u64 done; /* Bytes of the call before this chunk. */
	u64 flags;
};

/* room is a compile-time constant, len <= room. */
static __always_inline void put_chunk(struct oisp_tls_data *head, const struct tls_chunk *chunk, u32 room)
{
	struct oisp_tls_data *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec) + room, 0);
	u64 len = chunk->len;

	if (!rec) {
		ledger_add(OISP_LEDGER_RING_FULL, len);
		return;
	}
	asm volatile("" : "+r"(len));
	if (len > room)
		len = room;
	if (bpf_probe_read_user(rec + 1, len, (const void *)chunk->from)) {
		ledger_add(OISP_LEDGER_FAULT, len);
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	*rec = *head;
	rec->header.size = sizeof(*rec) + len;
	rec->offset += chunk->done;
	rec->call_off = chunk->done;
	rec->len = len;
	rec->flags |= chunk->flags;
	/* It held `opened` at most, and the first record that got through has told it. */
	head->flags = 0;
	/* Atomic, and so a barrier between the reservation and the look at reader_sleeping. */
	ledger_add(OISP_LEDGER_EMITTED, len);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

__noinline int put_full_chunk(u64 from, u64 done, u64 flags)
{
	struct tls_chunk chunk = { .from = from, .len = OISP_TLS_CHUNK, .done = done, .flags = flags };
	struct call_stack *stack = current_calls();

	if (stack)
		put_chunk(&stack->head, &chunk, OISP_TLS_CHUNK);
	return 0;
}

__noinline int put_tail(u64 from, u64 len, u64 done, u64 flags)
{
	struct tls_chunk chunk = { .from = from, .len = len, .done = done, .flags = flags };
	struct call_stack *stack = current_calls();

	if (!stack)
		return 0;
	if (len <= 256)
		put_chunk(&stack->head, &chunk, 256);
	else if (len <= 1024)
		put_chunk(&stack->head, &chunk, 1024);
	else if (len <= 4096)
		put_chunk(&stack->head, &chunk, 4096);
	else if (len <= 8192)
		put_chunk(&stack->head, &chunk, 8192);
	else
		put_chunk(&stack->head, &chunk, OISP_TLS_CHUNK);
	return 0;
}

/* What the last chunk of a call says of the bytes that were not copied: kept of those moved were within the rate, captured of those within the limit. */
static __always_inline u64 cut_flag(u64 moved, u64 kept, u64 captured)
{
	if (kept < moved)
		return OISP_TLS_FLAG_SHED;
	return captured < kept ? OISP_TLS_FLAG_TRUNCATED : 0;
}

/* moved is the true length of the call, > 0; the thread's call_stack.head is filled. */
__noinline int put_call(u64 buf, u64 moved)
{
	u64 kept = rate_keeps(moved);
	u64 captured = kept > TLS_CALL_LIMIT ? TLS_CALL_LIMIT : kept;
	u64 end_flags = OISP_TLS_FLAG_LAST | cut_flag(moved, kept, captured);
	u64 flags = OISP_TLS_FLAG_FIRST;
	u64 done = 0;

	ledger_add(OISP_LEDGER_SEEN, moved);
	if (kept > captured)
		ledger_add(OISP_LEDGER_TRUNCATED, kept - captured);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < OISP_TLS_CALL_CHUNKS; i++) {
		if (captured < done + OISP_TLS_CHUNK)
			break;
		if (captured == done + OISP_TLS_CHUNK)
			flags |= end_flags;
		put_full_chunk(buf + done, done, flags);
		done += OISP_TLS_CHUNK;
		flags = 0;
	}
	if (captured > done)
		put_tail(buf + done, captured - done, done, flags | end_flags);
	return 0;
}
