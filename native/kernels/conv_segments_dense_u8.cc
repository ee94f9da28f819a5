// Dense convolutions and linear layers over 8-bit segment maps with 8-bit weights.
//
// The packing: for each group of the convolution and each of its row groups (whole fours of output channels) the sums'
// starting values and the scales [rows], then the weights [tap][quad of input channels][rows]. Where products are of
// pairs what is split off weights follows (split_weights.h).
#include <optional>

#include "kernels/byte_tile.h"
#include "kernels/split_weights.h"
#include "kernels/tile_block.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

// As in dense_tile.h, but rows come in fours, and where there is no VNNI a quad takes two registers.
#if defined(FILIGREE_AVX512)
constexpr int kByteRows = 12, kByteTiles = 2;
#else
constexpr int kByteRows = 4, kByteTiles = 1;
#endif

/// A weight quad is one word of four signed bytes where the CPU multiplies such, else two words of 16-bit pairs:
/// channels 0 and 2, channels 1 and 3.
constexpr bool kWhole = kByteDots || kPairDots;
constexpr int kQuadWords = kWhole ? 1 : 2;

FILIGREE_INLINE void packWeight(const int32_t* quad, int32_t* words) {
  if (kWhole) {
    words[0] = packQuadWord(quad);
    return;
  }
  for (int i = 0; i < kQuadWords; i++) {
    words[i] = static_cast<int32_t>(static_cast<uint32_t>(quad[i] & 0xffff) | static_cast<uint32_t>(quad[i + 2]) << 16);
  }
}

/// What a product of quads costs, in products of four bytes.
constexpr double kQuadCost = kByteDots ? 1 : kPairDots ? 1.6 : 2;

/// Four channels of kLanes positions, or a broadcast weight quad.
struct Quad {
  I32 part[kQuadWords];
};

/// Unsigned bytes.
FILIGREE_INLINE Quad quadOf(I32 bytes) {
  Quad quad;
  quad.part[0] = kWhole ? bytes : evenBytes(bytes);
  if (!kWhole) quad.part[kQuadWords - 1] = oddBytes(bytes);
  return quad;
}

FILIGREE_INLINE Quad broadcastWeights(const int32_t* words) {
  Quad w;
  for (int i = 0; i < kQuadWords; i++) w.part[i] = set1I(words[i]);
  return w;
}

FILIGREE_INLINE I32 dot(I32 sum, const Quad& x, const Quad& w) {
  if (kWhole) return dotSafeBytes(sum, x.part[0], w.part[0]);
  for (int i = 0; i < kQuadWords; i++) sum += dotPairs(x.part[i], w.part[i]);
  return sum;
}

/// Rows and quads of one group of the convolution. Rows are rounded up to fours: the rest have weights of 0.
struct ByteCut {
  int64_t rows, groups, channels, taps;

  FILIGREE_INLINE_MEMBER int64_t paddedRows() const { return ceilDivide(rows, 4) * 4; }
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t i) const { return ceilDivide(rows, 4) * i / groups * 4; }
  /// Input quads of a group: its channels may begin or end within one.
  FILIGREE_INLINE_MEMBER int64_t firstQuad(int64_t group) const { return group * channels / 4; }
  FILIGREE_INLINE_MEMBER int64_t quads(int64_t group) const {
    return ceilDivide((group + 1) * channels, 4) - firstQuad(group);
  }
  /// Words of one row of a group, and of the row groups of all groups before it. Quads repeat after four groups.
  FILIGREE_INLINE_MEMBER int64_t rowWords(int64_t group) const { return 2 + quads(group) * taps * kQuadWords; }
  FILIGREE_INLINE_MEMBER int64_t groupWords(int64_t group) const {
    int64_t words = 0;
    for (int64_t g = 0; g < 4; g++) words += (group + 3 - g) / 4 * rowWords(g);
    return words * paddedRows();
  }
};

FILIGREE_INLINE ByteCut byteCutOf(int64_t rows, int64_t channels, int64_t taps) {
  return {rows, ceilDivide(rows, kByteRows), channels, taps};
}

constexpr int64_t kMostChannels = 1 << 24;

struct BytePacking {
  int64_t groups;
  ByteCut cut;
  bool transposed, weights_unsigned;
  /// What is taken off the input bytes once they are unsigned.
  int64_t input_zero_point;
};

