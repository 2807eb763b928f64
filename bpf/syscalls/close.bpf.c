/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Descriptors were closed: hands their numbers to those who keep something by them. What was open behind them may be gone by now. */
#include "base.h"
#include "open_files.h"
#include "syscall.h"
#include "syscall_numbers.h"
#include "task.h"
#include "udp_flows.h"

#define CLOSE_RANGE_CLOEXEC 4

SEC("tp_btf/sys_exit") int sys_close(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u32 tgid = current_tgid();

	/* Whatever close returns, the descriptor is free. */
	if (sys_number(regs) == NR_CLOSE) {
		fd_end(tgid, sys_arg0(regs));
		udp_end_if_closed(tgid, sys_arg0(regs));
	} else if (!sys_result(ctx) && !(sys_arg2(regs) & CLOSE_RANGE_CLOEXEC)) {
		fds_end(tgid, sys_arg0(regs), sys_arg1(regs));
		udp_process_ends(tgid, 0);
	}
	return 0;
}
