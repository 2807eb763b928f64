/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Finds the socket below each TLS connection by what one thread does next to what; of what a socket carries it sees the 5 bytes of a TLS record header.
 *
 *     SSL_set_fd(ssl, 7)                                                  given
 *     SSL_read(ssl) { recvfrom(7) }                                       nested
 *     SSL_write(ssl, 300 bytes); sendto(7: 17 03 03, length 317)          sent
 *     SSL_read(ssl) = -1, nothing read so far; sendto(7: 16 03 01)        handshake
 *     recvfrom(7: 17 03 03); SSL_read(ssl)                                received
 *
 * A program may run its own code inside a call (a callback when the handshake is done) and send other things from there, so that what is nested must
 * look like TLS, and must not be what another call has just sealed. Stronger evidence replaces weaker, equal evidence never does while the socket is
 * open, and each contradiction is counted.
 *
 * One function decides. For the probes it is also a global one, which the verifier walks once; kernels before 5.12 let it have numbers only. The
 * socket program has it inline, because it makes tail calls: on arm64 before 6.0 a program that does can call no function.
 */
#pragma once
#include "base.h"
#include "call_frames.h"
#include "connections.h"
#include "ledger.h"
#include "socket_io.h"
#include "socket_owners.h"
#include "sockets.h"
#include "thread_sockets.h"

#define TLS_RECORD_CHANGE_CIPHER 0x14
#define TLS_RECORD_HANDSHAKE 0x16
#define TLS_RECORD_DATA 0x17
#define TLS_RECORD_HEADER 5
#define TLS_RECORD_PLAIN 16384
#define TLS_RECORD_LONGEST (TLS_RECORD_PLAIN + 2048)
/* What sealing adds: 16 (ChaCha20 in TLS 1.2), 17 (TLS 1.3), 24 (AES-GCM), up to 80 (CBC with SHA-384). */
#define TLS_SEAL_LEAST 16
#define TLS_SEAL_MOST 80

static __always_inline void put_role(struct conn_state *conn, struct sock *sk, u64 inode)
{
	conn->peer.role = socket_role(sk, inode);
	conn->since_ns = socket_since(sk, inode);
}

static __always_inline void put_peer(struct conn_state *conn, struct sock *sk, u64 inode)
{
	if (!peer_of_sock(sk, &conn->peer))
		conn->peer.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	put_role(conn, sk, inode);
}

/* Whether evidence may take the place of what is known of a connection that has another socket. */
static __always_inline bool may_rebind(struct conn_state *conn, u32 proof)
{
	if (proof < conn->proof)
		return false;
	if (!socket_is_open(&conn->socket))
		return true;
	/* The program may give a connection another socket; anything else is one of two pieces of evidence being wrong. */
	if (proof == PROOF_GIVEN && conn->proof == PROOF_GIVEN)
		return true;
	if (proof > PROOF_RECEIVED)
		ledger_add(OISP_LEDGER_CONN_MISMATCH, 0);
	return proof > conn->proof;
}

/* Joins a connection of the current process with a socket, as far as the proof (enum conn_proof) goes. */
static __always_inline void bind_conn(u64 ssl, u64 sk, u64 inode, u32 proof)
{
	struct socket_ref ref = { .sk = sk, .inode = inode };
	struct conn_state *conn;
	struct conn_key key;

	conn_key_of(&key, ssl);
	if ((proof == PROOF_RECEIVED || proof == PROOF_HANDSHAKE || proof == PROOF_SENT) && socket_has_other_owner(&ref, &key))
		return;
	conn = conn_get(&key);
	if (!conn)
		return;
	if (conn->proof && same_socket(&conn->socket, &ref)) {
		/* SSL_set_fd may come before connect, or while it goes on. */
		if (!conn->peer.remote_port)
			put_peer(conn, (struct sock *)sk, inode);
		else if (!conn->since_ns)
			put_role(conn, (struct sock *)sk, inode);
		if (proof > conn->proof)
			conn->proof = proof;
		return;
	}
	if (conn->proof && !may_rebind(conn, proof))
		return;
	if (!conn->proof)
		ledger_add(OISP_LEDGER_CONN_BOUND, 0);
	conn->socket = ref;
	put_peer(conn, (struct sock *)sk, inode);
	asm volatile("" ::: "memory");
	conn->proof = proof;
	if (proof > PROOF_AROUND)
		socket_set_owner(&ref, &key);
}

