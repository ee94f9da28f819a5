// Which positions the lanes of a tile hold, and checks shared by the kernels that move data in the segment layout.
#pragma once
#include "kernels/segments.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Nanoseconds a moved byte costs, roughly.
constexpr double kMoveCost = 0.06;

/// Lane by lane, the run of positions that a row of interior tiles (group, z, ty) holds: tile tx has `start` + tx while
/// tx < `count`.
struct LaneRuns {
  int64_t image[kSegmentLanes];
  /// First position within the image, (z * H + y) * W + x.
  int64_t start[kSegmentLanes];
  int64_t count[kSegmentLanes];
};

FILIGREE_INLINE LaneRuns laneRuns(const SegmentMap& map, int64_t group, int64_t z, int64_t ty) {
  LaneRuns runs;
  for (int64_t lane = 0; lane < kSegmentLanes; lane++) {
    const int64_t segment = lane % (map.SY * map.SX), sy = segment / map.SX, sx = segment % map.SX;
    const int64_t image = group * map.lane_images + lane / (map.SY * map.SX), y = sy * map.TH + ty, x = sx * map.TW;
    const bool inside = lane < map.lane_images * map.SY * map.SX && image < map.images && y < map.H && x < map.W;
    runs.image[lane] = inside ? image : 0;
    runs.start[lane] = inside ? (z * map.H + y) * map.W + x : 0;
    runs.count[lane] = !inside ? 0 : map.W - x < map.TW ? map.W - x : map.TW;
  }
  return runs;
}

/// True where both have the same interior tiles and lanes.
FILIGREE_INLINE bool sameTiles(const SegmentMap& a, const SegmentMap& b) {
  return a.images == b.images && a.lane_images == b.lane_images && a.SY == b.SY && a.SX == b.SX && a.D == b.D &&
         a.TH == b.TH && a.TW == b.TW;
}

/// Positions of one image.
FILIGREE_INLINE int64_t imagePositions(const SegmentMap& map) { return product(map.D, product(map.H, map.W)); }

/// True where [channel, channel + channels) lies within [0, limit).
FILIGREE_INLINE bool channelsWithin(int64_t channel, int64_t channels, int64_t limit) {
  return channel >= 0 && channels >= 0 && channel <= limit && channels <= limit - channel;
}

/// n / d, rounded up.
FILIGREE_INLINE int64_t ceilDivide(int64_t n, int64_t d) { return (n + d - 1) / d; }
FILIGREE_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FILIGREE_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
