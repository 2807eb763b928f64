// SPDX-License-Identifier: Apache-2.0
// Takes capabilities away from every thread of this process, for good; it never gives one.
#pragma once
#include <cstdint>

#include "failure.h"

namespace oisp {

// Leaves every thread, and so every thread and program started later, with those of the permitted capabilities that are in `keep` (bit n:
// capability n), none inheritable, the bounding set cut down to them where CAP_SETPCAP allows it, and no_new_privs. Returns when the kernel
// says so of every thread, which takes a few milliseconds. ETIMEDOUT: a thread did not react within 5 s; any other failure leaves threads
// that differ, too, so that the caller should end the process. Not for two threads at once.
Failure reduce_privileges(uint64_t keep);

}  // namespace oisp
