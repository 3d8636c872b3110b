#pragma once

namespace emulator {

// From now on a memory fault while a kernel runs is told with the kernel's thread before the process dies.
void catch_faults();

}  // namespace emulator
