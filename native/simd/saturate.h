// Conversions that saturate, for the instruction sets that have them. They work within each 128 bits of a vector.
#pragma once
#include "simd/vec.h"

#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
#if defined(FILIGREE_AVX512)
#define FILIGREE_WIDE(name, suffix) _mm512_##name##_##suffix
#define FILIGREE_BITS __m512i
#else
#define FILIGREE_WIDE(name, suffix) _mm256_##name##_##suffix
#define FILIGREE_BITS __m256i
#endif

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE FILIGREE_BITS bits(I32 x) { return reinterpret_cast<FILIGREE_BITS>(x); }

/// To nearest even. What does not fit, and NaN, gives the least integer.
FILIGREE_INLINE I32 roundToInt(F32 x) { return reinterpret_cast<I32>(FILIGREE_WIDE(cvtps, epi32)(x)); }

/// 32 bits to signed 16 bits: four of a, four of b.
FILIGREE_INLINE I32 packWords(I32 a, I32 b) {
  return reinterpret_cast<I32>(FILIGREE_WIDE(packs, epi32)(bits(a), bits(b)));
}

/// Signed 16 bits to unsigned bytes: eight of a, eight of b.
FILIGREE_INLINE I32 packBytes(I32 a, I32 b) {
  return reinterpret_cast<I32>(FILIGREE_WIDE(packus, epi16)(bits(a), bits(b)));
}

/// Sums of signed 16 bits.
FILIGREE_INLINE I32 addWords(I32 a, I32 b) {
  return reinterpret_cast<I32>(FILIGREE_WIDE(adds, epi16)(bits(a), bits(b)));
}

/// The greater of unsigned bytes.
FILIGREE_INLINE I32 maxBytes(I32 a, I32 b) { return reinterpret_cast<I32>(FILIGREE_WIDE(max, epu8)(bits(a), bits(b))); }

/// Byte i is byte order[i] of the same 128 bits, or 0 where order[i] is negative.
FILIGREE_INLINE I32 shuffleBytes(I32 x, I32 order) {
  return reinterpret_cast<I32>(FILIGREE_WIDE(shuffle, epi8)(bits(x), bits(order)));
}

/// Four words in every 128 bits.
FILIGREE_INLINE I32 repeat4(int32_t a, int32_t b, int32_t c, int32_t d) {
  I32 x;
  for (int i = 0; i < kLanes; i += 4) x[i] = a, x[i + 1] = b, x[i + 2] = c, x[i + 3] = d;
  return x;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree

#undef FILIGREE_WIDE
#undef FILIGREE_BITS
#endif
