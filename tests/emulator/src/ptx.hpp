// What a module's PTX says of its kernels.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

namespace emulator {

struct Entry {
  std::vector<unsigned> parameters;  // sizes in bytes
  unsigned shared = 0;               // bytes of static shared memory
  unsigned max_threads = 1024;       // of a block, from __launch_bounds__
};

std::unordered_map<std::string, Entry> read_ptx(const char *text);

}  // namespace emulator
