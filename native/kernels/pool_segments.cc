// Pooling windows over segment maps, float32. They take the parameters of convolutions (groups, channels_in and
// channels_out alike, no residual). What lies outside the image, borders and idle lanes, holds -inf for the maximum and
// 0 for the average.
#include "kernels/conv_params.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Scalars after those of convolutions: whether padding counts, and the padding after the last position, which ends
/// what counts.
#define FILIGREE_AVERAGE_SCALARS "i:count_include_pad i:pad_back i:pad_bottom i:pad_right"
constexpr int kAverageScalars = 4;

/// Channels whose lines are computed together, enough to hide the latency of additions.
constexpr int kPoolLines = 8 / kLineVectors;
/// Channels of a unit where threads share out channels.
constexpr int64_t kChannelBlock = 16;

struct Pool {
  ConvParams p;
  const float* x;
  float* y;
  Clamp clamp;
  /// Floats between taps.
  int64_t step[3];
};

FILIGREE_INLINE const char* checkPool(const Step& step, int extra, Work* work) {
  ConvParams p;
  if (const char* problem = readConvParams(step, extra, &p)) return problem;
  if (p.channels_in != p.channels_out) return "pool.segments: as many channels out as in";
  if (p.residual) return "pool.segments: a pool has no residual";
  if (!holdsSegments(step, 0, p.in, 4)) return "pool.segments: the input is too small";
  if (!holdsSegments(step, 1, p.out, 4)) return "pool.segments: the output is too small";
  work->units = p.split ? ceilDivide(p.channels_out, kChannelBlock) : p.tiles();
  if (p.tiles() == 0) work->units = 0;
  const double lines = static_cast<double>(p.tiles()) * static_cast<double>(p.channels_out);
  work->cost = lines * (4 + static_cast<double>(p.taps()) * (kLine / kLanes) * 0.2);
  return nullptr;
}

const char* checkMax(const Step& step, Work* work) { return checkPool(step, 0, work); }

const char* checkAverage(const Step& step, Work* work) {
  for (int i = 1; i < kAverageScalars; i++) {
    const int64_t pad = intParam(step, kConvScalars + i);
    if (pad < 0 || pad > 1 << 24) return "pool.segments: padding out of range";
  }
  return checkPool(step, kAverageScalars, work);
}

FILIGREE_INLINE Pool readPool(const Step& step, int extra) {
  Pool pool;
  readConvParams(step, extra, &pool.p);
  const ConvParams& p = pool.p;
  pool.x = input<float>(step, 0);
  pool.y = output<float>(step, 1);
  pool.clamp = clampOf(p.activation, p.alpha, p.beta);
  pool.step[2] = p.dilation[2] * p.in.C * kLine;
  pool.step[1] = p.dilation[1] * p.in.gridX() * p.in.C * kLine;
  pool.step[0] = p.dilation[0] * p.in.gridY() * p.in.gridX() * p.in.C * kLine;
  return pool;
}

