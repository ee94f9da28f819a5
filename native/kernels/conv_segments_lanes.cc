// Dense convolutions over segment maps whose lanes are not all in use, float32.
//
// Here the lanes of a line are rows of a matrix product and output channels lie in the vectors: only lanes that hold
// positions are computed, where conv.segments.dense computes all 16. A panel of kPanel output channels meets one tile
// at a time; results are transposed to lines at the end.
//
// The packing: for each group of the convolution and each of its panels kPanel biases, then the weights
// [tap][channel][kPanel], missing channels zero.
#include "kernels/conv_params.h"
#include "kernels/tile_block.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;
#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 14;
#else
constexpr int kBlockRows = 6;
#endif

/// How the weights are cut; sizes are of one group of the convolution.
struct Panels {
  int64_t groups, channels_in, channels_out, taps;

  FILIGREE_INLINE_MEMBER int64_t count() const { return ceilDivide(channels_out, kPanel); }
  /// Floats of one panel.
  FILIGREE_INLINE_MEMBER int64_t size() const { return (channels_in * taps + 1) * kPanel; }
};

int64_t packedFloats(const Panels& panels) {
  const int64_t depth = product(panels.channels_in, panels.taps);
  if (depth < 0 || depth > int64_t{1} << 40) return -1;
  return product(product(panels.groups, panels.count()), panels.size());
}

const char* readPanels(const Step& step, Panels* panels) {
  const int64_t groups = intParam(step, 0), in = intParam(step, 1), out = intParam(step, 2);
  const int64_t limit = int64_t{1} << 24;
  panels->taps = intParam(step, 3);
  if (groups < 1 || in < 0 || out < 0 || in > limit || out > limit || panels->taps < 1 || panels->taps > limit ||
      in % groups != 0 || out % groups != 0) {
    return "pack.conv.segments.lanes: sizes out of range";
  }
  if (intParam(step, 4) && groups != 1) return "pack.conv.segments.lanes: transposed weights have no groups";
  panels->groups = groups, panels->channels_in = in / groups, panels->channels_out = out / groups;
  return nullptr;
}

size_t packedBytes(const Step& step) {
  Panels panels = {};
  if (readPanels(step, &panels)) return 0;
  const int64_t floats = packedFloats(panels);
  return floats < 0 ? 0 : static_cast<size_t>(floats) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  Panels panels = {};
  if (const char* problem = readPanels(step, &panels)) return problem;
  const int64_t rows = panels.groups * panels.channels_out;
  const int64_t weights = product(product(rows, panels.channels_in), panels.taps);
  if (weights < 0 || !holds(step, 0, weights, 4)) return "pack.conv.segments.lanes: the weights are too few";
  if (step.operands[1].bytes && !holds(step, 1, rows, 4)) return "pack.conv.segments.lanes: the biases are too few";
  const int64_t floats = packedFloats(panels);
  if (floats < 0 || !holds(step, 2, floats, 4)) return "pack.conv.segments.lanes: the packing is too small";
  work->units = panels.groups * panels.count();
  work->cost = static_cast<double>(weights);
  return nullptr;
}

void runPacking(const Step& step, Range* range) {
  Panels panels = {};
  readPanels(step, &panels);
  const float* const weights = input<float>(step, 0);
  const float* const bias = step.operands[1].bytes ? input<float>(step, 1) : nullptr;
  const WeightOrder order = weightOrder(intParam(step, 4) != 0, panels.channels_out, panels.channels_in, panels.taps);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t column = unit % panels.count() * kPanel, first = unit / panels.count() * panels.channels_out + column;
    const int64_t width = least(kPanel, panels.channels_out - column);
    float* to = output<float>(step, 2) + unit * panels.size();
    for (int64_t i = 0; i < kPanel; i++) *to++ = bias && i < width ? bias[first + i] : 0;
    for (int64_t tap = 0; tap < panels.taps; tap++) {
      for (int64_t c = 0; c < panels.channels_in; c++) {
        for (int64_t i = 0; i < kPanel; i++) {
          *to++ = i < width ? weights[(first + i) * order.row + c * order.channel + tap * order.tap] : 0;
        }
      }
    }
  }
}

Panels panelsOf(const ConvParams& p) {
  return {p.groups, p.channels_in / p.groups, p.channels_out / p.groups, p.taps()};
}

