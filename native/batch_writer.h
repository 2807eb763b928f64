// SPDX-License-Identifier: Apache-2.0
// Builds batches: concatenated msgpack arrays [kind, bin], one open batch per shard. It never knows the ring or JavaScript.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace oisp {

// Memory that batches are built in and read from without being copied. It belongs to JavaScript, and outlives the reader.
struct SharedMemory {
  uint8_t* base = nullptr;
  size_t bytes = 0;
};

// A flat buffer; bytes past length are never initialised, so an unused tail costs no memory.
struct Batch {
  uint32_t shard = 0;
  uint8_t* bytes = nullptr;
  std::unique_ptr<uint8_t[]> own;  // what bytes points to, unless it is a slot
  std::optional<size_t> slot;      // where in the shared memory
  size_t capacity = 0;
  size_t length = 0;
  uint64_t records = 0;
  uint64_t payload_bytes = 0;
  uint32_t kinds = 0;  // bit k: a record of kind k is in it
  int64_t clock_offset_ns = 0;
};

// Recycles buffers between the reader and the main thread: fresh pages for every batch were the larger part of its cost. A batch is a slot of the
// shared memory; when all are lent it is memory of its own, which whoever takes the batch copies.
class BatchPool {
 public:
  BatchPool(size_t capacity, size_t keep, SharedMemory shared);
  std::unique_ptr<Batch> take(uint32_t shard);
  void give(std::unique_ptr<Batch> batch);
  // A slot that nobody reads any more; what is not lent is ignored.
  void give_slot(size_t at);
  void clear();

 private:
  const size_t capacity_;
  const size_t keep_;
  const SharedMemory shared_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Batch>> free_;
  std::vector<size_t> free_slots_;  // the one given last is taken first: its pages are there
  std::vector<bool> lent_;
};

// Most bytes that the msgpack form adds to a record: array, kind (uint16), bin32.
constexpr size_t kRecordOverhead = 1 + 3 + 5;

class BatchWriter {
 public:
  // A record of up to max_record bytes always fits into a batch that is not yet full.
  BatchWriter(uint32_t shards, size_t batch_bytes, size_t max_record, size_t keep, SharedMemory shared);

  // Appends one record and returns where its copy begins.
  uint8_t* append(uint32_t shard, uint16_t kind, const uint8_t* record, uint32_t size, uint32_t payload);
  bool full(uint32_t shard) const { return open_[shard] && open_[shard]->length >= batch_bytes_; }
  bool empty(uint32_t shard) const { return !open_[shard]; }
  // When the oldest record of the open batch was appended, by the clock that set_now() is given.
  uint64_t opened_at(uint32_t shard) const { return opened_at_[shard]; }
  void set_now(uint64_t now_ns) { now_ns_ = now_ns; }
  // Closes the open batch; nullptr when it has no record.
  std::unique_ptr<Batch> take(uint32_t shard);
  BatchPool& pool() { return pool_; }
  // Frees every buffer, open batches included.
  void clear();

 private:
  const size_t batch_bytes_;
  BatchPool pool_;
  std::vector<std::unique_ptr<Batch>> open_;
  std::vector<uint64_t> opened_at_;
  uint64_t now_ns_ = 0;
};

}  // namespace oisp
