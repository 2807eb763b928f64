/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells of the connections that servers take from accept(2), and notes their sockets; it never looks at those that wait. */
#include "base.h"
#include "net_records.h"
#include "open_file.h"
#include "open_socket.h"
#include "sockets.h"
#include "syscall.h"
#include "tcp_end.h"
#include "unix_names.h"

static __always_inline void accept_tcp(struct sock *sk, const struct socket_note *note)
{
	struct oisp_net_open *rec;

	if (note->in_scope) {
		rec = net_open_begin(&note->opener, OISP_PROBE_FUNC_SYS_EXIT);
		if (rec) {
			tcp_peer(&rec->peer, sk, OISP_ROLE_SERVER);
			rec->socket = (u64)sk;
			net_open_submit(rec);
		}
	}
	/* A peer that has given up meanwhile: the kernel is done with the socket and tells no more of it. */
	if (note_keep(sk, note) && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		tcp_connection_ends(sk, note, OISP_PROBE_FUNC_SYS_EXIT);
}

static __always_inline void accept_unix(struct sock *sk, const struct socket_note *note)
{
	struct oisp_net_open *rec;

	if (!note->in_scope)
		return;
	rec = net_open_begin(&note->opener, OISP_PROBE_FUNC_SYS_EXIT);
	if (!rec)
		return;
	unix_peer(&rec->peer, OISP_ROLE_SERVER);
	put_bound_name(rec, sk);
	net_open_submit(rec);
}

SEC("tp_btf/sys_exit") int sys_accept(u64 *ctx)
{
	long fd = sys_result(ctx);
	struct socket_note note;
	struct file *file;
	struct sock *sk;

	if (fd < 0)
		return 0;
	file = file_of_fd(fd);
	if (!file || file_kind_of(file) != OISP_FILE_KIND_SOCKET || !note_of_current(&note, OISP_ROLE_SERVER))
		return 0;
	note.inode = BPF_CORE_READ(file, f_inode, i_ino);
	note.since_ns = note.opener.ts_ns;
	sk = sock_of_file(file);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
		accept_unix(sk, &note);
	else if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		accept_tcp(sk, &note);
	return 0;
}
