// The 16-bit floats in software: every operation is done in float and rounded once, to nearest even, which for these
// widths gives what arithmetic in the format itself gives.
#pragma once

#include "emulator.hpp"

namespace emulator {

struct Bf16 {
  static float widen(unsigned short bits) { return emulator_bits<float>((unsigned)bits << 16); }
  static unsigned short narrow(float x) {
    const unsigned u = emulator_bits<unsigned>(x);
    if (x != x) return 0x7fff;
    return (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  // By way of a float rounded to odd, from which the second rounding errs in no case.
  static unsigned short narrow(double x) {
    const float nearest = (float)x;
    if (x != x || (double)nearest == x) return narrow(nearest);
    const unsigned u = emulator_bits<unsigned>(nearest) - (fabs((double)nearest) > fabs(x));
    return narrow(emulator_bits<float>(u | 1));
  }
};

struct Fp16 {
  static float widen(unsigned short bits) { return (float)emulator_bits<_Float16>(bits); }
  static unsigned short narrow(float x) { return x != x ? 0x7fff : emulator_bits<unsigned short>((_Float16)x); }
  static unsigned short narrow(double x) { return x != x ? 0x7fff : emulator_bits<unsigned short>((_Float16)x); }
};

template <class Format>
struct Small {
  unsigned short bits;

  Small() = default;
  Small(float x) : bits(Format::narrow(x)) {}
  Small(double x) : bits(Format::narrow(x)) {}
  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  Small(I x) : bits(Format::narrow((double)x)) {}
  template <class Other>
  explicit Small(Small<Other> x) : bits(Format::narrow(float(x))) {}
  static Small of_bits(unsigned short bits) {
    Small x;
    x.bits = bits;
    return x;
  }

  operator float() const { return Format::widen(bits); }
  operator bool() const { return (bits & 0x7fff) != 0; }
#define EMULATOR_TO(I) \
  operator I() const { return emulator_to_integer<I>(float(*this)); }
  EMULATOR_TO(signed char) EMULATOR_TO(unsigned char) EMULATOR_TO(char) EMULATOR_TO(short)
  EMULATOR_TO(unsigned short) EMULATOR_TO(int) EMULATOR_TO(unsigned) EMULATOR_TO(long)
  EMULATOR_TO(unsigned long) EMULATOR_TO(long long) EMULATOR_TO(unsigned long long)
#undef EMULATOR_TO

#define EMULATOR_OPERATOR(op)                                                          \
  friend Small operator op(Small a, Small b) { return Small(float(a) op float(b)); }   \
  friend Small &operator op##=(Small &a, Small b) { return a = a op b; }
  EMULATOR_OPERATOR(+) EMULATOR_OPERATOR(-) EMULATOR_OPERATOR(*) EMULATOR_OPERATOR(/)
#undef EMULATOR_OPERATOR
#define EMULATOR_COMPARE(op) \
  friend bool operator op(Small a, Small b) { return float(a) op float(b); }
  EMULATOR_COMPARE(==) EMULATOR_COMPARE(!=) EMULATOR_COMPARE(<) EMULATOR_COMPARE(<=)
  EMULATOR_COMPARE(>) EMULATOR_COMPARE(>=)
#undef EMULATOR_COMPARE
  friend Small operator-(Small a) { return of_bits(a.bits ^ 0x8000); }
  friend Small operator+(Small a) { return a; }
};

template <class Format>
struct alignas(4) Pair {
  Small<Format> x, y;
  Pair() = default;
  Pair(Small<Format> x, Small<Format> y) : x(x), y(y) {}
};

}  // namespace emulator

#define EMULATOR_S ::emulator::Small<F>
#define EMULATOR_P ::emulator::Pair<F>

template <class F> EMULATOR_S __hadd(EMULATOR_S a, EMULATOR_S b) { return a + b; }
template <class F> EMULATOR_S __hsub(EMULATOR_S a, EMULATOR_S b) { return a - b; }
template <class F> EMULATOR_S __hmul(EMULATOR_S a, EMULATOR_S b) { return a * b; }
template <class F> EMULATOR_S __hdiv(EMULATOR_S a, EMULATOR_S b) { return a / b; }
// The product is exact in double.
template <class F> EMULATOR_S __hfma(EMULATOR_S a, EMULATOR_S b, EMULATOR_S c) {
  return EMULATOR_S((double)float(a) * float(b) + float(c));
}
template <class F> EMULATOR_S __hneg(EMULATOR_S a) { return -a; }
template <class F> EMULATOR_S __habs(EMULATOR_S a) { return EMULATOR_S::of_bits(a.bits & 0x7fff); }
template <class F> bool __hisnan(EMULATOR_S a) { return float(a) != float(a); }
template <class F> int __hisinf(EMULATOR_S a) { return isinf(float(a)) ? (float(a) > 0 ? 1 : -1) : 0; }
template <class F> EMULATOR_S __hmax(EMULATOR_S a, EMULATOR_S b) { return fmaxf(a, b); }
template <class F> EMULATOR_S __hmin(EMULATOR_S a, EMULATOR_S b) { return fminf(a, b); }
template <class F> EMULATOR_S __hmax_nan(EMULATOR_S a, EMULATOR_S b) {
  return __hisnan(a) || __hisnan(b) ? EMULATOR_S::of_bits(0x7fff) : __hmax(a, b);
}
template <class F> EMULATOR_S __hmin_nan(EMULATOR_S a, EMULATOR_S b) {
  return __hisnan(a) || __hisnan(b) ? EMULATOR_S::of_bits(0x7fff) : __hmin(a, b);
}
template <class F> bool __heq(EMULATOR_S a, EMULATOR_S b) { return a == b; }
template <class F> bool __hne(EMULATOR_S a, EMULATOR_S b) { return a != b; }
template <class F> bool __hlt(EMULATOR_S a, EMULATOR_S b) { return a < b; }
template <class F> bool __hle(EMULATOR_S a, EMULATOR_S b) { return a <= b; }
template <class F> bool __hgt(EMULATOR_S a, EMULATOR_S b) { return a > b; }
template <class F> bool __hge(EMULATOR_S a, EMULATOR_S b) { return a >= b; }
template <class F> EMULATOR_S hexp(EMULATOR_S a) { return expf(a); }
template <class F> EMULATOR_S hexp2(EMULATOR_S a) { return exp2f(a); }
template <class F> EMULATOR_S hlog(EMULATOR_S a) { return logf(a); }
template <class F> EMULATOR_S hlog2(EMULATOR_S a) { return log2f(a); }
template <class F> EMULATOR_S hsqrt(EMULATOR_S a) { return sqrtf(a); }
template <class F> EMULATOR_S hrsqrt(EMULATOR_S a) { return rsqrtf(a); }
template <class F> EMULATOR_S hrcp(EMULATOR_S a) { return 1.f / float(a); }
template <class F> EMULATOR_S hsin(EMULATOR_S a) { return sinf(a); }
template <class F> EMULATOR_S hcos(EMULATOR_S a) { return cosf(a); }
template <class F> EMULATOR_S htanh(EMULATOR_S a) { return tanhf(a); }
template <class F> EMULATOR_S hfloor(EMULATOR_S a) { return floorf(a); }
template <class F> EMULATOR_S hceil(EMULATOR_S a) { return ceilf(a); }
template <class F> EMULATOR_S hrint(EMULATOR_S a) { return rintf(a); }

template <class F> EMULATOR_P __hadd2(EMULATOR_P a, EMULATOR_P b) { return {a.x + b.x, a.y + b.y}; }
template <class F> EMULATOR_P __hsub2(EMULATOR_P a, EMULATOR_P b) { return {a.x - b.x, a.y - b.y}; }
template <class F> EMULATOR_P __hmul2(EMULATOR_P a, EMULATOR_P b) { return {a.x * b.x, a.y * b.y}; }
template <class F> EMULATOR_P __h2div(EMULATOR_P a, EMULATOR_P b) { return {a.x / b.x, a.y / b.y}; }
template <class F> EMULATOR_P __hfma2(EMULATOR_P a, EMULATOR_P b, EMULATOR_P c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
template <class F> EMULATOR_P __hmax2(EMULATOR_P a, EMULATOR_P b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }
template <class F> EMULATOR_P __hmin2(EMULATOR_P a, EMULATOR_P b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }
template <class F> EMULATOR_P __hneg2(EMULATOR_P a) { return {-a.x, -a.y}; }
template <class F> EMULATOR_P operator+(EMULATOR_P a, EMULATOR_P b) { return __hadd2(a, b); }
template <class F> EMULATOR_P operator-(EMULATOR_P a, EMULATOR_P b) { return __hsub2(a, b); }
template <class F> EMULATOR_P operator*(EMULATOR_P a, EMULATOR_P b) { return __hmul2(a, b); }
template <class F> float __low2float(EMULATOR_P a) { return a.x; }
template <class F> float __high2float(EMULATOR_P a) { return a.y; }

#undef EMULATOR_S
#undef EMULATOR_P
