// The compiled kernels: kernels/*.so beside this library.
#pragma once

#include "interface.hpp"

namespace emulator {

void load_kernels();
const Kernel *find_kernel(const char *name);

}  // namespace emulator
