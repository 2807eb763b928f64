/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Copies what moved through a socket that carries unencrypted HTTP, and tells when the socket closes; TLS and anything else is left alone.
 *
 *   first call --> HTTP by its first bytes ----------------> told, until a verdict says otherwise
 *              \-> no HTTP, the port of a model server ----> skipped and booked, until a request begins
 *               \> no HTTP, only the process in scope -----> other: not seen at all
 */
#include "base.h"
#include "call_frames.h"
#include "gates.h"
#include "http_start.h"
#include "ledger.h"
#include "pieces.h"
#include "plain_sockets.h"
#include "ring.h"
#include "scope.h"
#include "socket_io.h"
#include "task.h"
#include "verdicts.h"

/* enum of include/net/tcp_states.h */
#define TCP_SYN_SENT 2
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE 7
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define RCV_SHUTDOWN 1
#define SHUTDOWN_BOTH 3

/* The socket, made when it is new; 0 when there is nothing to tell of it. */
static __always_inline struct plain_socket *plain_get(const struct socket_io *io)
{
	u64 key = (u64)io->sk;
	struct plain_socket *known = bpf_map_lookup_elem(&plain_sockets, &key);
	struct plain_socket born = {};

	if (known && known->inode == io->inode)
		return known->other ? 0 : known;
	if (http_start_of(io->buf, first_length(io)) == HTTP_NONE) {
		if (plain_ports_of(io->sk))
			born.conn.skipping = 1;
		else
			born.other = 1;
	}
	born.inode = io->inode;
	born.conn.generation = bpf_ktime_get_boot_ns();
	fill_header(&born.owner, OISP_KIND_SOCK_CLOSE, sizeof(struct oisp_tls_close));
	if (born.other)
		ledger_add(OISP_LEDGER_SOCK_OTHER, 0);
	bpf_map_update_elem(&plain_sockets, &key, &born, BPF_ANY);
	return born.other ? 0 : bpf_map_lookup_elem(&plain_sockets, &key);
}

/* TCP's count of the bytes that went through a direction so far, modulo 2^32. The end of a stream counts as one, and is none. */
static __always_inline u32 count_of(struct sock *sk, bool reads)
{
	struct tcp_sock *tcp = (struct tcp_sock *)sk;
	u32 count;

	if (!reads)
		return BPF_CORE_READ(tcp, write_seq);
	count = BPF_CORE_READ(tcp, copied_seq);
	return (BPF_CORE_READ(sk, sk_shutdown) & RCV_SHUTDOWN) && count == BPF_CORE_READ(tcp, rcv_nxt) ? count - 1 : count;
}

/* Bytes that went through the socket since the last call of this direction, and not by a call that is looked at: sendfile, splice, io_uring. */
static __always_inline u64 passed_by(struct plain_socket *known, const struct socket_io *io)
{
	struct sock *sk = io->sk;
	bool reads = io->direction == OISP_DIRECTION_READ;
	u32 now, between;
	u32 bit = 1 << io->direction;
	bool first = !(known->seqs & bit);

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	now = count_of(sk, reads);
	between = now - (u32)io->bytes - (reads ? known->read_seq : known->write_seq);
	if (reads)
		known->read_seq = now;
	else
		known->write_seq = now;
	known->seqs |= bit;
	/* A negative difference: another thread's call returned first. */
	return first || between >> 31 ? 0 : between;
}

static __always_inline void fill_plain(struct oisp_tls_data *head, const struct plain_socket *known, const struct socket_io *io)
{
	fill_header(&head->header, OISP_KIND_SOCK_DATA, 0);
	/* A socket that was passed on stays the connection of who used it first. */
	head->header.tgid = known->owner.tgid;
	head->header.start_ns = known->owner.start_ns;
	head->ssl = (u64)io->sk;
	head->generation = known->conn.generation;
	head->call_len = io->bytes > 0xffffffff ? 0xffffffff : io->bytes;
	head->direction = io->direction;
	head->func = OISP_PROBE_FUNC_SYS_EXIT;
	head->flags = known->conn.announced ? 0 : OISP_TLS_FLAG_OPENED;
	head->reserved = 0;
	head->target = 0;
	head->reserved2 = 0;
	peer_of_sock(io->sk, &head->peer);
	head->peer.role = socket_role(io->sk, io->inode);
	head->since_ns = socket_since(io->sk, io->inode);
}

