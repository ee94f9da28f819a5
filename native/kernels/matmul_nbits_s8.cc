// Products of rows that are rounded to 8 bits in blocks of the depth with weights quantised in the same blocks.
//
// A block's products are sums of bytes, exact; its two scales meet the sum once. Rows are rounded by a kernel of their
// own: each block becomes its scale, the sum of its levels and the levels.
#include "kernels/nbits.h"
#include "simd/bytes.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 8;
#else
constexpr int kBlockRows = 4;
#endif
/// Bytes before a block's levels: the scale, and the sum of the levels as int32.
constexpr int64_t kHeader = 8;

enum { kX, kW, kBias, kY };
enum { kRows, kColumns, kDepth, kBits, kBlock, kZeros };

const char* checkProduct(const Step& step, Work* work) {
  const Weights w = readWeights(step, kColumns);
  const int64_t rows = intParam(step, kRows);
  const char* wrong = checkWeights(w);
  if (wrong) return wrong;
  if (!holds(step, kX, product(rows, w.blocks()), w.block + kHeader)) return "x is smaller than its sizes say";
  if (!holdsPacking(step, kW, w)) return "the weights are smaller than their sizes say";
  if (step.operands[kBias].bytes && !holds(step, kBias, w.columns, 4)) return "the bias is smaller than the columns";
  if (!holds(step, kY, product(rows, w.columns), 4)) return "y is smaller than its sizes say";
  work->units = product(w.panels(), (rows + kBlockRows - 1) / kBlockRows);
  const double busy = rows < kBlockRows ? static_cast<double>(rows) : kBlockRows;
  work->cost = static_cast<double>(work->units) * static_cast<double>(w.depth) * (busy * 0.12 + 0.6);
  work->scratch = 0;
  return nullptr;
}

FILIGREE_INLINE I32 spread(const uint8_t* x) {
  int32_t word;
  std::memcpy(&word, x, 4);
  return set1I(word);
}

/// Sums of products of unsigned bytes below 16 with signed ones, four a lane, not yet added up to the end.
FILIGREE_INLINE I32 smallDots(I32 w, I32 x) {
#if defined(FILIGREE_AVX512)
  return reinterpret_cast<I32>(_mm512_maddubs_epi16(reinterpret_cast<__m512i>(w), reinterpret_cast<__m512i>(x)));
#elif defined(FILIGREE_AVX2)
  return reinterpret_cast<I32>(_mm256_maddubs_epi16(reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
#else
  return dotBytes(I32{}, w, x);
#endif
}

/// sum + factor * what smallDots gave.
template <int factor>
FILIGREE_INLINE I32 addDots(I32 sum, I32 dots) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  return sum + dotPairs(dots, set1I(factor * 0x10001));
#else
  return sum + dots * factor;
#endif
}

/// Sums of 16-bit (or, where smallDots gives them, 32-bit) lanes.
FILIGREE_INLINE I32 joinDots(I32 a, I32 b) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  return reinterpret_cast<I32>(reinterpret_cast<I16>(a) + reinterpret_cast<I16>(b));
#else
  return a + b;
#endif
}

/// Groups of levels of a word that are multiplied apart: one for every four levels, or the halves of 8-bit ones.
template <int bits>
constexpr int kFields = bits == 2 ? 4 : 2;

template <int bits>
FILIGREE_INLINE void split(I32 words, I32 (&fields)[kFields<bits>]) {
  if constexpr (bits == 2) {
    for (int f = 0; f < 4; f++) fields[f] = words >> (2 * f) & set1I(0x03030303);
  } else {
    const I32 mask = set1I(0x0f0f0f0f);
    fields[0] = bits == 8 && kByteDots ? words : words & mask;
    fields[1] = words >> 4 & mask;
  }
}

