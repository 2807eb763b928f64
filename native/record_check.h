// SPDX-License-Identifier: Apache-2.0
// Decides whether a ring sample is a whole record and where its unused areas are; it never looks at payload.
#pragma once
#include <cstddef>
#include <cstdint>

#include "record_tables.h"

namespace oisp {

constexpr size_t longest_record() {
  size_t longest = 0;
  for (const RecordShape& shape : kRecordShapes)
    if (shape.fixed + shape.tail_max > longest) longest = shape.fixed + shape.tail_max;
  return longest;
}
constexpr size_t kMaxRecord = longest_record();

// nullptr for a kind that is no kernel record.
const RecordShape* shape_of(uint16_t kind);

// The record's shape, nullptr when the kind is unknown or a length is impossible.
const RecordShape* whole_record(const uint8_t* data, uint32_t sample_size);

// Clears the parts of a copied record that the kernel reserved and did not write: they hold what the ring held before.
void clear_unused(const RecordShape& shape, uint8_t* copy);

}  // namespace oisp
