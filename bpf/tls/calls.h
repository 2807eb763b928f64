/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What the probes of every TLS library do: keep a call at its entry, tell its bytes at its return, close its connection. It knows no library. */
#pragma once
#include "base.h"
#include "bind.h"
#include "call_frames.h"
#include "connections.h"
#include "emit.h"
#include "gates.h"
#include "ledger.h"
#include "ring.h"
#include "scope.h"
#include "target.h"
#include "task.h"
#include "verdicts.h"

/* Whether calls of the current process are looked at; counts those that are not. Its socket calls are looked at from then on. */
static __always_inline bool tls_in_scope(void)
{
	enum scope_answer answer = scope_of(current_tgid());

	if (answer == SCOPE_IN) {
		gate_add(current_tgid(), OISP_GATE_TLS);
		return true;
	}
	ledger_add(answer == SCOPE_OWN ? OISP_LEDGER_OWN : OISP_LEDGER_OUT_OF_SCOPE, 0);
	return false;
}

/* frame holds the arguments, function and direction. False: the call is in scope and cannot be kept. */
static __always_inline bool tls_entry(struct pt_regs *ctx, struct call_frame *frame)
{
	u32 place;

	if (!tls_in_scope())
		return true;
	frame->sp = PT_REGS_SP(ctx);
	place = call_enter(frame);
	if (place == CALL_OUTERMOST)
		bind_outermost();
	if (frame->direction == OISP_DIRECTION_READ)
		bind_received(frame->ssl);
	return place != CALL_NOT_KEPT;
}

/* A call that moves no plaintext: what is learnt of it is the socket that it uses. */
static __always_inline void tls_handshake_entry(struct pt_regs *ctx, u32 func)
{
	struct call_frame frame = { .ssl = PT_REGS_PARM1(ctx), .func = func, .direction = OISP_DIRECTION_READ };

	tls_entry(ctx, &frame);
}

/* moved > 0 */
static __always_inline void tls_tell(struct pt_regs *ctx, struct oisp_tls_data *head, const struct call_frame *frame, u64 moved)
{
	struct conn_key key;
	struct conn_state *conn;

	conn_key_of(&key, frame->ssl);
	conn = conn_get(&key);
	if (!conn) {
		ledger_add(OISP_LEDGER_CONN_LOST, moved);
		return;
	}
	fill_header(&head->header, OISP_KIND_TLS_DATA, 0);
	head->ssl = frame->ssl;
	head->generation = conn->generation;
	head->call_len = moved > 0xffffffff ? 0xffffffff : moved;
	head->direction = frame->direction;
	head->func = frame->func;
	head->flags = conn->announced ? 0 : OISP_TLS_FLAG_OPENED;
	head->reserved = 0;
	head->target = probe_target(ctx);
	head->reserved2 = 0;
	if (conn->proof) {
		head->peer = conn->peer;
		head->since_ns = conn->since_ns;
	} else {
		__builtin_memset(&head->peer, 0, sizeof(head->peer));
		head->since_ns = 0;
	}
	/* One thread at a time reads, one writes: that is the API's own rule. The stream moves on even if chunks are lost. */
	if (frame->direction == OISP_DIRECTION_READ) {
		head->offset = conn->read_bytes;
		conn->read_bytes += moved;
	} else {
		head->offset = conn->write_bytes;
		conn->write_bytes += moved;
	}
	if (verdict_skips(conn, head, frame->buf, moved, frame->direction == OISP_DIRECTION_WRITE))
		return;
	put_call(frame->buf, moved);
	if (!head->flags)
		conn_told(conn, frame->direction);
}

/* Takes the returning call out. False, and counted where it is a loss, when it was not kept: out of scope at its entry is the common reason. */
static __always_inline bool tls_leave(struct pt_regs *ctx, struct call_stack *stack, u32 func, struct call_frame *frame)
{
	if (stack && call_leave(stack, func, entry_sp_at_return(ctx), frame))
		return true;
	if ((s32)PT_REGS_RC(ctx) > 0 && scope_of(current_tgid()) == SCOPE_IN)
		ledger_add(OISP_LEDGER_FRAME_LOST, 0);
	return false;
}

