/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Every call that moved bytes through a socket of a process with an open gate: hands it to those who want it, one after another; records nothing itself. */
#include "base.h"
#include "network_io.h"
#include "open_file.h"
#include "pipes.h"
#include "plain_sockets.h"
#include "socket_io.h"
#include "syscall.h"

SEC("tp_btf/sys_exit") int io_socket(u64 *ctx)
{
	struct file *file = file_of_fd(sys_arg0(sys_regs(ctx)));
	struct socket_io io;

	if (!file || !socket_io_of(ctx, file, &io))
		return 0;
	network_io(&io, sys_arg0(sys_regs(ctx)));
	/* The last of them: it does not come back. */
	if (plain_wanted(&io))
		bpf_tail_call(ctx, &plain_programs, PLAIN_TCP);
	else if (pipe_wanted(&io))
		bpf_tail_call(ctx, &plain_programs, PLAIN_UNIX);
	return 0;
}
