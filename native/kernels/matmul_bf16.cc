// Row-major products of float32 matrices that are rounded to bfloat16 first, with sums of float32:
// y = activation(alpha * a b + bias + residual).
//
// Rows of `a` become rows of pairs along the depth, `b` becomes panels of kPanel columns whose lines are pairs of two
// rows; both are padded with zeros to whole steps of the products. A block of rows meets a panel with its sums in
// registers, each step loads one line of the panel and broadcasts one pair a row.
#include "kernels/activation.h"
#include "kernels/kernel_support.h"
#include "simd/bf16.h"

#if defined(FILIGREE_ISA_amx)
#include "kernels/tiles.h"
#endif

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;
#if defined(FILIGREE_ISA_amx)
constexpr int kBlockRows = 2 * kTileRows;
#else
constexpr int kBlockRows = 14;
#endif
/// Rows that products may read behind the last, of whatever content.
constexpr int64_t kSpareRows = 15;

constexpr int64_t kLimit = int64_t{1} << 40;

/// Panels of a matrix of `columns`.
FILIGREE_INLINE int64_t panelsOf(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

/// Words of a matrix of `depth` x `columns` in panels, or -1.
FILIGREE_INLINE int64_t panelWords(int64_t depth, int64_t columns) {
  return product(product(panelsOf(columns), pairWords(depth)), kPanel);
}

enum { kA, kB, kBias, kResidual, kY };
enum { kRows, kDepth, kColumns, kAlpha, kActivation, kActivationAlpha, kActivationBeta, kScalars };

struct Product {
  int64_t rows, depth, columns, words;
  float alpha;
  int64_t activation;
  float activation_alpha, activation_beta;
  List a_matrices, b_matrices;

  FILIGREE_INLINE_MEMBER int64_t panels() const { return panelsOf(columns); }
  /// Row blocks are as even as can be.
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t block) const { return rows * block / rowBlocks(); }
  FILIGREE_INLINE_MEMBER int64_t blockRows(int64_t block) const { return firstRow(block + 1) - firstRow(block); }
  FILIGREE_INLINE_MEMBER int64_t rowBlocks() const { return (rows + kBlockRows - 1) / kBlockRows; }
};

Product readProduct(const Step& step) {
  Product p;
  p.rows = intParam(step, kRows), p.depth = intParam(step, kDepth), p.columns = intParam(step, kColumns);
  p.words = pairWords(p.depth);
  p.alpha = static_cast<float>(floatParam(step, kAlpha));
  p.activation = intParam(step, kActivation);
  p.activation_alpha = static_cast<float>(floatParam(step, kActivationAlpha));
  p.activation_beta = static_cast<float>(floatParam(step, kActivationBeta));
  p.a_matrices = listParam(step, kScalars, 0);
  p.b_matrices = listParam(step, kScalars, 1);
  return p;
}

/// True where operand k holds every listed matrix of `words`, and `spare` words behind each.
bool holdsMatrices(const Step& step, int k, List matrices, int64_t words, int64_t spare) {
  for (int64_t i = 0; i < matrices.count; i++) {
    if (matrices.items[i] < 0 || matrices.items[i] > kLimit) return false;
    const int64_t end = product(matrices.items[i] + 1, words);
    if (end < 0 || !holds(step, k, end + spare, 4)) return false;
  }
  return true;
}

bool sizesInRange(int64_t a, int64_t b, int64_t c) {
  return a >= 0 && b >= 0 && c >= 0 && a <= kLimit && b <= kLimit && c <= kLimit;
}

const char* checkProduct(const Step& step, Work* work) {
  const Product p = readProduct(step);
  if (!sizesInRange(p.rows, p.depth, p.columns)) return "sizes are out of range";
  if (p.a_matrices.count != p.b_matrices.count) return "as many matrices of a as of b are needed";
  if (!knownActivation(p.activation)) return "no such activation";
  if (!holdsMatrices(step, kA, p.a_matrices, product(p.rows, p.words), kSpareRows * p.words)) {
    return "a is smaller than its sizes say";
  }
  if (!holdsMatrices(step, kB, p.b_matrices, panelWords(p.depth, p.columns), 0)) {
    return "b is smaller than its sizes say";
  }
  const int64_t y_elements = product(product(p.rows, p.columns), p.a_matrices.count);
  if (!holds(step, kY, y_elements, 4)) return "y is smaller than its sizes say";
  if (step.operands[kBias].bytes && !holds(step, kBias, p.columns, 4)) return "bias is smaller than the columns";
  if (step.operands[kResidual].bytes && !holds(step, kResidual, y_elements, 4)) return "residual is smaller than y";
  work->units = product(product(p.a_matrices.count, p.panels()), p.rowBlocks());
  if (work->units < 0) return "sizes are out of range";
  const double steps = static_cast<double>(work->units) * static_cast<double>(p.words);
  const double busy = p.rows < kBlockRows ? static_cast<double>(p.rows) : kBlockRows;
  // Two pairs a cycle when rows are many; otherwise the panel's lines come at memory speed.
  work->cost = steps * (busy > 2 ? busy * kPanelVectors / 2 : 4.0) * 0.3;
  work->scratch = 0;
  return nullptr;
}

