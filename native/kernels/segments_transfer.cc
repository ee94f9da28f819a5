// Between row-major tensors and the segment layout. `channel` and `channels` choose the map's channels that the tensor
// holds: [N, channels, D, H, W] (planes) or [N, D, H, W, channels] (rows). Interior tiles only; lanes outside the image
// become 0.
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Channels of one unit.
constexpr int64_t kPlaneChannels = 32;
constexpr int64_t kRowChannels = 256;

struct Transfer {
  SegmentMap map;
  int64_t channel, channels;
};

/// `tensor` and `lines` are the operands' numbers.
const char* checkTransfer(const Step& step, int tensor, int lines, bool rows, Work* work) {
  Transfer t;
  if (!readSegmentMap(listParam(step, 2, 0), &t.map)) return "segments: not a legal map";
  t.channel = intParam(step, 0);
  t.channels = intParam(step, 1);
  if (!channelsWithin(t.channel, t.channels, t.map.C)) return "segments: the map has fewer channels";
  if (!holdsSegments(step, lines, t.map, 4)) return "segments: the map's buffer is too small";
  const int64_t elements = product(product(t.map.images, t.channels), imagePositions(t.map));
  if (!holds(step, tensor, elements, 4)) return "segments: the row-major buffer is too small";
  const int64_t tileRows = product(t.map.groups(), product(t.map.D, t.map.TH));
  work->units = rows ? product(product(tileRows, t.map.TW), ceilDivide(t.channels, kRowChannels))
                     : product(tileRows, ceilDivide(t.channels, kPlaneChannels));
  work->cost = static_cast<double>(elements) * 8 * kMoveCost;
  return work->units < 0 ? "segments: too many tiles" : nullptr;
}

const char* checkFromPlanes(const Step& step, Work* work) { return checkTransfer(step, 0, 1, false, work); }
const char* checkToPlanes(const Step& step, Work* work) { return checkTransfer(step, 1, 0, false, work); }
const char* checkFromRows(const Step& step, Work* work) { return checkTransfer(step, 0, 1, true, work); }
const char* checkToRows(const Step& step, Work* work) { return checkTransfer(step, 1, 0, true, work); }

FILIGREE_INLINE Transfer readTransfer(const Step& step) {
  Transfer t;
  readSegmentMap(listParam(step, 2, 0), &t.map);
  t.channel = intParam(step, 0);
  t.channels = intParam(step, 1);
  return t;
}

/// First n of kLanes lanes, zeros after; n may exceed kLanes or be negative.
FILIGREE_INLINE F32 loadUpTo(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  return n <= 0 ? zero() : loadN(p, static_cast<int>(n));
}

FILIGREE_INLINE void storeUpTo(float* p, F32 v, int64_t n) {
  if (n >= kLanes) {
    store(p, v);
  } else if (n > 0) {
    storeN(p, v, static_cast<int>(n));
  }
}

/// Lines [0, count) at `lines`, `stride` floats apart, hold in lane l the items of row l: rows[l][0 .. sizes[l]).
template <bool toLines, class Pointer>
FILIGREE_INLINE void transposeLines(float* lines, int64_t stride, int64_t count, const Pointer* rows,
                                    const int64_t* sizes) {
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t width = least(kLanes, count - first);
    for (int lane = 0; lane < kLine; lane += kLanes) {
      F32 v[kLanes];
      float* const at = lines + first * stride + lane;
      if constexpr (toLines) {
        for (int i = 0; i < kLanes; i++) {
          v[i] = loadUpTo(rows[lane + i] + first, least(width, sizes[lane + i] - first));
        }
        transpose(v);
        for (int64_t i = 0; i < width; i++) store(at + i * stride, v[i]);
      } else {
        for (int i = 0; i < kLanes; i++) v[i] = i < width ? load(at + i * stride) : zero();
        transpose(v);
        for (int i = 0; i < kLanes; i++) {
          storeUpTo(rows[lane + i] + first, v[i], least(width, sizes[lane + i] - first));
        }
      }
    }
  }
}

