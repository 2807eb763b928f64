/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What the object has exactly once: licence, control, and the record types kept in BTF. Only the generated umbrella unit includes it. */
#pragma once
#include "base.h"
#include "syscall.h"
#include "syscalls.h"

char LICENSE[] SEC("license") = "GPL";

struct oisp_control control = {};

/* A type that only local pointers use is left out of BTF; the start-up layout check needs all of them. */
#define KEEP_LAYOUT(name) const struct oisp_##name *layout_of_##name = 0
KEEP_LAYOUT(rec_header);
KEEP_LAYOUT(tls_data);
KEEP_LAYOUT(tls_close);
KEEP_LAYOUT(tls_name);
KEEP_LAYOUT(sys_exec);
KEEP_LAYOUT(sys_exit);
KEEP_LAYOUT(sys_fork);
KEEP_LAYOUT(file_io);
KEEP_LAYOUT(file_name);
KEEP_LAYOUT(sys_map);
KEEP_LAYOUT(net_open);
KEEP_LAYOUT(net_flow);
KEEP_LAYOUT(net_dns);
KEEP_LAYOUT(tls_hello);
KEEP_LAYOUT(peer);
KEEP_LAYOUT(ledger_cell);
KEEP_LAYOUT(scope_cell);
