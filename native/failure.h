// SPDX-License-Identifier: Apache-2.0
// The result of a step that can fail: an errno, what failed, and libbpf's last lines. It never throws.
#pragma once
#include <string>
#include <utility>

namespace oisp {

struct Failure {
  int code = 0;  // errno; 0: no failure
  std::string message;
  std::string log;

  explicit operator bool() const { return code != 0; }
};

}  // namespace oisp
