// Stacks to switch between: what makes a thread of a block able to wait for the others.
#pragma once

#include <cstddef>

namespace emulator {

// A function of its own stack, which must never return.
struct Fiber {
  explicit Fiber(void (*start)());
  ~Fiber();
  Fiber(const Fiber &) = delete;

  void *stack;  // where the fiber goes on
  void *memory;
};

// Leaves the running stack, keeping in *from where, and goes on at `to`.
extern "C" void emulator_switch(void **from, void *to);

}  // namespace emulator
