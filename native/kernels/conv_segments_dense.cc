// Dense convolutions and linear layers over segment maps, float32.
//
// The packing: for each group of the convolution and each of its row groups (at most kDenseRows output channels) the
// biases, then for each pass over some input channels the weights [tap][channel][row].
#include "kernels/dense_tile.h"
#include "kernels/tile_block.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Weights of one pass of a row group: they and the inputs of a tile share the second-level cache.
constexpr int64_t kPassBytes = 288 << 10;

/// Outputs larger than this are not in cache when they are written.
constexpr int64_t kFetchBytes = 4 << 20;

/// How the output channels of one group, and the input channels, are cut.
struct Cut {
  int64_t rows, groups, channels, passes, taps;

  /// First output channel of row group i within its convolution group.
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t i) const { return rows * i / groups; }
  FILIGREE_INLINE_MEMBER int64_t firstChannel(int64_t pass) const { return channels * pass / passes; }
};

FILIGREE_INLINE Cut cutOf(int64_t rows, int64_t channels, int64_t taps) {
  const int64_t groups = ceilDivide(rows, kDenseRows);
  const int64_t most = kPassBytes / (4 * kDenseRows * taps);
  const int64_t passes = channels == 0 ? 1 : ceilDivide(channels, most < 8 ? 8 : most);
  return {rows, groups, channels, passes, taps};
}

constexpr int64_t kMostChannels = 1 << 24;

const char* readPacking(const Step& step, int64_t* groups, Cut* cut) {
  *groups = intParam(step, 0);
  const int64_t in = intParam(step, 1), out = intParam(step, 2), taps = intParam(step, 3);
  if (*groups < 1 || in < 0 || out < 0 || taps < 1 || in > kMostChannels || out > kMostChannels ||
      taps > kMostChannels || in % *groups != 0 || out % *groups != 0) {
    return "pack.conv.segments.dense: sizes out of range";
  }
  if (intParam(step, 4) && *groups != 1) return "pack.conv.segments.dense: transposed weights have no groups";
  *cut = cutOf(out / *groups, in / *groups, taps);
  return nullptr;
}

FILIGREE_INLINE int64_t weightsOf(const Cut& cut, int64_t groups) {
  return product(product(groups, cut.rows), product(cut.channels, cut.taps));
}

size_t packedBytes(const Step& step) {
  int64_t groups;
  Cut cut = {};
  if (readPacking(step, &groups, &cut)) return 0;
  const int64_t weights = weightsOf(cut, groups);
  return weights < 0 || weights > int64_t{1} << 40 ? 0 : static_cast<size_t>(weights + groups * cut.rows) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  int64_t groups;
  Cut cut = {};
  if (const char* problem = readPacking(step, &groups, &cut)) return problem;
  const int64_t weights = weightsOf(cut, groups);
  if (weights < 0 || weights > int64_t{1} << 40) return "pack.conv.segments.dense: too many weights";
  if (!holds(step, 0, weights, 4)) return "pack.conv.segments.dense: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, groups * cut.rows, 4)) {
    return "pack.conv.segments.dense: the biases are too few";
  }
  if (!holds(step, 2, weights + groups * cut.rows, 4)) return "pack.conv.segments.dense: the packing is too small";
  work->units = groups * cut.groups;
  work->cost = static_cast<double>(weights);
  return nullptr;
}

