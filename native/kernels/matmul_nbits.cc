// Products with weights quantised in blocks of the depth to 4 or 8 bits: y = x w^T + bias, w = (level - zero) * scale.
//
// Lanes are output columns. A word holds the levels of several steps of the depth for one column, centred, so that two
// shifts (or, for 4 bits, one permutation of a table) make numbers of them; sums of a block meet its scales once.
#include "kernels/kernel_support.h"
#include "simd/half.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 8;
#else
constexpr int kBlockRows = 4;
#endif
constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;

/// Zero points of the blocks: half the range, levels packed like the weights, or floats.
enum { kCentred, kPackedZeros, kFloatZeros };

/// Sizes of weights [columns][depth].
struct Weights {
  int64_t columns, depth, bits, block, zeros;

  FILIGREE_INLINE_MEMBER int64_t blocks() const { return (depth + block - 1) / block; }
  FILIGREE_INLINE_MEMBER int64_t panels() const { return (columns + kPanel - 1) / kPanel; }
  /// Steps of the depth in a word.
  FILIGREE_INLINE_MEMBER int64_t steps() const { return 32 / bits; }
  /// Lines of a block: words, scales and, with zero points, what a unit of x adds.
  FILIGREE_INLINE_MEMBER int64_t lines() const { return block / steps() + 1 + (zeros != 0); }
  FILIGREE_INLINE_MEMBER int64_t panelWords() const { return blocks() * lines() * kPanel; }
};

const char* checkWeights(const Weights& w) {
  const int64_t limit = int64_t{1} << 31;
  if (w.columns < 0 || w.depth < 0 || w.columns > limit || w.depth > limit) return "sizes are out of range";
  if (w.bits != 4 && w.bits != 8) return "bits are 4 or 8";
  if (w.block < 16 || w.block > limit || (w.block & (w.block - 1))) return "a block is a power of two from 16 on";
  if (w.zeros < kCentred || w.zeros > kFloatZeros) return "zeros is 0, 1 or 2";
  return nullptr;
}

enum { kX, kW, kBias, kY };
enum { kRows, kColumns, kDepth, kBits, kBlock, kZeros };

Weights readWeights(const Step& step, int first) {
  return {intParam(step, first), intParam(step, first + 1), intParam(step, first + 2), intParam(step, first + 3),
          intParam(step, first + 4)};
}

const char* checkProduct(const Step& step, Work* work) {
  const Weights w = readWeights(step, kColumns);
  const int64_t rows = intParam(step, kRows);
  const char* wrong = checkWeights(w);
  if (wrong) return wrong;
  if (!holds(step, kX, product(rows, w.depth), 4)) return "x is smaller than its sizes say";
  if (!holds(step, kW, product(w.panels(), product(w.blocks(), w.lines() * kPanel)), 4)) {
    return "the weights are smaller than their sizes say";
  }
  if (step.operands[kBias].bytes && !holds(step, kBias, w.columns, 4)) return "the bias is smaller than the columns";
  if (!holds(step, kY, product(rows, w.columns), 4)) return "y is smaller than its sizes say";
  work->units = product(w.panels(), (rows + kBlockRows - 1) / kBlockRows);
  const double busy = rows < kBlockRows ? static_cast<double>(rows) : kBlockRows;
  work->cost = static_cast<double>(work->units) * static_cast<double>(w.depth) * (busy * 0.4 + 1.2);
  work->scratch = 0;
  return nullptr;
}

/// Level `i` of every word, as a number around 0.
template <int bits>
FILIGREE_INLINE F32 levels(I32 words, int i) {
#if defined(FILIGREE_AVX512)
  if constexpr (bits == 4) {
    const F32 table = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
    // The permutation reads the low four bits alone.
    return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(words >> (4 * i)), table);
  }
#endif
  return toFloat(words << (32 - bits - bits * i) >> (32 - bits));
}

/// What the block's sums of x are, for zero points.
FILIGREE_INLINE float sumOf(const float* x, int64_t n) {
  F32 sum = zero();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum += load(x + i);
  if (i < n) sum += loadN(x + i, static_cast<int>(n - i));
  return reduceAdd(sum);
}

/// acc += x times the words' levels, `count` of them each.
template <int bits, int R, int U>
FILIGREE_INLINE void addWord(const float* x, int64_t depth, const int32_t* line, int count,
                             F32 (&acc)[U][R][kPanelVectors]) {
  const I32 words[kPanelVectors] = {loadI(line), loadI(line + kLanes)};
  for (int i = 0; i < count; i++) {
    for (int v = 0; v < kPanelVectors; v++) {
      const F32 w = levels<bits>(words[v], i);
      for (int r = 0; r < R; r++) acc[i % U][r][v] = fma(set1(x[r * depth + i]), w, acc[i % U][r][v]);
    }
  }
}

