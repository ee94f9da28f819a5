// Products of float32 rows with weights quantised in blocks of the depth: y = x w^T + bias.
//
// Levels lie around 0, so that two shifts (or, for 4 bits, one permutation of a table) make numbers of them; sums of a
// block meet its scales once.
#include "kernels/nbits.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 8;
constexpr int kTallRows = 12;
#else
constexpr int kBlockRows = 4;
constexpr int kTallRows = 6;
#endif
/// From this many rows on, numbers are made of a panel's levels once for a tile of rows.
constexpr int64_t kManyRows = 32;
constexpr int64_t kTileRows = 64;
/// Steps of the depth whose numbers exist together; a multiple of every word's levels.
constexpr int64_t kChunk = 128;

enum { kX, kW, kBias, kY };
enum { kRows, kColumns, kDepth, kBits, kBlock, kZeros, kTable };
constexpr int kPackTable = 6;

/// What levels stand for: themselves, or 4-bit floats or quantiles of the normal distribution.
enum { kLinear, kFp4, kNf4, kTables };
constexpr float kTableValues[kTables][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1},
    {0, 5.208333333e-3f, 0.66666667f, 1, 0.33333333f, 0.5f, 0.16666667f, 0.25f, -0.0f, -5.208333333e-3f, -0.66666667f,
     -1, -0.33333333f, -0.5f, -0.16666667f, -0.25f},
    {-1, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
     -0.18477343022823334f, -0.09105003625154495f, 0, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
     0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1}};

const char* checkTable(const Weights& w, int64_t table) {
  if (table < kLinear || table >= kTables) return "table is 0, 1 or 2";
  return table && (w.bits != 4 || w.zeros) ? "a table is of 4 bits without zero points" : nullptr;
}

const char* checkProduct(const Step& step, Work* work) {
  const Weights w = readWeights(step, kColumns);
  const int64_t rows = intParam(step, kRows);
  const char* wrong = checkWeights(w);
  if (!wrong) wrong = checkTable(w, intParam(step, kTable));
  if (wrong) return wrong;
  if (!holds(step, kX, product(rows, w.depth), 4)) return "x is smaller than its sizes say";
  if (!holdsPacking(step, kW, w)) return "the weights are smaller than their sizes say";
  if (step.operands[kBias].bytes && !holds(step, kBias, w.columns, 4)) return "the bias is smaller than the columns";
  if (!holds(step, kY, product(rows, w.columns), 4)) return "y is smaller than its sizes say";
  if (rows >= kManyRows) {
    work->units = product(w.panels(), (rows + kTileRows - 1) / kTileRows);
    work->cost = static_cast<double>(w.panels()) * static_cast<double>(w.depth) * static_cast<double>(rows) * 0.3;
    work->scratch = static_cast<size_t>((kChunk + kTileRows) * kPanel * 4);
    return nullptr;
  }
  work->units = product(w.panels(), (rows + kBlockRows - 1) / kBlockRows);
  const double busy = rows < kBlockRows ? static_cast<double>(rows) : kBlockRows;
  work->cost = static_cast<double>(work->units) * static_cast<double>(w.depth) * (busy * 0.4 + 1.2);
  work->scratch = 0;
  return nullptr;
}

/// Kinds of levels: bits, or this for 4 bits that a table gives meaning.
constexpr int kByTable = 40;

template <int kind>
constexpr int kBitsOf = kind == kByTable ? 4 : kind;

/// Level `i` of every word, as a number.
template <int kind>
FILIGREE_INLINE F32 levels(I32 words, int i, const float* table) {
#if defined(FILIGREE_AVX512)
  // The permutation reads the low four bits alone.
  if constexpr (kBitsOf<kind> == 4) {
    return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(words >> (4 * i)), load(table));
  }
#endif
  if constexpr (kind == kByTable) {
    const I32 index = words >> (4 * i);
#if defined(FILIGREE_AVX2)
    const __m256i at = reinterpret_cast<__m256i>(index);
    const F32 low = _mm256_permutevar8x32_ps(load(table), at), high = _mm256_permutevar8x32_ps(load(table + 8), at);
    return _mm256_blendv_ps(low, high, floatOf(index << 28));
#else
    F32 value = zero();
    for (int l = 0; l < kLanes; l++) value[l] = table[index[l] & 15];
    return value;
#endif
  } else {
    return toFloat(words << (32 - kind - kind * i) >> (32 - kind));
  }
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
template <int kind, int R, int U>
FILIGREE_INLINE void addWord(const float* x, int64_t depth, const int32_t* line, int count, const float* table,
                             F32 (&acc)[U][R][kPanelVectors]) {
  const I32 words[kPanelVectors] = {loadI(line), loadI(line + kLanes)};
  for (int i = 0; i < count; i++) {
    for (int v = 0; v < kPanelVectors; v++) {
      const F32 w = levels<kind>(words[v], i, table);
      for (int r = 0; r < R; r++) acc[i % U][r][v] = fma(set1(x[r * depth + i]), w, acc[i % U][r][v]);
    }
  }
}

