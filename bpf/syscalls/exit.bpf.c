/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Looks at every system call of the machine as it returns and goes on only where a row of the schema asks for it; it records nothing itself.
 *
 *     sys_exit -> row by number -> the process's gate -> handler                      sys_open, sys_connect, ...
 *                                                     -> sys_io -> kind of the file -> io_regular, io_socket, io_pipe
 */
#include "base.h"
#include "gates.h"
#include "ledger.h"
#include "open_file.h"
#include "scope.h"
#include "syscall.h"

SEC("tp_btf/sys_exit") int sys_exit(u64 *ctx)
{
	struct pt_regs *regs = sys_regs(ctx);
	u64 number = sys_number(regs);
	u8 handler, gates;
	u32 tgid;

	if (number >= OISP_SYS_ROWS)
		return 0;
	handler = sys_rows[number].handler;
	if (!handler)
		return 0;
	tgid = current_tgid();
	gates = sys_rows[number].gates;
	if (gates && !gate_open(tgid, gates))
		return 0;
	if (tgid == control.own_tgid)
		return 0;
	if (!sys_is_native(regs)) {
		ledger_add(OISP_LEDGER_FOREIGN_ABI, 0);
		return 0;
	}
	bpf_tail_call(ctx, &sys_handlers, handler);
	return 0;
}

SEC("tp_btf/sys_exit") int sys_io(u64 *ctx)
{
	struct file *file;

	if (sys_result(ctx) <= 0)
		return 0;
	file = file_of_fd(sys_arg0(sys_regs(ctx)));
	if (file)
		bpf_tail_call(ctx, &io_handlers, file_kind_of(file));
	return 0;
}
