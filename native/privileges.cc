// SPDX-License-Identifier: Apache-2.0
// Takes capabilities away from every thread of this process, for good; it never gives one.
//
// Capabilities belong to a thread, and only the thread itself can change its own. So each gets a signal whose handler makes the system
// calls, and /proc says whether it has:
//
//     caller:   list threads -> those with too much: signal -> wait -> again, until two listings in a row show none
//     thread:   handler: bounding set, capset, no_new_privs
//
// Two in a row, because a thread that has not reacted yet can start another one behind the back of the first listing.
#include "privileges.h"

#include <dirent.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace oisp {
namespace {

// The C library keeps this signal for itself, to change the user of all threads in just this way, and therefore lets no thread block it:
// Node has a thread that blocks every signal it can. It is borrowed for the moment.
constexpr int kSignal = 33;
constexpr int kPatienceMs = 5000;
constexpr int kPollMs = 1;
constexpr int kCapabilities = 64;  // more than any kernel has: the calls say EINVAL past the last

// What rt_sigaction takes, on x86-64 and arm64 alike.
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};
static_assert(sizeof(KernelAction) == 32, "struct sigaction of the kernel has no gaps");

uint64_t wanted;                   // written before the first signal
bool narrow_bounding;              // likewise
std::atomic<int> handler_error{0};

uint64_t bit(int capability) { return uint64_t{1} << capability; }

// In the handler: system calls and nothing else.
int reduce_this_thread() {
  for (int capability = 0; narrow_bounding && capability < kCapabilities; capability++) {
    if (wanted & bit(capability)) continue;
    if (syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;
    // A second signal finds CAP_SETPCAP gone, and its work done.
    if (errno == EPERM) break;
    return errno;
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) sets[half].effective = sets[half].permitted = static_cast<uint32_t>(wanted >> (32 * half));
  if (syscall(SYS_capset, &header, sets)) return errno;
  return syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : 0;
}

void on_signal(int) {
  int before = errno;
  if (int error = reduce_this_thread()) handler_error.store(error, std::memory_order_relaxed);
  errno = before;
}

struct ThreadState {
  std::string name;
  uint64_t inheritable = 0;
  uint64_t permitted = 0;
  uint64_t effective = 0;
  uint64_t bounding = 0;
  uint64_t pending = 0;  // bit n: signal n + 1
  bool no_new_privs = false;

  bool too_much() const { return inheritable || ((permitted | effective) & ~wanted) || (narrow_bounding && (bounding & ~wanted)) || !no_new_privs; }
  bool signalled() const { return pending & bit(kSignal - 1); }
};

// False: the thread is gone.
bool read_state(pid_t thread, ThreadState* state) {
  std::string path = "/proc/self/task/" + std::to_string(thread) + "/status";
  FILE* file = fopen(path.c_str(), "re");
  if (!file) return false;
  char line[256];
  char name[sizeof(line)] = "";
  int lines = 0, flag = 0;
  while (fgets(line, sizeof(line), file)) {
    if (sscanf(line, "Name: %255[^\n]", name) == 1) state->name = name;
    lines += sscanf(line, "SigPnd: %" SCNx64, &state->pending) == 1;
    lines += sscanf(line, "CapInh: %" SCNx64, &state->inheritable) == 1;
    lines += sscanf(line, "CapPrm: %" SCNx64, &state->permitted) == 1;
    lines += sscanf(line, "CapEff: %" SCNx64, &state->effective) == 1;
    lines += sscanf(line, "CapBnd: %" SCNx64, &state->bounding) == 1;
    lines += sscanf(line, "NoNewPrivs: %d", &flag) == 1;
  }
  fclose(file);
  state->no_new_privs = flag == 1;
  // A thread that is going away may end in the middle of its file.
  return lines == 6;
}

// errno, 0: none.
int list_threads(std::vector<pid_t>* threads) {
  DIR* folder = opendir("/proc/self/task");
  if (!folder) return errno;
  while (dirent* entry = readdir(folder))
    if (int id = atoi(entry->d_name)) threads->push_back(id);
  closedir(folder);
  return 0;
}

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

// The handler of a signal needs a way back that the C library knows and does not tell: it is read off a signal that it installed.
int borrow_signal(KernelAction* before) {
  struct sigaction ours = {};
  struct sigaction other = {};
  ours.sa_handler = on_signal;
  ours.sa_flags = SA_RESTART;
  KernelAction action{};
  if (sigaction(SIGRTMAX, &ours, &other)) return errno;
  long failed = syscall(SYS_rt_sigaction, SIGRTMAX, nullptr, &action, sizeof(action.mask));
  sigaction(SIGRTMAX, &other, nullptr);
  if (failed || syscall(SYS_rt_sigaction, kSignal, &action, before, sizeof(action.mask))) return errno;
  return 0;
}

struct Pass {
  bool clean = true;
  std::string late;  // a thread that has not reacted
};

// Looks at every thread once and signals those that have too much and no signal waiting.
Failure look(Pass* pass) {
  std::vector<pid_t> threads;
  if (int error = list_threads(&threads)) return {error, std::string("list the threads: ") + strerror(error), {}};
  pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  for (pid_t thread : threads) {
    ThreadState state;
    if (!read_state(thread, &state) || (!state.too_much() && !state.signalled())) continue;
    pass->clean = false;
    pass->late = state.name;
    if (state.signalled()) continue;
    if (thread == self)
      on_signal(kSignal);
    else
      syscall(SYS_tgkill, getpid(), thread, kSignal);  // ESRCH: it is gone, and the next pass sees that
  }
  if (int error = handler_error.load(std::memory_order_relaxed)) return {error, std::string("drop capabilities: ") + strerror(error), {}};
  return {};
}

Failure until_clean() {
  int64_t end = now_ms() + kPatienceMs;
  for (int clean = 0; clean < 2;) {
    Pass pass;
    if (Failure failure = look(&pass)) return failure;
    clean = pass.clean ? clean + 1 : 0;
    if (now_ms() > end) return {ETIMEDOUT, "drop capabilities: thread " + pass.late + " does not react", {}};
    if (pass.clean) continue;
    timespec pause = {0, kPollMs * 1000000};
    nanosleep(&pause, nullptr);
  }
  return {};
}

}  // namespace

Failure reduce_privileges(uint64_t keep) {
  ThreadState self;
  if (!read_state(static_cast<pid_t>(syscall(SYS_gettid)), &self)) return {ENOENT, "read /proc/self/task: is /proc mounted?", {}};
  wanted = keep & self.permitted;
  narrow_bounding = self.effective & bit(CAP_SETPCAP);
  handler_error = 0;
  KernelAction before{};
  if (int error = borrow_signal(&before)) return {error, std::string("borrow a signal: ") + strerror(error), {}};
  // On a failure the handler stays: a signal that is still on its way would end the process.
  if (Failure failure = until_clean()) return failure;
  syscall(SYS_rt_sigaction, kSignal, &before, nullptr, sizeof(before.mask));
  return {};
}

}  // namespace oisp
