// Dot products of bytes, exact on every instruction set: sums wrap at 32 bits and nothing saturates on the way.
// A lane of 32 bits holds four bytes. Without a byte instruction they are split into pairs of 16 bits first.
#pragma once
#include "simd/vec.h"

#if !defined(FILIGREE_AVX512) && !defined(FILIGREE_AVX2) && defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_ISA_avx512vnni) || defined(FILIGREE_ISA_amx)
constexpr bool kByteDots = true;
#else
constexpr bool kByteDots = false;
#endif

/// True where products of unsigned and signed bytes are added in pairs of 16 bits, saturating: exact for safe weights,
/// whose magnitudes add up to at most kSafePair in each pair (255 * 128 is below 2^15).
#if (defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)) && \
    !(defined(FILIGREE_ISA_avx512vnni) || defined(FILIGREE_ISA_amx))
constexpr bool kPairDots = true;
#else
constexpr bool kPairDots = false;
#endif
constexpr int kSafePair = 128;

typedef int16_t I16 __attribute__((vector_size(kLanes * 4)));

/// Products of the two signed 16-bit halves of each lane, added.
FILIGREE_INLINE I32 dotPairs(I32 a, I32 b) {
#if defined(FILIGREE_AVX512)
  return reinterpret_cast<I32>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(FILIGREE_AVX2)
  return reinterpret_cast<I32>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<I32>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

/// Bytes 0 and 2 of each lane as unsigned 16-bit halves, and bytes 1 and 3.
FILIGREE_INLINE I32 evenBytes(I32 x) { return x & 0x00ff00ff; }
FILIGREE_INLINE I32 oddBytes(I32 x) { return reinterpret_cast<I32>(reinterpret_cast<U32>(x) >> 8) & 0x00ff00ff; }

/// The same for signed bytes.
FILIGREE_INLINE I32 evenSigned(I32 x) { return reinterpret_cast<I32>((reinterpret_cast<I16>(x) << 8) >> 8); }
FILIGREE_INLINE I32 oddSigned(I32 x) { return reinterpret_cast<I32>(reinterpret_cast<I16>(x) >> 8); }

/// sum + the dot product of four unsigned bytes of x with four signed bytes of w in each lane.
FILIGREE_INLINE I32 dotBytes(I32 sum, I32 x, I32 w) {
#if defined(FILIGREE_ISA_avx512vnni) || defined(FILIGREE_ISA_amx)
  return reinterpret_cast<I32>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#else
  return sum + dotPairs(evenBytes(x), evenSigned(w)) + dotPairs(oddBytes(x), oddSigned(w));
#endif
}

/// As dotBytes, for safe weights where kPairDots.
FILIGREE_INLINE I32 dotSafeBytes(I32 sum, I32 x, I32 w) {
#if defined(FILIGREE_ISA_avx512vnni) || defined(FILIGREE_ISA_amx)
  return dotBytes(sum, x, w);
#elif defined(FILIGREE_AVX512)
  const __m512i pairs = _mm512_maddubs_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w));
  return sum + reinterpret_cast<I32>(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#elif defined(FILIGREE_AVX2)
  const __m256i pairs = _mm256_maddubs_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w));
  return sum + reinterpret_cast<I32>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#else
  return dotBytes(sum, x, w);
#endif
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
