// Resampling of maps in segments: every output tile is a weighted sum of a few input tiles, with weights for each lane.
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kXChannel, kYChannel, kChannels, kScalars };
enum { kXMap, kYMap, kRowTiles, kColumnTiles };

/// Taps along one axis.
constexpr int64_t kMostTaps = 4;
/// In the lists of tiles: no tap.
constexpr int64_t kNoTap = -(int64_t{1} << 31);

struct Resize {
  SegmentMap x, y;
  int64_t xChannel, yChannel, channels;
  /// Input tiles of every output row and column of tiles.
  List rows, columns;
  int64_t rowTaps, columnTaps;
};

/// True where every tap of `tiles` is within [-before, count + after).
FILIGREE_INLINE bool tapsWithin(List tiles, int64_t before, int64_t count, int64_t after) {
  for (int64_t i = 0; i < tiles.count; i++) {
    if (tiles.items[i] != kNoTap && (tiles.items[i] < -before || tiles.items[i] >= count + after)) return false;
  }
  return true;
}

FILIGREE_INLINE const char* readResize(const Step& step, Resize* r) {
  r->xChannel = intParam(step, kXChannel), r->yChannel = intParam(step, kYChannel);
  r->channels = intParam(step, kChannels);
  const bool legal = readSegmentMap(listParam(step, kScalars, kXMap), &r->x) &&
                     readSegmentMap(listParam(step, kScalars, kYMap), &r->y);
  if (!legal) return "resize.segments: not a legal map";
  const SegmentMap &x = r->x, &y = r->y;
  if (!channelsWithin(r->xChannel, r->channels, x.C) || !channelsWithin(r->yChannel, r->channels, y.C)) {
    return "resize.segments: a map has fewer channels";
  }
  if (x.images != y.images || x.lane_images != y.lane_images || x.SY != y.SY || x.SX != y.SX || x.D != y.D) {
    return "resize.segments: the maps deal the lanes differently";
  }
  if (y.TH < 1 || y.TW < 1) return "resize.segments: no tiles";
  r->rows = listParam(step, kScalars, kRowTiles);
  r->columns = listParam(step, kScalars, kColumnTiles);
  r->rowTaps = r->rows.count / y.TH, r->columnTaps = r->columns.count / y.TW;
  if (r->rowTaps < 1 || r->rowTaps > kMostTaps || r->rows.count != r->rowTaps * y.TH || r->columnTaps < 1 ||
      r->columnTaps > kMostTaps || r->columns.count != r->columnTaps * y.TW) {
    return "resize.segments: the numbers of taps do not fit";
  }
  if (!tapsWithin(r->rows, x.top, x.TH, x.bottom) || !tapsWithin(r->columns, x.left, x.TW, x.right)) {
    return "resize.segments: a tap is outside the map";
  }
  return nullptr;
}

const char* checkResize(const Step& step, Work* work) {
  Resize r = {};
  if (const char* problem = readResize(step, &r)) return problem;
  if (!holdsSegments(step, 0, r.x, 4) || !holdsSegments(step, 2, r.y, 4)) {
    return "resize.segments: a map's buffer is too small";
  }
  if (!holds(step, 1, (r.rows.count + r.columns.count) * kLine, 4)) return "resize.segments: too few weights";
  work->units = product(product(r.y.groups(), r.y.D), product(r.y.TH, r.y.TW));
  if (work->units < 0) return "resize.segments: too many tiles";
  const double bytes = static_cast<double>(work->units) * static_cast<double>(r.channels) * 64;
  work->cost = bytes * static_cast<double>(1 + r.rowTaps * r.columnTaps) * kMoveCost;
  return nullptr;
}

/// The taps of one output tile.
struct Taps {
  int count;
  const float* from[kMostTaps * kMostTaps];
  Line weights[kMostTaps * kMostTaps];
};

template <int taps>
FILIGREE_INLINE void sumLines(const Taps& t, float* to, int64_t floats) {
  for (int64_t i = 0; i < floats; i += kLine) {
    FILIGREE_UNROLL
    for (int v = 0; v < kLineVectors; v++) {
      const int64_t at = i + v * kLanes;
      F32 sum = load(t.from[0] + at) * t.weights[0].v[v];
      FILIGREE_UNROLL
      for (int k = 1; k < taps; k++) sum = fma(load(t.from[k] + at), t.weights[k].v[v], sum);
      store(to + at, sum);
    }
  }
}

FILIGREE_INLINE void sumTile(const Taps& t, float* to, int64_t floats) {
  switch (t.count) {
#define TAPS(n) \
  case n:       \
    return sumLines<n>(t, to, floats);
    TAPS(1)
    TAPS(2)
    TAPS(3)
    TAPS(4)
    TAPS(6)
    TAPS(8)
    TAPS(9)
    TAPS(12)
    TAPS(16)
#undef TAPS
  }
}

/// Every tap of a row of tiles with every one of a column.
FILIGREE_INLINE Taps tapsOf(const Resize& r, const Step& step, int64_t group, int64_t z, int64_t ty, int64_t tx) {
  const float* const rowWeights = input<float>(step, 1);
  const float* const columnWeights = rowWeights + r.rows.count * kLine;
  Taps t = {};
  for (int64_t i = ty * r.rowTaps; i < (ty + 1) * r.rowTaps; i++) {
    if (r.rows.items[i] == kNoTap) continue;
    for (int64_t j = tx * r.columnTaps; j < (tx + 1) * r.columnTaps; j++) {
      if (r.columns.items[j] == kNoTap) continue;
      const int64_t tile = r.x.tile(group, z, r.rows.items[i], r.columns.items[j]);
      t.from[t.count] = input<float>(step, 0) + (tile * r.x.C + r.xChannel) * kLine;
      const Line row = loadLine(rowWeights + i * kLine), column = loadLine(columnWeights + j * kLine);
      for (int v = 0; v < kLineVectors; v++) t.weights[t.count].v[v] = row.v[v] * column.v[v];
      t.count++;
    }
  }
  return t;
}

void runResize(const Step& step, Range* range) {
  Resize r = {};
  readResize(step, &r);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t tx = unit % r.y.TW, row = unit / r.y.TW, ty = row % r.y.TH, plane = row / r.y.TH;
    const int64_t group = plane / r.y.D, z = plane % r.y.D;
    const Taps taps = tapsOf(r, step, group, z, ty, tx);
    sumTile(taps, output<float>(step, 2) + (r.y.tile(group, z, ty, tx) * r.y.C + r.yChannel) * kLine,
            r.channels * kLine);
  }
}

}  // namespace

// `row_tiles` has up to 4 rows of input tiles for every row of output tiles, as many for each, -2^31 for none, and
// `column_tiles` the columns; `weights` one line for each, those of the rows first. An output tile is the sum of the
// input tiles of all pairs, with the products of their weights.
FILIGREE_KERNEL(resizeSegments) = {"resize.segments.f32",
                                   "r:x r:weights w:y",
                                   "i:x_channel i:y_channel i:channels l:x_map l:y_map l:row_tiles l:column_tiles",
                                   checkResize,
                                   runResize,
                                   nullptr,
                                   nullptr,
                                   false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
