/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Follows TCP sockets from connect to their end through the kernel's own state machine: it costs no system call, and asks the current process only at connect.
 *
 *     CLOSE -> SYN_SENT -> ESTABLISHED -> ... -> CLOSE        a client: connect began, was made, is over
 *                       -> CLOSE                              connect failed
 *     (accept)             ESTABLISHED -> ... -> CLOSE        a server: noted when accept returns
 */
#include "base.h"
#include "failed_connects.h"
#include "net_records.h"
#include "open_socket.h"
#include "sockets.h"
#include "tcp_end.h"

#define SHUTDOWN_BOTH 3

/* In the context of the process that connects. */
static __always_inline void connect_begins(struct sock *sk)
{
	struct socket_note note;

	if (!note_of_current(&note, OISP_ROLE_CLIENT))
		return;
	note.inode = inode_of_sock(sk);
	note_keep(sk, &note);
}

static __always_inline void put_outcome(struct sock *sk, const struct socket_note *note, u32 error, u32 flags)
{
	struct oisp_net_open *rec;

	if (!note->in_scope || control.closing)
		return;
	rec = net_open_begin(&note->opener, OISP_PROBE_FUNC_SOCKET_STATE);
	if (!rec)
		return;
	tcp_peer(&rec->peer, sk, OISP_ROLE_CLIENT);
	rec->socket = (u64)sk;
	rec->latency_ns = rec->header.ts_ns - note->opener.ts_ns;
	rec->error = error;
	rec->flags = flags;
	net_open_submit(rec);
}

static __always_inline void connect_made(struct sock *sk)
{
	struct socket_note *note = socket_note_of(sk);

	if (!note || note->since_ns)
		return;
	note->since_ns = bpf_ktime_get_boot_ns();
	put_outcome(sk, note, 0, 0);
}

/* With no error and no close, the call that connects is failing right now, and alone knows why. */
static __always_inline void connect_failed(struct sock *sk, const struct socket_note *note)
{
	u32 error = BPF_CORE_READ(sk, sk_err);
	u8 shutdown = BPF_CORE_READ(sk, sk_shutdown);

	if (error || shutdown != SHUTDOWN_BOTH)
		failed_keep(sk, note, error);
	if (error)
		put_outcome(sk, note, error, 0);
	else if (shutdown == SHUTDOWN_BOTH)
		put_outcome(sk, note, 0, OISP_OPEN_FLAG_ABANDONED);
}

static __always_inline void socket_ends(struct sock *sk)
{
	struct socket_note *note = socket_note_of(sk);

	if (!note)
		return;
	if (note->since_ns) {
		tcp_connection_ends(sk, note, OISP_PROBE_FUNC_SOCKET_STATE);
		return;
	}
	connect_failed(sk, note);
	note_take(sk);
}

SEC("tp_btf/inet_sock_set_state") int socket_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int state = ctx[2];

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (state == TCP_SYN_SENT)
		connect_begins(sk);
	else if (state == TCP_ESTABLISHED)
		connect_made(sk);
	else if (state == TCP_CLOSE)
		socket_ends(sk);
	return 0;
}
