// Blocks of output tiles that a convolution takes through all its weights before the next, so that their inputs stay in
// cache.
#pragma once
#include "kernels/conv_params.h"
#include "kernels/segments_lanes.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int64_t kMostBlockTiles = 128;
/// Input bytes of a block, which every group of output channels reads again.
constexpr int64_t kBlockBytes = 400 << 10;

/// The tiles' numbers of maps: of the input the first tap's.
struct TileBlock {
  int64_t count;
  int64_t x[kMostBlockTiles], y[kMostBlockTiles], residual[kMostBlockTiles];
};

/// Output tiles first, first + 1, ... of the block's count.
FILIGREE_INLINE void locateTiles(const ConvParams& p, int64_t first, TileBlock* block) {
  for (int64_t i = 0; i < block->count; i++) {
    const TileAt at = tileAt(p.out, first + i);
    block->x[i] = tapTile(p, at, 0, 0, 0);
    block->y[i] = p.out.tile(at.group, at.z, at.ty, at.tx);
    block->residual[i] = p.res.tile(at.group, at.z, at.ty, at.tx);
  }
}

/// Tiles of a block where each has `lines` input lines a tap; a multiple of `together`.
FILIGREE_INLINE int64_t blockTiles(const ConvParams& p, int64_t lines, int64_t together) {
  const int64_t area = p.stride[0] * p.stride[1] * p.stride[2];
  const int64_t bytes = most(1, lines * least(area, p.taps()) * 64);
  const int64_t wanted = p.tile_block ? p.tile_block : most(kBlockBytes / bytes, 4);
  return least(ceilDivide(least(wanted, kMostBlockTiles), together) * together, kMostBlockTiles);
}

/// The weights of a packer: [channels_out][channels_in / groups][taps], or where transposed
/// [channels_in][taps][channels_out] of one group.
struct WeightOrder {
  int64_t row, channel, tap;
};

FILIGREE_INLINE WeightOrder weightOrder(bool transposed, int64_t rows, int64_t channels, int64_t taps) {
  if (transposed) return {1, taps * rows, rows};
  return {channels * taps, taps, 1};
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
