// SPDX-License-Identifier: Apache-2.0
// Gives back memory that only the start of the process needed; it frees nothing that is in use.
#pragma once

namespace oisp {

// Returns free heap pages to the kernel and drops program text from the resident set. Text is clean and shared: what runs again is
// mapped again from the page cache, at the cost of a minor fault. Takes a few milliseconds.
void release_startup_memory();

}  // namespace oisp