template <int bits, int R>
void runBlock(const Weights& w, const float* x, const int32_t* packed, F32 (&total)[R][kPanelVectors]) {
  constexpr int kSteps = 32 / bits;
  // One row alone would wait for each sum.
  constexpr int U = R == 1 ? 2 : 1;
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < kPanelVectors; v++) total[r][v] = zero();
  }
  for (int64_t from = 0; from < w.depth; from += w.block) {
    const int64_t count = w.depth - from < w.block ? w.depth - from : w.block;
    F32 acc[U][R][kPanelVectors];
    for (int u = 0; u < U; u++) {
      for (int r = 0; r < R; r++) {
        for (int v = 0; v < kPanelVectors; v++) acc[u][r][v] = zero();
      }
    }
    const int32_t* line = packed;
    const float* at = x + from;
    int64_t k = 0;
    for (; k + kSteps <= count; k += kSteps, line += kPanel) addWord<bits, R, U>(at + k, w.depth, line, kSteps, acc);
    if (k < count) addWord<bits, R, U>(at + k, w.depth, line, static_cast<int>(count - k), acc);
    const float* scales = reinterpret_cast<const float*>(packed + w.block / kSteps * kPanel);
    for (int v = 0; v < kPanelVectors; v++) {
      const F32 scale = load(scales + v * kLanes);
      for (int r = 0; r < R; r++) {
        const F32 sum = U == 2 ? acc[0][r][v] + acc[U - 1][r][v] : acc[0][r][v];
        total[r][v] = fma(sum, scale, total[r][v]);
      }
    }
    for (int r = 0; w.zeros && r < R; r++) {
      const F32 sum = set1(sumOf(at + r * w.depth, count));
      for (int v = 0; v < kPanelVectors; v++) {
        total[r][v] = fma(sum, load(scales + kPanel + v * kLanes), total[r][v]);
      }
    }
    packed += w.lines() * kPanel;
  }
}

/// A panel of columns for R rows.
template <int bits, int R>
__attribute__((noinline)) void runRows(const Step& step, const Weights& w, int64_t row, int64_t panel) {
  F32 total[R][kPanelVectors];
  runBlock<bits, R>(w, input<float>(step, kX) + row * w.depth, input<int32_t>(step, kW) + panel * w.panelWords(),
                    total);
  for (int v = 0; v < kPanelVectors; v++) {
    const int64_t column = panel * kPanel + v * kLanes, left = w.columns - column;
    if (left <= 0) break;
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    const F32 bias = step.operands[kBias].bytes ? loadN(input<float>(step, kBias) + column, lanes) : zero();
    for (int r = 0; r < R; r++) {
      storeN(output<float>(step, kY) + (row + r) * w.columns + column, total[r][v] + bias, lanes);
    }
  }
}

template <int bits, int R>
FILIGREE_INLINE void runSome(const Step& step, const Weights& w, int64_t rows, int64_t row, int64_t panel) {
  if constexpr (R > 0) {
    if (rows == R) return runRows<bits, R>(step, w, row, panel);
    runSome<bits, R - 1>(step, w, rows, row, panel);
  }
}

void runProduct(const Step& step, Range* range) {
  const Weights w = readWeights(step, kColumns);
  const int64_t rows = intParam(step, kRows), blocks = (rows + kBlockRows - 1) / kBlockRows;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t block = unit % blocks, panel = unit / blocks;
    const int64_t first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
    if (w.bits == 4) runSome<4, kBlockRows>(step, w, count, first, panel);
    if (w.bits == 8) runSome<8, kBlockRows>(step, w, count, first, panel);
  }
}

enum { kLevels, kScales, kZeroPoints, kPacking };
constexpr int kScaleType = 5;

const char* checkPack(const Step& step, Work* work) {
  const Weights w = readWeights(step, 0);
  const char* wrong = checkWeights(w);
  if (wrong) return wrong;
  const int64_t blocks = product(w.columns, w.blocks());
  if (!holds(step, kLevels, product(blocks, w.block * w.bits / 8), 1)) return "the levels are fewer than the sizes say";
  const int64_t scale_bytes = floatTypeBytes(intParam(step, kScaleType));
  if (scale_bytes == 0) return "no such type of scales";
  if (!holds(step, kScales, blocks, scale_bytes)) return "the scales are fewer than the sizes say";
  const bool fits = w.zeros == kFloatZeros
                        ? holds(step, kZeroPoints, blocks, 4)
                        : holds(step, kZeroPoints, product(w.columns, (w.blocks() * w.bits + 7) / 8), 1);
  if (w.zeros && !fits) return "the zero points are fewer than the sizes say";
  if (product(w.panels(), product(w.blocks(), w.lines() * kPanel * 4)) < 0) return "sizes are out of range";
  work->units = 1;
  work->cost = static_cast<double>(w.columns) * static_cast<double>(w.depth);
  work->scratch = 0;
  return nullptr;
}

size_t packBytes(const Step& step) {
  const Weights w = readWeights(step, 0);
  return static_cast<size_t>(w.panels() * w.panelWords() * 4);
}

