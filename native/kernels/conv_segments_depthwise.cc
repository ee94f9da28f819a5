// Depthwise convolutions over segment maps, float32: every output channel has one input channel, and its taps are other
// tiles.
//
// Where the input has no borders, those of a few channels of a whole plane at a time are made in scratch memory: for
// small maps, whose borders are larger than they, so that borders never leave the first-level cache.
//
// The packing: for each output channel its bias and its weights [tap].
#include "kernels/border_lines.h"
#include "kernels/conv_params.h"
#include "kernels/depthwise_block.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Output channels of a unit when threads share out channels, and lines that are still in cache when activated.
constexpr int64_t kChannelBlock = 16;
constexpr int64_t kActivationBlock = 32;
/// Lines of the channels of a plane that are taken together, which makes their number between these.
constexpr int64_t kPlaneBytes = 16 << 10;
constexpr int64_t kLeastPlaneChannels = 8, kMostPlaneChannels = 32;

constexpr int kExtra = 1;  // borders

struct Depthwise {
  ConvParams p;
  int64_t multiplier;
  const float *x, *packing, *residual;
  float* y;
  DepthwiseKernels kernels;
  /// Everything that blocks share.
  DepthwiseBlock block;
};

/// A tile of a plane with borders: where its lines come from.
struct PlaneTile {
  /// Floats from the beginning of the map.
  int64_t source;
  /// Its lanes are those of the map; else there is something to do about them.
  bool whole;
  Gather gather;
};

FILIGREE_INLINE int64_t alignedBytes(int64_t bytes) { return ceilDivide(bytes, kLine * 4) * kLine * 4; }

/// Tiles that windows of a plane read, borders included.
struct Plane {
  int64_t rows, columns;
  /// Channels that are taken together.
  int64_t channels;

  FILIGREE_INLINE_MEMBER int64_t tiles() const { return rows * columns; }
  /// Scratch: the table of tiles, where their lines lie, lines of zeros, lines of the tiles that are not whole.
  FILIGREE_INLINE_MEMBER int64_t tableBytes() const {
    return alignedBytes(tiles() * static_cast<int64_t>(sizeof(PlaneTile)));
  }
  FILIGREE_INLINE_MEMBER int64_t pointerBytes() const {
    return alignedBytes(tiles() * static_cast<int64_t>(sizeof(const char*)));
  }
  FILIGREE_INLINE_MEMBER int64_t bytes() const {
    return tableBytes() + pointerBytes() + (tiles() + 1) * channels * kLine * 4;
  }
};

constexpr int64_t kMostPlaneTiles = 1 << 22;

FILIGREE_INLINE Plane planeOf(const ConvParams& p) {
  Plane plane;
  plane.rows = (p.out.TH - 1) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1;
  plane.columns = (p.out.TW - 1) * p.stride[2] + (p.kernel[2] - 1) * p.dilation[2] + 1;
  const int64_t tiles = most(1, least(plane.tiles(), kMostPlaneTiles));
  plane.channels = most(kLeastPlaneChannels, least(kPlaneBytes / (tiles * kLine * 4), kMostPlaneChannels));
  return plane;
}

FILIGREE_INLINE bool square(const ConvParams& p, int64_t k, int64_t stride) {
  return p.kernel[1] == k && p.kernel[2] == k && p.stride[1] == stride && p.stride[2] == stride && p.dilation[1] == 1;
}

FILIGREE_INLINE DepthwiseKernels chooseKernels(const ConvParams& p) {
  if (p.kernel[0] != 1 || p.dilation[2] != 1) return anyKernels();
  if (square(p, 3, 1)) return squareKernels<3, 1>();
  if (square(p, 3, 2)) return squareKernels<3, 2>();
  if (square(p, 5, 1)) return squareKernels<5, 1>();
  if (square(p, 5, 2)) return squareKernels<5, 2>();
  if (square(p, 7, 1)) return rowKernels<7, 7, 1>();
  if (p.kernel[1] == 1 && p.kernel[2] == 3 && p.stride[2] == 1) return rowKernels<1, 3, 1>();
  if (p.kernel[1] == 1 && p.kernel[2] == 5 && p.stride[2] == 1) return rowKernels<1, 5, 1>();
  return anyKernels();
}

