// SPDX-License-Identifier: Apache-2.0
// Attaches a BPF program to a function of a file, for every process, by the best means the kernel has; it knows no symbol and no map.
#include "uprobe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace oisp {
namespace {

// Of enum bpf_attach_type and enum bpf_cmd: the headers of older distributions, which this must build with, end before them.
constexpr auto kTraceUprobeMulti = static_cast<bpf_attach_type>(48);
constexpr int kLinkCreate = 28;
constexpr uint32_t kMultiReturn = 1;  // BPF_F_UPROBE_MULTI_RETURN

// The part of union bpf_attr that BPF_LINK_CREATE reads for a uprobe_multi link (include/uapi/linux/bpf.h since 6.6).
struct MultiLinkAttr {
  uint32_t prog_fd;
  uint32_t target_fd;
  uint32_t attach_type;
  uint32_t flags;
  uint64_t path;
  uint64_t offsets;
  uint64_t ref_ctr_offsets;
  uint64_t cookies;
  uint32_t count;
  uint32_t multi_flags;
  uint32_t pid;  // 0: every process
  uint32_t padding;
};
static_assert(sizeof(MultiLinkAttr) == 64, "union bpf_attr has no gaps here");

// Returns the link or a negative errno.
int create_multi(int program_fd, const char* path, const ProbePlace& place) {
  MultiLinkAttr attr{};
  attr.prog_fd = static_cast<uint32_t>(program_fd);
  attr.attach_type = kTraceUprobeMulti;
  attr.path = reinterpret_cast<uint64_t>(path);
  attr.offsets = reinterpret_cast<uint64_t>(&place.offset);
  attr.cookies = reinterpret_cast<uint64_t>(&place.target);
  attr.count = 1;
  attr.multi_flags = place.is_return ? kMultiReturn : 0;
  long fd = syscall(SYS_bpf, kLinkCreate, &attr, sizeof(attr));
  return fd < 0 ? -errno : static_cast<int>(fd);
}

}  // namespace

UprobeMeans uprobe_means() {
  // r0 = 0; exit
  const bpf_insn code[] = {{0xb7, 0, 0, 0, 0}, {0x95, 0, 0, 0, 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = kTraceUprobeMulti);
  int program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "oisp_means", "GPL", code, 2, &options);
  if (program < 0) return UprobeMeans::kPerf;
  // "/" is no file to probe: a kernel that knows the link type says EBADF, any other EINVAL.
  int link = create_multi(program, "/", {});
  if (link >= 0) ::close(link);
  ::close(program);
  return link == -EBADF ? UprobeMeans::kMulti : UprobeMeans::kPerf;
}

int prepare_uprobe(bpf_program* program, UprobeMeans means) {
  return means == UprobeMeans::kMulti ? bpf_program__set_expected_attach_type(program, kTraceUprobeMulti) : 0;
}

int attach_probe(bpf_program* program, UprobeMeans means, const std::string& path, const ProbePlace& place, Probe* out) {
  if (means == UprobeMeans::kMulti) {
    int fd = create_multi(bpf_program__fd(program), path.c_str(), place);
    out->fd = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
  }
  LIBBPF_OPTS(bpf_uprobe_opts, options, .bpf_cookie = place.target, .retprobe = place.is_return);
  out->link = bpf_program__attach_uprobe_opts(program, -1, path.c_str(), place.offset, &options);
  if (!out->link && errno == EOPNOTSUPP) {
    // Before 5.15 a probe has no cookie: its records name no file.
    options.bpf_cookie = 0;
    out->link = bpf_program__attach_uprobe_opts(program, -1, path.c_str(), place.offset, &options);
  }
  return out->link ? 0 : -errno;
}

void close_probe(const Probe& probe) {
  if (probe.link) bpf_link__destroy(probe.link);
  if (probe.fd >= 0) ::close(probe.fd);
}

}  // namespace oisp
