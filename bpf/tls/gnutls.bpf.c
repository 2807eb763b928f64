/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Probes of GnuTLS: what its record functions move, each byte once, though some of them call others and a corked session sends later. */
#include "base.h"
#include "calls.h"
#include "names.h"

#define GNUTLS_SHUT_RDWR 0
#define GNUTLS_NAME_DNS 1

static __always_inline int gnutls_entry(struct pt_regs *ctx, u32 func, u32 direction)
{
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		.num = PT_REGS_PARM3(ctx),
		.func = func,
		.direction = direction,
	};

	tls_entry(ctx, &frame);
	return 0;
}

/* Functions that return 0 for the whole buffer have no other way to say how much. */
static __always_inline u64 gnutls_moved(struct pt_regs *ctx, const struct call_frame *frame, bool all)
{
	s64 result = (s64)PT_REGS_RC(ctx);

	if (all)
		return (s32)result == 0 ? frame->num : 0;
	return result > 0 ? result : 0;
}

static __always_inline int gnutls_exit(struct pt_regs *ctx, u32 func, bool all)
{
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();

	if (!tls_leave(ctx, stack, func, &frame))
		return 0;
	/* What uncork sends was told when it was queued. */
	if (call_inside(stack, OISP_PROBE_FUNC_GNUTLS_RECORD_UNCORK, frame.ssl))
		frame.told = 1;
	tls_return(ctx, stack, &frame, gnutls_moved(ctx, &frame, all));
	return 0;
}

#define GNUTLS_PROBE(name, func, direction, all)                                                                 \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx) { return gnutls_entry(ctx, func, direction); } \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx) { return gnutls_exit(ctx, func, all); }

GNUTLS_PROBE(gnutls_record_send, OISP_PROBE_FUNC_GNUTLS_RECORD_SEND, OISP_DIRECTION_WRITE, false)
GNUTLS_PROBE(gnutls_record_send2, OISP_PROBE_FUNC_GNUTLS_RECORD_SEND2, OISP_DIRECTION_WRITE, false)
GNUTLS_PROBE(gnutls_record_send_range, OISP_PROBE_FUNC_GNUTLS_RECORD_SEND_RANGE, OISP_DIRECTION_WRITE, false)
GNUTLS_PROBE(gnutls_record_send_early_data, OISP_PROBE_FUNC_GNUTLS_RECORD_SEND_EARLY_DATA, OISP_DIRECTION_WRITE, true)
GNUTLS_PROBE(gnutls_record_recv, OISP_PROBE_FUNC_GNUTLS_RECORD_RECV, OISP_DIRECTION_READ, false)
GNUTLS_PROBE(gnutls_record_recv_seq, OISP_PROBE_FUNC_GNUTLS_RECORD_RECV_SEQ, OISP_DIRECTION_READ, false)
GNUTLS_PROBE(gnutls_record_recv_early_data, OISP_PROBE_FUNC_GNUTLS_RECORD_RECV_EARLY_DATA, OISP_DIRECTION_READ, false)

/* Calls whose plaintext is in no buffer of the program: a file's, or one that the library keeps. */
#define GNUTLS_BUFFERLESS(name, func, direction)                                                                                  \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx) { tls_bufferless_entry(ctx, func, direction); return 0; }           \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx) { tls_bufferless_exit(ctx, func); return 0; }

GNUTLS_BUFFERLESS(gnutls_record_recv_packet, OISP_PROBE_FUNC_GNUTLS_RECORD_RECV_PACKET, OISP_DIRECTION_READ)
GNUTLS_BUFFERLESS(gnutls_record_send_file, OISP_PROBE_FUNC_GNUTLS_RECORD_SEND_FILE, OISP_DIRECTION_WRITE)

/* Calls of no plaintext of their own. Inside uncork, gnutls_record_send is called. */
#define GNUTLS_SILENT(name, func)                                                                                  \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx) { tls_handshake_entry(ctx, func); return 0; }    \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx) { tls_handshake_exit(ctx, func); return 0; }

GNUTLS_SILENT(gnutls_handshake, OISP_PROBE_FUNC_GNUTLS_HANDSHAKE)
GNUTLS_SILENT(gnutls_record_uncork, OISP_PROBE_FUNC_GNUTLS_RECORD_UNCORK)

