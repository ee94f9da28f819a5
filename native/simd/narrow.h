// Vectors of 8- and 16-bit integers in memory as lanes of 32 bits.
#pragma once
#include "simd/vec.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// kLanes elements. Compilers take a conversion of vectors apart here, so the instructions are named.
#if defined(FILIGREE_AVX512)
FILIGREE_INLINE I32 widen(const uint8_t* from) {
  return reinterpret_cast<I32>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FILIGREE_INLINE I32 widen(const int8_t* from) {
  return reinterpret_cast<I32>(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FILIGREE_INLINE I32 widen(const uint16_t* from) {
  return reinterpret_cast<I32>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
FILIGREE_INLINE I32 widen(const int16_t* from) {
  return reinterpret_cast<I32>(_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
#elif defined(FILIGREE_AVX2)
FILIGREE_INLINE I32 widen(const uint8_t* from) {
  return reinterpret_cast<I32>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
FILIGREE_INLINE I32 widen(const int8_t* from) {
  return reinterpret_cast<I32>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
FILIGREE_INLINE I32 widen(const uint16_t* from) {
  return reinterpret_cast<I32>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FILIGREE_INLINE I32 widen(const int16_t* from) {
  return reinterpret_cast<I32>(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
#else
template <class T>
FILIGREE_INLINE I32 widen(const T* from) {
  return I32{from[0], from[1], from[2], from[3]};
}
#endif

/// The low bits of kLanes lanes.
template <class T>
FILIGREE_INLINE void narrow(T* to, I32 values) {
  typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T))));
  const Narrow v = __builtin_convertvector(values, Narrow);
  std::memcpy(to, &v, sizeof v);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
