/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Which probed file a uprobe program was called for: the number that the host attached it with. */
#pragma once
#include "base.h"

/* 0 on kernels before 5.15, which keep no cookie for a probe. */
static __always_inline u32 probe_target(struct pt_regs *ctx)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_attach_cookie))
		return 0;
	return bpf_get_attach_cookie(ctx);
}