/* Session, descriptor to receive from, descriptor to send to. */
SEC("uprobe") int gnutls_transport_set_int2_entry(struct pt_regs *ctx)
{
	if (tls_in_scope())
		bind_given(PT_REGS_PARM1(ctx), (u32)PT_REGS_PARM2(ctx));
	return 0;
}

/* Session, kind of name, name, length. */
SEC("uprobe") int gnutls_server_name_set_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_SERVER, .func = OISP_PROBE_FUNC_GNUTLS_SERVER_NAME_SET };

	if ((u32)PT_REGS_PARM2(ctx) == GNUTLS_NAME_DNS && tls_in_scope())
		tell_name(&naming, PT_REGS_PARM3(ctx), PT_REGS_PARM4(ctx));
	return 0;
}

struct gnutls_datum {
	u64 data;
	u32 size;
	u32 reserved;
};

#define ALPN_MOST 6
#define ALPN_LONGEST 32

/* Session, array of names, number of names. They are told as the ClientHello has them: a length byte before each. */
SEC("uprobe") int gnutls_alpn_set_protocols_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_OFFERED, .func = OISP_PROBE_FUNC_GNUTLS_ALPN_SET_PROTOCOLS };
	u32 count = (u32)PT_REGS_PARM3(ctx);
	struct oisp_tls_name *rec;
	u64 at = 0;

	if (!count || !tls_in_scope())
		return 0;
	rec = name_open(&naming);
	if (!rec)
		return 0;
	for (u32 i = 0; i < ALPN_MOST && i < count; i++) {
		struct gnutls_datum datum;
		u64 size;

		if (bpf_probe_read_user(&datum, sizeof(datum), (const void *)(PT_REGS_PARM2(ctx) + i * sizeof(datum))))
			break;
		size = datum.size;
		asm volatile("" : "+r"(size));
		if (!size || size > ALPN_LONGEST)
			continue;
		asm volatile("" : "+r"(at));
		if (at > OISP_NAME_AREA - ALPN_LONGEST - 1)
			break;
		rec->name[at] = size;
		if (bpf_probe_read_user(rec->name + at + 1, size, (const void *)datum.data))
			break;
		at += size + 1;
	}
	name_close(rec, at, at);
	return 0;
}

/* Session, where to store address and length of the name. Known when it returns. */
SEC("uprobe") int gnutls_alpn_get_selected_protocol_entry(struct pt_regs *ctx)
{
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		.sp = PT_REGS_SP(ctx),
		.func = OISP_PROBE_FUNC_GNUTLS_ALPN_GET_SELECTED_PROTOCOL,
	};

	if (tls_in_scope())
		call_enter(&frame);
	return 0;
}

SEC("uretprobe") int gnutls_alpn_get_selected_protocol_exit(struct pt_regs *ctx)
{
	struct tls_naming naming = { .what = OISP_NAME_KIND_SELECTED, .func = OISP_PROBE_FUNC_GNUTLS_ALPN_GET_SELECTED_PROTOCOL };
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();
	struct gnutls_datum datum = {};

	if (!stack || !call_leave(stack, OISP_PROBE_FUNC_GNUTLS_ALPN_GET_SELECTED_PROTOCOL, entry_sp_at_return(ctx), &frame))
		return 0;
	naming.ssl = frame.ssl;
	if ((s32)PT_REGS_RC(ctx) == 0) {
		if (bpf_probe_read_user(&datum, sizeof(datum), (const void *)frame.buf))
			ledger_add(OISP_LEDGER_NAME_LOST, 0);
		else
			tell_name(&naming, datum.data, datum.size);
	}
	calls_trim(stack);
	return 0;
}

/* After a one-sided goodbye the other side's words are still read. */
SEC("uprobe") int gnutls_bye_entry(struct pt_regs *ctx)
{
	if ((u32)PT_REGS_PARM2(ctx) == GNUTLS_SHUT_RDWR)
		tls_close(PT_REGS_PARM1(ctx), OISP_PROBE_FUNC_GNUTLS_BYE);
	return 0;
}

SEC("uprobe") int gnutls_deinit_entry(struct pt_regs *ctx)
{
	tls_close(PT_REGS_PARM1(ctx), OISP_PROBE_FUNC_GNUTLS_DEINIT);
	return 0;
}
