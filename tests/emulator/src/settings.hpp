// What the environment sets, read once.
#pragma once

#include <cstddef>

namespace emulator {

enum class Order { forward, reverse, shuffle };

struct Settings {
  size_t memory;     // EMULATOR_MEMORY_MB: of the device, in bytes here
  int check;         // EMULATOR_CHECK: 1 checks guard zones and pointers at each launch, 2 also fences memory off
  Order order;       // EMULATOR_ORDER: of threads and blocks
  unsigned threads;  // EMULATOR_THREADS: of the OS, that blocks are dealt to
  bool trace;        // EMULATOR_TRACE: one line for each launch
};

const Settings &settings();

}  // namespace emulator
