// SPDX-License-Identifier: Apache-2.0
// Collects libbpf's lines of one step for the error it may end in. It never prints.
#pragma once
#include <string>

namespace oisp {

// While one is alive, libbpf's warnings and infos of this thread go to it; it keeps the last ones.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  void append(const char* line);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace oisp
