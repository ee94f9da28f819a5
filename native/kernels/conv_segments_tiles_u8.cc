// Dense convolutions and linear layers over 8-bit segment maps on tile registers (AMX).
//
// Sixteen quad lines of a segment map are a right tile as they lie: 64 input channels of 16 lanes. A run is as many
// lines as lie together: the channels of one tap, or, where taps along x are neighbours in memory, those of all of
// them. Runs are cut into steps of equally many lines; where they do not divide, the last step begins early, and its
// weights of lines that came before are 0: so nothing outside the map is read.
//
// The packing: for each group and each panel of up to two left tiles the sums' starting values [rows] and the scales
// [rows], padded to a cache line, then [step][left tile][16][64] weights.
#include "kernels/byte_tile.h"
#include "kernels/tile_block.h"
#include "kernels/tiles.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int64_t kTileWords = kTileBytes / 4;
constexpr int kPanelTiles = 2;
/// Position tiles that go through a panel of one or two left tiles at once.
constexpr int kNarrow = 2, kWide = 4;
constexpr int64_t kMostChannels = 1 << 24;

/// How one group of the convolution is cut.
struct TileCut {
  /// Rows (output channels), the rows of a left tile, a multiple of four, and how many left tiles there are.
  int64_t rows, tile_rows, tiles;
  /// Quads of a tap, runs and lines of a run, the steps of a run and lines of a step.
  int64_t quads, runs, lines, steps, depth;

  FILIGREE_INLINE_MEMBER int64_t panels() const { return ceilDivide(tiles, kPanelTiles); }
  FILIGREE_INLINE_MEMBER int64_t panelTiles(int64_t panel) const {
    return least(kPanelTiles, tiles - panel * kPanelTiles);
  }
  FILIGREE_INLINE_MEMBER int64_t headWords(int64_t lefts) const { return ceilDivide(2 * lefts * tile_rows, 16) * 16; }
  FILIGREE_INLINE_MEMBER int64_t panelWords(int64_t lefts) const {
    return headWords(lefts) + runs * steps * lefts * kTileWords;
  }
  FILIGREE_INLINE_MEMBER int64_t groupWords() const {
    const int64_t whole = tiles / kPanelTiles;
    return whole * panelWords(kPanelTiles) + (tiles % kPanelTiles ? panelWords(tiles % kPanelTiles) : 0);
  }
  /// Where step `step` of a run begins.
  FILIGREE_INLINE_MEMBER int64_t stepLine(int64_t step) const { return least(step * depth, lines - depth); }
};

/// `run_taps` taps lie together.
FILIGREE_INLINE TileCut tileCutOf(int64_t rows, int64_t channels, int64_t taps, int64_t run_taps) {
  TileCut cut;
  cut.rows = rows;
  cut.tile_rows = ceilDivide(most(rows, 1), ceilDivide(most(rows, 1), kTileRows));
  cut.tile_rows = ceilDivide(cut.tile_rows, 4) * 4;
  cut.tiles = ceilDivide(rows, cut.tile_rows);
  cut.quads = ceilDivide(channels, 4);
  cut.runs = taps / run_taps;
  cut.lines = cut.quads * run_taps;
  cut.steps = ceilDivide(cut.lines, kTileRows);
  cut.depth = cut.steps ? ceilDivide(cut.lines, cut.steps) : 1;
  return cut;
}

struct TilePacking {
  int64_t groups, channels, taps;
  TileCut cut;
  bool transposed, weights_unsigned;
  int64_t input_zero_point;
};

