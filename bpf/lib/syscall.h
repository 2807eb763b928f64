/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Reads a system call out of the registers that sys_exit gets: number, arguments, result. It never follows a user pointer.
 *
 * Everything is done at the return: the arguments are still in the registers, the outcome is known, and one program costs every
 * system call of the machine less than two.
 */
#pragma once
#include "base.h"

/* Row of the generated table sys_rows. */
struct sys_row {
	u8 handler; /* Index in sys_handlers; 0: the call is of no interest. */
	u8 gates; /* enum oisp_gate: the process must have one of them; 0: every process. */
};

static __always_inline struct pt_regs *sys_regs(u64 *ctx)
{
	return (struct pt_regs *)ctx[0];
}

static __always_inline long sys_result(u64 *ctx)
{
	return (long)ctx[1];
}

#if defined(__TARGET_ARCH_x86)

static __always_inline u64 sys_number(struct pt_regs *regs)
{
	return regs->orig_ax;
}

/* A 32-bit program numbers its calls differently. */
static __always_inline bool sys_is_native(struct pt_regs *regs)
{
	return (regs->cs & 0xffff) == 0x33;
}

static __always_inline u64 sys_stack_pointer(struct pt_regs *regs) { return regs->sp; }
static __always_inline u64 sys_arg0(struct pt_regs *regs) { return regs->di; }
static __always_inline u64 sys_arg1(struct pt_regs *regs) { return regs->si; }
static __always_inline u64 sys_arg2(struct pt_regs *regs) { return regs->dx; }
static __always_inline u64 sys_arg3(struct pt_regs *regs) { return regs->r10; }
static __always_inline u64 sys_arg4(struct pt_regs *regs) { return regs->r8; }
static __always_inline u64 sys_arg5(struct pt_regs *regs) { return regs->r9; }

#elif defined(__TARGET_ARCH_arm64)

static __always_inline u64 sys_number(struct pt_regs *regs)
{
	return (u32)regs->syscallno;
}

static __always_inline bool sys_is_native(struct pt_regs *regs)
{
	return !(regs->user_regs.pstate & 0x10);
}

static __always_inline u64 sys_stack_pointer(struct pt_regs *regs) { return regs->user_regs.sp; }
/* The result has taken the place of the first argument. */
static __always_inline u64 sys_arg0(struct pt_regs *regs) { return regs->orig_x0; }
static __always_inline u64 sys_arg1(struct pt_regs *regs) { return regs->user_regs.regs[1]; }
static __always_inline u64 sys_arg2(struct pt_regs *regs) { return regs->user_regs.regs[2]; }
static __always_inline u64 sys_arg3(struct pt_regs *regs) { return regs->user_regs.regs[3]; }
static __always_inline u64 sys_arg4(struct pt_regs *regs) { return regs->user_regs.regs[4]; }
static __always_inline u64 sys_arg5(struct pt_regs *regs) { return regs->user_regs.regs[5]; }

#endif
