// Average or maximum over all positions of each image of a segment map: row-major [N, channels].
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Lines summed together.
constexpr int64_t kLines = 16 / kLineVectors;

enum Kind : int64_t { kAverage = 0, kMaximum = 1, kSum = 2 };

struct Global {
  SegmentMap map;
  int64_t channel, channels, kind;
};

FILIGREE_INLINE bool readGlobal(const Step& step, Global* g) {
  g->channel = intParam(step, 0);
  g->channels = intParam(step, 1);
  g->kind = intParam(step, 2);
  return readSegmentMap(listParam(step, 3, 0), &g->map);
}

const char* check(const Step& step, Work* work) {
  Global g;
  if (!readGlobal(step, &g)) return "pool.segments.global: not a legal map";
  if (g.kind < kAverage || g.kind > kSum) return "pool.segments.global: no such kind";
  if (!channelsWithin(g.channel, g.channels, g.map.C)) return "pool.segments.global: the map has fewer channels";
  if (!holdsSegments(step, 0, g.map, 4)) return "pool.segments.global: the map's buffer is too small";
  if (!holds(step, 1, product(g.map.images, g.channels), 4)) return "pool.segments.global: the result is too small";
  if (imagePositions(g.map) < 0) return "pool.segments.global: too many positions";
  work->units = g.map.groups() * ceilDivide(g.channels, kLines);
  work->cost = static_cast<double>(segmentTiles(g.map)) * static_cast<double>(g.channels) * 64 * 0.03;
  work->scratch = static_cast<size_t>(g.map.TH + g.map.TW) * sizeof(uint32_t);
  return nullptr;
}

/// Bit l: lane l holds a position of an image.
FILIGREE_INLINE uint32_t rowLanes(const SegmentMap& map, int64_t group, int64_t ty) {
  uint32_t lanes = 0;
  for (int64_t lane = 0; lane < map.lane_images * map.SY * map.SX; lane++) {
    const bool inside =
        group * map.lane_images + lane / (map.SY * map.SX) < map.images && lane / map.SX % map.SY * map.TH + ty < map.H;
    lanes |= static_cast<uint32_t>(inside) << lane;
  }
  return lanes;
}

FILIGREE_INLINE uint32_t columnLanes(const SegmentMap& map, int64_t tx) {
  uint32_t lanes = 0xffff;
  if ((map.SX - 1) * map.TW + tx < map.W) return lanes;
  for (int64_t lane = 0; lane < kLine; lane++) {
    if (lane % map.SX * map.TW + tx >= map.W) lanes &= ~(1u << lane);
  }
  return lanes;
}

/// Lanes that hold positions, by row and by column of tiles.
struct Inside {
  uint32_t *rows, *columns;
};

FILIGREE_INLINE void findInside(const SegmentMap& map, int64_t group, const Inside& inside) {
  for (int64_t ty = 0; ty < map.TH; ty++) inside.rows[ty] = rowLanes(map, group, ty);
  for (int64_t tx = 0; tx < map.TW; tx++) inside.columns[tx] = columnLanes(map, tx);
}

FILIGREE_INLINE F32 maskOf(uint32_t lanes, int v) {
  int32_t mask[kLanes];
  for (int i = 0; i < kLanes; i++) mask[i] = -static_cast<int32_t>(lanes >> (v * kLanes + i) & 1);
  return floatOf(loadI(mask));
}

template <int lines, bool maximum>
FILIGREE_INLINE void reduceTile(const float* x, uint32_t lanes, F32* acc) {
  const F32 neutral = maximum ? set1(-__builtin_inff()) : zero();
  F32 mask[kLineVectors];
  for (int v = 0; v < kLineVectors && lanes != 0xffff; v++) mask[v] = maskOf(lanes, v);
  FILIGREE_UNROLL
  for (int i = 0; i < lines * kLineVectors; i++) {
    F32 line = load(x + i * kLanes);
    if (lanes != 0xffff) line = select(bitsOf(mask[i % kLineVectors]), line, neutral);
    acc[i] = maximum ? max(line, acc[i]) : acc[i] + line;
  }
}

/// Lanes of `lines` lines: vector l has lane l of each.
template <int lines>
FILIGREE_INLINE void lanesOf(const F32* acc, F32 (&lane)[kLine]) {
  static_assert(lines <= kLanes);
  for (int v = 0; v < kLineVectors; v++) {
    F32* const part = lane + v * kLanes;
    for (int i = 0; i < kLanes; i++) part[i] = i < lines ? acc[i * kLineVectors + v] : zero();
    transpose(part);
  }
}

/// `lines` channels of all tiles of a group, to one number an image.
template <int lines, bool maximum>
FILIGREE_INLINE void reduceGroup(const Global& g, int64_t group, int64_t c, const Inside& inside, const float* x,
                                 float* y) {
  const SegmentMap& map = g.map;
  F32 acc[lines * kLineVectors];
  for (int i = 0; i < lines * kLineVectors; i++) acc[i] = maximum ? set1(-__builtin_inff()) : zero();
  for (int64_t z = 0; z < map.D; z++) {
    for (int64_t ty = 0; ty < map.TH; ty++) {
      const uint32_t row = inside.rows[ty];
      const float* tile = x + (map.tile(group, z, ty, 0) * map.C + g.channel + c) * kLine;
      for (int64_t tx = 0; tx < map.TW; tx++, tile += map.C * kLine) {
        reduceTile<lines, maximum>(tile, row & inside.columns[tx], acc);
      }
    }
  }
  const float scale = g.kind == kAverage ? 1.0f / static_cast<float>(imagePositions(map)) : 1.0f;
  F32 lane[kLine];
  lanesOf<lines>(acc, lane);
  const int64_t segments = map.SY * map.SX;
  for (int64_t image = group * map.lane_images, first = 0;
       first + segments <= kLine && image < map.images && image < (group + 1) * map.lane_images;
       image++, first += segments) {
    F32 total = lane[first];
    for (int64_t s = 1; s < segments; s++) total = maximum ? max(lane[first + s], total) : total + lane[first + s];
    storeN(y + image * g.channels + c, total * scale, lines);
  }
}

template <bool maximum>
FILIGREE_INLINE void reduceUnits(const Global& g, const float* x, float* y, const Range& range) {
  const int64_t blocks = ceilDivide(g.channels, kLines);
  uint32_t* const scratch = reinterpret_cast<uint32_t*>(range.scratch);
  const Inside inside = {scratch, scratch + g.map.TH};
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t group = unit / blocks, begin = unit % blocks * kLines, end = least(begin + kLines, g.channels);
    if (unit == range.begin || begin == 0) findInside(g.map, group, inside);
    if (end - begin == kLines) {
      reduceGroup<kLines, maximum>(g, group, begin, inside, x, y);
    } else {
      for (int64_t c = begin; c < end; c++) reduceGroup<1, maximum>(g, group, c, inside, x, y);
    }
  }
}

void run(const Step& step, Range* range) {
  Global g;
  readGlobal(step, &g);
  if (g.kind == kMaximum) return reduceUnits<true>(g, input<float>(step, 0), output<float>(step, 1), *range);
  reduceUnits<false>(g, input<float>(step, 0), output<float>(step, 1), *range);
}

}  // namespace

// kind: 0 average, 1 maximum, 2 sum.
FILIGREE_KERNEL(poolSegmentsGlobal) = {
    "pool.segments.global.f32", "r:x w:y", "i:channel i:channels i:kind l:map", check, run, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