const char* readPacking(const Step& step, BytePacking* k) {
  k->groups = intParam(step, 0);
  const int64_t in = intParam(step, 1), out = intParam(step, 2), taps = intParam(step, 3);
  if (k->groups < 1 || in < 0 || out < 0 || taps < 1 || in > kMostChannels || out > kMostChannels ||
      taps > kMostChannels || in % k->groups != 0 || out % k->groups != 0 || k->groups > kMostChannels) {
    return "pack.conv.segments.dense: sizes out of range";
  }
  k->cut = byteCutOf(out / k->groups, in / k->groups, taps);
  k->transposed = intParam(step, 4) != 0;
  k->weights_unsigned = intParam(step, 5) != 0;
  const bool is_signed = intParam(step, 6) != 0;
  if (!byteRange(intParam(step, 7), is_signed)) return "pack.conv.segments.dense: the zero point is no input value";
  k->input_zero_point = intParam(step, 7) + (is_signed ? 128 : 0);
  if (k->transposed && k->groups != 1) return "pack.conv.segments.dense: transposed weights have no groups";
  const int64_t weights = product(product(out, k->cut.channels), taps);
  return weights < 0 || weights > int64_t{1} << 36 ? "pack.conv.segments.dense: too many weights" : nullptr;
}

const char* checkPacking(const Step& step, Work* work) {
  BytePacking k = {};
  if (const char* problem = readPacking(step, &k)) return problem;
  const int64_t out = k.groups * k.cut.rows, weights = out * k.cut.channels * k.cut.taps;
  if (!holds(step, 0, weights, 1)) return "pack.conv.segments.dense: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, 1, 1)) return "pack.conv.segments.dense: no weight zero point";
  if (step.operands[2].data && !holds(step, 2, out, 4)) return "pack.conv.segments.dense: the biases are too few";
  if (!holds(step, 3, out, 4)) return "pack.conv.segments.dense: the scales are too few";
  if (!holds(step, 4, k.cut.groupWords(k.groups), 4)) return "pack.conv.segments.dense: the packing is too small";
  // Where halves follow each other, rows do.
  work->units = kPairDots ? 1 : k.groups * k.cut.groups;
  work->cost = static_cast<double>(weights) * 2;
  return nullptr;
}

/// The value of a weight byte.
FILIGREE_INLINE int32_t weightValue(uint8_t byte, bool is_unsigned) {
  return is_unsigned ? byte : static_cast<int8_t>(byte);
}

/// Calls quad(r, tap, quad, values) for the weights of row r of a row group, taps and quads in order, and row(r, sum)
/// after each: rows [first, first + padded) of a group, those past the last zeros.
template <class UseQuad, class UseRow>
void eachWeight(const Step& step, const BytePacking& k, int64_t group, int64_t first, int64_t padded, UseQuad useQuad,
                UseRow useRow) {
  const ByteCut& cut = k.cut;
  const uint8_t* const weights = input<uint8_t>(step, 0);
  const WeightOrder order = weightOrder(k.transposed, cut.rows, cut.channels, cut.taps);
  const bool perRow = step.operands[1].bytes >= static_cast<size_t>(k.groups * cut.rows);
  const int64_t quads = cut.quads(group), lead = group * cut.channels - cut.firstQuad(group) * 4;
  for (int64_t r = 0; r < padded; r++) {
    const bool real = first + r < cut.rows;
    const int64_t row = group * cut.rows + first + r;
    const uint8_t zero = !step.operands[1].data || !real ? 0 : input<uint8_t>(step, 1)[perRow ? row : 0];
    const int32_t zeroPoint = weightValue(zero, k.weights_unsigned);
    int64_t sum = 0;
    for (int64_t tap = 0; tap < cut.taps; tap++) {
      for (int64_t quad = 0; quad < quads; quad++) {
        int32_t values[4] = {};
        for (int64_t i = 0; i < 4; i++) {
          const int64_t c = quad * 4 + i - lead;
          if (!real || c < 0 || c >= cut.channels) continue;
          const uint8_t byte = weights[row * order.row + c * order.channel + tap * order.tap];
          values[i] = weightValue(byte, k.weights_unsigned) - zeroPoint;
          sum += values[i];
        }
        useQuad(r, tap, quad, values);
      }
    }
    useRow(r, sum);
  }
}

size_t packedBytes(const Step& step) {
  BytePacking k = {};
  if (readPacking(step, &k)) return 0;
  const size_t words = static_cast<size_t>(k.cut.groupWords(k.groups));
  if (!kPairDots) return words * 4;
  int64_t halves = 0;
  for (int64_t group = 0; group < k.groups; group++) {
    eachWeight(
        step, k, group, 0, k.cut.paddedRows(),
        [&](int64_t, int64_t, int64_t, const int32_t* values) { halves += isSafeQuad(values) ? 0 : 1; },
        [](int64_t, int64_t) {});
  }
  return (words + static_cast<size_t>(splitWords(k.groups * k.cut.paddedRows(), halves))) * 4;
}

