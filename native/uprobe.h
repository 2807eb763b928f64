// SPDX-License-Identifier: Apache-2.0
// Attaches a BPF program to a function of a file, for every process, by the best means the kernel has; it knows no symbol and no map.
//
//     uprobe_multi (since 6.6)   a link of its own: CAP_BPF and CAP_PERFMON suffice, and links can be closed side by side
//     perf event   (before)      needs CAP_SYS_ADMIN, and closing waits for several grace periods under one global lock
#pragma once
#include <cstdint>
#include <string>

struct bpf_link;
struct bpf_program;

namespace oisp {

// One attached probe. Owned by whoever holds it, until close_probe().
struct Probe {
  bpf_link* link = nullptr;  // perf event or tracepoint
  int fd = -1;               // uprobe_multi
};

// Where in a file, and the number of the file that the program is told (bpf_get_attach_cookie).
struct ProbePlace {
  uint64_t offset = 0;  // in the file
  bool is_return = false;
  uint64_t target = 0;
};

enum class UprobeMeans { kPerf, kMulti };

// What this kernel can do. Loads a program of two instructions to find out.
UprobeMeans uprobe_means();

// Before the object is loaded: prepares a uprobe program for the means. Returns 0 or a negative errno.
int prepare_uprobe(bpf_program* program, UprobeMeans means);

// Returns 0 or a negative errno.
int attach_probe(bpf_program* program, UprobeMeans means, const std::string& path, const ProbePlace& place, Probe* out);

void close_probe(const Probe& probe);

}  // namespace oisp
