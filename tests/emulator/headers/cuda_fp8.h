// One 8-bit float, e4m3 without infinities, for candle's kernels to compile.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

inline float emulator_e4m3(unsigned char bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  float x = exponent ? ldexpf(8 + fraction, exponent - 10) : ldexpf(fraction, -9);
  if ((bits & 0x7f) == 0x7f) x = NAN;
  return bits & 0x80 ? -x : x;
}

struct __nv_fp8_e4m3 {
  unsigned char __x;
  __nv_fp8_e4m3() = default;
  // To the nearest, in ties to the even one; what is too large becomes the largest, 448.
  explicit __nv_fp8_e4m3(float x) {
    const unsigned char sign = signbit(x) ? 0x80 : 0;
    unsigned char best = 0x7f;
    if (x == x) {
      best = 0;
      const float magnitude = fminf(fabsf(x), 448.f);
      for (unsigned char b = 1; b < 0x7f; b++) {
        const float d = fabsf(emulator_e4m3(b) - magnitude), least = fabsf(emulator_e4m3(best) - magnitude);
        if (d < least || (d == least && b % 2 == 0)) best = b;
      }
    }
    __x = sign | best;
  }
  explicit __nv_fp8_e4m3(double x) : __nv_fp8_e4m3((float)x) {}
  explicit __nv_fp8_e4m3(int x) : __nv_fp8_e4m3((float)x) {}
  explicit __nv_fp8_e4m3(__half x) : __nv_fp8_e4m3(float(x)) {}
  explicit __nv_fp8_e4m3(__nv_bfloat16 x) : __nv_fp8_e4m3(float(x)) {}
  explicit operator float() const { return emulator_e4m3(__x); }
};

inline __half_raw __nv_cvt_fp8_to_halfraw(unsigned char bits, __nv_fp8_interpretation_t) {
  return __half(emulator_e4m3(bits));
}