const char* readPacking(const Step& step, TilePacking* k) {
  k->groups = intParam(step, 0);
  const int64_t in = intParam(step, 1), out = intParam(step, 2), taps = intParam(step, 3), together = intParam(step, 4);
  if (k->groups < 1 || in < 0 || out < 0 || taps < 1 || in > kMostChannels || out > kMostChannels ||
      taps > kMostChannels || in % k->groups != 0 || out % k->groups != 0 || k->groups > kMostChannels) {
    return "pack.conv.segments.tiles: sizes out of range";
  }
  if (together < 1 || taps % together != 0) return "pack.conv.segments.tiles: runs have unequal numbers of taps";
  k->channels = in / k->groups, k->taps = taps;
  if (k->groups > 1 && k->channels % 4 != 0) return "pack.conv.segments.tiles: groups are whole quads";
  if (product(k->channels, taps) > int64_t{1} << 36) return "pack.conv.segments.tiles: too many weights";
  k->cut = tileCutOf(out / k->groups, k->channels, taps, together);
  k->transposed = intParam(step, 5) != 0;
  k->weights_unsigned = intParam(step, 6) != 0;
  k->input_zero_point = intParam(step, 8);
  if (!byteRange(k->input_zero_point, intParam(step, 7) != 0)) {
    return "pack.conv.segments.tiles: the zero point is no input value";
  }
  if (k->transposed && k->groups != 1) return "pack.conv.segments.tiles: transposed weights have no groups";
  const int64_t weights = product(product(out, k->channels), taps);
  return weights < 0 || weights > int64_t{1} << 36 ? "pack.conv.segments.tiles: too many weights" : nullptr;
}

size_t packedBytes(const Step& step) {
  TilePacking k = {};
  if (readPacking(step, &k)) return 0;
  return static_cast<size_t>(k.groups * k.cut.groupWords()) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  TilePacking k = {};
  if (const char* problem = readPacking(step, &k)) return problem;
  const int64_t out = k.groups * k.cut.rows, weights = out * k.channels * k.taps;
  if (!holds(step, 0, weights, 1)) return "pack.conv.segments.tiles: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, 1, 1)) return "pack.conv.segments.tiles: no weight zero point";
  if (step.operands[2].data && !holds(step, 2, out, 4)) return "pack.conv.segments.tiles: the biases are too few";
  if (!holds(step, 3, out, 4)) return "pack.conv.segments.tiles: the scales are too few";
  if (!holds(step, 4, product(k.groups, k.cut.groupWords()), 4)) {
    return "pack.conv.segments.tiles: the packing is too small";
  }
  work->units = k.groups * k.cut.panels();
  work->cost = static_cast<double>(weights) * 2;
  return nullptr;
}

/// The weights of one output channel: those of a tap's quad to its byte of a left tile.
struct RowPacker {
  const TilePacking& k;
  const uint8_t* weights;
  WeightOrder order;
  int64_t row;
  int32_t zero_point;
  int64_t sum;
  bool fits;

  void quad(int64_t tap, int64_t quad, int8_t* to) {
    for (int64_t c = quad * 4; c < least(quad * 4 + 4, k.channels); c++) {
      const uint8_t byte = weights[row * order.row + c * order.channel + tap * order.tap];
      const int32_t value = (k.weights_unsigned ? byte : static_cast<int8_t>(byte)) - zero_point;
      fits = fits && value >= -128 && value <= 127;
      sum += value;
      to[c - quad * 4] = static_cast<int8_t>(value);
    }
  }
};

/// Row `r` of a panel of `lefts` left tiles; `tiles` are the panel's, all 0.
int32_t packRow(RowPacker* packer, int64_t r, int64_t lefts, int8_t* tiles) {
  const TileCut& cut = packer->k.cut;
  for (int64_t run = 0; run < cut.runs; run++) {
    for (int64_t line = 0; line < cut.lines; line++) {
      const int64_t step = line / cut.depth, tap = run * (cut.lines / cut.quads) + line / cut.quads;
      int8_t* const tile = tiles + ((run * cut.steps + step) * lefts + r / cut.tile_rows) * kTileBytes;
      packer->quad(tap, line % cut.quads, tile + r % cut.tile_rows * kTileRowBytes + (line - cut.stepLine(step)) * 4);
    }
  }
  return static_cast<int32_t>(static_cast<uint32_t>(-packer->k.input_zero_point * packer->sum));
}

