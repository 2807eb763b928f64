/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Probes of the OpenSSL API: arguments are kept at entry, payload is copied at return; nothing is ever told at entry. */
#include "base.h"
#include "calls.h"
#include "names.h"

#define SSL_CTRL_SET_TLSEXT_HOSTNAME 55

/* Bytes that the returning call moved; 0: none. */
static __always_inline u64 ssl_moved(struct pt_regs *ctx, const struct call_frame *frame)
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

static __always_inline int ssl_entry(struct pt_regs *ctx, u32 func, u32 direction, u64 moved_ptr)
{
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		/* An int argument leaves the upper half of its register undefined. */
		.num = moved_ptr ? PT_REGS_PARM3(ctx) : (u32)PT_REGS_PARM3(ctx),
		.moved_ptr = moved_ptr,
		.func = func,
		.direction = direction,
	};

	tls_entry(ctx, &frame);
	return 0;
}

static __always_inline int ssl_exit(struct pt_regs *ctx, u32 func)
{
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();

	if (tls_leave(ctx, stack, func, &frame))
		tls_return(ctx, stack, &frame, frame.told ? 0 : ssl_moved(ctx, &frame));
	return 0;
}

/* moved_arg: the expression for the address of the moved length, 0 when the function returns it. */
#define SSL_PROBE(name, func, direction, moved_arg)                                                                     \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx) { return ssl_entry(ctx, func, direction, moved_arg); } \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx) { return ssl_exit(ctx, func); }

SSL_PROBE(ssl_read, OISP_PROBE_FUNC_SSL_READ, OISP_DIRECTION_READ, 0)
SSL_PROBE(ssl_write, OISP_PROBE_FUNC_SSL_WRITE, OISP_DIRECTION_WRITE, 0)
SSL_PROBE(ssl_read_ex, OISP_PROBE_FUNC_SSL_READ_EX, OISP_DIRECTION_READ, PT_REGS_PARM4(ctx))
SSL_PROBE(ssl_write_ex, OISP_PROBE_FUNC_SSL_WRITE_EX, OISP_DIRECTION_WRITE, PT_REGS_PARM4(ctx))
SSL_PROBE(ssl_write_ex2, OISP_PROBE_FUNC_SSL_WRITE_EX2, OISP_DIRECTION_WRITE, PT_REGS_PARM5(ctx))

SSL_PROBE(ssl_write_early_data, OISP_PROBE_FUNC_SSL_WRITE_EARLY_DATA, OISP_DIRECTION_WRITE, PT_REGS_PARM4(ctx))
SSL_PROBE(ssl_read_early_data, OISP_PROBE_FUNC_SSL_READ_EARLY_DATA, OISP_DIRECTION_READ, PT_REGS_PARM4(ctx))

SEC("uprobe") int ssl_do_handshake_entry(struct pt_regs *ctx)
{
	tls_handshake_entry(ctx, OISP_PROBE_FUNC_SSL_DO_HANDSHAKE);
	return 0;
}

SEC("uretprobe") int ssl_do_handshake_exit(struct pt_regs *ctx)
{
	tls_handshake_exit(ctx, OISP_PROBE_FUNC_SSL_DO_HANDSHAKE);
	return 0;
}

/* The kernel reads the file: the program has no buffer. */
SEC("uprobe") int ssl_sendfile_entry(struct pt_regs *ctx)
{
	tls_bufferless_entry(ctx, OISP_PROBE_FUNC_SSL_SENDFILE, OISP_DIRECTION_WRITE);
	return 0;
}

SEC("uretprobe") int ssl_sendfile_exit(struct pt_regs *ctx)
{
	tls_bufferless_exit(ctx, OISP_PROBE_FUNC_SSL_SENDFILE);
	return 0;
}

/* TLS object, command, number, pointer: the macro SSL_set_tlsext_host_name of OpenSSL is one of its commands. */
SEC("uprobe") int ssl_ctrl_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_SERVER, .func = OISP_PROBE_FUNC_SSL_CTRL };

	if ((u32)PT_REGS_PARM2(ctx) == SSL_CTRL_SET_TLSEXT_HOSTNAME && tls_in_scope())
		tell_name_text(&naming, PT_REGS_PARM4(ctx));
	return 0;
}

/* BoringSSL has it as a function. */
SEC("uprobe") int ssl_set_tlsext_host_name_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_SERVER, .func = OISP_PROBE_FUNC_SSL_SET_TLSEXT_HOST_NAME };

	if (tls_in_scope())
		tell_name_text(&naming, PT_REGS_PARM2(ctx));
	return 0;
}

SEC("uprobe") int ssl_set_alpn_protos_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_OFFERED, .func = OISP_PROBE_FUNC_SSL_SET_ALPN_PROTOS };

	if (tls_in_scope())
		tell_name(&naming, PT_REGS_PARM2(ctx), (u32)PT_REGS_PARM3(ctx));
	return 0;
}

/* TLS object, where to store the address of the name, where its length. Known when it returns. */
SEC("uprobe") int ssl_get0_alpn_selected_entry(struct pt_regs *ctx)
{
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		.moved_ptr = PT_REGS_PARM3(ctx),
		.sp = PT_REGS_SP(ctx),
		.func = OISP_PROBE_FUNC_SSL_GET0_ALPN_SELECTED,
	};

	if (tls_in_scope())
		call_enter(&frame);
	return 0;
}

SEC("uretprobe") int ssl_get0_alpn_selected_exit(struct pt_regs *ctx)
{
	struct tls_naming naming = { .what = OISP_NAME_KIND_SELECTED, .func = OISP_PROBE_FUNC_SSL_GET0_ALPN_SELECTED };
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();
	u64 name = 0;
	u32 len = 0;

	if (!stack || !call_leave(stack, OISP_PROBE_FUNC_SSL_GET0_ALPN_SELECTED, entry_sp_at_return(ctx), &frame))
		return 0;
	naming.ssl = frame.ssl;
	if (bpf_probe_read_user(&name, sizeof(name), (const void *)frame.buf) || bpf_probe_read_user(&len, sizeof(len), (const void *)frame.moved_ptr))
		ledger_add(OISP_LEDGER_NAME_LOST, 0);
	else
		tell_name(&naming, name, len);
	calls_trim(stack);
	return 0;
}

/* SSL_set_fd, SSL_set_rfd and SSL_set_wfd: TLS object, descriptor. */
SEC("uprobe") int ssl_set_fd_entry(struct pt_regs *ctx)
{
	if (tls_in_scope())
		bind_given(PT_REGS_PARM1(ctx), (u32)PT_REGS_PARM2(ctx));
	return 0;
}

SEC("uprobe") int ssl_free_entry(struct pt_regs *ctx)
{
	tls_close(PT_REGS_PARM1(ctx), OISP_PROBE_FUNC_SSL_FREE);
	return 0;
}

SEC("uprobe") int ssl_clear_entry(struct pt_regs *ctx)
{
	if (tls_has_moved(PT_REGS_PARM1(ctx)))
		tls_close(PT_REGS_PARM1(ctx), OISP_PROBE_FUNC_SSL_CLEAR);
	return 0;
}
