// SPDX-License-Identifier: Apache-2.0
// One thread that takes records from the ring and hands batches to a sink; it never parses payload and never calls JavaScript.
#include "ring_reader.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace oisp {
namespace {

constexpr int kPollMs = 2;                         // between looks at an empty ring while the machine is busy
constexpr uint64_t kBusyNs = 20 * 1000 * 1000;     // an empty ring is polled this long before the reader sleeps
constexpr int kSleepMs = 10000;                    // bounds what a lost wakeup could cost; each time out is CPU time of an idle machine
constexpr int kCreditMs = 1000;                    // the same for a lost credit
constexpr size_t kEarlyBatches = 4;                // batches that are not full wait when this many are not taken yet
constexpr int kRecordsPerTurn = 256;               // between looks at the clock and the mode
constexpr int kBusyTailTurns = 500;                // turns of kPollMs that a half-written record is waited for at the end
constexpr size_t kBuffersKept = 8;

uint64_t monotonic_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

void add(std::atomic<uint64_t>& counter, uint64_t amount) { counter.fetch_add(amount, std::memory_order_relaxed); }

// Records of a connection begin alike: header, then the address that names it. One connection is always on one shard.
static_assert(offsetof(oisp_tls_data, ssl) == offsetof(oisp_tls_close, ssl), "ssl is where shard_of expects it");
uint32_t shard_of(const oisp_tls_close* record, uint32_t shards) {
  uint64_t hash = record->ssl ^ (static_cast<uint64_t>(record->header.tgid) << 32);
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return static_cast<uint32_t>((hash ^ (hash >> 31)) % shards);
}

}  // namespace

RingReader::RingReader(const ReaderOptions& options, oisp_control* control, BatchSink* sink, std::function<void()> detach_all)
    : options_(options),
      control_(control),
      sink_(sink),
      detach_all_(std::move(detach_all)),
      writer_(options.shards, options.batch_bytes, kMaxRecord, kBuffersKept, options.shared),
      in_flight_(options.shards) {}

RingReader::~RingReader() {
  abandon();
  join();
  release();
}

void RingReader::release() {
  ring_.close();
  writer_.clear();
  if (wake_fd_ >= 0) close(wake_fd_);
  wake_fd_ = -1;
}

Failure RingReader::start(int ring_fd) {
  if (Failure failure = ring_.open(ring_fd, options_.ring_bytes)) return failure;
  ring_fd_ = ring_fd;
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd_ < 0) return {errno, std::string("eventfd: ") + strerror(errno), {}};
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "oisp-ring");
  return {};
}

void RingReader::stop() {
  Mode expected = Mode::kRun;
  if (mode_.compare_exchange_strong(expected, Mode::kStop)) wake();
}

void RingReader::abandon() {
  mode_.store(Mode::kAbandon, std::memory_order_release);
  wake();
}

void RingReader::join() {
  if (thread_.joinable()) thread_.join();
}

void RingReader::wake() {
  uint64_t one = 1;
  // Full (EAGAIN) means that it is signalled already.
  if (wake_fd_ >= 0 && write(wake_fd_, &one, sizeof(one)) < 0) return;
}

void RingReader::credit(uint32_t shard, size_t bytes) {
  std::atomic<size_t>& owed = in_flight_[shard];
  size_t before = owed.load(std::memory_order_relaxed);
  while (!owed.compare_exchange_weak(before, before - (bytes < before ? bytes : before))) {
  }
  if (stalled_.load()) wake();
}

void RingReader::run() {
  // Signals are Node's.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  run_live();
  if (mode() == Mode::kAbandon) return;
  drain();
  if (mode() != Mode::kAbandon) sink_->finished();
}

void RingReader::run_live() {
  uint64_t last_record_ns = monotonic_ns();
  while (mode() == Mode::kRun) {
    Taken taken = take_some(false);
    if (taken == Taken::kSome) {
      last_record_ns = now_ns_;
      flush_aged();
      continue;
    }
    flush_all(taken == Taken::kStalled);
    if (taken == Taken::kStalled) {
      wait_for_credit();
      continue;
    }
    if (ring_.pending_bytes() == 0 && monotonic_ns() - last_record_ns > kBusyNs)
      sleep_in_kernel();
    else
      wait_short();
  }
}

// Programs that were running when their probe was detached may still be writing: the ring is empty only when it is so after
// every link is gone, and a record that is being written is waited for.
void RingReader::drain() {
  // Detaching takes long (an RCU grace period per probe): what programs do meanwhile is no longer this sensor's to tell.
  __atomic_store_n(&control_->closing, 1u, __ATOMIC_SEQ_CST);
  std::atomic<bool> detached{false};
  std::thread detacher([&] {
    detach_all_();
    detached.store(true);
  });
  while (!detached.load()) {
    if (mode() != Mode::kAbandon && take_some(true) == Taken::kSome) continue;
    // Handed over at once, so that the tail is decoded while the probes come off.
    if (mode() != Mode::kAbandon) flush_all(true);
    poll_wake(kPollMs, false);
  }
  detacher.join();
  int turns = 0;
  while (mode() != Mode::kAbandon) {
    if (take_some(true) == Taken::kSome) continue;
    if (turns > 0 && ring_.pending_bytes() == 0) break;
    if (++turns > kBusyTailTurns) break;
    poll_wake(kPollMs, false);
  }
  flush_all(true);
}

