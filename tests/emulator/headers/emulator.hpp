// What nvcc gives every kernel without an #include, for g++: included before the first line of each .cu file.
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <limits>
#include <type_traits>
#include <utility>

#include "interface.hpp"

// Keywords. Those that begin with __emulator are rewritten by kernels.awk after preprocessing.
#define __global__ __emulator_global__
#define __shared__ __emulator_shared__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define CUDA_EMULATOR 1  // for a kernel that must know, such as one with instructions of PTX
#define __CUDACC__ 1
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define CUDA_VERSION 13000

#define threadIdx (::emulator::place.thread)
#define blockIdx (::emulator::place.block)
#define blockDim (::emulator::place.block_dim)
#define gridDim (::emulator::place.grid_dim)
#define warpSize 32

namespace emulator {

// Calls a kernel with the parameters a launch gives, of the types its declaration says.
template <auto function>
struct Call;

template <class... A, void (*function)(A...)>
struct Call<function> {
  static constexpr Parameter parameters[] = {{sizeof(A), std::is_pointer_v<A>}..., {0, false}};
  static constexpr unsigned count = sizeof...(A);

  template <size_t... I>
  static void with(void **p, std::index_sequence<I...>) {
    function(*static_cast<A *>(p[I])...);
  }
  static void call(void **p) { with(p, std::index_sequence_for<A...>{}); }
};

// Shared memory a block comes to for the first time holds nothing that it could rely on.
inline void fresh(unsigned &serial, void *storage, size_t size) {
  if (serial == place.serial) return;
  serial = place.serial;
  memset(storage, 0xff, size);
}

struct Registration {
  explicit Registration(const Kernel &kernel) { add(kernel); }
};

}  // namespace emulator

#include "intrinsics.hpp"
#include "warp.hpp"

// A failed assertion says which thread it was; on a GPU it traps too.
#undef assert
#define assert(condition) \
  ((condition) ? (void)0 : ::emulator::fail("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))