/// sum + the products of a word's 32 / bits levels with as many of x.
template <int bits>
FILIGREE_INLINE I32 addWord(I32 sum, const I32 (&fields)[kFields<bits>], const uint8_t* x) {
  if constexpr (kByteDots) {
    for (int f = 0; f < (bits == 8 ? 1 : kFields<bits>); f++) sum = dotBytes(sum, fields[f], spread(x + 4 * f));
    return sum;
  } else if constexpr (bits == 8) {
    const I32 levels = spread(x);
    return addDots<16>(addDots<1>(sum, smallDots(fields[0], levels)), smallDots(fields[1], levels));
  } else {
    I32 dots = joinDots(smallDots(fields[0], spread(x)), smallDots(fields[1], spread(x + 4)));
    for (int f = 2; f < kFields<bits>; f++) dots = joinDots(dots, smallDots(fields[f], spread(x + 4 * f)));
    return addDots<1>(sum, dots);
  }
}

/// What a block's sums begin with, and its scale and weight for offsets.
struct BlockOfX {
  float scale;
  int32_t sum;
};

FILIGREE_INLINE BlockOfX readBlock(const uint8_t* x) {
  BlockOfX block;
  std::memcpy(&block, x, kHeader);
  return block;
}

template <int bits, int R>
FILIGREE_INLINE void addBlock(const Weights& w, const uint8_t* x, int64_t row, const int32_t* packed,
                              F32 (&total)[R][kPanelVectors]) {
  // One row alone would wait for each sum.
  constexpr int U = R == 1 ? 2 : 1;
  I32 acc[U][R][kPanelVectors];
  for (int r = 0; r < R; r++) {
    const int32_t base = w.zeros == kCentred ? -w.centre() * readBlock(x + r * row).sum : 0;
    for (int v = 0; v < kPanelVectors; v++) {
      acc[0][r][v] = set1I(base);
      if (U == 2) acc[U - 1][r][v] = I32{};
    }
  }
  const int64_t words = w.words();
  const uint8_t* levels = x + kHeader;
  constexpr int kSteps = 32 / bits;
  for (int64_t i = 0; i < words; i += U) {
    for (int u = 0; u < U && i + u < words; u++) {
      I32 fields[kPanelVectors][kFields<bits>];
      for (int v = 0; v < kPanelVectors; v++) split<bits>(loadI(packed + (i + u) * kPanel + v * kLanes), fields[v]);
      for (int r = 0; r < R; r++) {
        for (int v = 0; v < kPanelVectors; v++) {
          acc[u][r][v] = addWord<bits>(acc[u][r][v], fields[v], levels + r * row + (i + u) * kSteps);
        }
      }
    }
  }
  const float* scales = reinterpret_cast<const float*>(packed + words * kPanel);
  for (int r = 0; r < R; r++) {
    const BlockOfX block = readBlock(x + r * row);
    for (int v = 0; v < kPanelVectors; v++) {
      const I32 sum = U == 2 ? acc[0][r][v] + acc[U - 1][r][v] : acc[0][r][v];
      total[r][v] = fma(toFloat(sum) * block.scale, load(scales + v * kLanes), total[r][v]);
      if (w.zeros != kCentred) {
        const F32 whole = set1(block.scale * static_cast<float>(block.sum));
        total[r][v] = fma(whole, load(scales + kPanel + v * kLanes), total[r][v]);
      }
    }
  }
}

/// A panel of columns for R rows.
template <int bits, int R>
__attribute__((noinline)) void runRows(const Step& step, const Weights& w, int64_t first, int64_t panel) {
  F32 total[R][kPanelVectors];
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < kPanelVectors; v++) total[r][v] = zero();
  }
  const int64_t row = w.blocks() * (w.block + kHeader);
  const uint8_t* x = input<uint8_t>(step, kX) + first * row;
  const int32_t* packed = input<int32_t>(step, kW) + panel * w.panelWords();
  for (int64_t b = 0; b < w.blocks(); b++, x += w.block + kHeader, packed += w.lines() * kPanel) {
    addBlock<bits, R>(w, x, row, packed, total);
  }
  storePanel<R>(step, kBias, kY, w.columns, first, panel, total);
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
    const auto [panel, block] = unitAt(unit, w.panels(), blocks, kBlockRows * (w.blocks() * (w.block + kHeader)));
    const int64_t first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
    if (w.bits == 2) runSome<2, kBlockRows>(step, w, count, first, panel);
    if (w.bits == 4) runSome<4, kBlockRows>(step, w, count, first, panel);
    if (w.bits == 8) runSome<8, kBlockRows>(step, w, count, first, panel);
  }
}

