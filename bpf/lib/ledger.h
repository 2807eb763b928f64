/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Adds to the loss ledger. Uprobe programs can be preempted and migrate nothing but their CPU, so per-CPU ++ would lose counts: always atomic. */
#pragma once
#include "base.h"

static __always_inline void ledger_add(u32 bucket, u64 bytes)
{
	__sync_fetch_and_add(&control.ledger[bucket].records, 1);
	/* Adding a constant 0 would be compiled to an atomic "or", which kernels before 5.12 refuse. */
	if (!__builtin_constant_p(bytes) || bytes)
		__sync_fetch_and_add(&control.ledger[bucket].bytes, bytes);
}
