/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What one system call moved through one socket: direction, length, and where its first bytes are; it copies none of them. */
#pragma once
#include "base.h"
#include "sockets.h"
#include "syscall.h"
#include "syscall_numbers.h"

struct user_iovec {
	u64 base;
	u64 len;
};

/* struct user_msghdr and struct mmsghdr of the 64-bit ABI. */
struct user_msghdr {
	u64 name; /* Address of the peer's address. */
	u32 name_len;
	u32 reserved0;
	u64 iov;
	u64 iov_len;
	u64 control;
	u64 control_len;
	u32 flags;
	u32 reserved1;
};

struct user_mmsghdr {
	struct user_msghdr header;
	u32 len; /* Bytes moved of this one. */
	u32 reserved;
};

enum io_shape { IO_NONE = 0, IO_BUFFER = 1, IO_VECTOR = 2, IO_MESSAGE = 3, IO_MESSAGES = 4 };

struct socket_io {
	struct sock *sk;
	u64 inode; /* Of the socket's file. */
	u64 bytes; /* Moved; for sendmmsg and recvmmsg the number of messages. */
	u64 buf; /* The first buffer. */
	u64 buf_len; /* Its room; at most this much of bytes is there. */
	u64 iov; /* The vector, 0 for a plain buffer. */
	u64 iov_count;
	u64 name; /* User address of the peer's address (sendto, recvfrom, messages); 0: none was given. */
	u64 messages; /* User address of the message vector (sendmmsg, recvmmsg). */
	u32 shape; /* enum io_shape */
	u32 direction; /* enum oisp_direction */
};

static __always_inline u32 io_shape_of(u64 number, u32 *direction)
{
	switch (number) {
	case NR_WRITE:
	case NR_SENDTO:
		*direction = OISP_DIRECTION_WRITE;
		return IO_BUFFER;
	case NR_READ:
	case NR_RECVFROM:
		*direction = OISP_DIRECTION_READ;
		return IO_BUFFER;
	case NR_WRITEV:
		*direction = OISP_DIRECTION_WRITE;
		return IO_VECTOR;
	case NR_READV:
		*direction = OISP_DIRECTION_READ;
		return IO_VECTOR;
	case NR_SENDMSG:
		*direction = OISP_DIRECTION_WRITE;
		return IO_MESSAGE;
	case NR_RECVMSG:
		*direction = OISP_DIRECTION_READ;
		return IO_MESSAGE;
	case NR_SENDMMSG:
		*direction = OISP_DIRECTION_WRITE;
		return IO_MESSAGES;
	case NR_RECVMMSG:
		*direction = OISP_DIRECTION_READ;
		return IO_MESSAGES;
	default:
		return IO_NONE;
	}
}

static __always_inline bool io_take_vector(struct socket_io *io, u64 iov, u64 count)
{
	struct user_iovec first;

	io->iov = iov;
	io->iov_count = count;
	if (!count || bpf_probe_read_user(&first, sizeof(first), (const void *)iov))
		return false;
	io->buf = first.base;
	io->buf_len = first.len;
	return true;
}

static __always_inline bool io_take_message(struct socket_io *io, u64 address)
{
	struct user_msghdr message;

	if (bpf_probe_read_user(&message, sizeof(message), (const void *)address))
		return false;
	io->name = message.name;
	return io_take_vector(io, message.iov, message.iov_len);
}

#define MSG_OOB 1
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000

/* Bytes that stay where they are, and come again with the call that takes them, or are none that the peer sent. */
static __always_inline bool moves_nothing(struct pt_regs *regs, u64 number)
{
	u64 flags = 0;

	if (number == NR_RECVFROM || number == NR_RECVMMSG)
		flags = sys_arg3(regs);
	else if (number == NR_RECVMSG)
		flags = sys_arg2(regs);
	return flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE);
}

/* Fills io, but for the socket, from a call that moved something. False when it is no such call, or its memory cannot be read. */
static __always_inline bool call_io_of(u64 *ctx, struct socket_io *io)
{
	struct pt_regs *regs = sys_regs(ctx);
	u64 number = sys_number(regs);

	__builtin_memset(io, 0, sizeof(*io));
	if (moves_nothing(regs, number))
		return false;
	io->shape = io_shape_of(number, &io->direction);
	io->bytes = sys_result(ctx);
	switch (io->shape) {
	case IO_BUFFER:
		io->buf = sys_arg1(regs);
		io->buf_len = sys_arg2(regs);
		if (number == NR_SENDTO || number == NR_RECVFROM)
			io->name = sys_arg4(regs);
		return true;
	case IO_VECTOR:
		return io_take_vector(io, sys_arg1(regs), sys_arg2(regs));
	case IO_MESSAGE:
		return io_take_message(io, sys_arg1(regs));
	case IO_MESSAGES:
		io->messages = sys_arg1(regs);
		return io_take_message(io, io->messages);
	default:
		return false;
	}
}

/* The same of a call on a socket. */
static __always_inline bool socket_io_of(u64 *ctx, struct file *file, struct socket_io *io)
{
	if (!call_io_of(ctx, io))
		return false;
	io->sk = sock_of_file(file);
	io->inode = BPF_CORE_READ(file, f_inode, i_ino);
	return true;
}