const char* checkLanes(const Step& step, Work* work) {
  ConvParams p;
  if (const char* problem = readConvParams(step, 0, &p)) return problem;
  if (!holdsSegments(step, 0, p.in, 4)) return "conv.segments.lanes: the input is too small";
  if (p.residual && !(step.operands[2].data && holdsSegments(step, 2, p.res, 4))) {
    return "conv.segments.lanes: the residual is too small";
  }
  if (!holdsSegments(step, 3, p.out, 4)) return "conv.segments.lanes: the output is too small";
  const Panels panels = panelsOf(p);
  const int64_t floats = packedFloats(panels);
  if (floats < 0 || !holds(step, 1, floats, 4)) return "conv.segments.lanes: the packing is too small";
  work->units = product(panels.groups * panels.count(), p.tiles());
  if (work->units < 0) return "conv.segments.lanes: too many tiles";
  const double rows = static_cast<double>(p.out.lane_images * p.out.SY * p.out.SX);
  // An FMA unit pair at 3 GHz and four fifths of its peak.
  work->cost = static_cast<double>(work->units) * static_cast<double>(panels.channels_in * panels.taps) * rows *
               (kPanelVectors / (2 * 3 * 0.8));
  return nullptr;
}

struct Conv {
  ConvParams p;
  Panels panels;
  const float *x, *packed, *residual;
  float* y;
};

/// Where the lines lie that are fetched while a tile is computed, one a channel: a share of the next panel, which
/// would otherwise come from memory when its first tile waits for it.
struct Ahead {
  const char* line;
  int64_t step;
};

