// The 16 lanes of a cache line as vectors of the instruction set, and transposes between lines and rows.
#pragma once
#include "simd/vec.h"

/// Register arrays live in registers only where the loops over them are unrolled.
#define FILIGREE_UNROLL _Pragma("GCC unroll 32")

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kLine = 16;
/// Vectors of a line.
constexpr int kLineVectors = kLine / kLanes;

/// 16 floats.
struct Line {
  F32 v[kLineVectors];
};

FILIGREE_INLINE Line loadLine(const float* p) {
  Line line;
  for (int i = 0; i < kLineVectors; i++) line.v[i] = load(p + i * kLanes);
  return line;
}

FILIGREE_INLINE void storeLine(float* p, Line line) {
  for (int i = 0; i < kLineVectors; i++) store(p + i * kLanes, line.v[i]);
}

FILIGREE_INLINE Line setLine(float x) {
  Line line;
  for (int i = 0; i < kLineVectors; i++) line.v[i] = set1(x);
  return line;
}

FILIGREE_INLINE Line fma(Line a, Line b, Line c) {
  for (int i = 0; i < kLineVectors; i++) c.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return c;
}

/// Transposes the kLanes x kLanes matrix whose rows are v.
FILIGREE_INLINE void transpose(F32* v) {
#if defined(FILIGREE_AVX512)
  __m512 a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; j++) {
      const __m512d low = _mm512_castps_pd(a[i + j]), high = _mm512_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
  for (int i = 0; i < 16; i += 8) {
    for (int j = 0; j < 4; j++) {
      a[i + j] = _mm512_shuffle_f32x4(b[i + j], b[i + j + 4], 0x88);
      a[i + j + 4] = _mm512_shuffle_f32x4(b[i + j], b[i + j + 4], 0xdd);
    }
  }
  for (int j = 0; j < 8; j++) {
    v[j] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0x88);
    v[j + 8] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0xdd);
  }
#elif defined(FILIGREE_AVX2)
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      const __m256d low = _mm256_castps_pd(a[i + j]), high = _mm256_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
      b[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
    }
  }
  for (int j = 0; j < 4; j++) {
    v[j] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x20);
    v[j + 4] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x31);
  }
#else
  const F32 a = v[0], b = v[1], c = v[2], d = v[3];
  v[0] = F32{a[0], b[0], c[0], d[0]};
  v[1] = F32{a[1], b[1], c[1], d[1]};
  v[2] = F32{a[2], b[2], c[2], d[2]};
  v[3] = F32{a[3], b[3], c[3], d[3]};
#endif
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
