// SPDX-License-Identifier: Apache-2.0
// One thread that takes records from the ring and hands batches to a sink; it never parses payload and never calls JavaScript.
//
//     running --stop()--> detaching --no link left--> draining --ring empty--> done
//        |                    (goes on taking records)                 |
//        +--- reading <-> polling (1 ms) <-> sleeping (kernel wakes)   +--- sink.finished()
//        +--- stalled: a shard owes credit, nothing is taken
//
// From stop() on the credit limit is ignored: workers that are being shut down may never credit again, and what is left is
// no more than one ring.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "batch_writer.h"
#include "control.h"
#include "failure.h"
#include "record_check.h"
#include "ring_map.h"

namespace oisp {

struct ReaderOptions {
  uint32_t shards;
  size_t ring_bytes;
  size_t batch_bytes;
  uint32_t flush_ms;
  size_t max_in_flight_bytes;
  SharedMemory shared;  // may be none
};

// Called on the reader thread.
class BatchSink {
 public:
  virtual ~BatchSink() = default;
  virtual void deliver(std::unique_ptr<Batch> batch) = 0;
  // Batches delivered and not yet taken by the consumer.
  virtual size_t waiting() const = 0;
  // After the last batch.
  virtual void finished() = 0;
};

struct ReaderCounters {
  std::atomic<uint64_t> records{0}, bytes{0}, payload_bytes{0}, stalls{0}, wakeups{0}, malformed{0};
  std::atomic<uint64_t> batches{0}, batch_bytes{0}, batch_records{0}, batch_payload_bytes{0};
};

class RingReader {
 public:
  // detach_all detaches every probe; it is called on a thread of its own and may take long.
  RingReader(const ReaderOptions& options, oisp_control* control, BatchSink* sink, std::function<void()> detach_all);
  RingReader(const RingReader&) = delete;
  RingReader& operator=(const RingReader&) = delete;
  ~RingReader();

  Failure start(int ring_fd);
  // Detaches, drains, then finished(). Returns at once.
  void stop();
  // Ends the thread without draining and without finished(): the process is going away.
  void abandon();
  void join();
  // Gives the ring and the buffers back; only counters stay. After join().
  void release();

  void credit(uint32_t shard, size_t bytes);
  size_t in_flight(uint32_t shard) const { return in_flight_[shard].load(std::memory_order_relaxed); }
  const ReaderCounters& counters() const { return counters_; }
  size_t pending_bytes() const { return ring_.pending_bytes(); }
  BatchPool& pool() { return writer_.pool(); }

 private:
  enum class Mode { kRun, kStop, kAbandon };
  enum class Taken { kNothing, kSome, kStalled };

  void run();
  void run_live();
  void drain();
  Taken take_some(bool ignore_credit);
  bool blocked(const RingSample& sample, Route route) const;
  bool over_limit(uint32_t shard) const;
  void take_record(const RingSample& sample, const RecordShape& shape);
  void flush_aged();
  void flush_all(bool even_if_waiting);
  void hand_over(uint32_t shard);
  void wait_short();
  void wait_for_credit();
  void sleep_in_kernel();
  bool poll_wake(int timeout_ms, bool ring_too);
  void wake();
  Mode mode() const { return mode_.load(std::memory_order_acquire); }

  const ReaderOptions options_;
  oisp_control* const control_;
  BatchSink* const sink_;
  const std::function<void()> detach_all_;
  RingMap ring_;
  BatchWriter writer_;
  ReaderCounters counters_;
  std::vector<std::atomic<size_t>> in_flight_;
  std::atomic<Mode> mode_{Mode::kRun};
  std::atomic<bool> stalled_{false};
  int ring_fd_ = -1;
  int wake_fd_ = -1;
  uint64_t now_ns_ = 0;
  std::thread thread_;
};

}  // namespace oisp
