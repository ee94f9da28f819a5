// float16 and bfloat16 as bit patterns: conversion of runs of elements, rounding to nearest even. NaN stays NaN.
#pragma once
#include "simd/vec.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE float floatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

FILIGREE_INLINE uint32_t bitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

FILIGREE_INLINE float halfToFloat(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  // The scaling by 2^112 makes float16's denormals normal; infinity and NaN need their own exponent.
  const uint32_t scaled = bitsOfFloat(floatOfBits(static_cast<uint32_t>(h & 0x7fff) << 13) * 0x1p112f);
  const uint32_t special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
  return floatOfBits(scaled | special | sign);
}

FILIGREE_INLINE uint16_t floatToHalf(float value) {
  const uint32_t bits = bitsOfFloat(value), magnitude = bits & 0x7fffffff;
  // One unit in the last place of 0.5 is float16's smallest denormal, so the addition rounds to it.
  const uint32_t small = bitsOfFloat(floatOfBits(magnitude < 0x38800000 ? magnitude : 0) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000u) >> 13;
  const uint32_t large = magnitude > 0x7f800000 ? 0x7e00u : 0x7c00u;
  const uint32_t rounded = magnitude < 0x38800000 ? small : magnitude >= 0x47800000 ? large : normal;
  return static_cast<uint16_t>(rounded | (bits >> 16 & 0x8000));
}

/// Rounds once: to float32 with the sticky bit kept, which float16 has room to round away.
FILIGREE_INLINE uint16_t doubleToHalf(double value) {
  const float near = static_cast<float>(value);
  uint32_t bits = bitsOfFloat(near);
  const double back = near;
  if (back != value && value == value && (bits & 0x7fffffff) != 0x7f800000) {
    if ((back < 0 ? -back : back) > (value < 0 ? -value : value)) bits--;
    bits |= 1;
  }
  return floatToHalf(floatOfBits(bits));
}

FILIGREE_INLINE float bfloatToFloat(uint16_t b) { return floatOfBits(static_cast<uint32_t>(b) << 16); }

FILIGREE_INLINE uint16_t floatToBfloat(float value) {
  const uint32_t bits = bitsOfFloat(value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

[[maybe_unused]] static void halvesToFloats(const uint16_t* x, float* y, int64_t n) {
  int64_t i = 0;
#if defined(FILIGREE_AVX512)
  for (; i + 16 <= n; i += 16) {
    _mm512_storeu_ps(y + i, _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i))));
  }
#elif defined(FILIGREE_AVX2)
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  }
#endif
  for (; i < n; i++) y[i] = halfToFloat(x[i]);
}

[[maybe_unused]] static void floatsToHalves(const float* x, uint16_t* y, int64_t n) {
  int64_t i = 0;
#if defined(FILIGREE_AVX512)
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), _mm512_maskz_cvtps_ph(0xffff, _mm512_loadu_ps(x + i), 0));
  }
#elif defined(FILIGREE_AVX2)
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
  }
#endif
  for (; i < n; i++) y[i] = floatToHalf(x[i]);
}

[[maybe_unused]] static void bfloatsToFloats(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = bfloatToFloat(x[i]);
}

[[maybe_unused]] static void floatsToBfloats(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = floatToBfloat(x[i]);
}

/// ONNX's numbers of the types that hold float32 or less.
enum { kFloatType = 1, kHalfType = 10, kBfloatType = 16 };

/// Bytes of an element of such a type, 0 of any other.
FILIGREE_INLINE int64_t floatTypeBytes(int64_t type) {
  return type == kFloatType ? 4 : type == kHalfType || type == kBfloatType ? 2 : 0;
}

/// Element i of elements of such a type.
FILIGREE_INLINE float elementAsFloat(const uint8_t* x, int64_t type, int64_t i) {
  if (type == kFloatType) return reinterpret_cast<const float*>(x)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(x)[i];
  return type == kHalfType ? halfToFloat(bits) : bfloatToFloat(bits);
}

/// float16 (`Half`) and bfloat16 elements as types of their own.
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

FILIGREE_INLINE void toFloats(const Half* x, float* y, int64_t n) {
  halvesToFloats(reinterpret_cast<const uint16_t*>(x), y, n);
}
FILIGREE_INLINE void toFloats(const Bfloat* x, float* y, int64_t n) {
  bfloatsToFloats(reinterpret_cast<const uint16_t*>(x), y, n);
}
FILIGREE_INLINE void fromFloats(const float* x, Half* y, int64_t n) {
  floatsToHalves(x, reinterpret_cast<uint16_t*>(y), n);
}
FILIGREE_INLINE void fromFloats(const float* x, Bfloat* y, int64_t n) {
  floatsToBfloats(x, reinterpret_cast<uint16_t*>(y), n);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
