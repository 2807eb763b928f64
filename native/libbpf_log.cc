// SPDX-License-Identifier: Apache-2.0
// Collects libbpf's lines of one step for the error it may end in. It never prints.
#include "libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace oisp {
namespace {

// A verifier log can be megabytes, and its end is what matters.
constexpr size_t kLogBytes = 16 * 1024;

// libbpf's callback has no context argument; it runs on the thread that called libbpf.
thread_local LibbpfLog* current_log = nullptr;

int print_line(enum libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || !current_log) return 0;
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length < 0) return 0;
  std::string line(static_cast<size_t>(length) + 1, '\0');
  vsnprintf(line.data(), line.size(), format, args);
  current_log->append(line.c_str());
  return length;
}

}  // namespace

LibbpfLog::LibbpfLog() {
  libbpf_set_print(print_line);
  current_log = this;
}

LibbpfLog::~LibbpfLog() { current_log = nullptr; }

void LibbpfLog::append(const char* line) {
  text_ += line;
  if (text_.size() > kLogBytes) text_.erase(0, text_.size() - kLogBytes);
}

}  // namespace oisp