const char* readPacking(const Step& step, int64_t* channels, int64_t* taps) {
  const int64_t groups = intParam(step, 0), in = intParam(step, 1);
  *channels = intParam(step, 2);
  *taps = intParam(step, 3);
  if (groups < 1 || in != groups || *channels < 0 || *channels > 1 << 24 || *channels % groups != 0 || *taps < 1 ||
      *taps > 1 << 24) {
    return "pack.conv.segments.depthwise: sizes out of range";
  }
  return intParam(step, 4) ? "pack.conv.segments.depthwise: the weights cannot be transposed" : nullptr;
}

size_t packedBytes(const Step& step) {
  int64_t channels = 0, taps = 0;
  if (readPacking(step, &channels, &taps)) return 0;
  return static_cast<size_t>(channels * (taps + 1)) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  int64_t channels = 0, taps = 0;
  if (const char* problem = readPacking(step, &channels, &taps)) return problem;
  if (!holds(step, 0, channels * taps, 4)) return "pack.conv.segments.depthwise: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, channels, 4)) return "pack.conv.segments.depthwise: too few biases";
  if (!holds(step, 2, channels * (taps + 1), 4)) return "pack.conv.segments.depthwise: the packing is too small";
  work->units = channels;
  work->cost = static_cast<double>(channels * taps);
  return nullptr;
}

void runPacking(const Step& step, Range* range) {
  int64_t channels = 0, taps = 0;
  readPacking(step, &channels, &taps);
  const float* const weights = input<float>(step, 0);
  for (int64_t m = range->begin; m < range->end; m++) {
    float* const to = output<float>(step, 2) + m * (taps + 1);
    to[0] = step.operands[1].data ? input<float>(step, 1)[m] : 0;
    for (int64_t k = 0; k < taps; k++) to[k + 1] = weights[m * taps + k];
  }
}

/// Pieces of `n` tiles, none larger than `most`; their sizes differ by one at most.
FILIGREE_INLINE int64_t pieces(int64_t n, int64_t most) { return ceilDivide(n, most); }
FILIGREE_INLINE int64_t pieceBegin(int64_t n, int64_t most, int64_t i) { return n * i / pieces(n, most); }

FILIGREE_INLINE int64_t planes(const ConvParams& p) { return p.out.groups() * p.out.D; }

/// Blocks of tiles, plane by plane.
FILIGREE_INLINE int64_t blocksOf(const ConvParams& p, int64_t rows) {
  return planes(p) * pieces(p.out.TH, rows) * pieces(p.out.TW, kBlockColumns);
}

const char* readDepthwiseParams(const Step& step, ConvParams* p, bool* borders) {
  const int64_t given = intParam(step, kConvScalars);
  if (given < 0 || given > 1) return "conv.segments.depthwise: borders is 0 or 1";
  *borders = given == 1;
  if (const char* problem = readConvParams(step, kExtra, p, !*borders)) return problem;
  if (p->groups != p->channels_in) return "conv.segments.depthwise: every input channel is a group";
  if (*borders && (p->kernel[0] != 1 || p->pad[0] != 0 || (p->out.D > 0 && (p->out.D - 1) * p->stride[0] >= p->in.D))) {
    return "conv.segments.depthwise: borders along the depth are in the map";
  }
  return nullptr;
}

