// Elementary functions on vectors, width-agnostic. Bounds are in units in the last place of the exact result, over all
// floats of the domain, with or without fused multiply-add. NaN gives NaN.
#pragma once
#include "simd/vec.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE F32 abs(F32 x) { return floatOf(bitsOf(x) & 0x7fffffff); }
/// Magnitude of x, sign of s.
FILIGREE_INLINE F32 copySign(F32 x, F32 s) {
  return floatOf((bitsOf(x) & 0x7fffffff) | (bitsOf(s) & static_cast<int32_t>(0x80000000)));
}
FILIGREE_INLINE I32 toInt(F32 x) { return __builtin_convertvector(x, I32); }
FILIGREE_INLINE F32 toFloat(I32 x) { return __builtin_convertvector(x, F32); }

/// Nearest whole number, halves to even, for |x| < 2^22.
FILIGREE_INLINE F32 roundSmall(F32 x) {
  const F32 magic = set1(12582912.0f);
  return x + magic - magic;
}

/// x * 2^n for whole n in [-252, 254]; correctly rounded unless 2^(n/2) * x is subnormal.
FILIGREE_INLINE F32 scaleByPower(F32 x, F32 n) {
#if defined(FILIGREE_AVX512)
  return _mm512_scalef_ps(x, n);
#else
  const I32 whole = toInt(n);
  const I32 half = whole >> 1;
  return x * floatOf((half + 127) << 23) * floatOf((whole - half + 127) << 23);
#endif
}

/// e^(x - n log 2) for the whole n nearest to x / log 2.
FILIGREE_INLINE F32 expOfRest(F32 x, F32 n) {
  F32 r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  F32 p = set1(1.395048622e-3f);
  p = fma(p, r, set1(8.368887863e-3f));
  p = fma(p, r, set1(4.166620587e-2f));
  p = fma(p, r, set1(1.666651885e-1f));
  p = fma(p, r, set1(5.000000095e-1f));
  return fma(p, r * r, r) + 1.0f;
}

/// e^x: 1.1 ulp, subnormal results included; inf above 88.73, 0 below -104.
FILIGREE_INLINE F32 exp(F32 x) {
  x = min(set1(89.0f), max(set1(-104.5f), x));
  const F32 n = roundSmall(x * 1.44269504088896341f);
  return scaleByPower(expOfRest(x, n), n);
}

/// As exp where that is a normal number: from -87.33 to 88.37. Beyond, what it is there: 1.2e-38 and 2.4e38.
FILIGREE_INLINE F32 normalExp(F32 x) {
  x = min(set1(88.37f), max(set1(-87.33f), x));
  // The lowest bits of the shifted product are n, and those of a float's exponent once they are moved there.
  const F32 magic = set1(12582912.0f), shifted = fma(x, set1(1.44269504088896341f), magic);
  return floatOf(bitsOf(expOfRest(x, shifted - magic)) + (bitsOf(shifted) << 23));
}

/// Natural logarithm: 1 ulp, subnormal arguments included; -inf of 0, NaN below.
FILIGREE_INLINE F32 log(F32 x) {
  const I32 small = x < set1(1.17549435e-38f);
  const F32 scaled = select(small, x * 8388608.0f, x);
  // The exponent is that of x / sqrt(0.5), so that the mantissa lies in [sqrt(0.5), sqrt(2)).
  const I32 shifted = bitsOf(scaled) - 0x3f3504f3;
  const F32 e = toFloat((shifted >> 23) - (small & 23));
  const F32 f = floatOf((shifted & 0x7fffff) + 0x3f3504f3) - 1.0f;
  F32 p = set1(-7.634429907e-2f);
  p = fma(p, f, set1(1.276155036e-1f));
  p = fma(p, f, set1(-1.316019505e-1f));
  p = fma(p, f, set1(1.420176247e-1f));
  p = fma(p, f, set1(-1.662335648e-1f));
  p = fma(p, f, set1(2.000122667e-1f));
  p = fma(p, f, set1(-2.500082106e-1f));
  p = fma(p, f, set1(3.333333171e-1f));
  const F32 square = f * f;
  F32 tail = p * f * square;
  tail = fma(e, set1(-2.12194440e-4f), tail);
  tail = fma(square, set1(-0.5f), tail);
  F32 y = fma(e, set1(0.693359375f), f + tail);
  const F32 infinity = set1(__builtin_inff());
  y = select(x == infinity, infinity, y);
  y = select(x == zero(), -infinity, y);
  // NaN differs from itself.
  return select((x < zero()) | (x != x), set1(__builtin_nanf("")), y);
}

