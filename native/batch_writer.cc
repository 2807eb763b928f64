// SPDX-License-Identifier: Apache-2.0
// Builds batches: concatenated msgpack arrays [kind, bin], one open batch per shard. It never knows the ring or JavaScript.
#include "batch_writer.h"

#include <ctime>
#include <cstring>
#include <utility>

namespace oisp {
namespace {

int64_t clock_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec;
}

uint8_t* put_kind(uint8_t* out, uint16_t kind) {
  if (kind < 128) {
    *out++ = static_cast<uint8_t>(kind);
    return out;
  }
  *out++ = 0xcd;
  *out++ = static_cast<uint8_t>(kind >> 8);
  *out++ = static_cast<uint8_t>(kind);
  return out;
}

uint8_t* put_bin_head(uint8_t* out, uint32_t size) {
  int width = size < 256 ? 1 : size < 65536 ? 2 : 4;
  *out++ = static_cast<uint8_t>(width == 1 ? 0xc4 : width == 2 ? 0xc5 : 0xc6);
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) *out++ = static_cast<uint8_t>(size >> shift);
  return out;
}

}  // namespace

BatchPool::BatchPool(size_t capacity, size_t keep, SharedMemory shared) : capacity_(capacity), keep_(keep), shared_(shared) {
  lent_.resize(shared.bytes / capacity);
  for (size_t slot = lent_.size(); slot > 0; slot--) free_slots_.push_back((slot - 1) * capacity);
}

std::unique_ptr<Batch> BatchPool::take(uint32_t shard) {
  std::unique_ptr<Batch> batch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!free_slots_.empty()) {
      batch = std::make_unique<Batch>();
      batch->slot = free_slots_.back();
      batch->bytes = shared_.base + *batch->slot;
      batch->capacity = capacity_;
      lent_[*batch->slot / capacity_] = true;
      free_slots_.pop_back();
    } else if (!free_.empty()) {
      batch = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (!batch) {
    batch = std::make_unique<Batch>();
    batch->own.reset(new uint8_t[capacity_]);
    batch->bytes = batch->own.get();
    batch->capacity = capacity_;
  }
  batch->shard = shard;
  batch->length = 0;
  batch->records = 0;
  batch->payload_bytes = 0;
  batch->kinds = 0;
  return batch;
}

void BatchPool::give_slot(size_t at) {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t slot = at / capacity_;
  if (at % capacity_ != 0 || slot >= lent_.size() || !lent_[slot]) return;
  lent_[slot] = false;
  free_slots_.push_back(at);
}

void BatchPool::give(std::unique_ptr<Batch> batch) {
  if (batch->slot) return give_slot(*batch->slot);
  std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() < keep_) free_.push_back(std::move(batch));
}

void BatchPool::clear() {
  std::lock_guard<std::mutex> lock(mutex_);
  free_.clear();
}

BatchWriter::BatchWriter(uint32_t shards, size_t batch_bytes, size_t max_record, size_t keep, SharedMemory shared)
    : batch_bytes_(batch_bytes), pool_(batch_bytes + max_record + kRecordOverhead, keep, shared), open_(shards), opened_at_(shards) {}

uint8_t* BatchWriter::append(uint32_t shard, uint16_t kind, const uint8_t* record, uint32_t size, uint32_t payload) {
  std::unique_ptr<Batch>& batch = open_[shard];
  if (!batch) {
    batch = pool_.take(shard);
    opened_at_[shard] = now_ns_;
  }
  uint8_t* out = batch->bytes + batch->length;
  *out++ = 0x92;
  out = put_bin_head(put_kind(out, kind), size);
  memcpy(out, record, size);
  batch->length = static_cast<size_t>(out + size - batch->bytes);
  batch->records++;
  batch->payload_bytes += payload;
  batch->kinds |= 1u << kind;
  return out;
}

void BatchWriter::clear() {
  for (std::unique_ptr<Batch>& batch : open_)
    if (batch) pool_.give(std::move(batch));
  pool_.clear();
}

std::unique_ptr<Batch> BatchWriter::take(uint32_t shard) {
  std::unique_ptr<Batch> batch = std::move(open_[shard]);
  if (batch) batch->clock_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
  return batch;
}

}  // namespace oisp
