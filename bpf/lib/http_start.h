/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells by at most eight bytes whether an HTTP message may begin in a buffer; it parses nothing. */
#pragma once
#include "base.h"

enum http_start { HTTP_NONE = 0, HTTP_POST = 1, HTTP_REQUEST = 2, HTTP_RESPONSE = 3 };

/* Bytes in the order of memory, as a little-endian load sees them. */
#define WORD8(a, b, c, d, e, f, g, h)                                                                                            \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 | (u64)(g) << 48 | (u64)(h) << 56)
#define MASK(n) ((n) >= 8 ? ~0ull : (1ull << (8 * (n))) - 1)

static __always_inline bool begins(u64 word, u64 mask, u64 text, u32 length)
{
	return !((word ^ text) & mask & MASK(length));
}

/* A call of fewer bytes than a method has is judged by those. */
static __always_inline enum http_start http_start_of(u64 buf, u64 moved)
{
	u64 word = 0;
	u64 n = moved;
	u64 mask;

	asm volatile("" : "+r"(n));
	if (n > 8)
		n = 8;
	if (!n || bpf_probe_read_user(&word, n, (const void *)buf))
		return HTTP_NONE;
	mask = n >= 8 ? ~0ull : (1ull << (8 * n)) - 1;
	if (begins(word, mask, WORD8('P', 'O', 'S', 'T', ' ', 0, 0, 0), 5))
		return HTTP_POST;
	if (begins(word, mask, WORD8('G', 'E', 'T', ' ', 0, 0, 0, 0), 4) || begins(word, mask, WORD8('P', 'U', 'T', ' ', 0, 0, 0, 0), 4) ||
	    begins(word, mask, WORD8('H', 'E', 'A', 'D', ' ', 0, 0, 0), 5) || begins(word, mask, WORD8('P', 'A', 'T', 'C', 'H', ' ', 0, 0), 6) ||
	    begins(word, mask, WORD8('D', 'E', 'L', 'E', 'T', 'E', ' ', 0), 7) || begins(word, mask, WORD8('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '), 8) ||
	    begins(word, mask, WORD8('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '), 8) || begins(word, mask, WORD8('P', 'R', 'I', ' ', '*', ' ', 'H', 'T'), 8))
		return HTTP_REQUEST;
	if (begins(word, mask, WORD8('H', 'T', 'T', 'P', '/', '1', '.', 0), 7))
		return HTTP_RESPONSE;
	return HTTP_NONE;
}
