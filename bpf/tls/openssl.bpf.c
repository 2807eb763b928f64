/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Probes of the OpenSSL API: arguments are kept at entry, payload is copied at return; nothing is ever told at entry. */
#include "base.h"
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

static __always_inline void data_entry(struct pt_regs *ctx, u32 func, u64 moved_ptr)
{
	enum scope_answer answer = scope_of(current_tgid());
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		/* An int argument leaves the upper half of its register undefined. */
		.num = moved_ptr ? PT_REGS_PARM3(ctx) : (u32)PT_REGS_PARM3(ctx),
		.moved_ptr = moved_ptr,
		.sp = PT_REGS_SP(ctx),
		.func = func,
	};

	if (answer == SCOPE_IN) {
		gate_add(current_tgid(), OISP_GATE_TLS);
		call_enter(&frame);
	} else {
		ledger_add(answer == SCOPE_OWN ? OISP_LEDGER_OWN : OISP_LEDGER_OUT_OF_SCOPE, 0);
	}
}

/* Bytes that the returning call moved; 0: none. */
static __always_inline u64 moved_bytes(struct pt_regs *ctx, const struct call_frame *frame)
{
	s32 result = (s32)PT_REGS_RC(ctx);
	u64 moved = 0;

	if (result <= 0)
		return 0;
	if (!frame->moved_ptr)
		return (u32)result;
	if (bpf_probe_read_user(&moved, sizeof(moved), (const void *)frame->moved_ptr)) {
		ledger_add(OISP_LEDGER_FAULT, 0);
		return 0;
	}
	return moved;
}

static __always_inline void tell_call(struct pt_regs *ctx, struct oisp_tls_data *head, const struct call_frame *frame, u64 moved, u32 direction)
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
	head->direction = direction;
	head->func = frame->func;
	head->flags = conn->announced ? 0 : OISP_TLS_FLAG_OPENED;
	head->reserved = 0;
	head->target = probe_target(ctx);
	head->reserved2 = 0;
	__builtin_memset(&head->peer, 0, sizeof(head->peer));
	/* One thread at a time reads, one writes: that is the API's own rule. The stream moves on even if chunks are lost. */
	if (direction == OISP_DIRECTION_READ) {
		head->offset = conn->read_bytes;
		conn->read_bytes += moved;
	} else {
		head->offset = conn->write_bytes;
		conn->write_bytes += moved;
	}
	if (verdict_skips(conn, head, frame->buf, moved, direction == OISP_DIRECTION_WRITE))
		return;
	put_call(frame->buf, moved);
	if (!head->flags)
		conn_told(conn, direction);
}

/* A call in scope that succeeded and has no frame: out of scope at its entry is the common reason, the rest is a loss. */
static __always_inline void count_frameless(struct pt_regs *ctx)
{
	if ((s32)PT_REGS_RC(ctx) > 0 && scope_of(current_tgid()) == SCOPE_IN)
		ledger_add(OISP_LEDGER_FRAME_LOST, 0);
}

static __always_inline void data_exit(struct pt_regs *ctx, u32 func, u32 direction)
{
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();
	u64 moved;

	if (!stack || !call_leave(stack, func, entry_sp_at_return(ctx), &frame)) {
		count_frameless(ctx);
		return;
	}
	moved = frame.told ? 0 : moved_bytes(ctx, &frame);
	if (moved) {
		call_told(stack, &frame);
		tell_call(ctx, &stack->head, &frame, moved, direction);
	}
	calls_trim(stack);
}

/* moved_arg: the expression for the address of the moved length, 0 when the function returns it. */
#define DATA_PROBE(name, func, direction, moved_arg)                     \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx)              \
	{                                                                \
		data_entry(ctx, func, moved_arg);                        \
		return 0;                                                \
	}                                                                \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx)            \
	{                                                                \
		data_exit(ctx, func, direction);                         \
		return 0;                                                \
	}

DATA_PROBE(ssl_read, OISP_PROBE_FUNC_SSL_READ, OISP_DIRECTION_READ, 0)
DATA_PROBE(ssl_write, OISP_PROBE_FUNC_SSL_WRITE, OISP_DIRECTION_WRITE, 0)
DATA_PROBE(ssl_read_ex, OISP_PROBE_FUNC_SSL_READ_EX, OISP_DIRECTION_READ, PT_REGS_PARM4(ctx))
DATA_PROBE(ssl_write_ex, OISP_PROBE_FUNC_SSL_WRITE_EX, OISP_DIRECTION_WRITE, PT_REGS_PARM4(ctx))
DATA_PROBE(ssl_write_ex2, OISP_PROBE_FUNC_SSL_WRITE_EX2, OISP_DIRECTION_WRITE, PT_REGS_PARM5(ctx))

/* A connection that no call was seen on has nothing to close. */
static __always_inline void close_entry(struct pt_regs *ctx, u32 func)
{
	struct conn_key key;
	struct conn_state *conn;
	struct oisp_tls_close *rec;

	conn_key_of(&key, PT_REGS_PARM1(ctx));
	conn = bpf_map_lookup_elem(&connections, &key);
	if (!conn)
		return;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_CLOSE_RING_FULL, 0);
	} else {
		fill_header(&rec->header, OISP_KIND_TLS_CLOSE, sizeof(*rec));
		rec->ssl = key.ssl;
		rec->generation = conn->generation;
		rec->read_bytes = conn->read_bytes;
		rec->write_bytes = conn->write_bytes;
		rec->func = func;
		rec->flags = conn->skipping ? OISP_CLOSE_FLAG_SKIPPED : 0;
		ledger_add(OISP_LEDGER_CLOSE_EMITTED, 0);
		bpf_ringbuf_submit(rec, ring_wake_flags());
	}
	bpf_map_delete_elem(&connections, &key);
}

SEC("uprobe") int ssl_free_entry(struct pt_regs *ctx)
{
	close_entry(ctx, OISP_PROBE_FUNC_SSL_FREE);
	return 0;
}

SEC("uprobe") int ssl_clear_entry(struct pt_regs *ctx)
{
	close_entry(ctx, OISP_PROBE_FUNC_SSL_CLEAR);
	return 0;
}