void packPanel(const Step& step, const TilePacking& k, int64_t group, int64_t panel, Range* range) {
  const TileCut& cut = k.cut;
  const int64_t lefts = cut.panelTiles(panel), first = panel * kPanelTiles * cut.tile_rows,
                rows = lefts * cut.tile_rows;
  int32_t* const head = output<int32_t>(step, 4) + group * cut.groupWords() + panel * cut.panelWords(kPanelTiles);
  std::memset(head, 0, static_cast<size_t>(cut.panelWords(lefts)) * 4);
  const bool perRow = step.operands[1].bytes >= static_cast<size_t>(k.groups * cut.rows);
  for (int64_t r = 0; r < least(rows, cut.rows - first); r++) {
    const int64_t row = group * cut.rows + first + r;
    const uint8_t zero = step.operands[1].data ? input<uint8_t>(step, 1)[perRow ? row : 0] : 0;
    RowPacker packer = {
        k, input<uint8_t>(step, 0), weightOrder(k.transposed, cut.rows, k.channels, k.taps), row, zero, 0, true};
    if (!k.weights_unsigned) packer.zero_point = static_cast<int8_t>(zero);
    const int32_t start = packRow(&packer, r, lefts, reinterpret_cast<int8_t*>(head + cut.headWords(lefts)));
    if (!packer.fits) range->error = "a weight less its zero point is not a signed byte";
    const int32_t bias = step.operands[2].data ? input<int32_t>(step, 2)[row] : 0;
    head[r] = static_cast<int32_t>(static_cast<uint32_t>(bias) + static_cast<uint32_t>(start));
    std::memcpy(head + rows + r, input<float>(step, 3) + row, sizeof(float));
  }
}

void runPacking(const Step& step, Range* range) {
  TilePacking k = {};
  readPacking(step, &k);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    packPanel(step, k, unit / k.cut.panels(), unit % k.cut.panels(), range);
  }
}

/// Where the runs of a window lie from its first tap's, in bytes.
struct TileRuns {
  int64_t count[3], step[3];
  const TileCut* cut;
};

#define DOT(sum, left, right)       \
  if constexpr (kSigned) {          \
    _tile_dpbssd(sum, left, right); \
  } else {                          \
    _tile_dpbsud(sum, left, right); \
  }

/// One step: two left tiles times T right tiles.
template <int T, bool kSigned>
FILIGREE_INLINE void addStep2(const int8_t* left, const uint8_t* const* x, int64_t offset) {
  _tile_loadd(6, x[0] + offset, kTileRowBytes);
  _tile_loadd(4, left, kTileRowBytes);
  DOT(0, 4, 6)
  if constexpr (T > 1) {
    _tile_loadd(7, x[1] + offset, kTileRowBytes);
    DOT(1, 4, 7)
  }
  _tile_loadd(5, left + kTileBytes, kTileRowBytes);
  DOT(2, 5, 6)
  if constexpr (T > 1) {
    DOT(3, 5, 7)
  }
}

/// One step: a left tile times T right tiles.
template <int T, bool kSigned>
FILIGREE_INLINE void addStep1(const int8_t* left, const uint8_t* const* x, int64_t offset) {
  _tile_loadd(4, left, kTileRowBytes);
  _tile_loadd(6, x[0] + offset, kTileRowBytes);
  DOT(0, 4, 6)
  if constexpr (T > 1) {
    _tile_loadd(7, x[1] + offset, kTileRowBytes);
    DOT(1, 4, 7)
  }
  if constexpr (T > 2) {
    _tile_loadd(6, x[2] + offset, kTileRowBytes);
    DOT(2, 4, 6)
  }
  if constexpr (T > 3) {
    _tile_loadd(7, x[3] + offset, kTileRowBytes);
    DOT(3, 4, 7)
  }
}