/// 1 / (1 + e^-x): 2.5 ulp down to x = -87; 4.2e-39 below -88.37.
FILIGREE_INLINE F32 sigmoid(F32 x) { return 1.0f / (normalExp(-x) + 1.0f); }

/// tanh: 1.5 ulp.
FILIGREE_INLINE F32 tanh(F32 x) {
  const F32 a = abs(x);
  const F32 large = 1.0f - 2.0f / (normalExp(a + a) + 1.0f);
  const F32 s = x * x;
  F32 p = set1(-6.282466730e-3f);
  p = fma(p, s, set1(2.107775340e-2f));
  p = fma(p, s, set1(-5.385385664e-2f));
  p = fma(p, s, set1(1.333260167e-1f));
  p = fma(p, s, set1(-3.333331805e-1f));
  const F32 small = fma(p * s, a, a);
  return copySign(select(a < set1(0.55f), small, large), x);
}

/// Error function: 1.5 ulp.
FILIGREE_INLINE F32 erf(F32 x) {
  const F32 a = abs(x);
  const F32 s = x * x;
  F32 p = set1(-5.931879996e-4f);
  p = fma(p, s, set1(4.982152373e-3f));
  p = fma(p, s, set1(-2.675958664e-2f));
  p = fma(p, s, set1(1.128164017e-1f));
  p = fma(p, s, set1(-3.761247918e-1f));
  p = fma(p, s, set1(1.283791479e-1f));
  const F32 small = fma(p, a, a);
  // log(1 - erf) is nearly a parabola. From 3.95 on the result rounds to 1.
  const F32 c = min(set1(3.95f), a);
  F32 q = set1(1.949467304e-4f);
  q = fma(q, c, set1(-3.033692152e-3f));
  q = fma(q, c, set1(2.218977577e-2f));
  q = fma(q, c, set1(-1.038563724e-1f));
  q = fma(q, c, set1(-6.372657545e-1f));
  q = fma(q, c, set1(-1.127627399f));
  q = fma(q, c, set1(-2.070087866e-4f));
  const F32 large = 1.0f - normalExp(q);
  return copySign(select(a < set1(0.93f), small, large), x);
}

/// c0 + c1 * x + ... by Horner's rule.
template <int N>
FILIGREE_INLINE F32 polynomial(F32 x, const float (&c)[N]) {
  F32 p = set1(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) p = fma(p, x, set1(c[i]));
  return p;
}

/// Error function as a quotient of polynomials (minimax over [0, 3.95]): 6 ulp in half the time of erf. At the bound it
/// is exactly 1, with or without fused multiply-add.
FILIGREE_INLINE F32 erfQuotient(F32 x) {
  const F32 c = min(set1(3.951504f), max(set1(-3.951504f), x));
  const F32 s = c * c;
  const F32 p =
      polynomial(s, {1.1283791065f, 0.1915509850f, 0.05287551135f, 3.808182199e-3f, 2.846868301e-4f, 2.025886488e-6f});
  const F32 q = polynomial(s, {1.0f, 0.5030903220f, 0.1145598814f, 0.01505513489f, 1.170728123e-3f, 3.783152715e-5f});
  return c * p / q;
}

/// tanh as a quotient of polynomials (minimax over [0, 9.02]): 5 ulp in half the time of tanh; exactly 1 at the bound.
FILIGREE_INLINE F32 tanhQuotient(F32 x) {
  const F32 c = min(set1(9.01156f), max(set1(-9.01156f), x));
  const F32 s = c * c;
  const F32 p = polynomial(s, {1.0f, 0.1337971985f, 3.494035918e-3f, 2.058350037e-5f, 1.331909161e-8f});
  const F32 q = polynomial(s, {1.0f, 0.4671303332f, 0.02587107942f, 3.283095048e-4f, 7.762029099e-7f});
  return c * p / q;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