/// Field i of `bits` bits of a row of bytes, the first in the low bits.
FILIGREE_INLINE int32_t field(const uint8_t* row, int64_t i, int64_t bits) {
  return bits == 8 ? row[i] : row[i / 2] >> (i % 2 * 4) & 15;
}

/// One block of one column: words, scale and offset into its lane.
void packBlock(const Step& step, const Weights& w, int64_t column, int64_t b, int32_t* to) {
  const int64_t bytes = w.block * w.bits / 8, steps = w.steps(), words = w.block / steps;
  const uint8_t* row = input<uint8_t>(step, kLevels) + (column * w.blocks() + b) * bytes;
  const int32_t centre = 1 << (w.bits - 1), mask = (1 << w.bits) - 1;
  for (int64_t i = 0; i < words; i++) {
    uint32_t word = 0;
    for (int64_t s = 0; s < steps; s++) {
      const int32_t level = field(row, i * steps + s, w.bits) - centre;
      word |= static_cast<uint32_t>(level & mask) << (s * w.bits);
    }
    to[i * kPanel] = static_cast<int32_t>(word);
  }
  const float scale =
      elementAsFloat(input<uint8_t>(step, kScales), intParam(step, kScaleType), column * w.blocks() + b);
  std::memcpy(to + words * kPanel, &scale, 4);
  if (!w.zeros) return;
  const uint8_t* zeros = input<uint8_t>(step, kZeroPoints);
  const float point = w.zeros == kFloatZeros
                          ? input<float>(step, kZeroPoints)[column * w.blocks() + b]
                          : static_cast<float>(field(zeros + column * ((w.blocks() * w.bits + 7) / 8), b, w.bits));
  const float offset = (static_cast<float>(centre) - point) * scale;
  std::memcpy(to + (words + 1) * kPanel, &offset, 4);
}

void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const Weights w = readWeights(step, 0);
  int32_t* packed = output<int32_t>(step, kPacking);
  for (int64_t panel = 0; panel < w.panels(); panel++) {
    for (int64_t b = 0; b < w.blocks(); b++, packed += w.lines() * kPanel) {
      for (int64_t i = 0; i < w.lines() * kPanel; i++) packed[i] = 0;
      for (int64_t c = 0; c < kPanel && panel * kPanel + c < w.columns; c++) {
        packBlock(step, w, panel * kPanel + c, b, packed + c);
      }
    }
  }
}

const char* checkRound(const Step& step, Work* work) {
  const int64_t rows = intParam(step, 0), depth = intParam(step, 1), block = intParam(step, 2);
  if (block <= 0) return "a block has a positive size";
  const int64_t count = product(rows, depth);
  if (!holds(step, 0, count, 4)) return "x is smaller than its sizes say";
  if (!holds(step, 1, count, 4)) return "y is smaller than its sizes say";
  work->units = depth ? rows : 0;
  work->cost = static_cast<double>(count) * 0.3;
  work->scratch = 0;
  return nullptr;
}

void roundBlock(const float* x, float* y, int64_t n) {
  F32 top = zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    top = max(abs(loadN(x + i, static_cast<int>(n - i < kLanes ? n - i : kLanes))), top);
  }
  const float most = reduceMax(top), scale = most / 127.0f, inverse = 127.0f / most;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const F32 value = loadN(x + i, lanes);
    storeN(y + i, scale == 0 ? value : roundSmall(value * inverse) * scale, lanes);
  }
}

void runRound(const Step& step, Range* range) {
  const int64_t depth = intParam(step, 1), block = intParam(step, 2);
  for (int64_t row = range->begin; row < range->end; row++) {
    const float* x = input<float>(step, 0) + row * depth;
    float* y = output<float>(step, 1) + row * depth;
    for (int64_t at = 0; at < depth; at += block) roundBlock(x + at, y + at, depth - at < block ? depth - at : block);
  }
}

}  // namespace

// y [rows, columns] = x [rows, depth] times packed weights, plus bias [columns].
FILIGREE_KERNEL(matmulNbits) = {"matmul.nbits.f32",
                                "r:x r:weights r:bias? w:y",
                                "i:rows i:columns i:depth i:bits i:block i:zeros",
                                checkProduct,
                                runProduct,
                                nullptr,
                                nullptr,
                                false};
// Levels [columns][blocks of the depth][block], `bits` each, the first in the low bits; scales [columns][blocks] of
// ONNX's type number `scale_type`; zero
// points [columns][blocks]: `zeros` 1 of `bits` each in whole bytes a column, 2 floats, 0 half the range.
FILIGREE_KERNEL(packMatmulNbits) = {"pack.matmul.nbits.f32",
                                    "r:levels r:scales r:zero_points? w:packing",
                                    "i:columns i:depth i:bits i:block i:zeros i:scale_type",
                                    checkPack,
                                    runPack,
                                    packBytes,
                                    nullptr,
                                    false};
// y = x with every block of a row rounded to 8 bits, symmetric around zero.
FILIGREE_KERNEL(roundBlocks) = {
    "round.blocks.f32", "r:x w:y", "i:rows i:depth i:block", checkRound, runRound, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