__noinline int conn_bind(u64 ssl, u64 sk, u64 inode, u32 proof)
{
	bind_conn(ssl, sk, inode, proof);
	return 0;
}

/* The connection is about to read: what its thread has received is for it, unless it is known to read from elsewhere. */
static __always_inline void bind_received(u64 ssl)
{
	struct thread_sockets *thread = current_sockets();
	struct conn_state *conn;
	struct socket_ref ref;
	struct conn_key key;

	if (!thread || !thread->received.sk)
		return;
	ref = thread->received;
	conn_key_of(&key, ssl);
	conn = bpf_map_lookup_elem(&connections, &key);
	if (conn && conn->proof && !same_socket(&conn->socket, &ref))
		return;
	thread->received.sk = 0;
	/* A connection that begins has received nothing, or the first handshake record: its own will tell more than this one does. */
	if (!conn && thread->received_type != TLS_RECORD_DATA)
		return;
	conn_bind(ssl, ref.sk, ref.inode, PROOF_RECEIVED);
}

/* The thread enters its first call: what sealed inside an earlier one is no callback's any more. */
static __always_inline void bind_outermost(void)
{
	struct thread_sockets *thread = current_sockets();

	if (thread)
		thread->sealed_inside = 0;
}

/*
 * A call of the connection is over: it wrote len bytes, or (0) did something else, which makes records only before there is plaintext.
 * inside: the thread is still in another call.
 */
static __always_inline void bind_sealed(u64 ssl, u64 len, bool inside)
{
	struct thread_sockets *thread;
	struct conn_state *conn;
	struct conn_key key;

	conn_key_of(&key, ssl);
	conn = conn_get(&key);
	if (!conn || conn->proof == PROOF_NESTED || conn->proof == PROOF_GIVEN)
		return;
	if (!len && (conn->proof >= PROOF_HANDSHAKE || conn->read_bytes || conn->write_bytes))
		return;
	thread = current_sockets_get();
	if (!thread)
		return;
	if (!thread->sealed_state) {
		thread->sealed_state = SEALED_ONE;
		thread->sealed_ssl = ssl;
		thread->sealed_len = 0;
		thread->sealed_handshake = 0;
		thread->sealed_inside = 0;
	} else if (thread->sealed_ssl != ssl) {
		thread->sealed_state = SEALED_SEVERAL;
	}
	if (inside)
		thread->sealed_inside = 1;
	if (!len)
		thread->sealed_handshake = 1;
	else if (!thread->sealed_len)
		thread->sealed_len = len;
}

/* Type and length of a record header, 0 when it is none. */
static __always_inline u32 tls_record_type(u64 buf, u64 *length)
{
	u8 head[TLS_RECORD_HEADER];

	if (bpf_probe_read_user(head, sizeof(head), (const void *)buf))
		return 0;
	*length = ((u64)head[3] << 8) | head[4];
	if (head[0] < TLS_RECORD_CHANGE_CIPHER || head[0] > TLS_RECORD_DATA || head[1] != 3 || head[2] > 4 || *length > TLS_RECORD_LONGEST)
		return 0;
	return head[0];
}

static __always_inline void note_received(const struct socket_io *io, u32 type)
{
	struct thread_sockets *thread = type ? current_sockets_get() : current_sockets();

	if (!thread)
		return;
	if (type) {
		thread->received.sk = (u64)io->sk;
		thread->received.inode = io->inode;
		thread->received_type = type;
	} else if (thread->received.sk != (u64)io->sk) {
		/* The rest of a record does not unmake its head; anything else does. */
		thread->received.sk = 0;
	}
}

/* Who is to be joined with the socket of a call. */
struct bind_targets {
	u64 ssl[CALL_SLOTS]; /* 0: none */
	u32 proof[CALL_SLOTS]; /* enum conn_proof */
};