const char* checkRound(const Step& step, Work* work) {
  const int64_t rows = intParam(step, 0), depth = intParam(step, 1), block = intParam(step, 2);
  const int64_t limit = int64_t{1} << 31;
  if (block < 1 || block > limit || depth < 0 || depth > limit) return "sizes are out of range";
  if (!holds(step, 0, product(rows, depth), 4)) return "x is smaller than its sizes say";
  const int64_t blocks = product(rows, (depth + block - 1) / block);
  if (!holds(step, 1, blocks, block + kHeader)) return "y is smaller than its sizes say";
  work->units = blocks;
  work->cost = static_cast<double>(blocks) * (static_cast<double>(block) * 0.3 + 10);
  work->scratch = 0;
  return nullptr;
}

/// Levels of a block of n numbers and zeros up to `block`, with their scale and sum before them.
void roundBlock(const float* x, int64_t n, int64_t block, uint8_t* y) {
  F32 top = zero(), odd = zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32 value = loadN(x + i, static_cast<int>(n - i < kLanes ? n - i : kLanes));
    top = max(abs(value), top);
    odd = fma(value, zero(), odd);
  }
  const float most = reduceMax(top), scale = most / 127.0f, inverse = 127.0f / most;
  // Zero but for infinities and NaN, which spoil the row.
  const float spoiled = reduceAdd(odd);
  const bool levels = scale > 0 && inverse < __builtin_inff() && spoiled == 0;
  const BlockOfX header = {spoiled == 0 ? (levels ? scale : 0) : __builtin_nanf(""), 0};
  std::memcpy(y, &header, kHeader);
  std::memset(y + kHeader, 0, static_cast<size_t>(block));
  if (!levels) return;
  int32_t sum = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const I32 whole = toInt(roundSmall(loadN(x + i, lanes) * inverse));
    for (int l = 0; l < lanes; l++) {
      y[kHeader + i + l] = static_cast<uint8_t>(whole[l]);
      sum += whole[l];
    }
  }
  std::memcpy(y + 4, &sum, 4);
}

void runRound(const Step& step, Range* range) {
  const int64_t depth = intParam(step, 1), block = intParam(step, 2), blocks = (depth + block - 1) / block;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t from = unit % blocks * block, n = depth - from < block ? depth - from : block;
    const float* x = input<float>(step, 0) + unit / blocks * depth + from;
    roundBlock(x, n, block, output<uint8_t>(step, 1) + unit * (block + kHeader));
  }
}

}  // namespace

// y [rows, columns] = x times packed weights, plus bias [columns]; x as quantize.blocks.s8 writes it.
FILIGREE_KERNEL(matmulNbitsS8) = {"matmul.nbits.s8",
                                  "r:x r:weights r:bias? w:y",
                                  "i:rows i:columns i:depth i:bits i:block i:zeros",
                                  checkProduct,
                                  runProduct,
                                  nullptr,
                                  nullptr,
                                  false};
// As pack.matmul.nbits.f32, for matmul.nbits.s8.
FILIGREE_KERNEL(packMatmulNbitsS8) = {"pack.matmul.nbits.s8",
                                      "r:levels r:scales r:zero_points? w:packing",
                                      "i:columns i:depth i:bits i:block i:zeros i:scale_type",
                                      checkPack,
                                      runPack<kBytes>,
                                      packBytes,
                                      nullptr,
                                      false};
// Blocks of x [rows, depth], symmetric around zero: a float32 scale, the int32 sum of the levels, int8 levels, filled
// up with zeros. A block with infinities or NaN has the scale NaN.
FILIGREE_KERNEL(quantizeBlocks) = {
    "quantize.blocks.s8", "r:x w:y", "i:rows i:depth i:block", checkRound, runRound, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
