/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies JSON-RPC that goes through pipes and Unix sockets of processes in file scope: tool servers on standard input and output. All else is left
 * alone after its first calls.
 */
#include "base.h"
#include "call_frames.h"
#include "ledger.h"
#include "open_file.h"
#include "pieces.h"
#include "pipes.h"
#include "scope.h"
#include "socket_io.h"
#include "syscall.h"
#include "task.h"

/* How far the name of the protocol is looked for: members of a message come in any order. */
#define LOOK_BYTES 512
/* Calls that are looked at: a line or two that a program says of itself may come before, and its end in a call of its own. */
#define LOOKS 4

#define WORD_JSONRPC 0x6370726e6f736a22ull /* "jsonrpc */
#define WORD_CONTENT 0x2d746e65746e6f43ull /* Content- */

/* Global, so that the verifier walks it once. */
__noinline int names_jsonrpc(u64 from, u64 length)
{
	for (u32 i = 0; i < LOOK_BYTES; i++) {
		u64 word = 0;

		if (i + sizeof(word) > length || bpf_probe_read_user(&word, sizeof(word), (const void *)(from + i)))
			return 0;
		if (word == WORD_JSONRPC)
			return 1;
	}
	return 0;
}

/* A message of JSON-RPC, a line each or with a head as language servers have it. */
static __always_inline bool is_jsonrpc(const struct socket_io *io)
{
	u64 length = first_length(io);
	u64 word = 0;

	if (length < 16 || bpf_probe_read_user(&word, sizeof(word), (const void *)io->buf))
		return false;
	if (word == WORD_CONTENT)
		return true;
	return ((word & 0xff) == '{' || (word & 0xff) == '[') && names_jsonrpc(io->buf, length);
}

/* The stream, made when it is new; 0 when this call is not to be told. Of two processes that make it at once, the first fixes the direction. */
static __always_inline struct pipe_stream *pipe_get(const struct pipe_key *key, const struct socket_io *io)
{
	struct pipe_stream *known = bpf_map_lookup_elem(&pipe_streams, key);
	bool is = (!known || known->state == PIPE_UNDECIDED) && is_jsonrpc(io);

	if (!known) {
		struct pipe_stream born = {
			.conn = { .generation = bpf_ktime_get_boot_ns() },
			.start_ns = process_start_ns(current_task()),
			.tgid = current_tgid(),
			.state = is ? PIPE_TOLD : PIPE_UNDECIDED,
			.direction = io->direction,
		};

		bpf_map_update_elem(&pipe_streams, key, &born, BPF_NOEXIST);
		known = bpf_map_lookup_elem(&pipe_streams, key);
	}
	if (!known || known->direction != io->direction)
		return 0;
	if (known->state == PIPE_UNDECIDED) {
		if (is) {
			known->state = PIPE_TOLD;
		} else if (++known->looks >= LOOKS) {
			known->state = PIPE_OTHER;
			ledger_add(OISP_LEDGER_PIPE_OTHER, 0);
		}
	}
	return known->state == PIPE_TOLD ? known : 0;
}

static __always_inline void tell_pipe(struct pipe_stream *known, const struct pipe_key *key, const struct socket_io *io, u32 fd)
{
	struct call_stack *stack = calls_make();
	struct conn_state *conn = &known->conn;
	u64 *moved = io->direction == OISP_DIRECTION_READ ? &conn->read_bytes : &conn->write_bytes;
	struct oisp_tls_data *head;

	if (!stack) {
		ledger_add(OISP_LEDGER_CONN_LOST, io->bytes);
		return;
	}
	head = &stack->head;
	fill_header(&head->header, OISP_KIND_PIPE_DATA, 0);
	head->header.tgid = known->tgid;
	head->header.start_ns = known->start_ns;
	head->ssl = key->inode;
	head->generation = conn->generation;
	head->offset = *moved;
	head->call_len = io->bytes > 0xffffffff ? 0xffffffff : io->bytes;
	head->direction = io->direction;
	head->func = OISP_PROBE_FUNC_SYS_EXIT;
	head->flags = conn->announced ? 0 : OISP_TLS_FLAG_OPENED;
	head->reserved = 0;
	head->target = fd;
	head->reserved2 = 0;
	__builtin_memset(&head->peer, 0, sizeof(head->peer));
	head->since_ns = 0;
	*moved += io->bytes;
	put_pieces(stack, io);
	if (!head->flags)
		conn_told(conn, io->direction);
	calls_trim(stack);
}

SEC("tp_btf/sys_exit") int io_pipe(u64 *ctx)
{
	u32 fd = sys_arg0(sys_regs(ctx));
	struct file *file = file_of_fd(fd);
	struct pipe_stream *known;
	struct pipe_key key = {};
	struct socket_io io;
	struct inode *inode;

	if (!file || !files_in_scope(current_tgid()) || !call_io_of(ctx, &io))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	key.address = (u64)inode;
	key.inode = BPF_CORE_READ(inode, i_ino);
	if (!pipe_open(&key, io.direction))
		return 0;
	known = pipe_get(&key, &io);
	if (known)
		tell_pipe(known, &key, &io, fd);
	return 0;
}

SEC("tp_btf/sys_exit") int sock_pipe(u64 *ctx)
{
	u32 fd = sys_arg0(sys_regs(ctx));
	struct file *file = file_of_fd(fd);
	struct pipe_stream *known;
	struct pipe_key key = {};
	struct socket_io io;

	if (!file || !socket_io_of(ctx, file, &io) || io.shape == IO_MESSAGES || !unix_key(&io, &key))
		return 0;
	known = pipe_get(&key, &io);
	if (known)
		tell_pipe(known, &key, &io, fd);
	return 0;
}
