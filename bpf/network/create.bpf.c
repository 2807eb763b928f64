/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Opens the gate of a process that makes a datagram socket of the internet: the kernel counts nothing on those. It remembers no socket. */
#include "base.h"
#include "gates.h"
#include "sockets.h"
#include "syscall.h"
#include "task.h"

#define SOCK_DGRAM 2
#define SOCK_TYPE_MASK 0xf

SEC("tp_btf/sys_exit") int sys_socket(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u64 family = sys_arg0(regs);

	if (sys_result(ctx) >= 0 && (family == AF_INET || family == AF_INET6) && (sys_arg1(regs) & SOCK_TYPE_MASK) == SOCK_DGRAM)
		gate_add(current_tgid(), OISP_GATE_SOCKETS);
	return 0;
}
