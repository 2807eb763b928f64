// SPDX-License-Identifier: Apache-2.0
// Decides whether a ring sample is a whole record and where its unused areas are; it never looks at payload.
#include "record_check.h"

#include <cstring>

namespace oisp {
namespace {

uint32_t u32_at(const uint8_t* data, uint32_t offset) {
  uint32_t value;
  memcpy(&value, data + offset, sizeof(value));
  return value;
}

}  // namespace

const RecordShape* shape_of(uint16_t kind) {
  for (const RecordShape& shape : kRecordShapes)
    if (shape.kind == kind) return &shape;
  return nullptr;
}

const RecordShape* whole_record(const uint8_t* data, uint32_t sample_size) {
  if (sample_size < sizeof(oisp_rec_header)) return nullptr;
  auto header = reinterpret_cast<const oisp_rec_header*>(data);
  uint32_t size = header->size;
  const RecordShape* shape = shape_of(header->kind);
  if (!shape || size > sample_size || size > kMaxRecord || size < shape->fixed) return nullptr;
  uint32_t tail = shape->tail_offset ? u32_at(data, shape->tail_offset) : 0;
  if (tail > shape->tail_max || size != shape->fixed + tail) return nullptr;
  for (uint32_t i = 0; i < shape->areas; i++)
    if (u32_at(data, shape->area[i].used_offset) > shape->area[i].size) return nullptr;
  return shape;
}

void clear_unused(const RecordShape& shape, uint8_t* copy) {
  for (uint32_t i = 0; i < shape.areas; i++) {
    const RecordArea& area = shape.area[i];
    uint32_t used = u32_at(copy, area.used_offset);
    memset(copy + area.offset + used, 0, area.size - used);
  }
}

}  // namespace oisp
