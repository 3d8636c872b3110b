// The functions of CUDA's device library that are not in C's: fast and rounding variants, bit operations, atomics.
#pragma once

// min and max take any mix of numbers; of floats they return the one that is not NaN, as fmin does.
template <class A, class B, class T = std::common_type_t<A, B>,
          class = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
constexpr T min(A a, B b) {
  if constexpr (std::is_floating_point_v<T>) return ::fmin((T)a, (T)b);
  return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B, class T = std::common_type_t<A, B>,
          class = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
constexpr T max(A a, B b) {
  if constexpr (std::is_floating_point_v<T>) return ::fmax((T)a, (T)b);
  return (T)a < (T)b ? (T)b : (T)a;
}

// The approximate functions are the exact ones here: a kernel must not depend on their last bits.
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.f), 1.f); }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1. / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(x * -0.70710678118654752f); }
inline double normcdf(double x) { return 0.5 * erfc(x * -0.70710678118654752440); }
inline float fdividef(float x, float y) { return x / y; }
inline float rcbrtf(float x) { return 1.f / cbrtf(x); }
#ifndef __USE_GNU
inline float exp10f(float x) { return powf(10.f, x); }
#endif

// The rounding variants are never fused with their neighbours, which the empty asm sees to.
inline float emulator_as_is(float x) {
  asm("" : "+m"(x));
  return x;
}
inline double emulator_as_is(double x) {
  asm("" : "+m"(x));
  return x;
}
inline float __fadd_rn(float x, float y) { return emulator_as_is(x + y); }
inline float __fsub_rn(float x, float y) { return emulator_as_is(x - y); }
inline float __fmul_rn(float x, float y) { return emulator_as_is(x * y); }
inline float __fdiv_rn(float x, float y) { return emulator_as_is(x / y); }
inline float __frcp_rn(float x) { return emulator_as_is(1.f / x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return (float)(1. / sqrt((double)x)); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return emulator_as_is(x + y); }
inline double __dsub_rn(double x, double y) { return emulator_as_is(x - y); }
inline double __dmul_rn(double x, double y) { return emulator_as_is(x * y); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

// Floats to integers as the GPU does it: toward zero or nearest, saturating, NaN to zero.
template <class I, class F>
I emulator_to_integer(F x) {
  if (x != x) return 0;
  constexpr I low = std::is_signed_v<I> ? (I)((I)1 << (sizeof(I) * 8 - 1)) : 0, high = (I)~low;
  if (x <= (F)low) return low;
  return x >= (F)high ? high : (I)x;
}
inline int __float2int_rz(float x) { return emulator_to_integer<int>(x); }
inline int __float2int_rn(float x) { return emulator_to_integer<int>(rintf(x)); }
inline int __float2int_rd(float x) { return emulator_to_integer<int>(floorf(x)); }
inline int __float2int_ru(float x) { return emulator_to_integer<int>(ceilf(x)); }
inline unsigned __float2uint_rz(float x) { return emulator_to_integer<unsigned>(x); }
inline unsigned __float2uint_rn(float x) { return emulator_to_integer<unsigned>(rintf(x)); }
inline long long __float2ll_rz(float x) { return emulator_to_integer<long long>(x); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __uint2float_rz(unsigned x) {
  const float f = (float)x;
  return (double)f > (double)x ? nextafterf(f, 0.f) : f;
}
inline float __ll2float_rn(long long x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }

template <class To, class From>
To emulator_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
inline int __float_as_int(float x) { return emulator_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
inline float __int_as_float(int x) { return emulator_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((uint64_t)x * y >> 32); }
inline int __mulhi(int x, int y) { return (int)((int64_t)x * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return (unsigned long long)((unsigned __int128)x * y >> 64);
}
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; i++) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
  return (unsigned)((((uint64_t)high << 32 | low) << (n & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
  return (unsigned)(((uint64_t)high << 32 | low) >> (n & 31));
}

// Loads and stores with a cache hint.
template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcs(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }
template <class T> T __ldca(const T *p) { return *p; }
template <class T, class U> void __stcs(T *p, U v) { *p = v; }
template <class T, class U> void __stcg(T *p, U v) { *p = v; }

// Atomics: by compare and swap of the bits, so that any type of 1, 2, 4 or 8 bytes will do.
template <class T, class F>
T emulator_atomic(T *address, F change) {
  using Bits = std::conditional_t<
      sizeof(T) == 8, uint64_t,
      std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
  Bits *const cell = reinterpret_cast<Bits *>(address);
  Bits before = __atomic_load_n(cell, __ATOMIC_RELAXED);
  while (true) {
    const T old = emulator_bits<T>(before);
    if (__atomic_compare_exchange_n(cell, &before, emulator_bits<Bits>((T)change(old)), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED))
      return old;
  }
}
template <class T> using emulator_as = std::common_type_t<T>;  // the pointer alone decides the type
template <class T> T atomicAdd(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T o) { return o + v; }); }
template <class T> T atomicSub(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T o) { return o - v; }); }
template <class T> T atomicMin(T *p, emulator_as<T> v) {
  return emulator_atomic(p, [=](T o) { return v < o ? v : o; });
}
template <class T> T atomicMax(T *p, emulator_as<T> v) {
  return emulator_atomic(p, [=](T o) { return o < v ? v : o; });
}
template <class T> T atomicAnd(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T o) { return o & v; }); }
template <class T> T atomicOr(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T o) { return o | v; }); }
template <class T> T atomicXor(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T o) { return o ^ v; }); }
template <class T> T atomicExch(T *p, emulator_as<T> v) { return emulator_atomic(p, [=](T) { return v; }); }
template <class T> T atomicCAS(T *p, emulator_as<T> expected, emulator_as<T> v) {
  return emulator_atomic(p, [=](T o) { return memcmp(&o, &expected, sizeof o) ? o : v; });
}
inline unsigned atomicInc(unsigned *p, unsigned limit) {
  return emulator_atomic(p, [=](unsigned o) { return o >= limit ? 0 : o + 1; });
}
