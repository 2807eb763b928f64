// SPDX-License-Identifier: Apache-2.0
// Owns the loaded BPF object, its maps and its links; the only native file pair that knows libbpf. It never reads the ring.
#include "sensor.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "file_sweep.h"
#include "libbpf_log.h"
#include "record_tables.h"

namespace oisp {
namespace {

// As bpf/lib/rate.h has them.
struct RateKey {
  uint64_t start_ns;
  uint32_t tgid;
  uint32_t reserved;
};
struct Rate {
  uint64_t filled_ns;
  int64_t left;
  uint64_t shed_calls;
  uint64_t shed_bytes;
};
constexpr size_t kShedTold = 8;

constexpr size_t kDetachThreads = 32;
constexpr uint32_t kPidMaxLimit = 4 << 20;  // PID_MAX_LIMIT of include/linux/threads.h

bool attached_at_start(const char* program) {
  for (const char* name : kTracepointPrograms)
    if (!strcmp(name, program)) return true;
  return false;
}

Failure fail(int code, const std::string& step, const LibbpfLog* log = nullptr) {
  int positive = code < 0 ? -code : code;
  return {positive, step + ": " + strerror(positive), log ? log->text() : std::string()};
}

// Offset of a variable in a data section of the object, -1 when there is none.
int64_t variable_offset(const btf* types, const char* section, const char* variable) {
  int id = btf__find_by_name_kind(types, section, BTF_KIND_DATASEC);
  if (id < 0) return -1;
  const btf_type* data = btf__type_by_id(types, id);
  const btf_var_secinfo* info = btf_var_secinfos(data);
  for (int i = 0; i < btf_vlen(data); i++, info++) {
    const btf_type* var = btf__type_by_id(types, info->type);
    if (!strcmp(btf__name_by_offset(types, var->name_off), variable)) return info->offset;
  }
  return -1;
}

}  // namespace

Failure Sensor::load(const std::string& object_path, uint32_t ring_bytes, bool capture_all) {
  if (object_) return fail(EALREADY, "load");
  Failure failure = open_and_load(object_path, ring_bytes, capture_all);
  if (failure) close();
  return failure;
}

// libbpf 1.x raises RLIMIT_MEMLOCK itself where the kernel still accounts BPF memory by it (before 5.11).
Failure Sensor::open_and_load(const std::string& object_path, uint32_t ring_bytes, bool capture_all) {
  LibbpfLog log;
  object_ = bpf_object__open(object_path.c_str());
  if (!object_) return fail(errno, "open " + object_path, &log);

  bpf_map* ring = nullptr;
  if (Failure missing = find_map("ring", &ring)) return missing;
  if (int error = bpf_map__set_max_entries(ring, ring_bytes)) return fail(error, "size ring buffer", &log);
  // libbpf rounds up without a word; the reader must know the true size.
  if (bpf_map__max_entries(ring) != ring_bytes)
    return fail(EINVAL, "size ring buffer: " + std::to_string(ring_bytes) + " bytes is no power of two of whole pages");
  if (Failure failure = size_gates()) return failure;
  if (Failure failure = allocate_files_as_needed()) return failure;
  means_ = uprobe_means();
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    if (bpf_program__type(program) != BPF_PROG_TYPE_KPROBE) continue;
    if (int error = prepare_uprobe(program, means_)) return fail(error, std::string("prepare ") + bpf_program__name(program), &log);
  }
  if (int error = bpf_object__load(object_)) return fail(error, "load " + object_path, &log);

  if (Failure failure = map_control()) return failure;
  if (Failure failure = map_gates()) return failure;
  control_->capture_all = capture_all;
  set_file_telling({OISP_FILE_INTERIM_S * 1000, OISP_FILE_READS_USER, OISP_FILE_OPENS_CHANGES});
  control_->page_kb = static_cast<uint32_t>(sysconf(_SC_PAGESIZE) / 1024);
  identify_self();
  return attach_tracepoints();
}

Failure Sensor::find_map(const char* name, bpf_map** map) const {
  if (!object_) return fail(ENOTCONN, std::string("map ") + name + ": not loaded");
  *map = bpf_object__find_map_by_name(object_, name);
  if (!*map) return fail(ENOENT, std::string("map ") + name);
  return {};
}

// Shares the object's .bss with the programs. Its place in there is read from BTF.
Failure Sensor::map_control() {
  bpf_map* bss = nullptr;
  bpf_object__for_each_map(bss, object_) {
    const char* name = bpf_map__name(bss);
    size_t length = strlen(name);
    if (length >= 4 && !strcmp(name + length - 4, ".bss")) break;
  }
  int64_t offset = variable_offset(bpf_object__btf(object_), ".bss", "control");
  if (!bss || offset < 0) return fail(ENOENT, "variable control in .bss");
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t size = (bpf_map__value_size(bss) + page - 1) / page * page;
  if (static_cast<size_t>(offset) + sizeof(oisp_control) > bpf_map__value_size(bss)) return fail(EPROTO, "size of control in .bss");
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(bss), 0);
  if (memory == MAP_FAILED) return fail(errno, "map .bss");
  control_page_ = memory;
  control_page_size_ = size;
  control_ = reinterpret_cast<oisp_control*>(static_cast<char*>(memory) + offset);
  return {};
}

