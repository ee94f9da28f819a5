// Dense convolutions over float32 segment maps with products of bfloat16 and sums of float32.
//
// The lines of two channels become one line of pairs, once for a block of tiles: every output channel and tap reads it
// again. Channels of a group are padded with zeros to whole steps of the products.
//
// The packing: for each group of the convolution and each of its panels of output channels the biases as float32, then
// the weights as packPairs lays them.
#include "kernels/bf16_tile.h"
#include "kernels/tile_block.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Outputs larger than this are not in cache when they are written.
constexpr int64_t kFetchBytes = 4 << 20;

constexpr int64_t kMostChannels = 1 << 24;

const char* readPacking(const Step& step, int64_t* groups, PairCut* cut) {
  *groups = intParam(step, 0);
  const int64_t in = intParam(step, 1), out = intParam(step, 2), taps = intParam(step, 3);
  if (*groups < 1 || in < 0 || out < 0 || taps < 1 || in > kMostChannels || out > kMostChannels ||
      taps > kMostChannels || in % *groups != 0 || out % *groups != 0) {
    return "pack.conv.segments.dense.bf16: sizes out of range";
  }
  if (intParam(step, 5) && *groups != 1) return "pack.conv.segments.dense.bf16: transposed weights have no groups";
  const int64_t run_taps = intParam(step, 4);
  if (run_taps < 1 || taps % run_taps != 0) return "pack.conv.segments.dense.bf16: runs have unequal numbers of taps";
  *cut = pairCutOf(out / *groups, in / *groups, taps, run_taps);
  return nullptr;
}

/// Words of the whole packing, or -1 where they are too many.
int64_t packedWords(const PairCut& cut, int64_t groups) {
  // With padding, that of weights of a few words included.
  const int64_t most = product(product(cut.rows + 32, cut.channels + 64), product(cut.taps, groups));
  return most < 0 || most > int64_t{1} << 42 ? -1 : cut.wordsBefore(cut.panels()) * groups;
}

size_t packedBytes(const Step& step) {
  int64_t groups;
  PairCut cut = {};
  if (readPacking(step, &groups, &cut)) return 0;
  const int64_t words = packedWords(cut, groups);
  return words < 0 ? 0 : static_cast<size_t>(words) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  int64_t groups;
  PairCut cut = {};
  if (const char* problem = readPacking(step, &groups, &cut)) return problem;
  const int64_t words = packedWords(cut, groups);
  if (words < 0) return "pack.conv.segments.dense.bf16: too many weights";
  const int64_t weights = product(groups * cut.rows, product(cut.channels, cut.taps));
  if (!holds(step, 0, weights, 4)) return "pack.conv.segments.dense.bf16: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, groups * cut.rows, 4)) {
    return "pack.conv.segments.dense.bf16: the biases are too few";
  }
  if (!holds(step, 2, words, 4)) return "pack.conv.segments.dense.bf16: the packing is too small";
  work->units = groups * cut.panels();
  work->cost = static_cast<double>(weights) * 2;
  return nullptr;
}

void runPacking(const Step& step, Range* range) {
  int64_t groups;
  PairCut cut = {};
  readPacking(step, &groups, &cut);
  const float* const bias = step.operands[1].data ? input<float>(step, 1) : nullptr;
  const WeightOrder order = weightOrder(intParam(step, 5) != 0, cut.rows, cut.channels, cut.taps);
  const int64_t whole = cut.wordsBefore(cut.panels());
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t group = unit / cut.panels(), panel = unit % cut.panels(), head = cut.headWords(panel);
    const int64_t first = group * cut.rows + cut.firstRow(panel), end = group * cut.rows + cut.firstRow(panel + 1);
    uint32_t* const to = output<uint32_t>(step, 2) + group * whole + cut.wordsBefore(panel);
    float* const biases = reinterpret_cast<float*>(to);
    for (int64_t r = 0; r < head; r++) biases[r] = bias && first + r < end ? bias[first + r] : 0;
    packPairs(input<float>(step, 0) + first * order.row, order, cut, panel, to + head);
  }
}