const char* checkDepthwise(const Step& step, Work* work) {
  ConvParams p;
  bool borders;
  if (const char* problem = readDepthwiseParams(step, &p, &borders)) return problem;
  if (!holdsSegments(step, 0, p.in, 4)) return "conv.segments.depthwise: the input is too small";
  if (!holds(step, 1, product(p.channels_out, p.taps() + 1), 4)) {
    return "conv.segments.depthwise: the packing is too small";
  }
  if (p.residual && !(step.operands[2].data && holdsSegments(step, 2, p.res, 4))) {
    return "conv.segments.depthwise: the residual is too small";
  }
  if (!holdsSegments(step, 3, p.out, 4)) return "conv.segments.depthwise: the output is too small";
  const double lines = static_cast<double>(p.tiles()) * static_cast<double>(p.channels_out);
  work->cost = lines * (2 + static_cast<double>(p.taps()) * (kLine / kLanes) * 0.15);
  if (p.tiles() == 0 || p.channels_out == 0) {
    work->units = 0;
  } else if (borders) {
    const Plane plane = planeOf(p);
    if (plane.rows > kMostPlaneTiles || plane.tiles() > kMostPlaneTiles) {
      return "conv.segments.depthwise: the plane is too large";
    }
    work->units = planes(p) * ceilDivide(p.channels_in, plane.channels);
    work->scratch = static_cast<size_t>(plane.bytes());
  } else {
    work->units = p.split ? ceilDivide(p.channels_out, kChannelBlock) : blocksOf(p, chooseKernels(p).rows);
  }
  return nullptr;
}

FILIGREE_INLINE Depthwise readDepthwise(const Step& step) {
  Depthwise d;
  bool borders;
  readDepthwiseParams(step, &d.p, &borders);
  const ConvParams& p = d.p;
  d.multiplier = p.channels_out / p.channels_in;
  d.x = input<float>(step, 0);
  d.packing = input<float>(step, 1);
  d.residual = p.residual ? input<float>(step, 2) : nullptr;
  d.y = output<float>(step, 3);
  d.kernels = chooseKernels(p);
  DepthwiseBlock& b = d.block;
  b = {};
  b.yTile = p.out.C * kLine * 4;
  b.yRow = p.out.gridX() * b.yTile;
  b.residualTile = p.res.C * kLine * 4;
  b.residualRow = p.res.gridX() * b.residualTile;
  b.clamp = clampOf(p.activation, p.alpha, p.beta);
  for (int axis = 0; axis < 3; axis++) b.taps[axis] = p.kernel[axis];
  return d;
}

/// Output channels [begin, end) of a block of rows x columns tiles, whose lines are those of channel `begin`.
void runBlock(const Depthwise& d, DepthwiseBlock b, TileAt at, int64_t rows, int64_t columns, int64_t begin,
              int64_t end) {
  const ConvParams& p = d.p;
  const DepthwiseKernel kernel = d.kernels.of[rows - 1][columns - 1];
  const int64_t y = (p.out.tile(at.group, at.z, at.ty, at.tx) * p.out.C + p.out_channel) * kLine;
  const int64_t residual = (p.res.tile(at.group, at.z, at.ty, at.tx) * p.res.C + p.res_channel) * kLine;
  // With several output channels an input channel, its line is read again by each of them.
  const int64_t step = d.multiplier > 1 ? 1 : kActivationBlock;
  b.xChannel = d.multiplier > 1 ? 0 : kLine * 4;
  for (int64_t m = begin; m < end; m += step) {
    b.xBegin = (m / d.multiplier - begin / d.multiplier) * kLine * 4;
    b.channels = least(step, end - m);
    b.weights = d.packing + m * (p.taps() + 1);
    b.y = reinterpret_cast<char*>(d.y + y + m * kLine);
    b.residual = d.residual ? reinterpret_cast<const char*>(d.residual + residual + m * kLine) : nullptr;
    kernel(b);
    for (int64_t t = 0; !b.clamp.all && t < rows * columns; t++) {
      float* const lines = reinterpret_cast<float*>(b.y + t / columns * b.yRow + t % columns * b.yTile);
      applyRow(lines, b.channels * kLine, p.activation, p.alpha, p.beta);
    }
  }
}