#undef DOT

/// Sums [M * tile_rows][T * 16] of a panel of M left tiles and T position tiles; `starts` [M * tile_rows][16] begin
/// them.
template <int M, int T, bool kSigned>
__attribute__((noinline)) void multiplyTiles(const TileRuns& runs, const int8_t* left, const uint8_t* const* x,
                                             const int32_t* starts, int32_t* sums, LinesAhead ahead) {
  finishStores();
  const TileCut& cut = *runs.cut;
  const int32_t* const second = starts + (M - 1) * cut.tile_rows * kLine;
  _tile_loadd(0, starts, kTileRowBytes);
  if constexpr (T > 1) _tile_loadd(1, starts, kTileRowBytes);
  if constexpr (M > 1 || T > 2) _tile_loadd(2, second, kTileRowBytes);
  if constexpr ((M > 1 && T > 1) || T > 3) _tile_loadd(3, second, kTileRowBytes);
  for (int64_t d = 0; d < runs.count[0]; d++) {
    for (int64_t h = 0; h < runs.count[1]; h++) {
      int64_t offset = d * runs.step[0] + h * runs.step[1];
      for (int64_t w = 0; w < runs.count[2]; w++, offset += runs.step[2]) {
        for (int64_t s = 0; s < cut.steps; s++, left += M * kTileBytes) {
          const int64_t at = offset + cut.stepLine(s) * kTileRowBytes;
          ahead.step();
          if constexpr (M > 1) {
            addStep2<T, kSigned>(left, x, at);
          } else {
            addStep1<T, kSigned>(left, x, at);
          }
        }
      }
    }
  }
  int32_t* const below = sums + cut.tile_rows * T * kLine;
  _tile_stored(0, sums, T * kTileRowBytes);
  if constexpr (T > 1) _tile_stored(1, sums + kLine, T * kTileRowBytes);
  if constexpr (M > 1) {
    _tile_stored(2, below, T * kTileRowBytes);
    if constexpr (T > 1) _tile_stored(3, below + kLine, T * kTileRowBytes);
  } else {
    if constexpr (T > 2) _tile_stored(2, sums + 2 * kLine, T * kTileRowBytes);
    if constexpr (T > 3) _tile_stored(3, sums + 3 * kLine, T * kTileRowBytes);
  }
}

typedef void (*MultiplyTiles)(const TileRuns&, const int8_t*, const uint8_t* const*, const int32_t*, int32_t*,
                              LinesAhead);

template <bool kSigned>
FILIGREE_INLINE MultiplyTiles multiplierOf(int64_t lefts, int64_t rights) {
  if (lefts == 2) return rights == 2 ? multiplyTiles<2, 2, kSigned> : multiplyTiles<2, 1, kSigned>;
  if (rights == 4) return multiplyTiles<1, 4, kSigned>;
  if (rights == 3) return multiplyTiles<1, 3, kSigned>;
  return rights == 2 ? multiplyTiles<1, 2, kSigned> : multiplyTiles<1, 1, kSigned>;
}

constexpr int kTileScalars = 1;

struct DenseTiles {
  ConvParams p;
  ByteParams b;
  TileCut cut;
  ByteEnd end;
  TileRuns runs;
  const uint8_t* x;
  const int32_t* packing;
  uint8_t *y, *residual;
  /// Lines of a tile.
  int64_t xLines, yLines, residualLines;
};

