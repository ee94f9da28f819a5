// Weights that products in pairs of 16 bits cannot take whole (kPairDots in simd/bytes.h): the dense packing holds one
// half of such a quad in its place, the other half follows here and is added row by row.
//
// After the weights of a packing: for each row the number of its first half among all, and their total; then the halves
// in the order of their rows.
#pragma once
#include "simd/bytes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// The other half of a quad of weights: the number of its tap, of its quad of input channels, and four signed bytes.
struct SplitWeight {
  int32_t tap, quad, bits;
};

/// True where products in pairs are exact for these four weights.
FILIGREE_INLINE bool isSafeQuad(const int32_t* quad) {
  const auto magnitude = [](int32_t w) { return w < 0 ? -w : w; };
  return magnitude(quad[0]) + magnitude(quad[1]) <= kSafePair && magnitude(quad[2]) + magnitude(quad[3]) <= kSafePair;
}

/// Four weights as the bytes of a word.
FILIGREE_INLINE int32_t packQuadWord(const int32_t* quad) {
  uint32_t word = 0;
  for (int i = 0; i < 4; i++) word |= static_cast<uint32_t>(quad[i] & 255) << (8 * i);
  return static_cast<int32_t>(word);
}

/// Leaves halves of four weights in their place, and returns the others as the bytes of a word.
FILIGREE_INLINE int32_t splitQuad(int32_t* quad) {
  int32_t high[4];
  for (int i = 0; i < 4; i++) {
    const int32_t low = quad[i] >> 1;
    high[i] = quad[i] - low, quad[i] = low;
  }
  return packQuadWord(high);
}

/// Collects the halves of a packing, row by row.
class SplitWriter {
 public:
  /// `rows` of all groups; `to` follows the weights.
  SplitWriter(int32_t* to, int64_t rows)
      : begin_(to), next_(reinterpret_cast<SplitWeight*>(to + rows + 1)), first_(next_) {
    *begin_ = 0;
  }
  /// Keeps what is too much of `quad` and leaves the rest in it.
  void split(int64_t tap, int64_t at, int32_t* quad) {
    if (!isSafeQuad(quad)) *next_++ = {static_cast<int32_t>(tap), static_cast<int32_t>(at), splitQuad(quad)};
  }
  void endRow() { *++begin_ = static_cast<int32_t>(next_ - first_); }

 private:
  int32_t* begin_;
  SplitWeight *next_, *first_;
};

/// Words that the halves of a packing with `rows` rows take.
FILIGREE_INLINE int64_t splitWords(int64_t rows, int64_t halves) { return rows + 1 + 3 * halves; }

/// Adds the products of a row's halves to its sums of one tile's lines. `x` is the tile under the first tap, `taps` the
/// distance of each tap from there.
FILIGREE_INLINE void addSplits(const SplitWeight* begin, const SplitWeight* end, const int32_t* x, const int64_t* taps,
                               int32_t flip, int32_t* sums) {
  I32 sum[kLineVectors];
  FILIGREE_UNROLL
  for (int v = 0; v < kLineVectors; v++) sum[v] = loadI(sums + v * kLanes);
  for (const SplitWeight* half = begin; half < end; half++) {
    const int32_t* const line = x + taps[half->tap] + int64_t{half->quad} * kLine;
    const I32 weight = set1I(half->bits);
    FILIGREE_UNROLL
    for (int v = 0; v < kLineVectors; v++) sum[v] = dotSafeBytes(sum[v], loadI(line + v * kLanes) ^ flip, weight);
  }
  FILIGREE_UNROLL
  for (int v = 0; v < kLineVectors; v++) storeI(sums + v * kLanes, sum[v]);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