static __always_inline void tell_plain(struct plain_socket *known, const struct socket_io *io)
{
	struct call_stack *stack = calls_make();
	struct conn_state *conn = &known->conn;
	u64 between = passed_by(known, io);
	u64 *moved = io->direction == OISP_DIRECTION_READ ? &conn->read_bytes : &conn->write_bytes;
	struct oisp_tls_data *head;

	if (!stack) {
		ledger_add(OISP_LEDGER_CONN_LOST, io->bytes);
		return;
	}
	if (between) {
		ledger_add(OISP_LEDGER_SEEN, between);
		ledger_add(conn->skipping ? OISP_LEDGER_SKIPPED : OISP_LEDGER_PASSED_BY, between);
	}
	head = &stack->head;
	fill_plain(head, known, io);
	head->offset = *moved + between;
	*moved += between + io->bytes;
	/* Which end a socket is need not be known: a request may begin in either direction. */
	if (!verdict_skips(conn, head, io->buf, first_length(io), true)) {
		put_pieces(stack, io);
		if (!head->flags)
			conn_told(conn, io->direction);
	}
	calls_trim(stack);
}

SEC("tp_btf/sys_exit") int sock_plain(u64 *ctx)
{
	struct file *file = file_of_fd(sys_arg0(sys_regs(ctx)));
	struct plain_socket *known;
	struct socket_io io;

	if (!file || !socket_io_of(ctx, file, &io))
		return 0;
	/* A datagram vector on a stream: TCP's count shows it with the next call. */
	if (io.shape == IO_MESSAGES || scope_of(current_tgid()) != SCOPE_IN)
		return 0;
	known = plain_get(&io);
	if (known)
		tell_plain(known, &io);
	return 0;
}

static __always_inline void tell_close(u64 key, const struct plain_socket *known)
{
	struct oisp_tls_close *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);

	if (!rec) {
		ledger_add(OISP_LEDGER_CLOSE_RING_FULL, 0);
		return;
	}
	rec->header = known->owner;
	rec->header.ts_ns = bpf_ktime_get_boot_ns();
	rec->ssl = key;
	rec->generation = known->conn.generation;
	rec->read_bytes = known->conn.read_bytes;
	rec->write_bytes = known->conn.write_bytes;
	rec->func = OISP_PROBE_FUNC_SOCK_PLAIN_STATE;
	rec->flags = known->conn.skipping ? OISP_CLOSE_FLAG_SKIPPED : 0;
	ledger_add(OISP_LEDGER_CLOSE_EMITTED, 0);
	bpf_ringbuf_submit(rec, ring_wake_flags());
}

/* Whether the program is done with the socket. One that has only said that it will send no more may still read. */
static __always_inline bool is_over(struct sock *sk, int before, int after)
{
	if (after == TCP_CLOSE)
		return before != TCP_FIN_WAIT2 || !BPF_CORE_READ(sk, sk_socket);
	return (after == TCP_FIN_WAIT1 || after == TCP_LAST_ACK) && (BPF_CORE_READ(sk, sk_shutdown) & SHUTDOWN_BOTH) == SHUTDOWN_BOTH;
}

SEC("tp_btf/inet_sock_set_state") int sock_plain_state(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int before = (int)ctx[1];
	int after = (int)ctx[2];
	u64 key = (u64)sk;
	struct plain_socket *known;

	/* These two happen in a call of the process. */
	if (after == TCP_SYN_SENT || after == TCP_LISTEN) {
		if (plain_ports_of(sk))
			gate_add(current_tgid(), OISP_GATE_SOCKETS);
		return 0;
	}
	if (!is_over(sk, before, after))
		return 0;
	known = bpf_map_lookup_elem(&plain_sockets, &key);
	if (!known)
		return 0;
	if (known->conn.announced)
		tell_close(key, known);
	bpf_map_delete_elem(&plain_sockets, &key);
	return 0;
}