template <int kind, int R>
void runBlock(const Weights& w, const float* x, const int32_t* packed, const float* table,
              F32 (&total)[R][kPanelVectors]) {
  constexpr int kSteps = 32 / kBitsOf<kind>;
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
    for (; k + kSteps <= count; k += kSteps, line += kPanel)
      addWord<kind, R, U>(at + k, w.depth, line, kSteps, table, acc);
    if (k < count) addWord<kind, R, U>(at + k, w.depth, line, static_cast<int>(count - k), table, acc);
    const float* scales = reinterpret_cast<const float*>(packed + w.words() * kPanel);
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
template <int kind, int R>
__attribute__((noinline)) void runRows(const Step& step, const Weights& w, int64_t row, int64_t panel) {
  F32 total[R][kPanelVectors];
  runBlock<kind, R>(w, input<float>(step, kX) + row * w.depth, input<int32_t>(step, kW) + panel * w.panelWords(),
                    kTableValues[intParam(step, kTable)], total);
  storePanel<R>(step, kBias, kY, w.columns, row, panel, total);
}

template <int kind, int R>
FILIGREE_INLINE void runSome(const Step& step, const Weights& w, int64_t rows, int64_t row, int64_t panel) {
  if constexpr (R > 0) {
    if (rows == R) return runRows<kind, R>(step, w, row, panel);
    runSome<kind, R - 1>(step, w, rows, row, panel);
  }
}

/// The numbers of `count` steps of a panel's depth from `from` on: lines of kPanel lanes.
template <int kind>
void unpackChunk(const Weights& w, const int32_t* packed, int64_t from, int64_t count, const float* table, float* to) {
  constexpr int kSteps = 32 / kBitsOf<kind>;
  for (int64_t k = 0; k < count; k += kSteps) {
    const int64_t at = from + k;
    const int32_t* block = packed + at / w.block * w.lines() * kPanel;
    const int32_t* line = block + at % w.block / kSteps * kPanel;
    const float* scales = reinterpret_cast<const float*>(block + w.words() * kPanel);
    const int steps = static_cast<int>(count - k < kSteps ? count - k : kSteps);
    for (int v = 0; v < kPanelVectors; v++) {
      const I32 words = loadI(line + v * kLanes);
      const F32 scale = load(scales + v * kLanes), offset = w.zeros ? load(scales + kPanel + v * kLanes) : zero();
      for (int i = 0; i < steps; i++) {
        store(to + (k + i) * kPanel + v * kLanes, fma(levels<kind>(words, i, table), scale, offset));
      }
    }
  }
}

/// totals += x times lines, R rows.
template <int R>
__attribute__((noinline)) void addLines(const float* x, int64_t row, const float* lines, int64_t count, float* totals) {
  F32 acc[R][kPanelVectors];
  // Groups of three rows share a pointer: their addresses fit one addressing mode each.
  constexpr int kGroups = (R + 2) / 3;
  const float* from[kGroups];
  for (int g = 0; g < kGroups; g++) from[g] = x + 3 * g * row;
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < kPanelVectors; v++) acc[r][v] = load(totals + r * kPanel + v * kLanes);
  }
  for (int64_t k = 0; k < count; k++, lines += kPanel) {
    const F32 line[kPanelVectors] = {load(lines), load(lines + kLanes)};
    for (int r = 0; r < R; r++) {
      const F32 value = set1(from[r / 3][r % 3 * row]);
      for (int v = 0; v < kPanelVectors; v++) acc[r][v] = fma(value, line[v], acc[r][v]);
    }
    for (int g = 0; g < kGroups; g++) from[g]++;
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < kPanelVectors; v++) store(totals + r * kPanel + v * kLanes, acc[r][v]);
  }
}

template <int R>
FILIGREE_INLINE void addSome(int64_t rows, const float* x, int64_t row, const float* lines, int64_t count,
                             float* totals) {
  if constexpr (R > 0) {
    if (rows == R) return addLines<R>(x, row, lines, count, totals);
    addSome<R - 1>(rows, x, row, lines, count, totals);
  }
}