/// `lines` channels of one tile. NaNs in the data do not become a maximum.
template <bool average, int lines>
FILIGREE_INLINE void poolLines(const Pool& pool, const float* x, float* y, const Line& scale) {
  constexpr int count = lines * kLineVectors;
  F32 acc[count];
  FILIGREE_UNROLL
  for (int i = 0; i < count; i++) acc[i] = average ? zero() : set1(-__builtin_inff());
  for (int64_t d = 0; d < pool.p.kernel[0]; d++) {
    for (int64_t h = 0; h < pool.p.kernel[1]; h++) {
      const float* at = x + d * pool.step[0] + h * pool.step[1];
      for (int64_t w = 0; w < pool.p.kernel[2]; w++, at += pool.step[2]) {
        FILIGREE_UNROLL
        for (int i = 0; i < count; i++) {
          const F32 line = load(at + i * kLanes);
          acc[i] = average ? acc[i] + line : max(line, acc[i]);
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int i = 0; i < count; i++) {
    if (average) acc[i] *= scale.v[i % kLineVectors];
    store(y + i * kLanes, apply(acc[i], pool.clamp));
  }
  if (!pool.clamp.all) applyRow(y, lines * kLine, pool.p.activation, pool.p.alpha, pool.p.beta);
}

template <bool average>
FILIGREE_INLINE void poolTile(const Pool& pool, TileAt at, int64_t begin, int64_t end, const Line& scale) {
  const ConvParams& p = pool.p;
  const float* const x = pool.x + (tapTile(p, at, 0, 0, 0) * p.in.C + p.in_channel) * kLine;
  float* const y = pool.y + (p.out.tile(at.group, at.z, at.ty, at.tx) * p.out.C + p.out_channel) * kLine;
  int64_t c = begin;
  for (; c + kPoolLines <= end; c += kPoolLines) {
    poolLines<average, kPoolLines>(pool, x + c * kLine, y + c * kLine, scale);
  }
  for (; c < end; c++) poolLines<average, 1>(pool, x + c * kLine, y + c * kLine, scale);
}

/// Tiles and channels of a range of units.
struct Share {
  int64_t firstTile, lastTile, begin, end;
};

FILIGREE_INLINE Share shareOf(const ConvParams& p, const Range& range) {
  if (!p.split) return {range.begin, range.end, 0, p.channels_out};
  return {0, p.tiles(), range.begin * kChannelBlock, least(range.end * kChannelBlock, p.channels_out)};
}

void runMax(const Step& step, Range* range) {
  const Pool pool = readPool(step, 0);
  const Share share = shareOf(pool.p, *range);
  for (int64_t i = share.firstTile; i < share.lastTile; i++) {
    poolTile<false>(pool, tileAt(pool.p.out, i), share.begin, share.end, Line{});
  }
}

/// Taps of a window that begins at `start` and lie in [0, end), where those before 0 count if `before`.
FILIGREE_INLINE int64_t tapsWithin(int64_t start, int64_t kernel, int64_t dilation, int64_t end, bool before) {
  const int64_t upper = start >= end ? 0 : least(kernel, ceilDivide(end - start, dilation));
  const int64_t lower = before || start >= 0 ? 0 : ceilDivide(-start, dilation);
  return most(0, upper - lower);
}

/// One over the number of positions that count, lane by lane.
FILIGREE_INLINE Line scalesOf(const ConvParams& p, const int64_t* average, TileAt at) {
  const bool padded = average[0] != 0;
  const SegmentMap& out = p.out;
  const int64_t ends[3] = {p.in.D + (padded ? average[1] : 0), p.in.H + (padded ? average[2] : 0),
                           p.in.W + (padded ? average[3] : 0)};
  const int64_t depth = tapsWithin(at.z * p.stride[0] - p.pad[0], p.kernel[0], p.dilation[0], ends[0], padded);
  int64_t rows[kSegmentLanes], columns[kSegmentLanes];
  for (int64_t s = 0; s < out.SY; s++) {
    const int64_t start = (s * out.TH + at.ty) * p.stride[1] - p.pad[1];
    rows[s] = tapsWithin(start, p.kernel[1], p.dilation[1], ends[1], padded);
  }
  for (int64_t s = 0; s < out.SX; s++) {
    const int64_t start = (s * out.TW + at.tx) * p.stride[2] - p.pad[2];
    columns[s] = tapsWithin(start, p.kernel[2], p.dilation[2], ends[2], padded);
  }
  float scales[kLine];
  for (int lane = 0; lane < kLine; lane++) {
    const int64_t taps = depth * rows[lane / out.SX % out.SY] * columns[lane % out.SX];
    scales[lane] = 1.0f / static_cast<float>(most(taps, 1));
  }
  return loadLine(scales);
}

void runAverage(const Step& step, Range* range) {
  const Pool pool = readPool(step, kAverageScalars);
  const Share share = shareOf(pool.p, *range);
  for (int64_t i = share.firstTile; i < share.lastTile; i++) {
    const TileAt at = tileAt(pool.p.out, i);
    const Line scale = scalesOf(pool.p, step.words + kConvScalars, at);
    poolTile<true>(pool, at, share.begin, share.end, scale);
  }
}

}  // namespace

FILIGREE_KERNEL(poolSegmentsMax) = {"pool.segments.max.f32",
                                    "r:x w:y",
                                    FILIGREE_CONV_SCALARS " " FILIGREE_CONV_LISTS,
                                    checkMax,
                                    runMax,
                                    nullptr,
                                    nullptr,
                                    false};
FILIGREE_KERNEL(poolSegmentsAverage) = {"pool.segments.average.f32",
                                        "r:x w:y",
                                        FILIGREE_CONV_SCALARS " " FILIGREE_AVERAGE_SCALARS " " FILIGREE_CONV_LISTS,
                                        checkAverage,
                                        runAverage,
                                        nullptr,
                                        nullptr,
                                        false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
