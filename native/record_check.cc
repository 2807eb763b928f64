// SPDX-License-Identifier: Apache-2.0
// Decides whether a ring sample is a whole record and where its unused areas are; it never looks at payload.
#include "record_check.h"

#include <cstring>

namespace oisp {
namespace {

bool whole_exec(const oisp_sys_exec* exec, uint32_t size) {
  return exec->exe_len <= sizeof(exec->exe) && exec->cwd_len <= sizeof(exec->cwd) && exec->cgroup_len <= sizeof(exec->cgroup) &&
         exec->args_len <= sizeof(exec->args) && size == offsetof(oisp_sys_exec, args) + exec->args_len;
}

void clear_tail(char* area, size_t area_size, uint32_t used) { memset(area + used, 0, area_size - used); }

}  // namespace

bool whole_record(const uint8_t* data, uint32_t sample_size) {
  if (sample_size < sizeof(oisp_rec_header)) return false;
  auto header = reinterpret_cast<const oisp_rec_header*>(data);
  uint32_t size = header->size;
  if (size > sample_size || size > kMaxRecord) return false;
  switch (header->kind) {
    case OISP_KIND_TLS_DATA:
      return size >= sizeof(oisp_tls_data) && size == sizeof(oisp_tls_data) + reinterpret_cast<const oisp_tls_data*>(data)->len;
    case OISP_KIND_TLS_CLOSE:
      return size == sizeof(oisp_tls_close);
    case OISP_KIND_SYS_EXEC:
      return size >= offsetof(oisp_sys_exec, args) && whole_exec(reinterpret_cast<const oisp_sys_exec*>(data), size);
    case OISP_KIND_SYS_EXIT:
      return size == sizeof(oisp_sys_exit);
    case OISP_KIND_SYS_FORK:
      return size == sizeof(oisp_sys_fork);
    default:
      return false;
  }
}

void clear_unused(uint8_t* copy) {
  oisp_rec_header header;
  memcpy(&header, copy, sizeof(header));
  if (header.kind != OISP_KIND_SYS_EXEC) return;
  uint32_t lengths[3];
  memcpy(lengths, copy + offsetof(oisp_sys_exec, exe_len), sizeof(lengths));
  char* bytes = reinterpret_cast<char*>(copy);
  clear_tail(bytes + offsetof(oisp_sys_exec, exe), OISP_PATH_AREA, lengths[0]);
  clear_tail(bytes + offsetof(oisp_sys_exec, cwd), OISP_PATH_AREA, lengths[1]);
  clear_tail(bytes + offsetof(oisp_sys_exec, cgroup), OISP_CGROUP_AREA, lengths[2]);
}

}  // namespace oisp