/// How a block's input tiles lie in the scratch memory. A stretch is a run of output tiles whose taps lie in one box of
/// input tiles: of one row of tiles where blocks are shorter than those (`narrow`), else of one plane.
struct Scratch {
  bool narrow;
  /// Input tiles of a box along each axis, and the most boxes of a block.
  int64_t box[3], boxes;

  FILIGREE_INLINE_MEMBER int64_t boxTiles() const { return box[0] * box[1] * box[2]; }
};

struct Dense {
  ConvParams p;
  PairCut cut;
  int64_t block;
  Scratch scratch;
  const float *x, *residual;
  const uint32_t* packed;
  float* y;
  Clamp clamp;

  /// Words of a converted tile.
  FILIGREE_INLINE_MEMBER int64_t tileWords() const { return p.groups * cut.pairs() * kLine; }
};

Scratch placeScratch(const ConvParams& p, int64_t block) {
  Scratch s = {};
  const int64_t row = most(p.out.TW, 1), plane = most(p.out.TW * p.out.TH, 1);
  s.narrow = block < row;
  const int64_t columns = s.narrow ? block : row;
  const int64_t rows = s.narrow ? 1 : least(p.out.TH, (block - 1 + row - 1) / row + 1);
  s.box[0] = p.kernel[0];
  s.box[1] = (rows - 1) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1;
  s.box[2] = (columns - 1) * p.stride[2] + (p.kernel[2] - 1) * p.dilation[2] + 1;
  s.boxes = least(block, (block - 1) / (s.narrow ? row : plane) + 2);
  return s;
}

void readSizes(const ConvParams& p, Dense* d) {
  d->p = p;
  // Taps along x are neighbours in memory where no other group's channels lie between.
  const int64_t run_taps = p.groups == 1 && p.dilation[2] == 1 ? p.kernel[2] : 1;
  d->cut = pairCutOf(p.channels_out / p.groups, p.channels_in / p.groups, p.taps(), run_taps);
  d->block = blockTiles(p, p.groups * d->cut.pairs(), d->cut.together());
  d->scratch = placeScratch(p, d->block);
}

/// Words of scratch memory of a thread, or -1.
int64_t scratchWords(const Dense& d) {
  if (d.p.taps() == 1) return product(d.block, d.tileWords());
  const Scratch& s = d.scratch;
  const int64_t tiles = product(product(s.box[0], s.box[1]), product(s.box[2], s.boxes));
  return product(tiles, product(product(d.p.groups, d.cut.pairs()), kLine));
}

const char* checkDense(const Step& step, Work* work) {
  Dense d = {};
  ConvParams p;
  if (const char* problem = readConvParams(step, 0, &p)) return problem;
  if (!holdsSegments(step, 0, p.in, 4)) return "conv.segments.dense.bf16: the input is too small";
  if (p.residual && !(step.operands[2].data && holdsSegments(step, 2, p.res, 4))) {
    return "conv.segments.dense.bf16: the residual is too small";
  }
  if (!holdsSegments(step, 3, p.out, 4)) return "conv.segments.dense.bf16: the output is too small";
  readSizes(p, &d);
  const int64_t words = packedWords(d.cut, p.groups);
  if (words < 0 || !holds(step, 1, words, 4)) return "conv.segments.dense.bf16: the packing is too small";
  const int64_t scratch = scratchWords(d);
  if (scratch < 0 || scratch > int64_t{1} << 38) return "conv.segments.dense.bf16: the taps are too far apart";
  work->units = p.split ? p.groups * d.cut.panels() : ceilDivide(p.tiles(), d.cut.together());
  if (p.tiles() == 0) work->units = 0;
  work->scratch = static_cast<size_t>(scratch) * 4;
  // Twice what float32 takes, at 3 GHz and four fifths of its peak.
  work->cost = static_cast<double>(words) * static_cast<double>(p.tiles()) * (kLine / (kLanes * 2 * 3 * 0.8));
  return nullptr;
}

