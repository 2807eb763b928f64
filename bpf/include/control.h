/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The memory that the programs and the native reader share (one object in .bss, mapped by the reader); it never holds captured bytes. */
#pragma once
#include "records.h"

/* Written by the reader. Everything is read by the programs without a lock: each field stands for itself. */
struct oisp_control {
	__oisp_u32 own_tgid; /* The sensor: never captured. */
	__oisp_u32 capture_all; /* 1: processes without a scope cell are captured. */
	__oisp_u32 comm_rules; /* Entries of scope_comm: 0 spares the lookup. */
	__oisp_u32 reader_sleeping; /* 1: the next record must wake the reader. */
	__oisp_u32 page_kb; /* KiB of a memory page. */
	__oisp_u32 closing; /* 1: the sensor is stopping; nothing new is captured while the probes come off. */
	__oisp_u32 files_all; /* 1: file activity of processes without a scope cell is recorded. */
	__oisp_u32 file_interim_ms; /* A file that stays open is told of anew after this long. */
	__oisp_u32 verdicts; /* 1: the host has judged connections; 0 spares the lookup. */
	__oisp_u32 scope_rules; /* enum oisp_scope_rule: kinds of rules that there are. */
	__oisp_u32 file_reads; /* enum oisp_file_reads */
	__oisp_u32 file_opens; /* enum oisp_file_opens */
	__oisp_u64 rate_bytes; /* Payload bytes that a process may move in a second and have copied; 0: no limit. */
	struct oisp_ledger_cell ledger[OISP_LEDGER_COUNT]; /* Written by the programs, atomically. */
};
_Static_assert(sizeof(struct oisp_control) == 56 + 16 * OISP_LEDGER_COUNT, "oisp_control has padding");