void runPacking(const Step& step, Range* range) {
  int64_t groups;
  Cut cut = {};
  readPacking(step, &groups, &cut);
  const float* const weights = input<float>(step, 0);
  const float* const bias = step.operands[1].data ? input<float>(step, 1) : nullptr;
  const int64_t depth = cut.channels * cut.taps;
  const WeightOrder order = weightOrder(intParam(step, 4) != 0, cut.rows, cut.channels, cut.taps);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t first = unit / cut.groups * cut.rows + cut.firstRow(unit % cut.groups);
    const int64_t rows = cut.firstRow(unit % cut.groups + 1) - cut.firstRow(unit % cut.groups);
    float* to = output<float>(step, 2) + first * (depth + 1);
    for (int64_t r = 0; r < rows; r++) *to++ = bias ? bias[first + r] : 0;
    for (int64_t pass = 0; pass < cut.passes; pass++) {
      for (int64_t tap = 0; tap < cut.taps; tap++) {
        for (int64_t c = cut.firstChannel(pass); c < cut.firstChannel(pass + 1); c++) {
          for (int64_t r = 0; r < rows; r++)
            *to++ = weights[(first + r) * order.row + c * order.channel + tap * order.tap];
        }
      }
    }
  }
}

struct Dense {
  ConvParams p;
  Cut cut;
  const float *x, *packed, *residual;
  float* y;
  Clamp clamp;
};

FILIGREE_INLINE int64_t unitTiles(const Cut& cut) { return denseTilesFor(cut.rows); }

const char* checkDense(const Step& step, Work* work) {
  ConvParams p;
  if (const char* problem = readConvParams(step, 0, &p)) return problem;
  if (!holdsSegments(step, 0, p.in, 4)) return "conv.segments.dense: the input is too small";
  if (p.residual && !(step.operands[2].data && holdsSegments(step, 2, p.res, 4))) {
    return "conv.segments.dense: the residual is too small";
  }
  if (!holdsSegments(step, 3, p.out, 4)) return "conv.segments.dense: the output is too small";
  const Cut cut = cutOf(p.channels_out / p.groups, p.channels_in / p.groups, p.taps());
  const int64_t weights = weightsOf(cut, p.groups);
  if (weights < 0 || !holds(step, 1, weights + p.channels_out, 4)) {
    return "conv.segments.dense: the packing is too small";
  }
  work->units = p.split ? p.groups * cut.groups : ceilDivide(p.tiles(), unitTiles(cut));
  if (p.tiles() == 0) work->units = 0;
  // An FMA unit pair at 3 GHz and four fifths of its peak.
  work->cost = static_cast<double>(weights) * static_cast<double>(p.tiles()) * (kLine / (kLanes * 2 * 3 * 0.8));
  return nullptr;
}

FILIGREE_INLINE Dense readDense(const Step& step) {
  Dense d;
  readConvParams(step, 0, &d.p);
  d.cut = cutOf(d.p.channels_out / d.p.groups, d.p.channels_in / d.p.groups, d.p.taps());
  d.x = input<float>(step, 0);
  d.packed = input<float>(step, 1);
  d.residual = d.p.residual ? input<float>(step, 2) : nullptr;
  d.y = output<float>(step, 3);
  d.clamp = clampOf(d.p.activation, d.p.alpha, d.p.beta);
  return d;
}

FILIGREE_INLINE DenseAt placeTiles(const Dense& d, const TileBlock& block, int64_t tile, int64_t count, int64_t channel,
                                   int64_t row) {
  const ConvParams& p = d.p;
  DenseAt at = {};
  for (int64_t t = 0; t < count; t++) {
    at.x[t] = d.x + (block.x[tile + t] * p.in.C + p.in_channel + channel) * kLine;
    at.y[t] = d.y + (block.y[tile + t] * p.out.C + p.out_channel + row) * kLine;
    at.residual[t] =
        d.residual ? d.residual + (block.residual[tile + t] * p.res.C + p.res_channel + row) * kLine : nullptr;
  }
  return at;
}