// A byte for every pid that this machine can have.
Failure Sensor::size_gates() {
  bpf_map* map = nullptr;
  if (Failure missing = find_map("gates", &map)) return missing;
  std::ifstream file("/proc/sys/kernel/pid_max");
  uint32_t most = 0;
  if (!(file >> most)) most = kPidMaxLimit;
  if (int error = bpf_map__set_max_entries(map, std::min(most, kPidMaxLimit) / 8 + 1)) return fail(error, "size gates");
  return {};
}

// Some MiB that most machines never use. Before 6.1 the kernel warns of maps that raw tracepoints make it allocate for.
Failure Sensor::allocate_files_as_needed() {
  utsname kernel{};
  int major = 0, minor = 0;
  if (uname(&kernel) || sscanf(kernel.release, "%d.%d", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 1)) return {};
  for (const char* name : {"open_files", "file_fds", "file_marks"}) {
    bpf_map* map = nullptr;
    if (Failure missing = find_map(name, &map)) return missing;
    if (int error = bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_NO_PREALLOC)) return fail(error, std::string("flags of map ") + name);
  }
  return {};
}

Failure Sensor::map_gates() {
  bpf_map* map = nullptr;
  if (Failure missing = find_map("gates", &map)) return missing;
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t size = (static_cast<size_t>(bpf_map__max_entries(map)) * 8 + page - 1) / page * page;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
  if (memory == MAP_FAILED) return fail(errno, "map gates");
  gates_ = static_cast<uint8_t*>(memory);
  gates_size_ = size;
  return {};
}

// The programs compare tgids of the initial pid namespace; in a container only the kernel knows ours. Without
// BPF_PROG_TEST_RUN for raw tracepoints (it came with 5.10) getpid() is right everywhere but there.
void Sensor::identify_self() {
  control_->own_tgid = static_cast<uint32_t>(getpid());
  bpf_program* program = bpf_object__find_program_by_name(object_, "sensor_identity");
  if (!program) return;
  LIBBPF_OPTS(bpf_test_run_opts, options);
  bpf_prog_test_run_opts(bpf_program__fd(program), &options);
}

Failure Sensor::attach_tracepoints() {
  LibbpfLog log;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    // The other programs of the type are jumped to from one of these.
    if (!attached_at_start(bpf_program__name(program))) continue;
    bpf_link* link = bpf_program__attach(program);
    if (!link) return fail(errno, std::string("attach ") + bpf_program__name(program), &log);
    std::lock_guard<std::mutex> lock(links_mutex_);
    links_[next_link_++].link = link;
  }
  return {};
}

std::optional<StructLayout> Sensor::layout(const std::string& name) const {
  if (!object_) return std::nullopt;
  const btf* types = bpf_object__btf(object_);
  int id = btf__find_by_name_kind(types, ("oisp_" + name).c_str(), BTF_KIND_STRUCT);
  if (id < 0) return std::nullopt;
  const btf_type* type = btf__type_by_id(types, id);
  StructLayout layout{type->size, {}};
  for (int i = 0; i < btf_vlen(type); i++) {
    const btf_member* member = btf_members(type) + i;
    int64_t size = btf__resolve_size(types, member->type);
    layout.fields.push_back({btf__name_by_offset(types, member->name_off), btf_member_bit_offset(type, i) / 8,
                             size < 0 ? 0 : static_cast<uint32_t>(size)});
  }
  return layout;
}

Failure Sensor::attach_uprobe(const std::string& program_name, const std::string& path, const ProbePlace& place, int* link_id) {
  std::string step = std::string(place.is_return ? "attach uretprobe " : "attach uprobe ") + program_name + " to " + path + "+" + std::to_string(place.offset);
  if (!object_) return fail(ENOTCONN, step + ": not loaded");
  bpf_program* program = bpf_object__find_program_by_name(object_, program_name.c_str());
  if (!program) return fail(ENOENT, step + ": no such program");
  if (bpf_program__type(program) != BPF_PROG_TYPE_KPROBE) return fail(EINVAL, step + ": not a uprobe program");
  LibbpfLog log;
  Probe probe;
  if (int error = attach_probe(program, means_, path, place, &probe)) return fail(error, step, &log);
  std::lock_guard<std::mutex> lock(links_mutex_);
  *link_id = next_link_++;
  links_[*link_id] = probe;
  return {};
}