/// Where the input of a block lies in a map with borders, whose first line is x; `lines` has room for kMostBlockLines.
void locateBlock(const Depthwise& d, const char* x, int64_t rows, int64_t columns, const char** lines,
                 DepthwiseBlock* b) {
  const ConvParams& p = d.p;
  const DepthwiseKernels& k = d.kernels;
  const int64_t tile = p.in.C * kLine * 4, row = p.in.gridX() * tile;
  if (k.height == 0) {
    b->lines = nullptr, b->x = x;
    b->step[0] = p.dilation[0] * p.in.gridY() * row, b->step[1] = p.dilation[1] * row,
    b->step[2] = p.dilation[2] * tile;
    b->stride = p.stride[2] * tile;
    return;
  }
  const int64_t height = (rows - 1) * k.stride + k.height, width = (columns - 1) * k.stride + k.width;
  b->lines = lines, b->lineRow = width;
  for (int64_t r = 0; r < height; r++) {
    for (int64_t c = 0; c < width; c++) *lines++ = x + r * row + c * tile;
  }
}

/// Blocks over maps with borders.
void runBlocks(const Depthwise& d, const Range& range) {
  const ConvParams& p = d.p;
  const int64_t rows = pieces(p.out.TH, d.kernels.rows), columns = pieces(p.out.TW, kBlockColumns);
  const int64_t begin = p.split ? range.begin * kChannelBlock : 0;
  const int64_t end = p.split ? least(range.end * kChannelBlock, p.channels_out) : p.channels_out;
  const int64_t last = p.split ? planes(p) * rows * columns : range.end;
  DepthwiseBlock b = d.block;
  const char* lines[kMostBlockLines];
  for (int64_t unit = p.split ? 0 : range.begin; unit < last; unit++) {
    const int64_t plane = unit / (rows * columns), row = unit / columns % rows, column = unit % columns;
    const TileAt at = {plane / p.out.D, plane % p.out.D, pieceBegin(p.out.TH, d.kernels.rows, row),
                       pieceBegin(p.out.TW, kBlockColumns, column)};
    const int64_t height = pieceBegin(p.out.TH, d.kernels.rows, row + 1) - at.ty;
    const int64_t width = pieceBegin(p.out.TW, kBlockColumns, column + 1) - at.tx;
    const int64_t input = tapTile(p, at, 0, 0, 0) * p.in.C + p.in_channel + begin / d.multiplier;
    locateBlock(d, reinterpret_cast<const char*>(d.x + input * kLine), height, width, lines, &b);
    runBlock(d, b, at, height, width, begin, end);
  }
}

/// True where every lane that a tile of the map has holds a position.
FILIGREE_INLINE bool wholeTile(const SegmentMap& map, int64_t ty, int64_t tx) {
  return (map.SY - 1) * map.TH + ty < map.H && (map.SX - 1) * map.TW + tx < map.W;
}

void locatePlane(const ConvParams& p, const Plane& plane, int64_t group, int64_t z, PlaneTile* to) {
  for (int64_t row = 0; row < plane.rows; row++) {
    const int64_t ty = row - p.pad[1];
    const Split y = split(ty, p.in.TH);
    for (int64_t column = 0; column < plane.columns; column++, to++) {
      const int64_t tx = column - p.pad[2];
      const Split x = split(tx, p.in.TW);
      to->source = (p.in.tile(group, z, y.tile, x.tile) * p.in.C + p.in_channel) * kLine;
      to->whole = y.segment == 0 && x.segment == 0 && wholeTile(p.in, ty, tx);
      if (!to->whole) to->gather = gatherOf(p.in, group, z, y, x);
    }
  }
}

/// Sets where the lines of a plane's tiles lie, whose first channel is at `x`: whole tiles where they are, tiles
/// without a position at `zeros`, copies of all others at `to`.
void borderPlane(const Plane& plane, const PlaneTile* tiles, const float* x, int64_t channels, const float* zeros,
                 float* to, const char** lines) {
  for (int64_t i = 0; i < plane.tiles(); i++) {
    const PlaneTile& tile = tiles[i];
    const float* from = x + tile.source;
    if (!tile.whole && tile.gather.inside == 0) {
      from = zeros;
    } else if (!tile.whole) {
      permuteLines(reinterpret_cast<int32_t*>(to), reinterpret_cast<const int32_t*>(from), channels, tile.gather, 0);
      from = to;
      to += channels * kLine;
    }
    lines[i] = reinterpret_cast<const char*>(from);
  }
}

