/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Keeps a probed call's arguments from its entry to its return, per thread; it never copies payload.
 *
 * A thread has four slots, in no order; a slot is one live call, named by function and stack pointer:
 *
 *     SSL_write(outer)                sp 0x900   slot 0
 *       BIO -> SSL_write(inner)       sp 0x700   slot 1     TLS inside TLS: another TLS object, told on its own
 *
 *     SSL_write_ex                    sp 0x900   slot 0     told = 1 when slot 1 has been told
 *       -> SSL_write_ex2 (tail jump)  sp 0x900   slot 1     same object, bytes within the outer call's
 *
 * At an entry, slots below the stack pointer belong to calls that never returned (longjmp, an exception) and are freed.
 * Only the thread itself and its exit touch its slots, so plain stores are enough.
 */
#pragma once
#include "base.h"

#define CALL_SLOTS 4

/* How a call begins. */
enum call_place { CALL_OUTERMOST = 0, CALL_INSIDE = 1, CALL_NOT_KEPT = 2 };

struct call_frame {
	u64 ssl;
	u64 buf;
	u64 num;
	u64 moved_ptr; /* Where the function stores the moved length; 0: it returns it. */
	u64 sp; /* Stack pointer at entry. */
	u32 func; /* enum oisp_probe_func; 0: free. */
	u16 direction; /* enum oisp_direction */
	u16 told; /* A call inside this one has told its bytes. */
};

/* How far the copying of a call of several buffers has come. */
struct call_pieces {
	u64 from; /* Of the buffer at hand. */
	u64 left;
	u64 done; /* Bytes of the call. */
	u64 limit; /* To be copied. */
	u64 kept; /* Within the rate of the process. */
	u64 moved;
	u64 next; /* Number of the next buffer. */
};

struct call_stack {
	struct call_frame slots[CALL_SLOTS];
	struct call_pieces pieces;
	struct oisp_tls_data head; /* Of the records of the call that is being told: scratch memory that no other thread has. */
};

/* Holds only threads that are inside a probed call right now. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* pid_tgid */
	__type(value, struct call_stack);
} call_stacks SEC(".maps");

/* In .rodata: zero bytes that need no room on the BPF stack. */
const volatile struct call_stack no_calls = {};

/* The stack pointer that the entry of a returning call saw: x86 has popped the return address. */
static __always_inline u64 entry_sp_at_return(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	return PT_REGS_SP(ctx) - 8;
#else
	return PT_REGS_SP(ctx);
#endif
}

/*
 * What cannot be kept is counted when the call returns and its frame is not found: that covers every way to lose one.
 * Returns whether the thread was in a call already (enum call_place).
 */
static __always_inline u32 call_enter(const struct call_frame *frame)
{
	u64 id = bpf_get_current_pid_tgid();
	struct call_stack *stack = bpf_map_lookup_elem(&call_stacks, &id);
	struct call_frame *place = 0;
	u32 live = 0;

	if (!stack) {
		if (bpf_map_update_elem(&call_stacks, &id, (const void *)&no_calls, BPF_NOEXIST))
			return CALL_NOT_KEPT;
		stack = bpf_map_lookup_elem(&call_stacks, &id);
		if (!stack)
			return CALL_NOT_KEPT;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++) {
		struct call_frame *slot = &stack->slots[i];

		/* Same place, same function: the earlier call has not returned and never will. */
		if (slot->sp < frame->sp || (slot->sp == frame->sp && slot->func == frame->func))
			slot->func = 0;
		live |= slot->func;
		if (!slot->func)
			place = slot;
	}
	if (!place)
		return CALL_NOT_KEPT;
	*place = *frame;
	return live ? CALL_INSIDE : CALL_OUTERMOST;
}

static __always_inline struct call_stack *current_calls(void)
{
	u64 id = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&call_stacks, &id);
}

/* For a program that tells bytes of no probed call: the thread's scratch memory, made when there is none. calls_trim() gives it back. */
static __always_inline struct call_stack *calls_make(void)
{
	u64 id = bpf_get_current_pid_tgid();
	struct call_stack *stack = bpf_map_lookup_elem(&call_stacks, &id);

	if (stack)
		return stack;
	if (bpf_map_update_elem(&call_stacks, &id, (const void *)&no_calls, BPF_NOEXIST))
		return 0;
	return bpf_map_lookup_elem(&call_stacks, &id);
}

/* Takes the returning call's frame out. False when there is none. */
static __always_inline bool call_leave(struct call_stack *stack, u32 func, u64 sp, struct call_frame *out)
{
	bool found = false;

#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++) {
		struct call_frame *slot = &stack->slots[i];

		if (slot->func == func && slot->sp == sp) {
			*out = *slot;
			slot->func = 0;
			found = true;
		}
	}
	return found;
}

/* The bytes of this call are about to be told: the live calls around it that move the same bytes must not tell them again. */
static __always_inline void call_told(struct call_stack *stack, const struct call_frame *inner)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++) {
		struct call_frame *outer = &stack->slots[i];

		if (outer->func && outer->ssl == inner->ssl && outer->direction == inner->direction &&
		    inner->buf - outer->buf < outer->num)
			outer->told = 1;
	}
}

/* The current thread is gone, or has a new program: none of its calls will return. */
static __always_inline void calls_forget(void)
{
	u64 id = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&call_stacks, &id);
}

/* Whether the thread is in a call of that function on that TLS object. */
static __always_inline bool call_inside(const struct call_stack *stack, u32 func, u64 ssl)
{
	bool found = false;

#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++)
		found |= stack->slots[i].func == func && stack->slots[i].ssl == ssl;
	return found;
}

static __always_inline bool calls_live(const struct call_stack *stack)
{
	u32 live = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++)
		live |= stack->slots[i].func;
	return live;
}

/* The thread may be in no probed call any more: its room is for others then. */
static __always_inline void calls_trim(const struct call_stack *stack)
{
	if (!calls_live(stack))
		calls_forget();
}
