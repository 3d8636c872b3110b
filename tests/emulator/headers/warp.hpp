// The operations of a warp, all made of one exchange of values between its lanes.
#pragma once

namespace emulator {

inline unsigned lane() { return place.number % 32; }

template <class T>
T shuffle(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "shuffles move at most 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source).value;
  memcpy(&value, &bits, sizeof(T));
  return value;
}

// The last lane of the group of `width` lanes this one is in.
inline unsigned last_of(unsigned width) { return lane() | (width - 1); }

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned first = ::emulator::lane() & ~(width - 1);
  return ::emulator::shuffle(mask, value, first | (source & (width - 1)));
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int first = ::emulator::lane() & ~(width - 1), source = (int)::emulator::lane() - (int)delta;
  return ::emulator::shuffle(mask, value, source >= first ? source : ::emulator::lane());
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned source = ::emulator::lane() + delta;
  return ::emulator::shuffle(mask, value, source <= ::emulator::last_of(width) ? source : ::emulator::lane());
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned source = ::emulator::lane() ^ lanes;
  return ::emulator::shuffle(mask, value, source <= ::emulator::last_of(width) ? source : ::emulator::lane());
}

inline void __syncwarp(unsigned mask = ~0u) { ::emulator::exchange(mask, 0, ::emulator::lane()); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return ::emulator::exchange(mask, predicate != 0, ::emulator::lane()).votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// The value of all lanes of the mask folded into one.
template <class T, class F>
T emulator_reduce(unsigned mask, T value, F fold) {
  bool first = true;
  T result{};
  const unsigned present = __ballot_sync(mask, 1);
  for (int i = 0; i < 32; i++) {
    if (!(present >> i & 1)) continue;
    const T other = ::emulator::shuffle(mask, value, i);
    result = first ? other : fold(result, other);
    first = false;
  }
  return result;
}
#define EMULATOR_REDUCE(T)                                                                                         \
  inline T __reduce_add_sync(unsigned m, T v) { return emulator_reduce(m, v, [](T a, T b) { return a + b; }); }    \
  inline T __reduce_min_sync(unsigned m, T v) { return emulator_reduce(m, v, [](T a, T b) { return min(a, b); }); } \
  inline T __reduce_max_sync(unsigned m, T v) { return emulator_reduce(m, v, [](T a, T b) { return max(a, b); }); }
EMULATOR_REDUCE(int)
EMULATOR_REDUCE(unsigned)

inline void __syncthreads() { ::emulator::barrier(false); }
inline int __syncthreads_count(int predicate) { return ::emulator::barrier(predicate != 0).yes; }
inline int __syncthreads_or(int predicate) { return ::emulator::barrier(predicate != 0).yes != 0; }
inline int __syncthreads_and(int predicate) {
  const ::emulator::Tally tally = ::emulator::barrier(predicate != 0);
  return tally.yes == tally.all;
}

// Threads run one at a time and memory is as they left it: fences have nothing to do.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