/// One row group; `writer` where weights are split.
void packRows(const Step& step, const BytePacking& k, int64_t group, int64_t first, int64_t padded, int32_t* to,
              SplitWriter* writer, Range* range) {
  int32_t* words = to + 2 * padded;
  const int64_t quads = k.cut.quads(group);
  const auto useQuad = [&](int64_t r, int64_t tap, int64_t quad, int32_t* values) {
    for (int i = 0; i < 4; i++) {
      if (values[i] < -128 || values[i] > 127) range->error = "a weight less its zero point is not a signed byte";
    }
    if (writer) writer->split(tap, quad, values);
    packWeight(values, words + ((tap * quads + quad) * padded + r) * kQuadWords);
  };
  const auto useRow = [&](int64_t r, int64_t sum) {
    const bool real = first + r < k.cut.rows;
    const int64_t row = group * k.cut.rows + first + r;
    const int64_t bias = real && step.operands[2].data ? input<int32_t>(step, 2)[row] : 0;
    to[r] = static_cast<int32_t>(static_cast<uint32_t>(bias - k.input_zero_point * sum));
    const float scale = real ? input<float>(step, 3)[row] : 0;
    std::memcpy(to + padded + r, &scale, sizeof scale);
    if (writer) writer->endRow();
  };
  eachWeight(step, k, group, first, padded, useQuad, useRow);
}

void runPacking(const Step& step, Range* range) {
  BytePacking k = {};
  readPacking(step, &k);
  int32_t* const packing = output<int32_t>(step, 4);
  std::optional<SplitWriter> writer;
  if (kPairDots) writer.emplace(packing + k.cut.groupWords(k.groups), k.groups * k.cut.paddedRows());
  const int64_t first_unit = kPairDots ? 0 : range->begin, last = kPairDots ? k.groups * k.cut.groups : range->end;
  for (int64_t unit = first_unit; unit < last; unit++) {
    const int64_t group = unit / k.cut.groups, first = k.cut.firstRow(unit % k.cut.groups);
    int32_t* const to = packing + k.cut.groupWords(group) + first * k.cut.rowWords(group);
    const int64_t padded = k.cut.firstRow(unit % k.cut.groups + 1) - first;
    packRows(step, k, group, first, padded, to, writer ? &*writer : nullptr, range);
  }
}

struct ByteTaps {
  int64_t count[3], step[3], quads;
  int32_t flip;
};

