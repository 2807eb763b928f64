/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Probes of NSS and of NSPR below it: only descriptors that NSS has made speak TLS are looked at; files, pipes and plain sockets never are. */
#include "base.h"
#include "calls.h"
#include "names.h"

#define PR_MSG_PEEK 2

/* Descriptors (PRFileDesc) that speak TLS, from SSL_ImportFD to PR_Close. One that is evicted is not captured any more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct conn_key);
	__type(value, u8);
} nspr_tls_fds SEC(".maps");

static __always_inline bool nspr_speaks_tls(u64 fd)
{
	struct conn_key key;

	conn_key_of(&key, fd);
	return bpf_map_lookup_elem(&nspr_tls_fds, &key) != 0;
}

/* It gives back the descriptor that speaks TLS: most often the one it got. */
SEC("uretprobe") int nss_import_fd_exit(struct pt_regs *ctx)
{
	u64 fd = PT_REGS_RC(ctx);
	struct conn_key key;
	u8 yes = 1;

	if (!fd)
		return 0;
	conn_key_of(&key, fd);
	bpf_map_update_elem(&nspr_tls_fds, &key, &yes, BPF_ANY);
	return 0;
}

/* Descriptor, server name. */
SEC("uprobe") int nss_set_url_entry(struct pt_regs *ctx)
{
	struct tls_naming naming = { .ssl = PT_REGS_PARM1(ctx), .what = OISP_NAME_KIND_SERVER, .func = OISP_PROBE_FUNC_NSS_SET_URL };

	if (tls_in_scope())
		tell_name_text(&naming, PT_REGS_PARM2(ctx));
	return 0;
}

static __always_inline int nspr_entry(struct pt_regs *ctx, u32 func, u32 direction)
{
	struct call_frame frame = {
		.ssl = PT_REGS_PARM1(ctx),
		.buf = PT_REGS_PARM2(ctx),
		.num = (u32)PT_REGS_PARM3(ctx),
		.func = func,
		.direction = direction,
	};

	if (!nspr_speaks_tls(frame.ssl))
		return 0;
	/* Looking at bytes is not taking them. */
	if (func == OISP_PROBE_FUNC_PR_RECV && ((u32)PT_REGS_PARM4(ctx) & PR_MSG_PEEK))
		frame.told = 1;
	/* At the return nothing tells this call from one on a file. */
	if (!tls_entry(ctx, &frame))
		ledger_add(OISP_LEDGER_FRAME_LOST, 0);
	return 0;
}

static __always_inline int nspr_exit(struct pt_regs *ctx, u32 func)
{
	s32 result = (s32)PT_REGS_RC(ctx);
	struct call_frame frame = {};
	struct call_stack *stack = current_calls();

	if (stack && call_leave(stack, func, entry_sp_at_return(ctx), &frame))
		tls_return(ctx, stack, &frame, result > 0 ? result : 0);
	return 0;
}

#define NSPR_PROBE(name, func, direction)                                                                        \
	SEC("uprobe") int name##_entry(struct pt_regs *ctx) { return nspr_entry(ctx, func, direction); }   \
	SEC("uretprobe") int name##_exit(struct pt_regs *ctx) { return nspr_exit(ctx, func); }

NSPR_PROBE(pr_write, OISP_PROBE_FUNC_PR_WRITE, OISP_DIRECTION_WRITE)
NSPR_PROBE(pr_send, OISP_PROBE_FUNC_PR_SEND, OISP_DIRECTION_WRITE)
NSPR_PROBE(pr_read, OISP_PROBE_FUNC_PR_READ, OISP_DIRECTION_READ)
NSPR_PROBE(pr_recv, OISP_PROBE_FUNC_PR_RECV, OISP_DIRECTION_READ)

SEC("uprobe") int pr_close_entry(struct pt_regs *ctx)
{
	struct conn_key key;

	conn_key_of(&key, PT_REGS_PARM1(ctx));
	if (bpf_map_delete_elem(&nspr_tls_fds, &key))
		return 0;
	tls_close(key.ssl, OISP_PROBE_FUNC_PR_CLOSE);
	return 0;
}