/// Some channels of a plane, whose tiles' lines are at `lines`.
void runPlane(const Depthwise& d, const Plane& plane, const char* const* lines, TileAt at, int64_t channel,
              int64_t channels) {
  const ConvParams& p = d.p;
  const int64_t rows = pieces(p.out.TH, d.kernels.rows), columns = pieces(p.out.TW, kBlockColumns);
  DepthwiseBlock b = d.block;
  b.lineRow = plane.columns;
  b.step[1] = p.dilation[1] * plane.columns, b.step[2] = p.dilation[2], b.stride = p.stride[2];
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t column = 0; column < columns; column++) {
      at.ty = pieceBegin(p.out.TH, d.kernels.rows, row);
      at.tx = pieceBegin(p.out.TW, kBlockColumns, column);
      b.lines = lines + at.ty * p.stride[1] * plane.columns + at.tx * p.stride[2];
      runBlock(d, b, at, pieceBegin(p.out.TH, d.kernels.rows, row + 1) - at.ty,
               pieceBegin(p.out.TW, kBlockColumns, column + 1) - at.tx, channel * d.multiplier,
               (channel + channels) * d.multiplier);
    }
  }
}

/// Planes of maps without borders.
void runPlanes(const Depthwise& d, const Range& range) {
  const ConvParams& p = d.p;
  const Plane plane = planeOf(p);
  const int64_t parts = ceilDivide(p.channels_in, plane.channels);
  PlaneTile* const tiles = reinterpret_cast<PlaneTile*>(range.scratch);
  const char** const lines = reinterpret_cast<const char**>(range.scratch + plane.tableBytes());
  float* const zeros = reinterpret_cast<float*>(range.scratch + plane.tableBytes() + plane.pointerBytes());
  float* const borders = zeros + plane.channels * kLine;
  fillLines(reinterpret_cast<int32_t*>(zeros), plane.channels, 0);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t index = unit / parts, channel = unit % parts * plane.channels;
    const int64_t channels = least(plane.channels, p.channels_in - channel);
    const TileAt at = {index / p.out.D, index % p.out.D, 0, 0};
    if (unit == range.begin || unit % parts == 0) locatePlane(p, plane, at.group, at.z * p.stride[0], tiles);
    borderPlane(plane, tiles, d.x + channel * kLine, channels, zeros, borders, lines);
    runPlane(d, plane, lines, at, channel, channels);
  }
}

void runDepthwise(const Step& step, Range* range) {
  const Depthwise d = readDepthwise(step);
  if (intParam(step, kConvScalars) == 0) return runBlocks(d, *range);
  runPlanes(d, *range);
}

}  // namespace

// The weights are [channels_out][1][taps].
FILIGREE_KERNEL(packConvSegmentsDepthwise) = {"pack.conv.segments.depthwise.f32",
                                              "r:weights r:bias? w:packing",
                                              "i:groups i:channels_in i:channels_out i:taps i:transposed",
                                              checkPacking,
                                              runPacking,
                                              packedBytes,
                                              nullptr,
                                              false};
// Where `borders` is 1 the kernel makes the borders itself, along height and width, and `split` has no meaning.
// Groups are the input channels; output channel m reads input channel m * channels_in / channels_out. `y` may be
// `residual`.
FILIGREE_KERNEL(convSegmentsDepthwise) = {"conv.segments.depthwise.f32",
                                          "r:x r:packing r:residual? w:y",
                                          FILIGREE_CONV_SCALARS " i:borders " FILIGREE_CONV_LISTS,
                                          checkDepthwise,
                                          runDepthwise,
                                          nullptr,
                                          nullptr,
                                          false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