/// The channels of tile `tile` as pair lines, each group of the convolution padded with zeros.
void convertTile(const Dense& d, int64_t tile, uint32_t* to) {
  const int64_t channels = d.cut.channels, whole = channels / 2;
  const float* x = d.x + (tile * d.p.in.C + d.p.in_channel) * kLine;
  for (int64_t group = 0; group < d.p.groups; group++, x += channels * kLine) {
    for (int64_t i = 0; i < whole; i++, to += kLine) {
      storePairs(to, pairsAcross(load(x + 2 * i * kLine), load(x + (2 * i + 1) * kLine)));
    }
    for (int64_t i = whole; i < d.cut.pairs(); i++, to += kLine) {
      storePairs(to, pairsAcross(2 * i < channels ? load(x + 2 * i * kLine) : zero(), zero()));
    }
  }
}

/// Converts the inputs of output tiles first, first + 1, ...; block->x become numbers of the converted tiles.
void convertBlock(const Dense& d, int64_t first, TileBlock* block, uint32_t* scratch) {
  const ConvParams& p = d.p;
  const Scratch& s = d.scratch;
  const int64_t words = d.tileWords();
  if (p.taps() == 1) {
    for (int64_t i = 0; i < block->count; i++) {
      convertTile(d, block->x[i], scratch + i * words);
      block->x[i] = i;
    }
    return;
  }
  for (int64_t i = 0, base = 0; i < block->count; base += s.boxTiles()) {
    const TileAt at = tileAt(p.out, first + i);
    const int64_t left = p.out.TW - at.tx + (s.narrow ? 0 : (p.out.TH - 1 - at.ty) * p.out.TW);
    const int64_t count = least(block->count - i, left);
    const TileAt last = tileAt(p.out, first + i + count - 1);
    const int64_t column = s.narrow ? at.tx : 0, end = s.narrow ? last.tx : p.out.TW - 1;
    const int64_t rows = (last.ty - at.ty) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1;
    const int64_t columns = (end - column) * p.stride[2] + (p.kernel[2] - 1) * p.dilation[2] + 1;
    for (int64_t z = 0; z < p.kernel[0]; z++) {
      const int64_t corner = tapTile(p, {at.group, at.z, at.ty, column}, z, 0, 0);
      for (int64_t row = 0; row < rows; row++) {
        uint32_t* const to = scratch + (base + (z * s.box[1] + row) * s.box[2]) * words;
        for (int64_t c = 0; c < columns; c++) convertTile(d, corner + row * p.in.gridX() + c, to + c * words);
      }
    }
    for (const int64_t next = i + count; i < next; i++) {
      const TileAt to = tileAt(p.out, first + i);
      block->x[i] = base + (to.ty - at.ty) * p.stride[1] * s.box[2] + (to.tx - column) * p.stride[2];
    }
  }
}

FILIGREE_INLINE void fetchLines(const float* lines, int64_t count) {
  for (int64_t r = 0; r < count; r++) __builtin_prefetch(lines + r * kLine, 1);
}

/// Output channels first, first + 1, ... of a tile from their sums, whose rows are `stride` floats apart.
void finishTile(const Dense& d, const TileBlock& block, int64_t tile, int64_t first, int64_t rows, const float* bias,
                const float* sums, int64_t stride) {
  const ConvParams& p = d.p;
  float* const y = d.y + (block.y[tile] * p.out.C + p.out_channel + first) * kLine;
  const float* residual =
      d.residual ? d.residual + (block.residual[tile] * p.res.C + p.res_channel + first) * kLine : nullptr;
  for (int64_t r = 0; r < rows; r++) {
    F32 sum = load(sums + r * stride) + set1(bias[r]);
    if (residual) sum += load(residual + r * kLine);
    store(y + r * kLine, apply(sum, d.clamp));
  }
  if (!d.clamp.all) applyRow(y, rows * kLine, p.activation, p.alpha, p.beta);
}