/// A panel of columns for a tile of rows.
template <int kind>
void runTile(const Step& step, const Weights& w, int64_t first, int64_t rows, int64_t panel, float* scratch) {
  float *lines = scratch, *totals = scratch + kChunk * kPanel;
  const float *x = input<float>(step, kX) + first * w.depth, *table = kTableValues[intParam(step, kTable)];
  const int32_t* packed = input<int32_t>(step, kW) + panel * w.panelWords();
  for (int64_t i = 0; i < rows * kPanel; i += kLanes) store(totals + i, zero());
  const int64_t blocks = (rows + kTallRows - 1) / kTallRows;
  for (int64_t k = 0; k < w.depth; k += kChunk) {
    const int64_t count = w.depth - k < kChunk ? w.depth - k : kChunk;
    unpackChunk<kind>(w, packed, k, count, table, lines);
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t r = rows * b / blocks, many = rows * (b + 1) / blocks - r;
      addSome<kTallRows>(many, x + r * w.depth + k, w.depth, lines, count, totals + r * kPanel);
    }
  }
  for (int v = 0; v < kPanelVectors; v++) {
    const int64_t column = panel * kPanel + v * kLanes, left = w.columns - column;
    if (left <= 0) break;
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    const F32 bias = step.operands[kBias].bytes ? loadN(input<float>(step, kBias) + column, lanes) : zero();
    for (int64_t r = 0; r < rows; r++) {
      float* y = output<float>(step, kY) + (first + r) * w.columns + column;
      storeN(y, load(totals + r * kPanel + v * kLanes) + bias, lanes);
    }
  }
}

void runTiles(const Step& step, const Weights& w, Range* range) {
  const int64_t rows = intParam(step, kRows), tiles = (rows + kTileRows - 1) / kTileRows;
  float* scratch = reinterpret_cast<float*>(range->scratch);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t panel = unit % w.panels(), tile = unit / w.panels();
    const int64_t first = rows * tile / tiles, count = rows * (tile + 1) / tiles - first;
    if (w.bits == 2) runTile<2>(step, w, first, count, panel, scratch);
    if (w.bits == 4 && intParam(step, kTable)) {
      runTile<kByTable>(step, w, first, count, panel, scratch);
      continue;
    }
    if (w.bits == 4) runTile<4>(step, w, first, count, panel, scratch);
    if (w.bits == 8) runTile<8>(step, w, first, count, panel, scratch);
  }
}

void runProduct(const Step& step, Range* range) {
  const Weights w = readWeights(step, kColumns);
  if (intParam(step, kRows) >= kManyRows) return runTiles(step, w, range);
  const int64_t rows = intParam(step, kRows), blocks = (rows + kBlockRows - 1) / kBlockRows;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t block = unit % blocks, panel = unit / blocks;
    const int64_t first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
    if (w.bits == 2) runSome<2, kBlockRows>(step, w, count, first, panel);
    if (w.bits == 4 && intParam(step, kTable)) {
      runSome<kByTable, kBlockRows>(step, w, count, first, panel);
      continue;
    }
    if (w.bits == 4) runSome<4, kBlockRows>(step, w, count, first, panel);
    if (w.bits == 8) runSome<8, kBlockRows>(step, w, count, first, panel);
  }
}

const char* checkTablePack(const Step& step, Work* work) {
  const char* wrong = checkPack(step, work);
  return wrong ? wrong : checkTable(readWeights(step, 0), intParam(step, kPackTable));
}

void runTablePack(const Step& step, Range* range) {
  intParam(step, kPackTable) ? runPack<kSwapped>(step, range) : runPack<kSequence>(step, range);
}

}  // namespace

// y [rows, columns] = x [rows, depth] times packed weights, plus bias [columns].
FILIGREE_KERNEL(matmulNbits) = {"matmul.nbits.f32",
                                "r:x r:weights r:bias? w:y",
                                "i:rows i:columns i:depth i:bits i:block i:zeros i:table",
                                checkProduct,
                                runProduct,
                                nullptr,
                                nullptr,
                                false};
// Levels [columns][blocks of the depth][block], `bits` each, the first in the low bits; scales [columns][blocks] of
// ONNX's type number `scale_type`; zero points [columns][blocks]: `zeros` 1 of `bits` each in whole bytes a column, 2
// floats, 0 half the range. With `table` 1 (4-bit floats) or 2 (quantiles of the normal distribution) levels are its
// numbers, and the first of a byte lies in the high bits.
FILIGREE_KERNEL(packMatmulNbits) = {"pack.matmul.nbits.f32",
                                    "r:levels r:scales r:zero_points? w:packing",
                                    "i:columns i:depth i:bits i:block i:zeros i:scale_type i:table",
                                    checkTablePack,
                                    runTablePack,
                                    packBytes,
                                    nullptr,
                                    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
