// What compiled kernels and the libraries that run them know of each other.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vectors.hpp"

namespace emulator {

// Where the running thread stands. A plain __thread variable, in the model that needs no call to find it, since
// kernels read it all the time.
struct Place {
  uint3 thread, block, block_dim, grid_dim;
  unsigned number;  // of the thread in its block, x fastest
  unsigned serial;  // of the block, among all that the OS thread has run; from 1
};
extern __thread Place place __attribute__((tls_model("initial-exec")));

struct Parameter {
  unsigned size;
  bool pointer;
};

struct Kernel {
  const char *name;
  const char *file;
  void (*call)(void **parameters);  // one thread
  const Parameter *parameters;
  unsigned count;
};
void add(const Kernel &);

// Says what is wrong, and in which thread of which kernel, and aborts.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// __syncthreads and its kin: how many of the block's live threads came with a true predicate.
struct Tally {
  unsigned yes, all;
};
Tally barrier(bool predicate);

// Any operation of a warp: each thread brings a value and takes that of lane `source`.
struct Exchange {
  uint64_t value;
  unsigned votes;  // the lanes that brought something other than zero
};
Exchange exchange(unsigned mask, uint64_t value, unsigned source);

void *dynamic_shared();

}  // namespace emulator