bool Sensor::take(int link_id, Probe* probe) {
  std::lock_guard<std::mutex> lock(links_mutex_);
  auto found = links_.find(link_id);
  if (found == links_.end()) return false;
  *probe = found->second;
  links_.erase(found);
  return true;
}

void Sensor::detach(int link_id) {
  Probe probe;
  if (!take(link_id, &probe)) return;
  std::lock_guard<std::mutex> lock(closing_mutex_);
  closing_.push_back(probe);
  if (closer_runs_) return;
  if (closer_.joinable()) closer_.join();
  closer_runs_ = true;
  closer_ = std::thread([this] { close_waiting(); });
}

void Sensor::close_waiting() {
  for (;;) {
    std::vector<Probe> batch;
    {
      std::lock_guard<std::mutex> lock(closing_mutex_);
      batch.swap(closing_);
      closer_runs_ = !batch.empty();
      if (batch.empty()) return;
    }
    for (Probe& probe : batch) close_probe(probe);
  }
}

// Each close waits for a grace period of the kernel. uprobe_multi links wait side by side, so as many threads as links take as long as
// one; perf events wait in turn under a global lock (about 60 ms each on 6.18), whoever closes them.
void Sensor::detach_all() {
  auto close_next = [this] {
    for (;;) {
      int id = 0;
      {
        std::lock_guard<std::mutex> lock(links_mutex_);
        if (links_.empty()) return;
        // The youngest first: tracepoints come off last.
        id = links_.rbegin()->first;
      }
      Probe probe;
      if (take(id, &probe)) close_probe(probe);
    }
  };
  std::vector<std::thread> others;
  size_t wanted = means_ == UprobeMeans::kMulti ? std::min(link_count(), kDetachThreads) : 1;
  for (size_t i = 1; i < wanted; i++) others.emplace_back(close_next);
  close_next();
  for (std::thread& other : others) other.join();
}

size_t Sensor::link_count() const {
  std::lock_guard<std::mutex> lock(links_mutex_);
  return links_.size();
}

Failure Sensor::scope_add(uint32_t tgid, const oisp_scope_cell& cell) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("scope", &map)) return failure;
  if (bpf_map_update_elem(bpf_map__fd(map), &tgid, &cell, BPF_ANY)) return fail(errno, "scope add " + std::to_string(tgid));
  if (cell.files) gate_add(tgid, OISP_GATE_FILES | OISP_GATE_PIPES);
  return {};
}

Failure Sensor::scope_remove(uint32_t tgid) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("scope", &map)) return failure;
  if (bpf_map_delete_elem(bpf_map__fd(map), &tgid) && errno != ENOENT) return fail(errno, "scope remove " + std::to_string(tgid));
  return {};
}

Failure Sensor::scope_add_comm(const std::string& comm) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("scope_comm", &map)) return failure;
  char key[OISP_COMM_LEN] = {};
  comm.copy(key, sizeof(key) - 1);
  uint8_t yes = 1;
  if (bpf_map_update_elem(bpf_map__fd(map), key, &yes, BPF_ANY)) return fail(errno, "scope add comm " + comm);
  control_->comm_rules = 1;
  return {};
}

Failure Sensor::put_rule(const char* map_name, const void* key, const oisp_scope_cell& cell, uint32_t kind) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map(map_name, &map)) return failure;
  if (bpf_map_update_elem(bpf_map__fd(map), key, &cell, BPF_ANY)) return fail(errno, std::string("add to ") + map_name);
  control_->scope_rules |= kind;
  return {};
}

Failure Sensor::drop_rule(const char* map_name, const void* key) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map(map_name, &map)) return failure;
  if (bpf_map_delete_elem(bpf_map__fd(map), key) && errno != ENOENT) return fail(errno, std::string("remove from ") + map_name);
  return {};
}

Failure Sensor::scope_add_exe(const oisp_scope_file& file, const oisp_scope_cell& cell) { return put_rule("scope_exe", &file, cell, OISP_SCOPE_RULE_EXE); }

Failure Sensor::scope_add_uid(uint32_t uid, const oisp_scope_cell& cell) { return put_rule("scope_uid", &uid, cell, OISP_SCOPE_RULE_UID); }

Failure Sensor::scope_add_cgroup(uint64_t id, const oisp_scope_cell& cell) { return put_rule("scope_cgroup", &id, cell, OISP_SCOPE_RULE_CGROUP); }

Failure Sensor::scope_remove_exe(const oisp_scope_file& file) { return drop_rule("scope_exe", &file); }

Failure Sensor::scope_remove_cgroup(uint64_t id) { return drop_rule("scope_cgroup", &id); }

void Sensor::set_capture_all(bool all) {
  if (control_) control_->capture_all = all;
}

