// SPDX-License-Identifier: Apache-2.0
// The consumer's view of a BPF ring buffer: mapped pages and two positions. It never waits, and copies only a record that wraps.
//
//     consumer page (ours to write)   producer page + data
//     [consumer position]             [producer position] [data ............]
//
// libbpf maps the data twice in a row, so that no record wraps. Every mapped page counts as resident, so that costs another
// ring's size; here the one record per turn of the ring that wraps is put together instead.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "failure.h"

namespace oisp {

struct RingSample {
  const uint8_t* data;  // nullptr: nothing to take
  uint32_t size;        // bytes the program reserved
};

class RingMap {
 public:
  RingMap() = default;
  RingMap(const RingMap&) = delete;
  RingMap& operator=(const RingMap&) = delete;
  ~RingMap() { close(); }

  Failure open(int fd, size_t ring_bytes);
  // The oldest committed record, valid until release(). Skips discarded ones. It is empty while the oldest is still being written.
  RingSample peek();
  // Gives the room of the peeked record back to the kernel.
  void release();
  // Everything between the positions, records still being written and discarded ones included.
  size_t pending_bytes() const;
  size_t size_bytes() const { return size_; }
  void close();

 private:
  void advance(uint32_t size);
  const uint8_t* whole(size_t at, uint32_t size);

  uint64_t* consumer_ = nullptr;
  const uint64_t* producer_ = nullptr;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t page_ = 0;
  uint32_t peeked_ = 0;
  std::vector<uint8_t> wrapped_;  // the record that wraps, if the peeked one does
};

}  // namespace oisp
