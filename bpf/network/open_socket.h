/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Notes who opened a TCP socket, in the opener's own context: the kernel goes on with the socket in anybody's. It makes no record. */
#pragma once
#include "base.h"
#include "ledger.h"
#include "scope.h"
#include "sockets.h"
#include "task.h"

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

/* Fills a note for the current process; false when nothing is to be told of it. */
static __always_inline bool note_of_current(struct socket_note *note, u8 role)
{
	enum scope_answer scope = scope_of(current_tgid());

	__builtin_memset(note, 0, sizeof(*note));
	if (scope == SCOPE_OWN || is_kernel_thread(current_task()))
		return false;
	fill_header(&note->opener, 0, 0);
	note->role = role;
	note->in_scope = scope == SCOPE_IN;
	return true;
}

static __always_inline bool note_keep(struct sock *sk, const struct socket_note *note)
{
	u64 key = (u64)sk;

	if (!bpf_map_update_elem(&socket_notes, &key, note, BPF_ANY))
		return true;
	ledger_add(OISP_LEDGER_SOCKET_FULL, 0);
	return false;
}
