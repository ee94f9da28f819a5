// The segment layout: a feature map whose positions lie in the 16 lanes of a cache line.
//
// A map of D x H x W is cut into SY x SX equal segments of TH x TW positions (TH = ceil(H / SY) or more, likewise TW;
// depth is not cut). Lane ((n % NI) * SY + sy) * SX + sx of tile (z, ty, tx) of image group n / NI holds position
// (z, sy * TH + ty, sx * TW + tx) of image n. Lanes past NI * SY * SX and positions past H or W hold anything.
// Memory: [group][front + D + back][top + TH + bottom][left + TW + right][C][16] float32, or for 8-bit types
// [...][ceil(C / 4)][16][4]; every line is 64-byte aligned. A border tile (ty < 0 or ty >= TH) holds what the same
// formula gives: the neighbouring segment's positions, and the padding value outside the image. Borders are written by
// a step of their own ("segments.border"), not by the producer.
// So taps of a convolution are other tiles of the same lanes, and strides cost nothing: with in.TH == stride * out.TH
// output tile (ty, tx) reads input tiles (ty * stride + kh * dilation - pad, ...).
#pragma once
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kSegmentLanes = 16;

/// One map; a list parameter of 16 integers in the order of the members.
struct SegmentMap {
  int64_t images, lane_images, SY, SX;
  int64_t D, H, W;
  int64_t TH, TW;
  int64_t front, back, top, bottom, left, right;
  int64_t C;

  FILIGREE_INLINE_MEMBER int64_t groups() const { return (images + lane_images - 1) / lane_images; }
  FILIGREE_INLINE_MEMBER int64_t gridD() const { return front + D + back; }
  FILIGREE_INLINE_MEMBER int64_t gridY() const { return top + TH + bottom; }
  FILIGREE_INLINE_MEMBER int64_t gridX() const { return left + TW + right; }
  /// Number of the tile at (z, ty, tx) of a group; borders have negative or overlong coordinates.
  FILIGREE_INLINE_MEMBER int64_t tile(int64_t group, int64_t z, int64_t ty, int64_t tx) const {
    return ((group * gridD() + z + front) * gridY() + ty + top) * gridX() + tx + left;
  }
};

constexpr int64_t kSegmentMapSize = 16;

/// Reads a map from a list parameter. False where it is not a legal map: nothing about sizes overflows afterwards.
FILIGREE_INLINE bool readSegmentMap(List list, SegmentMap* map) {
  if (list.count != kSegmentMapSize) return false;
  std::memcpy(map, list.items, sizeof *map);
  const int64_t limit = int64_t{1} << 31;
  for (int64_t i = 0; i < kSegmentMapSize; i++) {
    if (list.items[i] < 0 || list.items[i] > limit) return false;
  }
  if (map->lane_images < 1 || map->SY < 1 || map->SX < 1) return false;
  if (map->lane_images > 16 || map->SY > 16 || map->SX > 16) return false;
  if (map->lane_images * map->SY * map->SX > kSegmentLanes) return false;
  if (map->SY * map->TH < map->H || map->SX * map->TW < map->W) return false;
  return true;
}

/// Tiles with borders, or -1 on overflow.
FILIGREE_INLINE int64_t segmentTiles(const SegmentMap& map) {
  return product(product(map.groups(), map.gridD()), product(map.gridY(), map.gridX()));
}

/// True where operand k holds the map with elements of `size` bytes (4: float32 lines; 1: lines of channel quads).
FILIGREE_INLINE bool holdsSegments(const Step& step, int k, const SegmentMap& map, int64_t size) {
  const int64_t lines = size == 1 ? (map.C + 3) / 4 : map.C;
  return holds(step, k, product(segmentTiles(map), lines), 64);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