/// Where one block of results goes and what joins it there.
struct Target {
  float* y;
  const float* residual;
  const float* bias;
  int64_t stride;
  int width;  // columns of this panel
};

/// Writes a block whose sums are [rows][kPanel]; `clamp` is the activation where it is one.
template <bool kClamps>
void finishBlock(const Product& p, const Clamp& clamp, int64_t rows, const float* sums, const Target& t) {
  for (int v = 0; v < kPanelVectors; v++) {
    const int lanes = t.width - v * kLanes < kLanes ? t.width - v * kLanes : kLanes;
    if (lanes <= 0) break;
    const F32 bias = t.bias ? loadN(t.bias + v * kLanes, lanes) : zero();
    for (int64_t r = 0; r < rows; r++) {
      const int64_t at = r * t.stride + v * kLanes;
      F32 sum = fma(load(sums + r * kPanel + v * kLanes), set1(p.alpha), bias);
      if (t.residual) sum = sum + loadN(t.residual + at, lanes);
      sum = kClamps ? apply(sum, clamp) : apply(sum, p.activation, p.activation_alpha, p.activation_beta);
      storeN(t.y + at, sum, lanes);
    }
  }
}

#if defined(FILIGREE_ISA_amx)

/// Rows of a left tile where row blocks are as even as can be.
FILIGREE_INLINE int64_t leftRows(const Product& p) {
  const int64_t most = p.rows ? (p.rows + p.rowBlocks() - 1) / p.rowBlocks() : 1;
  return most <= kTileRows ? most : (most + 1) / 2;
}

/// Up to so many row blocks fetch the next panel while they run; more would fetch too little each.
constexpr int64_t kFetchingBlocks = 32;

/// One or two left tiles, of `left` rows.
template <int H>
__attribute__((noinline)) void sumTiles(int64_t left, int64_t words, const uint32_t* a, const uint32_t* b,
                                        LinesAhead ahead, float* sums) {
  constexpr int64_t kStep = kTileRowBytes / 4, kLineBytes = kPanel * 4;
  const int64_t stride = words * 4;
  finishStores();
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (H > 1) _tile_zero(2);
  if constexpr (H > 1) _tile_zero(3);
  for (int64_t k = 0; k < words; k += kStep, b += kStep * kPanel) {
    _tile_loadd(6, b, kLineBytes);
    _tile_loadd(4, a + k, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kLanes, kLineBytes);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (H > 1) {
      _tile_loadd(5, a + left * words + k, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    ahead.step();
  }
  _tile_stored(0, sums, kLineBytes);
  _tile_stored(1, sums + kLanes, kLineBytes);
  if constexpr (H > 1) _tile_stored(2, sums + left * kPanel, kLineBytes);
  if constexpr (H > 1) _tile_stored(3, sums + left * kPanel + kLanes, kLineBytes);
  finishStores();
}

/// What a thread needs to sum blocks: rows of left tiles may be spare ones.
struct BlockSums {
  int64_t left;
  TileUse tiles;

  FILIGREE_INLINE_MEMBER explicit BlockSums(const Product& p) : left(leftRows(p)) {
    tiles.shape(left, 0, kTileRowBytes / 4);
  }
  /// Row block `block` of `blocks` with a panel: fetches its share of the next one.
  FILIGREE_INLINE_MEMBER void run(const Product& p, int64_t block, const uint32_t* a, const uint32_t* b,
                                  float* sums) const {
    constexpr int64_t kStepLines = kTileRowBytes / 4 * kPanelVectors;
    const int64_t blocks = p.rowBlocks(), steps = p.words * 4 / kTileRowBytes;
    LinesAhead ahead = {b + p.words * kPanel, blocks > kFetchingBlocks ? 0 : (kStepLines + blocks - 1) / blocks};
    ahead.skip(block * steps);
    (p.blockRows(block) > left ? sumTiles<2> : sumTiles<1>)(left, p.words, a, b, ahead, sums);
  }
};

#else

template <int rows>
void sumBlock(int64_t words, const uint32_t* a, const uint32_t* b, float* sums) {
  F32 acc[rows][kPanelVectors];
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) acc[r][v] = zero();
  }
  for (int64_t k = 0; k < words; k++, b += kPanel) {
    const I32 b0 = loadPairs(b), b1 = loadPairs(b + kLanes);
    for (int r = 0; r < rows; r++) {
      const I32 x = set1I(static_cast<int32_t>(a[r * words + k]));
      acc[r][0] = dotPairs(acc[r][0], x, b0);
      acc[r][1] = dotPairs(acc[r][1], x, b1);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) store(sums + r * kPanel + v * kLanes, acc[r][v]);
  }
}

