// Functions beyond math.h: rounding, e^x - 1, log(1 + x), sine and cosine, powers.
#pragma once
#include "simd/half.h"
#include "simd/math.h"

/// On a lambda that has to be inlined.
#define FILIGREE_LAMBDA __attribute__((always_inline))

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Largest whole number not above x.
FILIGREE_INLINE F32 floor(F32 x) {
  const I32 small = abs(x) < set1(8388608.0f);
  const F32 whole = toFloat(toInt(select(small, x, zero())));
  const F32 down = select(whole > x, whole - 1.0f, whole);
  return select(small, copySign(down, x), x);
}

/// Nearest whole number, halves to even.
FILIGREE_INLINE F32 round(F32 x) {
  const F32 a = abs(x), magic = set1(8388608.0f);
  return select(a < magic, copySign(a + magic - magic, x), x);
}

/// e^x - 1: 5 ulp, small results included (the rounding errors of e^x cancel in the quotient).
FILIGREE_INLINE F32 expMinusOne(F32 x) {
  const F32 u = exp(x), minus = u - 1.0f;
  const F32 scaled = minus * (x / log(u));
  return select((u == set1(1.0f)) | (x != x), x, select((minus == set1(-1.0f)) | (x > set1(80.0f)), minus, scaled));
}

/// log(1 + x) for x >= 0: 4 ulp.
FILIGREE_INLINE F32 logOnePlus(F32 x) {
  const F32 u = x + 1.0f, minus = u - 1.0f;
  return select(minus == zero(), x, log(u) * (x / minus));
}

FILIGREE_INLINE int64_t bitsOfDouble(double x) {
  int64_t bits;
  std::memcpy(&bits, &x, 8);
  return bits;
}

FILIGREE_INLINE double doubleOfBits(int64_t bits) {
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}

/// 1.5 * 2^52: added and taken off, it rounds to a whole number.
constexpr double kRounding = 6755399441055744.0;

/// sin(x), or cos(x), for |x| < 2^27: rounded once from double, 0.51 ulp.
FILIGREE_INLINE float sineOf(float x, bool cosine) {
  const double v = x, k = v * 0.63661977236758134308 + kRounding - kRounding;
  const int32_t quadrant = static_cast<int32_t>(k) + cosine;
  // pi / 2 in two parts; the first has 26 bits, so that its product is exact.
  const double r = v - k * 1.57079631090164184570 - k * 1.58932547735281966916e-8;
  const double s = r * r;
  double p = -1.0 / 39916800;
  p = p * s + 1.0 / 362880;
  p = p * s - 1.0 / 5040;
  p = p * s + 1.0 / 120;
  p = p * s - 1.0 / 6;
  const double sine = p * s * r + r;
  double q = 1.0 / 479001600;
  q = q * s - 1.0 / 3628800;
  q = q * s + 1.0 / 40320;
  q = q * s - 1.0 / 720;
  q = q * s + 1.0 / 24;
  q = q * s - 0.5;
  const double cos = q * s + 1.0;
  // Conditional expressions on floats would keep the loop from being vectorised.
  const int64_t odd = -static_cast<int64_t>(quadrant & 1);
  const int64_t bits = (bitsOfDouble(cos) & odd) | (bitsOfDouble(sine) & ~odd);
  return static_cast<float>(doubleOfBits(bits ^ static_cast<int64_t>(static_cast<uint64_t>(quadrant & 2) << 62)));
}

/// y[i] = sin(x[i]) or cos(x[i]): 0.51 ulp below 2^27, beyond it as the C library has it.
[[maybe_unused]] static void sines(const float* x, float* y, int64_t n, bool cosine) {
  bool small = true;
  for (int64_t i = 0; i < n; i++) small &= x[i] < 134217728.0f && x[i] > -134217728.0f;
  if (!small) {
    for (int64_t i = 0; i < n; i++) y[i] = cosine ? __builtin_cosf(x[i]) : __builtin_sinf(x[i]);
    return;
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < n; i++) y[i] = sineOf(x[i], cosine);
}

/// x^y for positive normal x and |y| <= 10^6: 0.52 ulp (computed in double).
FILIGREE_INLINE float powerOf(float x, float y) {
  // The exponent is that of x / sqrt(0.5), so that the mantissa lies in [sqrt(0.5), sqrt(2)).
  const int32_t shifted = static_cast<int32_t>(bitsOfFloat(x)) - 0x3f3504f3;
  const double m = floatOfBits(static_cast<uint32_t>((shifted & 0x7fffff) + 0x3f3504f3));
  const double s = (m - 1) / (m + 1), t = s * s;
  double p = 1.0 / 15;
  p = p * t + 1.0 / 13;
  p = p * t + 1.0 / 11;
  p = p * t + 1.0 / 9;
  p = p * t + 1.0 / 7;
  p = p * t + 1.0 / 5;
  p = p * t + 1.0 / 3;
  p = p * t + 1.0;
  const double log2 = static_cast<double>(shifted >> 23) + s * p * 2.88539008177792681472;
  const double e = log2 * y;
  const double n = e + kRounding - kRounding;
  const double r = (e - n) * 0.69314718055994530942;
  double q = 1.0 / 362880;
  q = q * r + 1.0 / 40320;
  q = q * r + 1.0 / 5040;
  q = q * r + 1.0 / 720;
  q = q * r + 1.0 / 120;
  q = q * r + 1.0 / 24;
  q = q * r + 1.0 / 6;
  q = q * r + 0.5;
  q = q * r + 1.0;
  q = q * r + 1.0;
  int32_t exponent = static_cast<int32_t>(n);
  exponent = exponent > 300 ? 300 : exponent < -300 ? -300 : exponent;
  return static_cast<float>(q * doubleOfBits(static_cast<int64_t>(exponent + 1023) << 52));
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
