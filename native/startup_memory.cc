// SPDX-License-Identifier: Apache-2.0
// Gives back memory that only the start of the process needed; it frees nothing that is in use.
#include "startup_memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace oisp {

void release_startup_memory() {
  malloc_trim(0);
  FILE* maps = fopen("/proc/self/maps", "re");
  if (!maps) return;  // nothing depends on it
  char line[4600];
  while (fgets(line, sizeof(line), maps)) {
    uint64_t begin = 0, end = 0, inode = 0;
    char mode[5] = "";
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %" SCNu64, &begin, &end, mode, &inode) != 4) continue;
    // Only executable file mappings: nobody writes to them, so nothing can be lost. Read-only data may hold relocations.
    if (strcmp(mode, "r-xp") != 0 || inode == 0) continue;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  fclose(maps);
}

}  // namespace oisp
