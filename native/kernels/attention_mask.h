// Masks of a panel of queries, whose lanes are queries. Include only from kernel sources.
#pragma once
#include "kernels/attention_problem.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Mask of one key for `lanes` queries.
FILIGREE_INLINE F32 maskLanes(const Problem& p, const uint8_t* mask, int64_t at, int64_t lanes) {
  if (p.mask.row == 0) return set1(maskEntry(p, mask, at));
  F32 entries = zero();
  for (int64_t i = 0; i < lanes && i < kLanes; i++) entries[i] = maskEntry(p, mask, at + i * p.mask.row);
  return entries;
}

/// Mask of `count` keys in order for `lanes` queries, a vector a key.
FILIGREE_INLINE void maskTile(const Problem& p, const uint8_t* mask, int64_t at, int64_t lanes, int count,
                              F32 (&tile)[kLanes]) {
  for (int64_t i = 0; i < kLanes; i++) {
    tile[i] = zero();
    if (i >= lanes) continue;
    const int64_t row = at + i * p.mask.row;
    if (p.mask_kind == kMaskFloat) {
      tile[i] = loadN(reinterpret_cast<const float*>(mask) + row, count);
    } else {
      for (int k = 0; k < count; k++) tile[i][k] = maskEntry(p, mask, row + k);
    }
  }
  transpose(tile);
}

/// Adds the mask to the scores of keys from..from + count.
FILIGREE_INLINE void addMask(const Problem& p, const Head& head, float* scores, int v, int64_t from, int64_t count) {
  const int64_t lanes = head.width - v * kLanes, begin = head.mask_at + v * kLanes * p.mask.row;
  const bool tiles = p.mask.row != 0 && p.mask.column == 1;
  for (int64_t j = 0; j < count; j += kLanes) {
    const int n = static_cast<int>(count - j < kLanes ? count - j : kLanes);
    const int64_t at = begin + (from + j) * p.mask.column;
    F32 tile[kLanes];
    if (tiles) maskTile(p, head.mask, at, lanes, n, tile);
    for (int i = 0; i < n; i++) {
      float* score = scores + (j + i) * kPanel;
      const F32 entries = tiles ? tile[i] : maskLanes(p, head.mask, at + i * p.mask.column, lanes);
      store(score, capped(load(score), p.softcap) + entries);
    }
  }
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