template <bool toLines, class Pointer>
FILIGREE_INLINE void transferPlanes(const Transfer& t, Pointer planes, float* lines, const Range& range) {
  const int64_t blocks = ceilDivide(t.channels, kPlaneChannels), positions = imagePositions(t.map);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t row = unit / blocks, begin = unit % blocks * kPlaneChannels;
    const int64_t ty = row % t.map.TH, z = row / t.map.TH % t.map.D, group = row / (t.map.TH * t.map.D);
    const LaneRuns runs = laneRuns(t.map, group, z, ty);
    float* const tile = lines + (t.map.tile(group, z, ty, 0) * t.map.C + t.channel) * kLine;
    Pointer rows[kLine];
    for (int lane = 0; lane < kLine; lane++) {
      rows[lane] = planes + (runs.image[lane] * t.channels + begin) * positions + runs.start[lane];
    }
    for (int64_t c = begin; c < least(begin + kPlaneChannels, t.channels); c++) {
      transposeLines<toLines>(tile + c * kLine, t.map.C * kLine, t.map.TW, rows, runs.count);
      for (int lane = 0; lane < kLine; lane++) rows[lane] += positions;
    }
  }
}

template <bool toLines, class Pointer>
FILIGREE_INLINE void transferRows(const Transfer& t, Pointer matrix, float* lines, const Range& range) {
  const int64_t blocks = ceilDivide(t.channels, kRowChannels), positions = imagePositions(t.map);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t begin = unit % blocks * kRowChannels, width = least(kRowChannels, t.channels - begin);
    const int64_t tx = unit / blocks % t.map.TW, row = unit / blocks / t.map.TW;
    const int64_t ty = row % t.map.TH, z = row / t.map.TH % t.map.D, group = row / (t.map.TH * t.map.D);
    const LaneRuns runs = laneRuns(t.map, group, z, ty);
    Pointer rows[kLine];
    int64_t sizes[kLine];
    for (int lane = 0; lane < kLine; lane++) {
      sizes[lane] = tx < runs.count[lane] ? width : 0;
      const int64_t position = sizes[lane] ? runs.image[lane] * positions + runs.start[lane] + tx : 0;
      rows[lane] = matrix + position * t.channels + begin;
    }
    float* const tile = lines + (t.map.tile(group, z, ty, tx) * t.map.C + t.channel + begin) * kLine;
    transposeLines<toLines>(tile, kLine, width, rows, sizes);
  }
}

/// Images of one position: their planes are a row.
template <bool toLines, class Pointer>
FILIGREE_INLINE void transferPoints(const Transfer& t, Pointer matrix, float* lines, const Range& range) {
  const int64_t blocks = ceilDivide(t.channels, kPlaneChannels);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t group = unit / blocks, begin = unit % blocks * kPlaneChannels;
    const int64_t width = least(kPlaneChannels, t.channels - begin);
    const LaneRuns runs = laneRuns(t.map, group, 0, 0);
    Pointer rows[kLine];
    int64_t sizes[kLine];
    for (int lane = 0; lane < kLine; lane++) {
      sizes[lane] = runs.count[lane] ? width : 0;
      rows[lane] = matrix + runs.image[lane] * t.channels + begin;
    }
    transposeLines<toLines>(lines + (t.map.tile(group, 0, 0, 0) * t.map.C + t.channel + begin) * kLine, kLine, width,
                            rows, sizes);
  }
}

FILIGREE_INLINE bool isPoint(const Transfer& t) { return imagePositions(t.map) == 1 && t.map.TH == 1 && t.map.TW == 1; }

void runFromPlanes(const Step& step, Range* range) {
  const Transfer t = readTransfer(step);
  if (isPoint(t)) return transferPoints<true>(t, input<float>(step, 0), output<float>(step, 1), *range);
  transferPlanes<true>(t, input<float>(step, 0), output<float>(step, 1), *range);
}

void runToPlanes(const Step& step, Range* range) {
  const Transfer t = readTransfer(step);
  if (isPoint(t)) return transferPoints<false>(t, output<float>(step, 1), output<float>(step, 0), *range);
  transferPlanes<false>(t, output<float>(step, 1), output<float>(step, 0), *range);
}

void runFromRows(const Step& step, Range* range) {
  transferRows<true>(readTransfer(step), input<float>(step, 0), output<float>(step, 1), *range);
}

void runToRows(const Step& step, Range* range) {
  transferRows<false>(readTransfer(step), output<float>(step, 1), output<float>(step, 0), *range);
}

constexpr const char* kOperands = "r:x w:y";
constexpr const char* kParams = "i:channel i:channels l:map";

}  // namespace

FILIGREE_KERNEL(segmentsFromPlanes) = {"segments.from_planes", kOperands, kParams, checkFromPlanes,
                                       runFromPlanes,          nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsToPlanes) = {"segments.to_planes", kOperands, kParams, checkToPlanes,
                                     runToPlanes,          nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsFromRows) = {"segments.from_rows", kOperands, kParams, checkFromRows,
                                     runFromRows,          nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsToRows) = {"segments.to_rows", kOperands, kParams, checkToRows,
                                   runToRows,          nullptr,   nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