RingReader::Taken RingReader::take_some(bool ignore_credit) {
  now_ns_ = monotonic_ns();
  writer_.set_now(now_ns_);
  for (int i = 0; i < kRecordsPerTurn; i++) {
    RingSample sample = ring_.peek();
    if (!sample.data) return i ? Taken::kSome : Taken::kNothing;
    const RecordShape* shape = whole_record(sample.data, sample.size);
    if (!shape) {
      add(counters_.malformed, 1);
      ring_.release();
      continue;
    }
    if (!ignore_credit && blocked(sample, shape->route)) return i ? Taken::kSome : Taken::kStalled;
    take_record(sample, *shape);
    ring_.release();
  }
  return Taken::kSome;
}

bool RingReader::over_limit(uint32_t shard) const { return in_flight_[shard].load() >= options_.max_in_flight_bytes; }

// Only the shard that the next record is for matters: taking it is what would grow that shard's debt.
bool RingReader::blocked(const RingSample& sample, Route route) const {
  auto record = reinterpret_cast<const oisp_tls_close*>(sample.data);
  if (route == Route::kConnection) return over_limit(shard_of(record, options_.shards));
  if (route == Route::kFirst) return over_limit(0);
  for (uint32_t shard = 0; shard < options_.shards; shard++)
    if (over_limit(shard)) return true;
  return false;
}

void RingReader::take_record(const RingSample& sample, const RecordShape& shape) {
  auto record = reinterpret_cast<const oisp_tls_close*>(sample.data);
  uint32_t size = record->header.size;
  uint16_t kind = record->header.kind;
  uint32_t payload = shape.payload ? size - shape.fixed : 0;
  uint32_t first = shape.route == Route::kConnection ? shard_of(record, options_.shards) : 0;
  uint32_t last = shape.route == Route::kAll ? options_.shards - 1 : first;
  for (uint32_t shard = first; shard <= last; shard++) {
    clear_unused(shape, writer_.append(shard, kind, sample.data, size, payload));
    if (writer_.full(shard)) hand_over(shard);
  }
  add(counters_.records, 1);
  add(counters_.bytes, sample.size);
  add(counters_.payload_bytes, payload);
}

void RingReader::flush_aged() {
  for (uint32_t shard = 0; shard < options_.shards; shard++) {
    if (writer_.empty(shard) || sink_->waiting() >= kEarlyBatches) continue;
    if (now_ns_ - writer_.opened_at(shard) >= static_cast<uint64_t>(options_.flush_ms) * 1000000) hand_over(shard);
  }
}

// A consumer that is behind gets fewer, larger batches instead of a longer queue of small ones.
void RingReader::flush_all(bool even_if_waiting) {
  for (uint32_t shard = 0; shard < options_.shards; shard++) {
    if (writer_.empty(shard)) continue;
    if (even_if_waiting || sink_->waiting() < kEarlyBatches) hand_over(shard);
  }
}

void RingReader::hand_over(uint32_t shard) {
  std::unique_ptr<Batch> batch = writer_.take(shard);
  if (!batch) return;
  in_flight_[shard].fetch_add(batch->length);
  add(counters_.batches, 1);
  add(counters_.batch_bytes, batch->length);
  add(counters_.batch_records, batch->records);
  add(counters_.batch_payload_bytes, batch->payload_bytes);
  sink_->deliver(std::move(batch));
}

void RingReader::wait_short() { poll_wake(kPollMs, false); }

void RingReader::wait_for_credit() {
  stalled_.store(true);
  add(counters_.stalls, 1);
  for (;;) {
    RingSample sample = ring_.peek();
    if (mode() != Mode::kRun || !sample.data) break;
    // Peeked again: what lies there was found whole before the wait.
    if (!blocked(sample, shape_of(reinterpret_cast<const oisp_rec_header*>(sample.data)->kind)->route)) break;
    poll_wake(kCreditMs, false);
  }
  stalled_.store(false);
}

// Everything handed over, nothing in the ring: only the kernel, a stop or the timeout ends this.
void RingReader::sleep_in_kernel() {
  bool waiting = false;
  for (uint32_t shard = 0; shard < options_.shards; shard++) waiting = waiting || !writer_.empty(shard);
  __atomic_store_n(&control_->reader_sleeping, 1u, __ATOMIC_SEQ_CST);
  if (poll_wake(waiting ? kPollMs : kSleepMs, true)) add(counters_.wakeups, 1);
  __atomic_store_n(&control_->reader_sleeping, 0u, __ATOMIC_SEQ_CST);
}

// True when the ring woke us.
bool RingReader::poll_wake(int timeout_ms, bool ring_too) {
  pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {ring_fd_, POLLIN, 0}};
  if (poll(fds, ring_too ? 2 : 1, timeout_ms) <= 0) return false;
  uint64_t count = 0;
  if ((fds[0].revents & POLLIN) && read(wake_fd_, &count, sizeof(count)) < 0) return false;
  return ring_too && (fds[1].revents & POLLIN);
}

}  // namespace oisp