const char* readTiles(const Step& step, DenseTiles* d) {
  if (const char* problem = readByteConv(step, kTileScalars, &d->p, &d->b)) return problem;
  const ConvParams& p = d->p;
  const int64_t together = intParam(step, kConvScalars), channels = p.channels_in / p.groups;
  const bool floats = d->b.output == jit::kOutputFloat;
  d->xLines = ceilDivide(p.in.C, 4);
  if (p.groups != 1 && channels % 4 != 0) return "conv.segments.tiles: groups are whole quads";
  if (p.groups != 1 && !floats && p.channels_out / p.groups % 4 != 0) {
    return "conv.segments.tiles: groups write whole fours of output channels";
  }
  if (together != 1 && (together != p.kernel[2] || p.dilation[2] != 1 || p.groups != 1 || p.in_channel != 0 ||
                        ceilDivide(channels, 4) != d->xLines)) {
    return "conv.segments.tiles: taps do not lie together";
  }
  d->cut = tileCutOf(p.channels_out / p.groups, channels, p.taps(), together);
  d->end = byteEndOf(p, d->b);
  d->yLines = floats ? p.out.C : ceilDivide(p.out.C, 4);
  d->residualLines = floats ? p.res.C : ceilDivide(p.res.C, 4);
  d->x = input<uint8_t>(step, 0);
  d->packing = input<int32_t>(step, 1);
  d->residual = p.residual ? output<uint8_t>(step, 2) : nullptr;
  d->y = output<uint8_t>(step, 3);
  const int64_t tile = d->xLines * kTileRowBytes;
  d->runs = {
      {p.kernel[0], p.kernel[1], p.kernel[2] / together},
      {p.dilation[0] * p.in.gridY() * p.in.gridX() * tile, p.dilation[1] * p.in.gridX() * tile, p.dilation[2] * tile},
      nullptr};
  return nullptr;
}

const char* checkTiles(const Step& step, Work* work) {
  DenseTiles d = {};
  if (const char* problem = readTiles(step, &d)) return problem;
  const ConvParams& p = d.p;
  const int64_t weights = product(product(p.channels_out, p.channels_in / p.groups), p.taps());
  if (weights < 0 || weights > int64_t{1} << 36 || !holds(step, 1, product(p.groups, d.cut.groupWords()), 4)) {
    return "conv.segments.tiles: the packing is too small";
  }
  work->units = p.split ? p.groups * d.cut.panels() : ceilDivide(p.tiles(), kNarrow);
  if (p.tiles() == 0) work->units = 0;
  const double rows = static_cast<double>(p.groups * d.cut.tiles * d.cut.tile_rows);
  const double steps = static_cast<double>(d.cut.runs * d.cut.steps);
  work->cost = rows * static_cast<double>(p.tiles()) * (steps * 1.2 + 3);
  return nullptr;
}

