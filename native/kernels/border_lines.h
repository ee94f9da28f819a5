// Tiles that lie on or past the edge of a map: which lanes of which interior tile they repeat, and moving such lines.
#pragma once
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Tile and segment of a coordinate.
struct Split {
  int64_t tile, segment;
};

/// Coordinate v, which may be negative, in segments of `size`.
FILIGREE_INLINE Split split(int64_t v, int64_t size) {
  const int64_t segment = v >= 0 ? v / size : -ceilDivide(-v, size);
  return {v - segment * size, segment};
}

/// Lane by lane the lane of the source tile, or outside the image.
struct Gather {
  int32_t index[kSegmentLanes];
  uint32_t inside;
};

FILIGREE_INLINE Gather gatherOf(const SegmentMap& map, int64_t group, int64_t z, Split ty, Split tx) {
  Gather gather = {{}, 0};
  if (z < 0 || z >= map.D) return gather;
  int64_t lane = 0;
  for (int64_t image = 0; image < map.lane_images; image++) {
    const bool present = group * map.lane_images + image < map.images;
    for (int64_t row = 0; row < map.SY; row++) {
      const int64_t sy = row + ty.segment;
      const bool within = present && sy >= 0 && sy * map.TH + ty.tile < map.H;
      for (int64_t column = 0; column < map.SX; column++, lane++) {
        const int64_t sx = column + tx.segment;
        if (!within || sx < 0 || sx * map.TW + tx.tile >= map.W) continue;
        gather.index[lane] = static_cast<int32_t>((image * map.SY + sy) * map.SX + sx);
        gather.inside |= uint32_t{1} << lane;
      }
    }
  }
  return gather;
}

/// True where every lane of the interior tile (ty, tx) holds a position: most tiles, and there is nothing to do.
FILIGREE_INLINE bool fullTile(const SegmentMap& map, int64_t group, int64_t ty, int64_t tx) {
  return map.lane_images * map.SY * map.SX == kSegmentLanes && (group + 1) * map.lane_images <= map.images &&
         (map.SY - 1) * map.TH + ty < map.H && (map.SX - 1) * map.TW + tx < map.W;
}

FILIGREE_INLINE void fillLines(int32_t* to, int64_t lines, int32_t fill) {
  for (int64_t i = 0; i < lines * kLineVectors; i++) storeI(to + i * kLanes, set1I(fill));
}

/// Keeps the lanes inside; writes only the others, since other threads may be reading these.
FILIGREE_INLINE void maskLines(int32_t* at, int64_t lines, const Gather& gather, int32_t fill) {
#if defined(FILIGREE_AVX512)
  for (int64_t i = 0; i < lines; i++, at += kLine) {
    _mm512_mask_storeu_epi32(at, static_cast<__mmask16>(~gather.inside), _mm512_set1_epi32(fill));
  }
#else
  int outside[kLine], count = 0;
  for (int lane = 0; lane < kLine; lane++) {
    outside[count] = lane;
    count += gather.inside >> lane & 1 ? 0 : 1;
  }
  for (int64_t i = 0; i < lines; i++, at += kLine) {
    for (int k = 0; k < count; k++) at[outside[k]] = fill;
  }
#endif
}

FILIGREE_INLINE void permuteLines(int32_t* to, const int32_t* from, int64_t lines, const Gather& gather, int32_t fill) {
#if defined(FILIGREE_AVX512)
  const __m512i index = _mm512_loadu_si512(gather.index), outside = _mm512_set1_epi32(fill);
  const __mmask16 inside = static_cast<__mmask16>(gather.inside);
  for (int64_t i = 0; i < lines; i++) {
    const __m512i line = _mm512_loadu_si512(from + i * kLine);
    _mm512_storeu_si512(to + i * kLine, _mm512_mask_permutexvar_epi32(outside, inside, index, line));
  }
#elif defined(FILIGREE_AVX2)
  // Lanes come from both vectors of a line, and sign bits choose among them.
  __m256i index[kLineVectors];
  __m256 upper[kLineVectors], outside[kLineVectors];
  for (int v = 0; v < kLineVectors; v++) {
    I32 inside;
    for (int lane = 0; lane < kLanes; lane++) inside[lane] = gather.inside >> (v * kLanes + lane) & 1;
    const I32 lanes = loadI(gather.index + v * kLanes);
    index[v] = reinterpret_cast<__m256i>(lanes);
    upper[v] = reinterpret_cast<__m256>(lanes << 28);
    outside[v] = reinterpret_cast<__m256>((inside ^ 1) << 31);
  }
  const __m256 filling = reinterpret_cast<__m256>(set1I(fill));
  for (int64_t i = 0; i < lines; i++, to += kLine, from += kLine) {
    const __m256 low = reinterpret_cast<__m256>(loadI(from)), high = reinterpret_cast<__m256>(loadI(from + kLanes));
    FILIGREE_UNROLL
    for (int v = 0; v < kLineVectors; v++) {
      const __m256 a = _mm256_permutevar8x32_ps(low, index[v]), b = _mm256_permutevar8x32_ps(high, index[v]);
      const __m256 taken = _mm256_blendv_ps(_mm256_blendv_ps(a, b, upper[v]), filling, outside[v]);
      storeI(to + v * kLanes, reinterpret_cast<I32>(taken));
    }
  }
#else
  for (int64_t i = 0; i < lines; i++, to += kLine, from += kLine) {
    for (int lane = 0; lane < kLine; lane++) {
      to[lane] = gather.inside >> lane & 1 ? from[gather.index[lane]] : fill;
    }
  }
#endif
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
