// SPDX-License-Identifier: Apache-2.0
// Decides whether a ring sample is a whole record and where its unused areas are; it never looks at payload.
#pragma once
#include <cstddef>
#include <cstdint>

#include "records.h"

namespace oisp {

// The longest record there is.
constexpr size_t kMaxRecord = sizeof(oisp_tls_data) + OISP_TLS_CHUNK;
static_assert(sizeof(oisp_sys_exec) <= kMaxRecord, "sys_exec is the longest record");

// False when the kind is unknown or a length is impossible.
bool whole_record(const uint8_t* data, uint32_t sample_size);

// Clears the parts of a copied record that the kernel reserved and did not write: they hold what the ring held before.
void clear_unused(uint8_t* copy);

}  // namespace oisp
