// SPDX-License-Identifier: Apache-2.0
// Has the kernel side tell of files that are still open; it never reads what is kept of them.
#pragma once

namespace oisp {

// What the open_files map and the program file_sweep are called by.
struct FileSweep {
  int files_fd;
  int program_fd;
};

// One after another, those whose bytes have waited long enough; with `all`, every one: the reader must be emptying the ring meanwhile. Returns
// 0, or the errno of the first call that the kernel refused (before 5.10 every one). What the ring has no room for stays for the next sweep.
int sweep_files(const FileSweep& sweep, bool all);

}  // namespace oisp