void Sensor::set_files_all(bool all) {
  if (control_) control_->files_all = all;
}

void Sensor::set_file_telling(const FileTelling& telling) {
  if (!control_) return;
  control_->file_interim_ms = telling.interim_ms;
  control_->file_reads = telling.reads;
  control_->file_opens = telling.opens;
}

void Sensor::gate_add(uint32_t tgid, uint8_t bits) {
  if (gates_ && tgid < gates_size_) __atomic_fetch_or(gates_ + tgid, bits, __ATOMIC_RELAXED);
}

Failure Sensor::sweep_files(bool all) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("open_files", &map)) return failure;
  bpf_program* program = bpf_object__find_program_by_name(object_, "file_sweep");
  if (!program) return fail(ENOENT, "program file_sweep");
  if (int error = oisp::sweep_files({bpf_map__fd(map), bpf_program__fd(program)}, all)) return fail(error, "sweep files");
  return {};
}

Failure Sensor::add_plain_port(uint16_t port) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("plain_ports", &map)) return failure;
  uint32_t index = port / 64;
  uint64_t bits = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(map), &index, &bits)) return fail(errno, "plain port " + std::to_string(port));
  bits |= uint64_t{1} << (port % 64);
  if (bpf_map_update_elem(bpf_map__fd(map), &index, &bits, BPF_ANY)) return fail(errno, "plain port " + std::to_string(port));
  return {};
}

Failure Sensor::set_verdict(const ConnectionName& name, uint32_t verdict) {
  bpf_map* map = nullptr;
  if (Failure failure = find_map("verdicts", &map)) return failure;
  if (bpf_map__key_size(map) != sizeof(name)) return fail(EPROTO, "size of a verdict's key");
  if (bpf_map_update_elem(bpf_map__fd(map), &name, &verdict, BPF_ANY)) return fail(errno, "verdict");
  control_->verdicts = 1;
  return {};
}

void Sensor::set_rate(uint64_t bytes) {
  if (control_) control_->rate_bytes = bytes;
}

std::vector<Sensor::Shed> Sensor::shed() const {
  bpf_map* map = nullptr;
  if (!object_ || find_map("rates", &map)) return last_shed_;
  RateKey key{}, next{};
  Rate rate{};
  if (bpf_map__key_size(map) != sizeof(key) || bpf_map__value_size(map) != sizeof(rate)) return {};
  std::vector<Shed> all;
  const RateKey* from = nullptr;
  // An entry that goes away meanwhile starts the walk again: it ends all the same.
  for (uint32_t i = 0; i < 2 * bpf_map__max_entries(map) && !bpf_map_get_next_key(bpf_map__fd(map), from, &next); i++) {
    key = next;
    from = &key;
    if (bpf_map_lookup_elem(bpf_map__fd(map), &key, &rate) || !rate.shed_calls) continue;
    bool known = std::any_of(all.begin(), all.end(), [&](const Shed& shed) { return shed.tgid == key.tgid; });
    if (!known) all.push_back({key.tgid, rate.shed_calls, rate.shed_bytes});
  }
  std::sort(all.begin(), all.end(), [](const Shed& a, const Shed& b) { return a.bytes > b.bytes; });
  if (all.size() > kShedTold) all.resize(kShedTold);
  return all;
}

int Sensor::ring_fd() const {
  bpf_map* map = nullptr;
  return find_map("ring", &map) ? -1 : bpf_map__fd(map);
}

std::array<oisp_ledger_cell, OISP_LEDGER_COUNT> Sensor::ledger() const {
  std::array<oisp_ledger_cell, OISP_LEDGER_COUNT> cells{};
  if (!control_) return last_ledger_;
  // From the last bucket to the first: `seen` grows before the buckets that divide it, so that a look in the middle of a call never
  // finds more divided than seen.
  for (size_t i = cells.size(); i-- > 0;) {
    cells[i].records = __atomic_load_n(&control_->ledger[i].records, __ATOMIC_RELAXED);
    cells[i].bytes = __atomic_load_n(&control_->ledger[i].bytes, __ATOMIC_RELAXED);
  }
  return cells;
}

void Sensor::close() {
  detach_all();
  if (closer_.joinable()) closer_.join();
  last_ledger_ = ledger();
  last_shed_ = shed();
  if (control_page_) munmap(control_page_, control_page_size_);
  if (gates_) munmap(gates_, gates_size_);
  gates_ = nullptr;
  control_page_ = nullptr;
  control_ = nullptr;
  if (object_) bpf_object__close(object_);
  object_ = nullptr;
}

std::string Sensor::libbpf_version() {
  // The library prints "v1.1"; the patch level is in its file name only, so what is said is what it says.
  std::string version = libbpf_version_string();
  return version.empty() || version[0] != 'v' ? version : version.substr(1);
}

}  // namespace oisp