/// Row group `unit` of all groups over a block of tiles; `more` where the next one follows.
void runRowGroup(const Dense& d, int64_t unit, const TileBlock& block, bool more) {
  const Cut& cut = d.cut;
  const ConvParams& p = d.p;
  const int64_t group = unit / cut.groups, first = group * cut.rows + cut.firstRow(unit % cut.groups);
  const int64_t rows = cut.firstRow(unit % cut.groups + 1) - cut.firstRow(unit % cut.groups);
  const float* const panel = d.packed + first * (cut.channels * cut.taps + 1);
  const int64_t together = unitTiles(cut);
  const DenseTile many = together == kDenseTiles ? denseTileOf<kDenseTiles, kDenseRows>(rows)
                                                 : denseTileOf<kNarrowTiles, kNarrowRows>(rows);
  const DenseTile one = denseTileOf<1, kDenseRows>(rows);
  const int64_t lines = p.in.C * kLine;
  DenseTaps taps = {{p.kernel[0], p.kernel[1], p.kernel[2]},
                    {p.dilation[0] * p.in.gridY() * p.in.gridX() * lines, p.dilation[1] * p.in.gridX() * lines,
                     p.dilation[2] * lines},
                    0};
  const bool fetch = p.tiles() * p.channels_out * kLine * 4 > kFetchBytes;
  for (int64_t pass = 0; pass < cut.passes; pass++) {
    const int64_t channel = cut.firstChannel(pass);
    taps.channels = cut.firstChannel(pass + 1) - channel;
    const bool last = pass == cut.passes - 1;
    DensePass what = {panel + rows + channel * cut.taps * rows, panel, pass == 0, last, fetch, d.clamp, nullptr, 0};
    const int64_t bytes = rows * taps.channels * cut.taps * 4;
    const bool fetches = more || !last;
    const char* const next = reinterpret_cast<const char*>(what.weights) + (fetches ? bytes : 0);
    what.ahead_step = fetches ? ceilDivide(rows * 4 * together, block.count) : 0;
    for (int64_t tile = 0; tile < block.count;) {
      const int64_t count = block.count - tile >= together ? together : 1;
      what.ahead = fetches ? next + bytes * tile / block.count : next;
      const DenseAt at = placeTiles(d, block, tile, count, group * cut.channels + channel, first);
      (count == together ? many : one)(taps, what, at);
      for (int64_t t = 0; last && !d.clamp.all && t < count; t++) {
        applyRow(at.y[t], rows * kLine, p.activation, p.alpha, p.beta);
      }
      tile += count;
    }
  }
}

void runDense(const Step& step, Range* range) {
  const Dense d = readDense(step);
  const int64_t tiles = d.p.tiles(), together = unitTiles(d.cut), size = blockTiles(d.p, d.p.channels_in, together);
  const int64_t begin = d.p.split ? 0 : range->begin * together;
  const int64_t end = d.p.split ? tiles : least(range->end * together, tiles);
  const int64_t firstGroup = d.p.split ? range->begin : 0;
  const int64_t lastGroup = d.p.split ? range->end : d.p.groups * d.cut.groups;
  TileBlock block;
  for (int64_t tile = begin; tile < end; tile += size) {
    block.count = least(size, end - tile);
    locateTiles(d.p, tile, &block);
    for (int64_t unit = firstGroup; unit < lastGroup; unit++) runRowGroup(d, unit, block, unit + 1 < lastGroup);
  }
}

}  // namespace

// The weights are [channels_out][channels_in / groups][taps], or where `transposed` is 1
// [channels_in][taps][channels_out].
FILIGREE_KERNEL(packConvSegmentsDense) = {"pack.conv.segments.dense.f32",
                                          "r:weights r:bias? w:packing",
                                          "i:groups i:channels_in i:channels_out i:taps i:transposed",
                                          checkPacking,
                                          runPacking,
                                          packedBytes,
                                          nullptr,
                                          false};
// `y` may be `residual`.
FILIGREE_KERNEL(convSegmentsDense) = {"conv.segments.dense.f32",
                                      "r:x r:packing r:residual? w:y",
                                      FILIGREE_CONV_SCALARS " " FILIGREE_CONV_LISTS,
                                      checkDense,
                                      runDense,
                                      nullptr,
                                      nullptr,
                                      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