/* The call moved that many bytes of its buffer; 0: none. */
static __always_inline void tls_return(struct pt_regs *ctx, struct call_stack *stack, struct call_frame *frame, u64 moved)
{
	if (frame->told)
		moved = 0;
	/* Before the bytes are counted: a connection without plaintext is in its handshake. */
	bind_sealed(frame->ssl, frame->direction == OISP_DIRECTION_WRITE ? moved : 0, calls_live(stack));
	if (moved) {
		call_told(stack, frame);
		tls_tell(ctx, &stack->head, frame, moved);
	}
	calls_trim(stack);
}

static __always_inline void tls_handshake_exit(struct pt_regs *ctx, u32 func)
{
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();

	/* One that was not kept is no loss. */
	if (stack && call_leave(stack, func, entry_sp_at_return(ctx), &frame))
		tls_return(ctx, stack, &frame, 0);
}

/* The call moved bytes that no buffer of the program held: its stream has a gap. */
static __always_inline void tls_skip(const struct call_frame *frame, u64 moved)
{
	struct conn_key key;
	struct conn_state *conn;

	if (!moved)
		return;
	ledger_add(OISP_LEDGER_NO_BUFFER, moved);
	conn_key_of(&key, frame->ssl);
	conn = conn_get(&key);
	if (!conn)
		return;
	if (frame->direction == OISP_DIRECTION_READ)
		conn->read_bytes += moved;
	else
		conn->write_bytes += moved;
}

/* A call that has no buffer. One that it calls may have, and tell the bytes. */
static __always_inline void tls_bufferless_entry(struct pt_regs *ctx, u32 func, u32 direction)
{
	struct call_frame frame = { .ssl = PT_REGS_PARM1(ctx), .num = ~0ULL, .func = func, .direction = direction };

	tls_entry(ctx, &frame);
}

/* It returns how many bytes went. */
static __always_inline void tls_bufferless_exit(struct pt_regs *ctx, u32 func)
{
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();
	s64 result = (s64)PT_REGS_RC(ctx);

	if (!tls_leave(ctx, stack, func, &frame))
		return;
	tls_skip(&frame, result > 0 && !frame.told ? result : 0);
	tls_return(ctx, stack, &frame, 0);
}

/* Whether payload has moved: libraries make an object as new themselves when its handshake begins, and it stays the connection it is. */
static __always_inline bool tls_has_moved(u64 ssl)
{
	struct conn_key key;
	struct conn_state *conn;

	conn_key_of(&key, ssl);
	conn = bpf_map_lookup_elem(&connections, &key);
	return conn && (conn->read_bytes || conn->write_bytes);
}

/* The TLS object is gone, or as new. A connection that no call was seen on has nothing to close. */
static __always_inline void tls_close(u64 ssl, u32 func)
{
	struct conn_key key;
	struct conn_state *conn;
	struct oisp_tls_close *rec;

	conn_key_of(&key, ssl);
	conn = bpf_map_lookup_elem(&connections, &key);
	if (!conn)
		return;
	if (conn->proof)
		socket_unown(&conn->socket, &key);
	if (!conn->read_bytes && !conn->write_bytes && !conn->named)
		goto forget;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_CLOSE_RING_FULL, 0);
		goto forget;
	}
	fill_header(&rec->header, OISP_KIND_TLS_CLOSE, sizeof(*rec));
	rec->ssl = key.ssl;
	rec->generation = conn->generation;
	rec->read_bytes = conn->read_bytes;
	rec->write_bytes = conn->write_bytes;
	rec->func = func;
	rec->flags = conn->skipping ? OISP_CLOSE_FLAG_SKIPPED : 0;
	ledger_add(OISP_LEDGER_CLOSE_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
forget:
	bpf_map_delete_elem(&connections, &key);
}
