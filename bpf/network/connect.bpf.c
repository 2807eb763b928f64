/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What connect(2) itself tells, beside TCP's own state machine: failures before there was a connection, and Unix sockets. It never follows a connection. */
#include "base.h"
#include "failed_connects.h"
#include "gates.h"
#include "net_records.h"
#include "open_file.h"
#include "scope.h"
#include "socket_address.h"
#include "sockets.h"
#include "syscall.h"
#include "task.h"
#include "unix_names.h"

#define EINTR 4
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define KERNEL_ERRNO 512 /* From here on the kernel's own: the call is begun again. */

/* Says what of a connection, not how the call stands to it. */
static __always_inline bool is_failure(long result)
{
	return result < 0 && result > -KERNEL_ERRNO && result != -EINPROGRESS && result != -EALREADY && result != -EISCONN && result != -EINTR;
}

static __always_inline struct oisp_net_open *open_of_current(void)
{
	struct oisp_net_open *rec;

	if (scope_of(current_tgid()) != SCOPE_IN)
		return 0;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		ledger_add(OISP_LEDGER_NET_RING_FULL, 0);
		return 0;
	}
	__builtin_memset(rec, 0, sizeof(*rec));
	fill_header(&rec->header, OISP_KIND_NET_OPEN, 0);
	rec->func = OISP_PROBE_FUNC_SYS_EXIT;
	return rec;
}

static __always_inline void tell_tcp_failure(u64 *ctx, struct sock *sk, u64 began_ns)
{
	struct pt_regs *regs = sys_regs(ctx);
	long result = sys_result(ctx);
	struct oisp_net_open *rec = open_of_current();

	if (!rec)
		return;
	peer_of_sock(sk, &rec->peer);
	rec->peer.role = OISP_ROLE_CLIENT;
	/* The socket has forgotten it, or never knew. */
	if (!peer_take_remote(&rec->peer, sys_arg1(regs))) {
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	if (began_ns)
		rec->latency_ns = rec->header.ts_ns - began_ns;
	if (result < 0)
		rec->error = -result;
	else
		rec->flags = OISP_OPEN_FLAG_ABANDONED;
	net_open_submit(rec);
}

static __always_inline void connect_tcp(u64 *ctx, struct sock *sk, u64 inode)
{
	long result = sys_result(ctx);
	struct failed_connect *failed = failed_of(sk, inode);
	u64 began_ns = failed ? failed->began_ns : 0;

	if (failed && failed->error) {
		/* The state machine has told it, in this call or in one before that did not wait. */
		if (failed->error == (u32)-result) {
			failed_forget(sk);
			return;
		}
		failed = 0;
		began_ns = 0;
	}
	if (failed)
		failed_forget(sk);
	if (is_failure(result) || (failed && result >= 0))
		tell_tcp_failure(ctx, sk, began_ns);
}

static __always_inline void connect_unix(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	long result = sys_result(ctx);
	struct oisp_net_open *rec;

	if (result < 0 && !is_failure(result))
		return;
	rec = open_of_current();
	if (!rec)
		return;
	unix_peer(&rec->peer, OISP_ROLE_CLIENT);
	put_user_name(rec, sys_arg1(regs), sys_arg2(regs));
	if (result < 0)
		rec->error = -result;
	net_open_submit(rec);
}

SEC("tp_btf/sys_exit") int sys_connect(u64 *ctx)
{
	struct file *file = file_of_fd(sys_arg0(sys_regs(ctx)));
	struct sock *sk;
	u16 family;

	if (!file || file_kind_of(file) != OISP_FILE_KIND_SOCKET)
		return 0;
	sk = sock_of_file(file);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family == AF_UNIX)
		connect_unix(ctx);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	gate_add(current_tgid(), OISP_GATE_SOCKETS);
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		connect_tcp(ctx, sk, BPF_CORE_READ(file, f_inode, i_ino));
	return 0;
}
