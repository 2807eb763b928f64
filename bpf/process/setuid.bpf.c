/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Asks the rules of scope again when a process has become another user, as servers do that start as root; it records nothing. */
#include "base.h"
#include "scope_rules.h"
#include "syscall.h"
#include "task.h"

SEC("tp_btf/sys_exit") int sys_setuid(u64 *ctx)
{
	if (sys_result(ctx) == 0 && (control.scope_rules & OISP_SCOPE_RULE_UID))
		scope_by_rules(current_task());
	return 0;
}
