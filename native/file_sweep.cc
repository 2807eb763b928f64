// SPDX-License-Identifier: Apache-2.0
// Has the kernel side tell of files that are still open; it never reads what is kept of them.
//
// No timer of the kernel is there on every supported version, so the program is called from here, once for each open file, as a test run.
#include "file_sweep.h"

#include <bpf/bpf.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <vector>

namespace oisp {
namespace {

constexpr size_t kMostFiles = 1 << 16;
constexpr int kFullTries = 500;                     // of 2 ms, when all must be told and the ring is full
constexpr timespec kFullWait = {0, 2 * 1000 * 1000};

// struct open_key of bpf/file/open_files.h: the address of a struct file, and the process.
struct OpenKey {
  uint64_t file;
  uint32_t tgid;
  uint32_t reserved;
};

// A key that goes away while the map is walked starts the walk anew: what was found twice is told of once.
std::vector<OpenKey> followed_files(int map_fd) {
  std::vector<OpenKey> found;
  OpenKey key{};
  const OpenKey* after = nullptr;
  while (found.size() < kMostFiles && !bpf_map_get_next_key(map_fd, after, &key)) {
    found.push_back(key);
    after = &found.back();
  }
  return found;
}

}  // namespace

int sweep_files(const FileSweep& sweep, bool all) {
  int tries = all ? kFullTries : 0;
  for (const OpenKey& key : followed_files(sweep.files_fd)) {
    std::array<uint64_t, 3> context = {key.file, key.tgid, all};
    for (;;) {
      LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context.data(), .ctx_size_in = sizeof(context));
      if (bpf_prog_test_run_opts(sweep.program_fd, &options)) return errno;
      if (!options.retval) break;
      if (tries-- <= 0) return 0;
      nanosleep(&kFullWait, nullptr);
    }
  }
  return 0;
}

}  // namespace oisp