template <int R>
FILIGREE_INLINE void sumRows(int64_t rows, int64_t words, const uint32_t* a, const uint32_t* b, float* sums) {
  if constexpr (R > 0) {
    if (rows == R) return sumBlock<R>(words, a, b, sums);
    sumRows<R - 1>(rows, words, a, b, sums);
  }
}

struct BlockSums {
  FILIGREE_INLINE_MEMBER explicit BlockSums(const Product&) {}
  FILIGREE_INLINE_MEMBER void run(const Product& p, int64_t block, const uint32_t* a, const uint32_t* b,
                                  float* sums) const {
    sumRows<kBlockRows>(p.blockRows(block), p.words, a, b, sums);
  }
};

#endif

void runProduct(const Step& step, Range* range) {
  const Product p = readProduct(step);
  const int64_t panels = p.panels(), blocks = p.rowBlocks();
  const bool has_bias = step.operands[kBias].bytes != 0, has_residual = step.operands[kResidual].bytes != 0;
  const Clamp clamp = clampOf(p.activation, p.activation_alpha, p.activation_beta);
  alignas(64) float sums[kBlockRows * kPanel];
  const BlockSums block_sums(p);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    // Row blocks run fastest: a panel stays in cache while the rows pass it.
    const int64_t block = unit % blocks, panel = unit / blocks % panels, matrix = unit / blocks / panels;
    const int64_t first = p.firstRow(block);
    const int64_t column = panel * kPanel;
    const uint32_t* a = input<uint32_t>(step, kA) + (p.a_matrices.items[matrix] * p.rows + first) * p.words;
    const uint32_t* b = input<uint32_t>(step, kB) + (p.b_matrices.items[matrix] * panels + panel) * p.words * kPanel;
    const int64_t at = (matrix * p.rows + first) * p.columns + column;
    const int width = p.columns - column < kPanel ? static_cast<int>(p.columns - column) : kPanel;
    const Target target = {output<float>(step, kY) + at, has_residual ? input<float>(step, kResidual) + at : nullptr,
                           has_bias ? input<float>(step, kBias) + column : nullptr, p.columns, width};
    block_sums.run(p, block, a, b, sums);
    (clamp.all ? finishBlock<true> : finishBlock<false>)(p, clamp, p.blockRows(block), sums, target);
  }
}

/// Elements of a unit of conversion.
constexpr int64_t kUnitElements = 1 << 14;

/// Rows of a unit.
FILIGREE_INLINE int64_t rowsOfUnit(int64_t depth) { return depth >= kUnitElements ? 1 : kUnitElements / (depth + 1); }

const char* checkRows(const Step& step, Work* work) {
  const int64_t rows = intParam(step, 0), depth = intParam(step, 1);
  if (!sizesInRange(rows, depth, 0)) return "sizes are out of range";
  if (!holds(step, 0, product(rows, depth), 4)) return "x is smaller than its sizes say";
  if (!holds(step, 1, product(rows, pairWords(depth)), 4)) return "y is smaller than its sizes say";
  const int64_t size = rowsOfUnit(depth);
  work->units = (rows + size - 1) / size;
  work->cost = static_cast<double>(rows) * static_cast<double>(depth) * 0.05;
  work->scratch = 0;
  return nullptr;
}

void convertRow(const float* x, int64_t depth, uint32_t* y) {
  for (int64_t k = 0; k < depth; k += kPairDepth, y += kLanes) {
    const int64_t left = depth - k;
    if (left >= kPairDepth) {
      storePairs(y, pairsAlong(load(x + k), load(x + k + kLanes)));
    } else {
      const int low = static_cast<int>(left < kLanes ? left : kLanes), high = static_cast<int>(left - low);
      storePairs(y, pairsAlong(loadN(x + k, low), loadN(x + k + low, high)));
    }
  }
}

void runRows(const Step& step, Range* range) {
  const int64_t rows = intParam(step, 0), depth = intParam(step, 1), words = pairWords(depth);
  const int64_t size = rowsOfUnit(depth);
  const int64_t end = range->end * size < rows ? range->end * size : rows;
  for (int64_t row = range->begin * size; row < end; row++) {
    convertRow(input<float>(step, 0) + row * depth, depth, output<uint32_t>(step, 1) + row * words);
  }
}