/// One panel over a block of tiles; meanwhile `next` bytes behind it are fetched.
void runPanel(const DenseTiles& d, int64_t unit, const TileBlock& block, int64_t next) {
  const TileCut& cut = d.cut;
  const ConvParams& p = d.p;
  const int64_t group = unit / cut.panels(), panel = unit % cut.panels();
  const int64_t lefts = cut.panelTiles(panel), first = panel * kPanelTiles * cut.tile_rows;
  const int64_t padded = lefts * cut.tile_rows, rows = least(padded, cut.rows - first), row = group * cut.rows + first;
  const int32_t* const head = d.packing + group * cut.groupWords() + panel * cut.panelWords(kPanelTiles);
  const float* const scale = reinterpret_cast<const float*>(head + padded);
  const int8_t* const left = reinterpret_cast<const int8_t*>(head + cut.headWords(lefts));
  const bool floats = d.b.output == jit::kOutputFloat;
  const int64_t yFirst = floats ? p.out_channel + row : (p.out_channel + row) / 4;
  const int64_t residualFirst = floats ? p.res_channel + row : (p.res_channel + row) / 4;
  alignas(64) int32_t starts[kPanelTiles * kTileRows * kLine];
  alignas(64) int32_t sums[kPanelTiles * kNarrow * kTileRows * kLine];
  for (int64_t r = 0; r < padded; r++) storeI(starts + r * kLine, set1I(head[r]));
  const int64_t together = lefts == 1 ? kWide : kNarrow, passes = ceilDivide(block.count, together);
  const int64_t steps = cut.runs * cut.steps;
  LinesAhead ahead = {left + steps * lefts * kTileBytes, ceilDivide(next / 64, passes * most(steps, 1))};
  const void* const behind = left + steps * lefts * kTileBytes + next;
  for (int64_t i = 0; i < block.count;) {
    if (ahead.at >= behind) ahead.lines = 0;
    const int64_t count = least(block.count - i, together);
    const uint8_t* x[kWide];
    for (int64_t t = 0; t < count; t++) {
      x[t] = d.x + (block.x[i + t] * d.xLines + p.in_channel / 4 + group * cut.quads) * kTileRowBytes;
    }
    (d.b.input_signed ? multiplierOf<true>(lefts, count) : multiplierOf<false>(lefts, count))(d.runs, left, x, starts,
                                                                                              sums, ahead);
    ahead.skip(steps);
    for (int64_t t = 0; t < count; t++, i++) {
      uint8_t* const y = d.y + (block.y[i] * d.yLines + yFirst) * 64;
      const uint8_t* const residual =
          d.residual ? d.residual + (block.residual[i] * d.residualLines + residualFirst) * 64 : nullptr;
      if (floats) {
        finishFloats(d.end, rows, sums + t * kLine, count * kLine, scale, reinterpret_cast<float*>(y),
                     reinterpret_cast<const float*>(residual));
      } else {
        finishBytes(d.end, ceilDivide(rows, 4) * 4, sums + t * kLine, count * kLine, scale,
                    reinterpret_cast<int32_t*>(y), reinterpret_cast<const int32_t*>(residual));
      }
    }
  }
}

void runTiles(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  DenseTiles d = {};
  readTiles(step, &d);
  d.runs.cut = &d.cut;
  TileUse use;
  use.shape(d.cut.tile_rows, 0, d.cut.depth);
  const int64_t tiles = d.p.tiles(), size = blockTiles(d.p, ceilDivide(d.p.channels_in, 4), kWide);
  const int64_t begin = d.p.split ? 0 : range->begin * kNarrow;
  const int64_t end = d.p.split ? tiles : least(range->end * kNarrow, tiles);
  const int64_t firstUnit = d.p.split ? range->begin : 0;
  const int64_t lastUnit = d.p.split ? range->end : d.p.groups * d.cut.panels();
  TileBlock block;
  for (int64_t tile = begin; tile < end; tile += size) {
    block.count = least(size, end - tile);
    locateTiles(d.p, tile, &block);
    for (int64_t unit = firstUnit; unit < lastUnit; unit++) {
      const bool ends = unit + 1 == lastUnit;
      runPanel(d, unit, block, ends ? 0 : d.cut.panelWords(d.cut.panelTiles((unit + 1) % d.cut.panels())) * 4);
    }
  }
}

}  // namespace

// As pack.conv.segments.dense.u8; `run_taps` taps along x lie together: 1, or the window's width.
FILIGREE_KERNEL(packConvSegmentsTilesU8) = {
    "pack.conv.segments.tiles.u8",
    "r:weights r:weight_zero_point? r:bias? r:scale w:packing",
    "i:groups i:channels_in i:channels_out i:taps i:run_taps i:transposed i:weights_unsigned i:input_signed "
    "i:input_zero_point",
    checkPacking,
    runPacking,
    packedBytes,
    nullptr,
    false};
// `y` may be `residual`. More than one tap may lie together where the input's tiles hold these channels alone and there
// is no dilation along x.
FILIGREE_KERNEL(convSegmentsTilesU8) = {"conv.segments.tiles.u8",
                                        "r:x r:packing r:residual? w:y",
                                        FILIGREE_CONV_SCALARS " i:run_taps " FILIGREE_BYTE_SCALARS
                                                              " " FILIGREE_CONV_LISTS,
                                        checkTiles,
                                        runTiles,
                                        nullptr,
                                        nullptr,
                                        false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