/// Sums [R][T * 16] of R output channels of T tiles.
template <int R, int T>
__attribute__((noinline)) void dotTile(const ByteTaps& taps, const int32_t* w, const int32_t* const* tiles,
                                       int32_t* sums) {
  constexpr int V = T * kLineVectors;
  I32 acc[R][V];
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < V; v++) acc[r][v] = set1I(w[r]);
  }
  w += 2 * R;
  for (int64_t d = 0; d < taps.count[0]; d++) {
    for (int64_t h = 0; h < taps.count[1]; h++) {
      int64_t offset = d * taps.step[0] + h * taps.step[1];
      for (int64_t i = 0; i < taps.count[2]; i++, offset += taps.step[2]) {
        const int32_t* x[T];
        FILIGREE_UNROLL
        for (int t = 0; t < T; t++) x[t] = tiles[t] + offset;
        for (int64_t c = 0; c < taps.quads; c++, w += R * kQuadWords) {
          Quad lines[V];
          FILIGREE_UNROLL
          for (int v = 0; v < V; v++) {
            const int32_t* const at = x[v / kLineVectors] + c * kLine + v % kLineVectors * kLanes;
            lines[v] = quadOf(loadI(at) ^ taps.flip);
          }
          FILIGREE_UNROLL
          for (int r = 0; r < R; r++) {
            const Quad weight = broadcastWeights(w + r * kQuadWords);
            FILIGREE_UNROLL
            for (int v = 0; v < V; v++) acc[r][v] = dot(acc[r][v], lines[v], weight);
          }
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < V; v++) storeI(sums + r * T * kLine + v * kLanes, acc[r][v]);
  }
}

typedef void (*DotTile)(const ByteTaps&, const int32_t*, const int32_t* const*, int32_t*);

template <int T, int R>
FILIGREE_INLINE DotTile dotTileOf(int64_t rows) {
  if constexpr (R <= 4) {
    return dotTile<4, T>;
  } else {
    return rows == R ? dotTile<R, T> : dotTileOf<T, R - 4>(rows);
  }
}

struct DenseBytes {
  ConvParams p;
  ByteParams b;
  ByteCut cut;
  ByteEnd end;
  const int32_t *x, *packing;
  /// What is split off the weights, where that is done, and the distances of the taps.
  const int32_t* split_begin;
  const SplitWeight* splits;
  const int64_t* taps;
  uint8_t *y, *residual;
  /// Lines of a tile.
  int64_t xLines, yLines, residualLines;
};

FILIGREE_INLINE const char* readDense(const Step& step, DenseBytes* d) {
  if (const char* problem = readByteConv(step, 0, &d->p, &d->b)) return problem;
  const ConvParams& p = d->p;
  if (d->b.output != jit::kOutputFloat && p.groups != 1 && p.channels_out / p.groups % 4 != 0) {
    return "conv.segments.dense: groups write whole fours of output channels";
  }
  const bool floats = d->b.output == jit::kOutputFloat;
  d->cut = byteCutOf(p.channels_out / p.groups, p.channels_in / p.groups, p.taps());
  d->end = byteEndOf(p, d->b);
  d->xLines = ceilDivide(p.in.C, 4);
  d->yLines = floats ? p.out.C : ceilDivide(p.out.C, 4);
  d->residualLines = floats ? p.res.C : ceilDivide(p.res.C, 4);
  d->x = input<int32_t>(step, 0);
  d->packing = input<int32_t>(step, 1);
  d->split_begin = d->packing + d->cut.groupWords(p.groups);
  d->splits = reinterpret_cast<const SplitWeight*>(d->split_begin + p.groups * d->cut.paddedRows() + 1);
  d->residual = p.residual ? output<uint8_t>(step, 2) : nullptr;
  d->y = output<uint8_t>(step, 3);
  return nullptr;
}

const char* checkDense(const Step& step, Work* work) {
  DenseBytes d = {};
  if (const char* problem = readDense(step, &d)) return problem;
  const ConvParams& p = d.p;
  const int64_t weights = product(product(p.channels_out, d.cut.channels), p.taps());
  const int64_t split = kPairDots ? splitWords(p.groups * d.cut.paddedRows(), 0) : 0;
  if (weights < 0 || weights > int64_t{1} << 36 || !holds(step, 1, d.cut.groupWords(p.groups) + split, 4)) {
    return "conv.segments.dense: the packing is too small";
  }
  work->scratch = kPairDots ? static_cast<size_t>(p.taps()) * sizeof(int64_t) : 0;
  work->units = p.split ? p.groups * d.cut.groups : ceilDivide(p.tiles(), kByteTiles);
  if (p.tiles() == 0) work->units = 0;
  work->cost =
      static_cast<double>(weights) * static_cast<double>(p.tiles()) * (kLine * kQuadCost / (kLanes * 2 * 3 * 4 * 0.7));
  return nullptr;
}

/// Distances of the taps from the first.
void measureTaps(const DenseBytes& d, int64_t* taps) {
  const ConvParams& p = d.p;
  const int64_t tile = d.xLines * kLine;
  for (int64_t kd = 0; kd < p.kernel[0]; kd++) {
    for (int64_t kh = 0; kh < p.kernel[1]; kh++) {
      for (int64_t kw = 0; kw < p.kernel[2]; kw++) {
        *taps++ = ((kd * p.dilation[0] * p.in.gridY() + kh * p.dilation[1]) * p.in.gridX() + kw * p.dilation[2]) * tile;
      }
    }
  }
}

/// One row group over a block of tiles.
void runRowGroup(const DenseBytes& d, int64_t unit, const TileBlock& block) {
  const ByteCut& cut = d.cut;
  const ConvParams& p = d.p;
  const int64_t group = unit / cut.groups, first = cut.firstRow(unit % cut.groups);
  const int64_t padded = cut.firstRow(unit % cut.groups + 1) - first, rows = least(padded, cut.rows - first);
  const int32_t* const panel = d.packing + cut.groupWords(group) + first * cut.rowWords(group);
  const float* const scale = reinterpret_cast<const float*>(panel + padded);
  const int64_t tile = d.xLines * kLine, row = group * cut.rows + first;
  const ByteTaps taps = {
      {p.kernel[0], p.kernel[1], p.kernel[2]},
      {p.dilation[0] * p.in.gridY() * p.in.gridX() * tile, p.dilation[1] * p.in.gridX() * tile, p.dilation[2] * tile},
      cut.quads(group),
      d.b.input_signed ? static_cast<int32_t>(0x80808080) : 0};
  const bool floats = d.b.output == jit::kOutputFloat;
  const int64_t yFirst = floats ? p.out_channel + row : (p.out_channel + row) / 4;
  const int64_t residualFirst = floats ? p.res_channel + row : (p.res_channel + row) / 4;
  int32_t sums[kByteRows * kByteTiles * kLine];
  for (int64_t i = 0; i < block.count;) {
    const int64_t count = block.count - i >= kByteTiles ? kByteTiles : 1;
    const int32_t* x[kByteTiles];
    for (int64_t t = 0; t < count; t++) {
      x[t] = d.x + (block.x[i + t] * d.xLines + p.in_channel / 4 + cut.firstQuad(group)) * kLine;
    }
    (count == 1 ? dotTileOf<1, kByteRows>(padded) : dotTileOf<kByteTiles, kByteRows>(padded))(taps, panel, x, sums);
    const int32_t* const begin = d.split_begin + group * cut.paddedRows() + first;
    for (int64_t r = 0; kPairDots && r < rows; r++) {
      for (int64_t t = 0; begin[r] < begin[r + 1] && t < count; t++) {
        addSplits(d.splits + begin[r], d.splits + begin[r + 1], x[t], d.taps, taps.flip,
                  sums + (r * count + t) * kLine);
      }
    }
    for (int64_t t = 0; t < count; t++, i++) {
      uint8_t* const y = d.y + (block.y[i] * d.yLines + yFirst) * 64;
      const uint8_t* const residual =
          d.residual ? d.residual + (block.residual[i] * d.residualLines + residualFirst) * 64 : nullptr;
      if (floats) {
        finishFloats(d.end, rows, sums + t * kLine, count * kLine, scale, reinterpret_cast<float*>(y),
                     reinterpret_cast<const float*>(residual));
      } else {
        finishBytes(d.end, padded, sums + t * kLine, count * kLine, scale, reinterpret_cast<int32_t*>(y),
                    reinterpret_cast<const int32_t*>(residual));
      }
    }
  }
}

void runDense(const Step& step, Range* range) {
  DenseBytes d = {};
  readDense(step, &d);
  if (kPairDots) {
    const int64_t rows = d.p.groups * d.cut.paddedRows();
    if (!holds(step, 1, d.cut.groupWords(d.p.groups) + splitWords(rows, d.split_begin[rows]), 4)) {
      range->error = "conv.segments.dense: the packing was made for another convolution";
      return;
    }
    measureTaps(d, reinterpret_cast<int64_t*>(range->scratch));
    d.taps = reinterpret_cast<const int64_t*>(range->scratch);
  }
  const int64_t tiles = d.p.tiles(), size = blockTiles(d.p, ceilDivide(d.p.channels_in, 4), kByteTiles);
  const int64_t begin = d.p.split ? 0 : range->begin * kByteTiles;
  const int64_t end = d.p.split ? tiles : least(range->end * kByteTiles, tiles);
  const int64_t firstGroup = d.p.split ? range->begin : 0;
  const int64_t lastGroup = d.p.split ? range->end : d.p.groups * d.cut.groups;
  TileBlock block;
  for (int64_t tile = begin; tile < end; tile += size) {
    block.count = least(size, end - tile);
    locateTiles(d.p, tile, &block);
    for (int64_t unit = firstGroup; unit < lastGroup; unit++) runRowGroup(d, unit, block);
  }
}

}  // namespace

// Weights, and zero points of one or channels_out weights, are bytes. `scale` is of the sums, [channels_out].
FILIGREE_KERNEL(packConvSegmentsDenseU8) = {
    "pack.conv.segments.dense.u8",
    "r:weights r:weight_zero_point? r:bias? r:scale w:packing",
    "i:groups i:channels_in i:channels_out i:taps i:transposed i:weights_unsigned i:input_signed i:input_zero_point",
    checkPacking,
    runPacking,
    packedBytes,
    nullptr,
    false};
// `y` may be `residual`.
FILIGREE_KERNEL(convSegmentsDenseU8) = {"conv.segments.dense.u8",
                                        "r:x r:packing r:residual? w:y",
                                        FILIGREE_CONV_SCALARS " " FILIGREE_BYTE_SCALARS " " FILIGREE_CONV_LISTS,
                                        checkDense,
                                        runDense,
                                        nullptr,
                                        nullptr,
                                        false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
