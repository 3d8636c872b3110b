// Runs the blocks of a grid.
#pragma once

#include "interface.hpp"

namespace emulator {

struct Launch {
  const Kernel *kernel;
  uint3 grid, block;
  unsigned dynamic_shared;
  void **parameters;
};

void run(const Launch &);

// What the calling OS thread runs: the kernel's name, or null outside of kernels.
const char *running_kernel();

}  // namespace emulator
