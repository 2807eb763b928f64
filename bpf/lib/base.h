/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What every program includes first: kernel types, helpers, record layouts and the shared control object. It holds no map. */
#pragma once
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "control.h"
#include "records.h"

extern struct oisp_control control;