/// Lanes 0, stride, ... (`rows` of them) from `x` on of every line of a tile times the panel: sums[lane][channel].
template <int rows, int stride>
void multiplyLanes(const Conv& conv, int64_t tile, const float* weights, Ahead ahead, float* sums) {
  const ConvParams& p = conv.p;
  F32 acc[rows][kPanelVectors];
  FILIGREE_UNROLL
  for (int r = 0; r < rows; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < kPanelVectors; v++) acc[r][v] = zero();
  }
  const TileAt at = tileAt(p.out, tile);
  for (int64_t d = 0; d < p.kernel[0]; d++) {
    for (int64_t h = 0; h < p.kernel[1]; h++) {
      for (int64_t w = 0; w < p.kernel[2]; w++) {
        const float* x = conv.x + tapTile(p, at, d, h, w) * p.in.C * kLine;
        for (int64_t c = 0; c < conv.panels.channels_in; c++) {
          const F32 w0 = load(weights), w1 = load(weights + kLanes);
          __builtin_prefetch(ahead.line, 0, 2);
          ahead.line += ahead.step;
          FILIGREE_UNROLL
          for (int r = 0; r < rows; r++) {
            const F32 lane = set1(x[r * stride]);
            acc[r][0] = fma(lane, w0, acc[r][0]);
            acc[r][1] = fma(lane, w1, acc[r][1]);
          }
          x += kLine;
          weights += kPanel;
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int r = 0; r < rows; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < kPanelVectors; v++) store(sums + r * stride * kPanel + v * kLanes, acc[r][v]);
  }
}

typedef void (*MultiplyLanes)(const Conv&, int64_t, const float*, Ahead, float*);

template <int stride, int rows>
FILIGREE_INLINE MultiplyLanes multiplierOf(int64_t count) {
  if constexpr (rows <= 1) {
    return multiplyLanes<1, stride>;
  } else {
    return count == rows ? multiplyLanes<rows, stride> : multiplierOf<stride, rows - 1>(count);
  }
}

/// The lanes of a tile that have to be computed.
struct BusyLanes {
  int64_t count, stride;
};

/// Leaves out lanes past the edge of the image where the others lie evenly: the last row of every image's lanes, and
/// the second of two columns.
FILIGREE_INLINE BusyLanes busyLanes(const SegmentMap& map, TileAt at) {
  const int64_t lanes = map.lane_images * map.SY * map.SX;
  if (map.SX == 2 && map.TW + at.tx >= map.W) return {lanes / 2, 2};
  if (map.lane_images == 1 && (map.SY - 1) * map.TH + at.ty >= map.H) return {lanes - map.SX, 1};
  return {lanes, 1};
}

/// Turns sums[lane][channel] to lines, adds bias and residual, applies the activation.
void finishTile(const Conv& conv, int64_t tile, int64_t first, int64_t width, const float* bias, const float* sums) {
  const ConvParams& p = conv.p;
  const TileAt at = tileAt(p.out, tile);
  float* const y = conv.y + (p.out.tile(at.group, at.z, at.ty, at.tx) * p.out.C + p.out_channel + first) * kLine;
  const float* const residual =
      conv.residual
          ? conv.residual + (p.res.tile(at.group, at.z, at.ty, at.tx) * p.res.C + p.res_channel + first) * kLine
          : nullptr;
  for (int64_t c = 0; c < width; c += kLanes) {
    for (int lane = 0; lane < kLine; lane += kLanes) {
      F32 v[kLanes];
      for (int i = 0; i < kLanes; i++) v[i] = load(sums + (lane + i) * kPanel + c);
      transpose(v);
      for (int64_t i = 0; i < kLanes && c + i < width; i++) {
        F32 line = v[i] + set1(bias[c + i]);
        const int64_t to = (c + i) * kLine + lane;
        if (residual) line = line + load(residual + to);
        store(y + to, apply(line, p.activation, p.alpha, p.beta));
      }
    }
  }
}

/// What is fetched in turn `turn` of `turns` that the panel at `packed` takes.
Ahead aheadOf(const Conv& conv, const float* packed, bool more, int64_t turn, int64_t turns) {
  const int64_t bytes = conv.panels.size() * 4;
  const char* const own = reinterpret_cast<const char*>(packed);
  if (!more) return {own, 0};
  return {own + bytes + bytes * turn / turns, ceilDivide(kPanel * 4, turns)};
}

void runLanes(const Step& step, Range* range) {
  Conv conv;
  readConvParams(step, 0, &conv.p);
  const ConvParams& p = conv.p;
  conv.panels = panelsOf(p);
  conv.packed = input<float>(step, 1);
  conv.residual = p.residual ? input<float>(step, 2) : nullptr;
  conv.y = output<float>(step, 3);
  const int64_t tiles = p.tiles();
  alignas(64) float sums[kLine * kPanel] = {};
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    // Tiles run fastest: a panel stays in cache while they pass it.
    const int64_t panel = unit / tiles, tile = unit % tiles;
    const int64_t group = panel / conv.panels.count(), column = panel % conv.panels.count() * kPanel;
    const float* const packed = conv.packed + panel * conv.panels.size();
    const float* const x = input<float>(step, 0) + (p.in_channel + group * conv.panels.channels_in) * kLine;
    const bool more = (panel + 1) * tiles < range->end;
    const BusyLanes busy = busyLanes(p.out, tileAt(p.out, tile));
    const int64_t blocks = ceilDivide(busy.count, kBlockRows);
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t first = busy.count * block / blocks, last = busy.count * (block + 1) / blocks;
      const MultiplyLanes multiply =
          busy.stride == 1 ? multiplierOf<1, kBlockRows>(last - first) : multiplierOf<2, kBlockRows>(last - first);
      conv.x = x + first * busy.stride;
      const Ahead ahead = aheadOf(conv, packed, more, tile * blocks + block, tiles * blocks);
      multiply(conv, tile, packed + kPanel, ahead, sums + first * busy.stride * kPanel);
    }
    const int64_t width = least(kPanel, conv.panels.channels_out - column);
    finishTile(conv, tile, group * conv.panels.channels_out + column, width, packed, sums);
  }
}

}  // namespace

// Weights and parameters as for conv.segments.dense.f32; `split` and `tile_block` mean nothing here.
FILIGREE_KERNEL(packConvSegmentsLanes) = {"pack.conv.segments.lanes.f32",
                                          "r:weights r:bias? w:packing",
                                          "i:groups i:channels_in i:channels_out i:taps i:transposed",
                                          checkPacking,
                                          runPacking,
                                          packedBytes,
                                          nullptr,
                                          false};
// `y` may be `residual`.
FILIGREE_KERNEL(convSegmentsLanes) = {"conv.segments.lanes.f32",
                                      "r:x r:packing r:residual? w:y",
                                      FILIGREE_CONV_SCALARS " " FILIGREE_CONV_LISTS,
                                      checkLanes,
                                      runLanes,
                                      nullptr,
                                      nullptr,
                                      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