const char* checkPanels(const Step& step, Work* work) {
  const int64_t matrices = intParam(step, 0), depth = intParam(step, 1), columns = intParam(step, 2);
  if (!sizesInRange(matrices, depth, columns)) return "sizes are out of range";
  if (!holds(step, 0, product(matrices, product(depth, columns)), 4)) return "x is smaller than its sizes say";
  if (!holds(step, 1, product(matrices, panelWords(depth, columns)), 4)) return "y is smaller than its sizes say";
  work->units = product(matrices, panelsOf(columns));
  work->cost = static_cast<double>(matrices) * static_cast<double>(depth) * static_cast<double>(columns) * 0.1;
  work->scratch = 0;
  return nullptr;
}

void runPanels(const Step& step, Range* range) {
  const int64_t depth = intParam(step, 1), columns = intParam(step, 2);
  const int64_t panels = panelsOf(columns), words = pairWords(depth);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t column = unit % panels * kPanel;
    const float* x = input<float>(step, 0) + unit / panels * depth * columns + column;
    uint32_t* y = output<uint32_t>(step, 1) + unit * words * kPanel;
    const int64_t left = columns - column;
    const int first = static_cast<int>(left < kLanes ? left : kLanes);
    const int second = static_cast<int>(left < kPanel ? left - first : kLanes);
    for (int64_t word = 0; word < words; word++, y += kPanel, x += 2 * columns) {
      const bool low = 2 * word < depth, high = 2 * word + 1 < depth;
      storePairs(y, pairsAcross(low ? loadN(x, first) : zero(), high ? loadN(x + columns, first) : zero()));
      storePairs(y + kLanes, pairsAcross(low ? loadN(x + first, second) : zero(),
                                         high ? loadN(x + columns + first, second) : zero()));
    }
  }
}

enum { kPackDepth, kPackColumns, kPackTransposed, kPackType };

const char* checkPack(const Step& step, Work* work) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const int64_t bytes = floatTypeBytes(intParam(step, kPackType));
  if (bytes == 0) return "no such type of weights";
  if (!sizesInRange(depth, columns, 0)) return "sizes are out of range";
  if (!holds(step, 0, product(depth, columns), bytes)) return "the weights are smaller than their sizes say";
  if (!holds(step, 1, panelWords(depth, columns), 4)) return "the packing is smaller than its sizes say";
  work->units = panelsOf(columns);
  work->cost = static_cast<double>(depth) * static_cast<double>(columns);
  work->scratch = 0;
  return nullptr;
}

size_t packBytes(const Step& step) {
  return static_cast<size_t>(panelWords(intParam(step, kPackDepth), intParam(step, kPackColumns))) * 4;
}

/// Source [depth][columns], or [columns][depth] where transposed, of ONNX's type number `type`.
void runPack(const Step& step, Range* range) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const bool transposed = intParam(step, kPackTransposed) != 0;
  const int64_t type = intParam(step, kPackType), words = pairWords(depth);
  const uint8_t* source = input<uint8_t>(step, 0);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    uint32_t* packed = output<uint32_t>(step, 1) + unit * words * kPanel;
    for (int64_t word = 0; word < words; word++) {
      for (int64_t c = unit * kPanel; c < (unit + 1) * kPanel; c++) {
        float pair[2] = {0, 0};
        for (int64_t k = 2 * word; k < 2 * word + 2 && k < depth && c < columns; k++) {
          pair[k % 2] = elementAsFloat(source, type, transposed ? c * depth + k : k * columns + c);
        }
        *packed++ = pairOf(pair[0], pair[1]);
      }
    }
  }
}

}  // namespace

// y[i] = activation(alpha * a b + bias + residual[i]) for the listed pairs of matrices: those of a are [rows][depth]
// one after the other as rows.bf16 makes them, with kSpareRows behind, those of b [depth][columns] as panels.bf16 or
// pack.matmul.bf16 does. y and residual are dense float32. `y` may be `residual`.
FILIGREE_KERNEL(matmulBf16) = {"matmul.bf16",
                               "r:a r:b r:bias? r:residual? w:y",
                               "i:rows i:depth i:columns f:alpha i:activation f:activation_alpha f:activation_beta "
                               "l:a_matrices l:b_matrices",
                               checkProduct,
                               runProduct,
                               nullptr,
                               nullptr,
                               false};
FILIGREE_KERNEL(packMatmulBf16) = {"pack.matmul.bf16",
                                   "r:weights w:packing",
                                   "i:depth i:columns i:transposed i:type",
                                   checkPack,
                                   runPack,
                                   packBytes,
                                   nullptr,
                                   false};
// Rows of float32 as rows of pairs along them.
FILIGREE_KERNEL(rowsBf16) = {"rows.bf16", "r:x w:y", "i:rows i:depth", checkRows, runRows, nullptr, nullptr, false};
// Matrices [depth][columns] of float32 as panels of pairs of two rows.
FILIGREE_KERNEL(panelsBf16) = {
    "panels.bf16", "r:x w:y", "i:matrices i:depth i:columns", checkPanels, runPanels, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
