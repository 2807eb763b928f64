/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Every call that moved bytes through a socket of a process with an open gate: hands it to those who want it, one after another; records nothing itself.
 *
 *     io_socket -> (the process makes TLS calls) socket_bind -> socket_io -> sock_plain, sock_pipe
 *
 * Programs of their own, because together they need more stack than one may have.
 */
#include "base.h"
#include "bind.h"
#include "gates.h"
#include "network_io.h"
#include "open_file.h"
#include "pipes.h"
#include "plain_sockets.h"
#include "socket_io.h"
#include "syscall.h"

enum socket_program { SOCKET_BIND = 0, SOCKET_IO = 1 };

int socket_bind(u64 *ctx);
int socket_io(u64 *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(u64 *));
} socket_programs SEC(".maps") = {
	.values = { [SOCKET_BIND] = (void *)&socket_bind, [SOCKET_IO] = (void *)&socket_io },
};

static __always_inline bool current_socket_io(u64 *ctx, struct socket_io *io)
{
	struct file *file = file_of_fd(sys_arg0(sys_regs(ctx)));

	return file && socket_io_of(ctx, file, io);
}

SEC("tp_btf/sys_exit") int io_socket(u64 *ctx)
{
	if (gate_open(current_tgid(), OISP_GATE_TLS))
		bpf_tail_call(ctx, &socket_programs, SOCKET_BIND);
	bpf_tail_call(ctx, &socket_programs, SOCKET_IO);
	return 0;
}

SEC("tp_btf/sys_exit") int socket_bind(u64 *ctx)
{
	struct socket_io io;

	if (current_socket_io(ctx, &io))
		bind_socket(&io, sys_stack_pointer(sys_regs(ctx)));
	bpf_tail_call(ctx, &socket_programs, SOCKET_IO);
	return 0;
}

SEC("tp_btf/sys_exit") int socket_io(u64 *ctx)
{
	struct socket_io io;

	if (!current_socket_io(ctx, &io))
		return 0;
	network_io(&io, sys_arg0(sys_regs(ctx)));
	/* The last of them: it does not come back. */
	if (plain_wanted(&io))
		bpf_tail_call(ctx, &plain_programs, PLAIN_TCP);
	else if (pipe_wanted(&io))
		bpf_tail_call(ctx, &plain_programs, PLAIN_UNIX);
	return 0;
}
