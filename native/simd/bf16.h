// Dot products of bfloat16 pairs with float32 sums, and the conversions to such pairs. Include only from sources of
// instruction sets that have them. The instructions take denormal operands and results for zeros.
#pragma once
#include "simd/half.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Channels or elements of depth that one step of the widest product takes: packings are padded with zeros to it.
constexpr int64_t kPairDepth = 32;

/// 32-bit words, each a pair of bfloat16, that `depth` elements take.
FILIGREE_INLINE int64_t pairWords(int64_t depth) { return (depth + kPairDepth - 1) / kPairDepth * (kPairDepth / 2); }

/// Two bfloat16 as a word, the first in the lower half.
FILIGREE_INLINE uint32_t pairOf(float first, float second) {
  return floatToBfloat(first) | static_cast<uint32_t>(floatToBfloat(second)) << 16;
}

/// sum + the products of both halves of each lane.
FILIGREE_INLINE F32 dotPairs(F32 sum, I32 a, I32 b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

FILIGREE_INLINE I32 loadPairs(const uint32_t* p) { return loadI(reinterpret_cast<const int32_t*>(p)); }
FILIGREE_INLINE void storePairs(uint32_t* p, I32 v) { storeI(reinterpret_cast<int32_t*>(p), v); }

/// The pairs that lie one after the other in 32 floats, `low` the first 16.
FILIGREE_INLINE I32 pairsAlong(F32 low, F32 high) { return reinterpret_cast<I32>(_mm512_cvtne2ps_pbh(high, low)); }

/// The pairs of lane l of `first` and lane l of `second`.
FILIGREE_INLINE I32 pairsAcross(F32 first, F32 second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return reinterpret_cast<I32>(_mm512_permutexvar_epi16(order, reinterpret_cast<__m512i>(pairsAlong(first, second))));
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
