// Weights quantised in blocks of the depth to 2, 4 or 8 bits, w = (level - zero) * scale, and their packing.
//
// Lanes are columns. A panel lies block by block: lines of words with the levels of several steps of the depth for one
// column each, a line of scales and, with zero points, a line of what a unit of x adds.
#pragma once
#include "kernels/kernel_support.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

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
  FILIGREE_INLINE_MEMBER int64_t words() const { return block / steps(); }
  FILIGREE_INLINE_MEMBER int64_t lines() const { return words() + 1 + (zeros != kCentred); }
  FILIGREE_INLINE_MEMBER int64_t panelWords() const { return blocks() * lines() * kPanel; }
  FILIGREE_INLINE_MEMBER int32_t centre() const { return 1 << (bits - 1); }
};

/// Reads the sizes from the parameters that begin at `first`.
[[maybe_unused]] Weights readWeights(const Step& step, int first) {
  return {intParam(step, first), intParam(step, first + 1), intParam(step, first + 2), intParam(step, first + 3),
          intParam(step, first + 4)};
}

[[maybe_unused]] const char* checkWeights(const Weights& w) {
  const int64_t limit = int64_t{1} << 31;
  if (w.columns < 0 || w.depth < 0 || w.columns > limit || w.depth > limit) return "sizes are out of range";
  if (w.bits != 2 && w.bits != 4 && w.bits != 8) return "bits are 2, 4 or 8";
  if (w.block < 16 || w.block > limit || (w.block & (w.block - 1))) return "a block is a power of two from 16 on";
  if (w.zeros < kCentred || w.zeros > kFloatZeros) return "zeros is 0, 1 or 2";
  return nullptr;
}

/// A panel of columns and a block of rows.
struct Unit {
  int64_t panel, block;
};

/// Unit number `unit` of panels times blocks. Blocks are walked in tiles, of which rows of `block_bytes` a block stay
/// in the second cache while all panels pass.
FILIGREE_INLINE Unit unitAt(int64_t unit, int64_t panels, int64_t blocks, int64_t block_bytes) {
  constexpr int64_t kTileBytes = 256 * 1024;
  const int64_t most = block_bytes < kTileBytes ? kTileBytes / (block_bytes + 1) + 1 : 1;
  const int64_t first = unit / (panels * most) * most, rest = unit - first * panels;
  const int64_t tile = blocks - first < most ? blocks - first : most;
  return {rest / tile, first + rest % tile};
}

/// True where operand k holds the packing.
[[maybe_unused]] bool holdsPacking(const Step& step, int k, const Weights& w) {
  return holds(step, k, product(w.panels(), product(w.blocks(), w.lines() * kPanel)), 4);
}

/// Operands and parameters of a packer.
enum { kLevels, kScales, kZeroPoints, kPacking };
constexpr int kScaleType = 5;

[[maybe_unused]] const char* checkPack(const Step& step, Work* work) {
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
  work->units = w.panels();
  work->cost = static_cast<double>(w.columns) * static_cast<double>(w.depth);
  work->scratch = 0;
  return nullptr;
}

[[maybe_unused]] size_t packBytes(const Step& step) {
  const Weights w = readWeights(step, 0);
  return static_cast<size_t>(w.panels() * w.panelWords() * 4);
}

/// Field i of `bits` bits of a row of bytes, the first in the low bits.
FILIGREE_INLINE int32_t field(const uint8_t* row, int64_t i, int64_t bits) {
  return row[i * bits / 8] >> (i * bits % 8) & ((1 << bits) - 1);
}

/// How levels lie in words: one after the other around 0, the same from 0 on with the first of a byte in its high bits,
/// or from 0 on with four steps of the depth in the four bytes' low bits and the next four above them.
enum Order { kSequence, kSwapped, kBytes };

/// One block of one column: words, scale and offset into its lane.
template <Order order>
void packBlock(const Step& step, const Weights& w, int64_t column, int64_t b, int32_t* to) {
  const int64_t steps = w.steps(), words = w.words();
  const uint8_t* row = input<uint8_t>(step, kLevels) + (column * w.blocks() + b) * (w.block * w.bits / 8);
  const int32_t base = order == kSequence ? w.centre() : 0, mask = (1 << w.bits) - 1;
  for (int64_t i = 0; i < words; i++) {
    uint32_t word = 0;
    for (int64_t s = 0; s < steps; s++) {
      const int64_t at = (i * steps + s) ^ (order == kSwapped);
      const uint32_t level = static_cast<uint32_t>((field(row, at, w.bits) - base) & mask);
      word |= level << (order == kBytes ? s % 4 * 8 + s / 4 * w.bits : s * w.bits);
    }
    to[i * kPanel] = static_cast<int32_t>(word);
  }
  const float scale =
      elementAsFloat(input<uint8_t>(step, kScales), intParam(step, kScaleType), column * w.blocks() + b);
  std::memcpy(to + words * kPanel, &scale, 4);
  if (w.zeros == kCentred) return;
  const uint8_t* zeros = input<uint8_t>(step, kZeroPoints);
  const float point = w.zeros == kFloatZeros
                          ? input<float>(step, kZeroPoints)[column * w.blocks() + b]
                          : static_cast<float>(field(zeros + column * ((w.blocks() * w.bits + 7) / 8), b, w.bits));
  const float offset = (static_cast<float>(base) - point) * scale;
  std::memcpy(to + (words + 1) * kPanel, &offset, 4);
}

template <Order order>
void runPack(const Step& step, Range* range) {
  const Weights w = readWeights(step, 0);
  for (int64_t panel = range->begin; panel < range->end; panel++) {
    int32_t* packed = output<int32_t>(step, kPacking) + panel * w.panelWords();
    for (int64_t b = 0; b < w.blocks(); b++, packed += w.lines() * kPanel) {
      for (int64_t i = 0; i < w.lines() * kPanel; i++) packed[i] = 0;
      for (int64_t c = 0; c < kPanel && panel * kPanel + c < w.columns; c++) {
        packBlock<order>(step, w, panel * kPanel + c, b, packed + c);
      }
    }
  }
}

/// y = total + bias, for R rows from `row` on and the columns of one panel; operands by number, the bias may be
/// omitted.
template <int R>
FILIGREE_INLINE void storePanel(const Step& step, int bias_operand, int y_operand, int64_t columns, int64_t row,
                                int64_t panel, const F32 (&total)[R][kPanelVectors]) {
  const bool biased = step.operands[bias_operand].bytes != 0;
  for (int v = 0; v < kPanelVectors; v++) {
    const int64_t column = panel * kPanel + v * kLanes, left = columns - column;
    if (left <= 0) break;
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    const F32 bias = biased ? loadN(input<float>(step, bias_operand) + column, lanes) : zero();
    for (int r = 0; r < R; r++) {
      storeN(output<float>(step, y_operand) + (row + r) * columns + column, total[r][v] + bias, lanes);
    }
  }
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
