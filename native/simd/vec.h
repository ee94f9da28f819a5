// Vectors of the instruction set a file is compiled for. Include only from kernel sources.
// F32 is a GNU vector: + - * / & and comparisons (giving I32 masks of 0 and -1) work on it directly.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if !defined(FILIGREE_ISA_portable)
#include <immintrin.h>
#endif

#define FILIGREE_INLINE static inline __attribute__((always_inline))
#define FILIGREE_INLINE_MEMBER inline __attribute__((always_inline))

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if !defined(FILIGREE_ISA_portable) && !defined(FILIGREE_ISA_avx2)
#define FILIGREE_AVX512 1
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(FILIGREE_ISA_avx2)
#define FILIGREE_AVX2 1
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

typedef float F32 __attribute__((vector_size(kLanes * 4)));
typedef int32_t I32 __attribute__((vector_size(kLanes * 4)));
typedef uint32_t U32 __attribute__((vector_size(kLanes * 4)));
typedef float F32Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t I32Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

FILIGREE_INLINE F32 load(const float* p) { return *reinterpret_cast<const F32Unaligned*>(p); }
FILIGREE_INLINE void store(float* p, F32 v) { *reinterpret_cast<F32Unaligned*>(p) = v; }
FILIGREE_INLINE I32 loadI(const int32_t* p) { return *reinterpret_cast<const I32Unaligned*>(p); }
FILIGREE_INLINE void storeI(int32_t* p, I32 v) { *reinterpret_cast<I32Unaligned*>(p) = v; }
FILIGREE_INLINE F32 set1(float x) { return x - F32{}; }
FILIGREE_INLINE I32 set1I(int32_t x) { return x - I32{}; }
FILIGREE_INLINE F32 zero() { return F32{}; }
FILIGREE_INLINE I32 bitsOf(F32 v) { return reinterpret_cast<I32>(v); }
FILIGREE_INLINE F32 floatOf(I32 v) { return reinterpret_cast<F32>(v); }

/// Lanes of a where mask is set (-1), else b.
FILIGREE_INLINE F32 select(I32 mask, F32 a, F32 b) { return mask ? a : b; }
FILIGREE_INLINE I32 selectI(I32 mask, I32 a, I32 b) { return mask ? a : b; }

/// First n lanes from memory, the others `fill`; reads nothing past p[n-1]. 0 <= n <= kLanes.
FILIGREE_INLINE F32 loadN(const float* p, int n, float fill = 0) {
#if defined(FILIGREE_AVX512)
  return _mm512_mask_loadu_ps(set1(fill), static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(FILIGREE_AVX2)
  const I32 mask = I32{0, 1, 2, 3, 4, 5, 6, 7} < set1I(n);
  return select(mask, _mm256_maskload_ps(p, reinterpret_cast<__m256i>(mask)), set1(fill));
#else
  F32 v = set1(fill);
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}

/// Writes the first n lanes; touches nothing past p[n-1].
FILIGREE_INLINE void storeN(float* p, F32 v, int n) {
#if defined(FILIGREE_AVX512)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#elif defined(FILIGREE_AVX2)
  _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(I32{0, 1, 2, 3, 4, 5, 6, 7} < set1I(n)), v);
#else
  for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}

/// a * b + c; one rounding where the instruction set has it.
FILIGREE_INLINE F32 fma(F32 a, F32 b, F32 c) {
#if defined(FILIGREE_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(FILIGREE_AVX2)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

FILIGREE_INLINE F32 squareRoot(F32 x) {
#if defined(FILIGREE_AVX512)
  return _mm512_maskz_sqrt_ps(0xffff, x);
#elif defined(FILIGREE_AVX2)
  return _mm256_sqrt_ps(x);
#else
  for (int i = 0; i < kLanes; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/// NaN in a gives b, as maxps does: put the constant first to let NaN of the data through.
FILIGREE_INLINE F32 max(F32 a, F32 b) { return a > b ? a : b; }
FILIGREE_INLINE F32 min(F32 a, F32 b) { return a < b ? a : b; }

FILIGREE_INLINE float reduceAdd(F32 v) {
#if defined(FILIGREE_AVX512)
  return _mm512_reduce_add_ps(v);
#else
  float sum = 0;
  for (int i = 0; i < kLanes; i++) sum += v[i];
  return sum;
#endif
}

FILIGREE_INLINE float reduceMax(F32 v) {
#if defined(FILIGREE_AVX512)
  return _mm512_reduce_max_ps(v);
#else
  float best = v[0];
  for (int i = 1; i < kLanes; i++) best = v[i] > best ? v[i] : best;
  return best;
#endif
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
