// SPDX-License-Identifier: Apache-2.0
// Owns the loaded BPF object, its maps and its links; the only native file pair that knows libbpf. It never reads the ring.
#pragma once
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control.h"
#include "failure.h"
#include "uprobe.h"

struct bpf_map;
struct bpf_object;

namespace oisp {

struct StructField {
  std::string name;
  uint32_t offset;
  uint32_t size;
};

struct StructLayout {
  uint32_t size;
  std::vector<StructField> fields;
};

// As its records name a connection.
struct ConnectionName {
  uint64_t ssl;
  uint64_t generation;
  uint32_t tgid;
  uint32_t reserved;
};

// What is told of files.
struct FileTelling {
  uint32_t interim_ms;  // a file that stays open is told of anew after this long
  uint32_t reads;       // enum oisp_file_reads
  uint32_t opens;       // enum oisp_file_opens
};

class Sensor {
 public:
  Sensor() = default;
  Sensor(const Sensor&) = delete;
  Sensor& operator=(const Sensor&) = delete;
  ~Sensor() { close(); }

  // Opens, sizes and loads the object, then attaches its tracepoint programs. On failure nothing stays open.
  Failure load(const std::string& object_path, uint32_t ring_bytes, bool capture_all);
  bool loaded() const { return object_ != nullptr; }
  std::optional<StructLayout> layout(const std::string& name) const;

  Failure attach_uprobe(const std::string& program, const std::string& path, const ProbePlace& place, int* link_id);
  UprobeMeans means() const { return means_; }
  // Takes a probe off, in a thread of its own, because the kernel lets each close wait some 20 ms. An id that is not (or no longer) attached
  // is ignored.
  void detach(int link_id);
  // Detaches every link. May be called from another thread than the rest.
  void detach_all();
  size_t link_count() const;

  Failure scope_add(uint32_t tgid, const oisp_scope_cell& cell);
  Failure scope_remove(uint32_t tgid);
  Failure scope_add_comm(const std::string& comm);
  // Processes that execute this file, run as this user, are in this cgroup or below: decided as they do so, not for those that run already.
  Failure scope_add_exe(const oisp_scope_file& file, const oisp_scope_cell& cell);
  Failure scope_add_uid(uint32_t uid, const oisp_scope_cell& cell);
  Failure scope_add_cgroup(uint64_t id, const oisp_scope_cell& cell);
  Failure scope_remove_exe(const oisp_scope_file& file);
  Failure scope_remove_cgroup(uint64_t id);
  void set_capture_all(bool all);
  // Whether file activity of processes without a scope cell is recorded.
  void set_files_all(bool all);
  void set_file_telling(const FileTelling& telling);
  // Opens bits (enum oisp_gate) of a process's gate: which of its system calls are looked at.
  void gate_add(uint32_t tgid, uint8_t bits);
  // Connections from or to this TCP port may carry unencrypted HTTP.
  Failure add_plain_port(uint16_t port);
  // What is to be done with a connection (enum oisp_verdict).
  Failure set_verdict(const ConnectionName& name, uint32_t verdict);

  // Payload bytes of a process that are copied in a second, below 2^34; 0: no limit.
  void set_rate(uint64_t bytes);
  struct Shed {
    uint32_t tgid;
    uint64_t calls;
    uint64_t bytes;
  };
  // The processes of which most was left out because of their rate, the greatest first. What is told last stays known after close().
  std::vector<Shed> shed() const;

  // Has the kernel side tell of files that stay open: those whose bytes have waited long enough, or all. May be called from another thread
  // than the rest.
  Failure sweep_files(bool all);

  int ring_fd() const;
  oisp_control* control() const { return control_; }
  std::array<oisp_ledger_cell, OISP_LEDGER_COUNT> ledger() const;

  void close();

  static std::string libbpf_version();

 private:
  Failure open_and_load(const std::string& object_path, uint32_t ring_bytes, bool capture_all);
  Failure map_control();
  Failure size_gates();
  Failure map_gates();
  Failure allocate_files_as_needed();
  void identify_self();
  Failure attach_tracepoints();
  Failure find_map(const char* name, bpf_map** map) const;
  Failure put_rule(const char* map_name, const void* key, const oisp_scope_cell& cell, uint32_t kind);
  Failure drop_rule(const char* map_name, const void* key);
  bool take(int link_id, Probe* probe);
  void close_waiting();

  bpf_object* object_ = nullptr;
  void* control_page_ = nullptr;
  size_t control_page_size_ = 0;
  oisp_control* control_ = nullptr;
  uint8_t* gates_ = nullptr;  // one byte per tgid
  size_t gates_size_ = 0;     // a multiple of the page size
  mutable std::mutex links_mutex_;
  UprobeMeans means_ = UprobeMeans::kPerf;
  std::map<int, Probe> links_;
  int next_link_ = 1;
  std::mutex closing_mutex_;
  std::vector<Probe> closing_;  // taken off and not yet closed
  bool closer_runs_ = false;
  std::thread closer_;  // ends when closing_ is empty
  std::vector<Shed> last_shed_;
  std::array<oisp_ledger_cell, OISP_LEDGER_COUNT> last_ledger_{};  // what the ledger said when it was closed
};

}  // namespace oisp
