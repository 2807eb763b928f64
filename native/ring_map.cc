// SPDX-License-Identifier: Apache-2.0
// The consumer's view of a BPF ring buffer: mapped pages and two positions. It never waits and never copies.
#include "ring_map.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace oisp {

Failure RingMap::open(int fd, size_t ring_bytes) {
  page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_ = ring_bytes;
  void* consumer = mmap(nullptr, page_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (consumer == MAP_FAILED) return {errno, std::string("map ring consumer page: ") + strerror(errno), {}};
  consumer_ = static_cast<uint64_t*>(consumer);
  void* producer = mmap(nullptr, page_ + size_, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(page_));
  if (producer == MAP_FAILED) {
    Failure failure{errno, std::string("map ring data: ") + strerror(errno), {}};
    close();
    return failure;
  }
  producer_ = static_cast<const uint64_t*>(producer);
  data_ = static_cast<const uint8_t*>(producer) + page_;
  return {};
}

RingSample RingMap::peek() {
  for (;;) {
    uint64_t position = *consumer_;
    if (position >= __atomic_load_n(producer_, __ATOMIC_ACQUIRE)) return {nullptr, 0};
    const uint8_t* record = data_ + (position & (size_ - 1));
    uint32_t header = __atomic_load_n(reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
    if (header & BPF_RINGBUF_BUSY_BIT) return {nullptr, 0};
    uint32_t size = header & ~BPF_RINGBUF_DISCARD_BIT;
    if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
      peeked_ = size;
      return {whole((position & (size_ - 1)) + BPF_RINGBUF_HDR_SZ, size), size};
    }
    advance(size);
  }
}

// `at` may be the end of the data: the header, which never wraps, was its last 8 bytes.
const uint8_t* RingMap::whole(size_t at, uint32_t size) {
  at &= size_ - 1;
  size_t first = size_ - at;
  if (size <= first) return data_ + at;
  wrapped_.resize(size);
  memcpy(wrapped_.data(), data_ + at, first);
  memcpy(wrapped_.data() + first, data_, size - first);
  return wrapped_.data();
}

void RingMap::release() { advance(peeked_); }

void RingMap::advance(uint32_t size) {
  uint64_t step = (static_cast<uint64_t>(size) + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
  __atomic_store_n(consumer_, *consumer_ + step, __ATOMIC_RELEASE);
}

size_t RingMap::pending_bytes() const {
  if (!consumer_) return 0;
  uint64_t consumer = __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
  uint64_t producer = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
  return producer > consumer ? producer - consumer : 0;
}

void RingMap::close() {
  if (consumer_) munmap(consumer_, page_);
  if (producer_) munmap(const_cast<uint64_t*>(producer_), page_ + size_);
  consumer_ = nullptr;
  producer_ = nullptr;
}

}  // namespace oisp