/* The thread sent something outside of all calls, or what one has sealed inside another. */
static __always_inline void find_sealed(struct bind_targets *targets, struct thread_sockets *thread, u32 type, u64 length)
{
	u64 plain;

	if (!thread || !thread->sealed_state)
		return;
	plain = thread->sealed_len > TLS_RECORD_PLAIN ? TLS_RECORD_PLAIN : thread->sealed_len;
	if (plain && type == TLS_RECORD_DATA && length >= plain + TLS_SEAL_LEAST && length <= plain + TLS_SEAL_MOST)
		targets->proof[0] = PROOF_SENT;
	else if (thread->sealed_handshake && (type == TLS_RECORD_HANDSHAKE || type == TLS_RECORD_CHANGE_CIPHER))
		targets->proof[0] = PROOF_HANDSHAKE;
	if (targets->proof[0] && thread->sealed_state == SEALED_ONE)
		targets->ssl[0] = thread->sealed_ssl;
	thread->sealed_state = SEALED_NOTHING;
}

/* The connection whose call the thread is in; 0: none. A frame below the stack pointer is of a call that never returned. */
static __always_inline u64 innermost_call(const struct call_stack *stack, u64 sp)
{
	u64 inner_sp = ~0ULL;
	u64 inner = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++) {
		const struct call_frame *slot = &stack->slots[i];

		if (slot->func && slot->sp > sp && slot->sp < inner_sp) {
			inner_sp = slot->sp;
			inner = slot->ssl;
		}
	}
	return inner;
}

/* A record went through the socket inside a call of the connection `inner`, and of those around it. */
static __always_inline void find_nested(struct bind_targets *targets, const struct call_stack *stack, u64 sp, u64 inner)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < CALL_SLOTS; i++) {
		const struct call_frame *slot = &stack->slots[i];

		if (!slot->func || slot->sp <= sp)
			continue;
		targets->ssl[i] = slot->ssl;
		targets->proof[i] = slot->ssl == inner ? PROOF_NESTED : PROOF_AROUND;
	}
}

/* Length of the first buffer that the call filled or emptied. */
static __always_inline u64 header_room(const struct socket_io *io)
{
	return io->shape == IO_MESSAGES || io->bytes > io->buf_len ? io->buf_len : io->bytes;
}

static __always_inline void find_targets(struct bind_targets *targets, const struct socket_io *io, u64 sp)
{
	struct thread_sockets *thread = current_sockets();
	struct call_stack *stack = current_calls();
	u64 inner = stack ? innermost_call(stack, sp) : 0;
	u64 length = 0;
	u32 type = 0;

	if (header_room(io) >= TLS_RECORD_HEADER)
		type = tls_record_type(io->buf, &length);
	if (inner && !(io->direction == OISP_DIRECTION_WRITE && thread && thread->sealed_state && thread->sealed_inside)) {
		if (type)
			find_nested(targets, stack, sp, inner);
	} else if (io->direction == OISP_DIRECTION_READ) {
		note_received(io, type);
	} else {
		find_sealed(targets, thread, type, length);
	}
}

/* A call of a process that makes TLS calls moved bytes through a socket. sp: the thread's stack pointer. */
static __always_inline void bind_socket(const struct socket_io *io, u64 sp)
{
	struct bind_targets targets = {};

	if (!io->sk || !is_internet_stream(io->sk))
		return;
	find_targets(&targets, io, sp);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < CALL_SLOTS; i++)
		if (targets.ssl[i])
			bind_conn(targets.ssl[i], (u64)io->sk, io->inode, targets.proof[i]);
}

/* The program names the socket itself. */
static __always_inline void bind_given(u64 ssl, u32 fd)
{
	struct file *file = file_of_fd(fd);

	if (file && file_kind_of(file) == OISP_FILE_KIND_SOCKET)
		conn_bind(ssl, (u64)sock_of_file(file), BPF_CORE_READ(file, f_inode, i_ino), PROOF_GIVEN);
}