/// Panel `unit` of all groups over a converted block of tiles.
void runPanel(const Dense& d, int64_t unit, const TileBlock& block, const uint32_t* scratch) {
  const PairCut& cut = d.cut;
  const ConvParams& p = d.p;
  const int64_t group = unit / cut.panels(), panel = unit % cut.panels();
  const int64_t first = group * cut.rows + cut.firstRow(panel), rows = cut.firstRow(panel + 1) - cut.firstRow(panel);
  const int64_t size = cut.together(), words = d.tileWords();
  const uint32_t* const packed = d.packed + group * cut.wordsBefore(cut.panels()) + cut.wordsBefore(panel);
  const int64_t* box = d.scratch.box;
  const DenseTaps taps = {
      {p.kernel[0], p.kernel[1], p.kernel[2]},
      {box[1] * box[2] * words, p.dilation[1] * box[2] * words, p.dilation[2] * words},
      cut.pairs(),
  };
  const bool fetch = p.tiles() * p.channels_out * kLine * 4 > kFetchBytes;
  alignas(64) float sums[kMostPairRows * kMostPairTiles * kLine];
  // The last tiles, fewer than `size`, pass one by one.
  const int64_t rounds = block.count / size + block.count % size;
  int64_t round = 0;
  for (int64_t tile = 0; tile < block.count;) {
    const int64_t count = block.count - tile >= size ? size : 1;
    PairTiles at = {};
    for (int64_t t = 0; t < count; t++) {
      at.x[t] = scratch + block.x[tile + t] * words + group * cut.pairs() * kLine;
      if (fetch) fetchLines(d.y + (block.y[tile + t] * p.out.C + p.out_channel + first) * kLine, rows);
    }
    sumPairs(cut, panel, count, taps, packed + cut.headWords(panel), at, {round++, rounds}, sums);
    for (int64_t t = 0; t < count; t++) {
      finishTile(d, block, tile + t, first, rows, reinterpret_cast<const float*>(packed), sums + t * kLine,
                 count * kLine);
    }
    tile += count;
  }
}

void runDense(const Step& step, Range* range) {
  Dense d = {};
  ConvParams p = {};
  readConvParams(step, 0, &p);
  readSizes(p, &d);
  d.x = input<float>(step, 0), d.packed = input<uint32_t>(step, 1);
  d.residual = p.residual ? input<float>(step, 2) : nullptr;
  d.y = output<float>(step, 3);
  d.clamp = clampOf(p.activation, p.alpha, p.beta);
  const int64_t tiles = p.tiles(), size = d.cut.together();
  const int64_t begin = p.split ? 0 : range->begin * size;
  const int64_t end = p.split ? tiles : least(range->end * size, tiles);
  const int64_t firstGroup = p.split ? range->begin : 0;
  const int64_t lastGroup = p.split ? range->end : p.groups * d.cut.panels();
  const PairUse use(d.cut);
  uint32_t* const scratch = reinterpret_cast<uint32_t*>(range->scratch);
  TileBlock block;
  for (int64_t tile = begin; tile < end && firstGroup < lastGroup; tile += d.block) {
    block.count = least(d.block, end - tile);
    locateTiles(p, tile, &block);
    convertBlock(d, tile, &block, scratch);
    for (int64_t unit = firstGroup; unit < lastGroup; unit++) runPanel(d, unit, block, scratch);
  }
}

}  // namespace

// `run_taps` taps lie together where the kernel reads: all along x of one group without dilation, else one.
// The weights are [channels_out][channels_in / groups][taps], or where `transposed` is 1
// [channels_in][taps][channels_out].
FILIGREE_KERNEL(packConvSegmentsDenseBf16) = {"pack.conv.segments.dense.bf16",
                                              "r:weights r:bias? w:packing",
                                              "i:groups i:channels_in i:channels_out i:taps i:run_taps i:transposed",
                                              checkPacking,
                                              runPacking,
                                              packedBytes,
                                              nullptr,
                                              false};
// `y` may be `residual`.
FILIGREE_KERNEL(convSegmentsDenseBf16) = {"conv.segments.dense.bf16",
                                          "r:x r:packing r:residual? w:y",
                                          FILIGREE_CONV_SCALARS " " FILIGREE_CONV_LISTS,
                                          checkDense,
                                          runDense,
                                          nullptr,
                                          nullptr,
                                          false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
